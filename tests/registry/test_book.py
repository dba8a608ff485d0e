"""What the ledger says about a version, and what may be written into it: real tables, no MLflow."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from registry.book import TAKERS, Book, Found, word_of
from registry.errors import PromotionRefused
from registry.ledger import Entry, Kind
from registry.promotion import Case, decide
from registry.shown import APPROVAL_TAG, EVIDENCE_TAG, REJECTION_TAG, WITHDRAWAL_TAG
from registry.standing import Standing, approval_of, standing
from registry.tables import Chain, create_tables, frozen_by, lock
from registry.wire import MovedBody, RegisteredBody, WordBody, WordShape, read
from registry.words import Actor, Decision, ModelVersion, Stage
from tests.registry import saying

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
ANA, BO, CY, CI = Actor("ana"), Actor("bo"), Actor("cy"), Actor("ci")
FIRST, SECOND = saying.evidence("a"), saying.evidence("b")
IMAGES = Found(ModelVersion("images", 3, "run", "models:/m-1", Stage.NONE), 1000, "mlflow-artifacts:/1/models/m-1")
Say = Callable[..., Book]


@pytest.fixture
def session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Session]:
    """The built-in policy is in force, as no file is in sight."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SLIPWAY_POLICY", raising=False)
    engine = sa.create_engine("sqlite://")
    create_tables(engine)
    with Session(engine) as session:
        yield session
    engine.dispose()


@pytest.fixture
def by(session: Session) -> Say:
    """The book, open for somebody some days after NOW."""

    def opened(who: Actor, days: float = 0) -> Book:
        return Book(Chain(session, lock(session)), who, NOW + timedelta(days=days), "call-1")

    return opened


@pytest.fixture
def checked(by: Say) -> Found:
    """Registered by ana and checked by ci."""
    by(ANA).register(IMAGES, {"ana"})
    by(CI).take_evidence(IMAGES, FIRST.dump())
    return IMAGES


def said(book: Book) -> list[Entry]:
    return list(book.pages.of_version("images", 3))


def names(now: Standing) -> tuple[list[str], list[str]]:
    return [a.approver.name for a in now.approvals], [r.by.name for r in now.rejections]


# --- what the ledger says


def test_the_last_word_of_each_on_these_bytes_counts(by: Say, checked: Found) -> None:
    steps = [
        (BO, APPROVAL_TAG, (["bo"], [])),
        (CY, REJECTION_TAG, (["bo"], ["cy"])),
        (BO, REJECTION_TAG, ([], ["cy", "bo"])),
        (CY, APPROVAL_TAG, (["cy"], ["bo"])),
        (BO, WITHDRAWAL_TAG, (["cy"], [])),
        (CY, REJECTION_TAG, ([], ["cy"])),
        (CY, REJECTION_TAG, ([], ["cy"])),
        (CY, WITHDRAWAL_TAG, ([], [])),
    ]
    for who, tag, wanted in steps:
        TAKERS[tag](by(who), checked, "I mean it")
        assert names(by(ANA).standing(checked)) == wanted, tag


def test_a_yes_is_to_these_bytes_and_a_no_takes_back_the_yes_to_others(by: Say, checked: Found) -> None:
    by(BO).take_approval(checked, "")
    by(CY).take_rejection(checked, "")
    by(CI).take_evidence(checked, SECOND.dump())
    by(CY).take_approval(checked, "")
    now = by(ANA).standing(checked)
    assert [(a.approver, a.digest) for a in now.approvals] == [(BO, FIRST.digest), (CY, SECOND.digest)]
    assert [(r.by, r.digest) for r in now.rejections] == [(CY, FIRST.digest)], "a yes to others takes no no back"
    by(BO).take_rejection(checked, "")
    by(CY).take_rejection(checked, "")
    now = by(ANA).standing(checked)
    assert now.approvals == ()
    assert [(r.by, r.digest) for r in now.rejections] == [
        (CY, FIRST.digest), (BO, SECOND.digest), (CY, SECOND.digest),
    ]  # fmt: skip
    assert now.evidence
    assert now.evidence.digest == SECOND.digest, "what was measured last"


def test_a_withdrawal_takes_back_all_that_this_person_said_of_any_bytes(by: Say, checked: Found) -> None:
    by(BO).take_approval(checked, "")
    by(CY).take_rejection(checked, "")
    by(CI).take_evidence(checked, SECOND.dump())
    by(CY).take_approval(checked, "")
    by(CY).take_withdrawal(checked, "")
    assert names(by(ANA).standing(checked)) == (["bo"], [])


def test_a_withdrawal_takes_back_nobody_elses_word(by: Say, checked: Found) -> None:
    dee, eve = Actor("dee"), Actor("eve")
    by(BO).take_approval(checked, "")
    by(dee).take_approval(checked, "")
    by(CY).take_rejection(checked, "")
    by(eve).take_rejection(checked, "")
    by(BO).take_withdrawal(checked, "")
    assert names(by(ANA).standing(checked)) == (["dee"], ["cy", "eve"])
    by(CY).take_withdrawal(checked, "")
    assert names(by(ANA).standing(checked)) == (["dee"], ["eve"])


def test_a_yes_said_anew_takes_the_place_of_the_old_one_and_of_no_other(by: Say, checked: Found) -> None:
    by(BO).take_approval(checked, "")
    by(CY).take_approval(checked, "")
    by(CI).take_evidence(checked, SECOND.dump())
    by(BO).take_approval(checked, "")
    by(BO, days=31).take_approval(checked, "")
    now = by(ANA).standing(checked)
    assert [(a.approver, a.digest, a.at) for a in now.approvals] == [
        (BO, FIRST.digest, NOW), (CY, FIRST.digest, NOW), (BO, SECOND.digest, NOW + timedelta(days=31)),
    ]  # fmt: skip


def test_a_word_is_kept_with_who_when_why_and_on_what(by: Say, checked: Found) -> None:
    by(BO, days=1).take_approval(checked, "  fine \n")
    by(CY, days=2).take_rejection(checked, WordShape(digest=FIRST.digest, comment="class 6").dump())
    now = by(ANA).standing(checked)
    (yes,), (no,), evidence = now.approvals, now.rejections, now.evidence
    assert (yes.approver, yes.digest, yes.at, yes.comment) == (BO, FIRST.digest, NOW + timedelta(days=1), "fine")
    assert (yes.evidence, yes.entry) == (2, 3)
    assert (no.by, no.digest, no.at, no.comment, no.entry) == (CY, FIRST.digest, NOW + timedelta(days=2), "class 6", 4)
    assert evidence
    assert (evidence.by, evidence.at, evidence.entry, evidence.rows) == (CI, NOW, 2, 100)
    assert (evidence.measured, evidence.paired, evidence.held_out) == (FIRST.measured, None, "e" * 64)
    assert [file.path for file in evidence.files] == ["model.onnx"]
    assert {m.name: m.value for m in evidence.measures} == FIRST.measures


def test_a_life_ends_with_its_deletion_and_begins_with_its_registration(by: Say, checked: Found) -> None:
    by(BO).take_approval(checked, "")
    by(ANA).register(checked, {"cy", "ana"})
    assert by(ANA).standing(checked) == Standing(authors=("ana", "cy"), created=1000)
    by(ANA).leave(checked, "deleted")
    assert standing(said(by(ANA))) == Standing()


def test_a_number_that_came_back_has_nothing_to_do_with_what_was_said_of_the_old_one(by: Say, checked: Found) -> None:
    by(BO).take_approval(checked, "")
    assert by(ANA).standing(replace(checked, created=1001)) == Standing()


@pytest.mark.parametrize(("yes", "released", "wanted"), [(True, False, True), (False, True, True), (True, True, True),
                                                         (False, False, False)])
def test_relied_on_is_what_was_approved_or_released(by: Say, checked: Found, yes: bool, released: bool,
                                                    wanted: bool) -> None:
    if yes:
        by(BO).take_approval(checked, "")
    now = replace(by(ANA).standing(checked), released=released)
    assert now.protected is wanted


# --- what may be said


def test_evidence_needs_a_name(by: Say) -> None:
    by(ANA).register(IMAGES, {"ana"})
    with pytest.raises(PromotionRefused, match="images/3 needs a name"):
        by(Actor("anonymous")).take_evidence(IMAGES, FIRST.dump())
    with pytest.raises(ValueError, match="digest"):
        by(CI).take_evidence(IMAGES, FIRST.dump().replace(FIRST.digest, SECOND.digest))
    assert [entry.kind for entry in said(by(ANA))] == [Kind.REGISTERED]


@pytest.mark.parametrize("tag", [APPROVAL_TAG, REJECTION_TAG])
@pytest.mark.parametrize(("who", "why"), [(ANA, "author ana does not count"), (CI, "ci is a CI identity"),
                                          (Actor("anonymous"), "nobody is named")])
def test_the_word_of_whoever_does_not_count_is_not_written_down(
    by: Say, checked: Found, who: Actor, why: str, tag: str
) -> None:
    with pytest.raises(PromotionRefused, match=why):
        TAKERS[tag](by(who), checked, "")
    assert len(said(by(ANA))) == 2


@pytest.mark.parametrize("tag", [APPROVAL_TAG, REJECTION_TAG, WITHDRAWAL_TAG])
def test_a_word_is_on_what_was_checked_last_and_on_nothing_else(by: Say, tag: str) -> None:
    by(ANA).register(IMAGES, {"ana"})
    with pytest.raises(PromotionRefused, match="never checked"):
        TAKERS[tag](by(BO), IMAGES, "")
    by(CI).take_evidence(IMAGES, FIRST.dump())
    by(BO).take_approval(IMAGES, "")
    with pytest.raises(PromotionRefused, match="was checked again, with other bytes"):
        TAKERS[tag](by(BO), IMAGES, WordShape(digest=SECOND.digest).dump())
    assert len(said(by(ANA))) == 3


def test_the_same_yes_again_is_no_news_while_it_lasts(by: Say, checked: Found) -> None:
    for days, entries in ((0, 3), (0, 3), (30, 3), (30.1, 4), (30.2, 4), (-1, 5)):
        by(BO, days).take_approval(checked, "")
        assert len(said(by(ANA))) == entries, days


def test_a_yes_that_a_login_proves_is_news_and_so_is_anothers_and_one_on_other_bytes(by: Say, checked: Found) -> None:
    by(BO).take_approval(checked, "")
    by(Actor("bo", verified=True)).take_approval(checked, "")
    by(CY).take_approval(checked, "")
    by(CI).take_evidence(checked, SECOND.dump())
    by(CY).take_approval(checked, "")
    assert [entry.kind for entry in said(by(ANA))][2:] == [Kind.APPROVED] * 3 + [Kind.CHECKED, Kind.APPROVED]


def test_what_was_approved_is_frozen_where_it_lies_and_a_no_freezes_nothing(
    by: Say, checked: Found, session: Session
) -> None:
    by(CY).take_rejection(checked, "")
    assert frozen_by(session, "1/models/m-1") is None
    by(BO).take_approval(checked, "")
    assert frozen_by(session, "1/models/m-1/model.onnx") == "images/3"
    by(BO).freeze(replace(checked, location="s3://bucket/elsewhere"))  # out of the server's reach, and no error


def test_only_who_said_something_can_take_it_back(by: Say, checked: Found) -> None:
    by(BO).take_approval(checked, "")
    with pytest.raises(PromotionRefused, match="cy said nothing about images/3"):
        by(CY).take_withdrawal(checked, "")
    by(CY).take_rejection(checked, "")
    by(CY).take_withdrawal(checked, "")
    by(BO).take_withdrawal(checked, "")
    assert names(by(ANA).standing(checked)) == ([], [])


def test_a_word_is_json_or_the_comment_that_somebody_typed() -> None:
    assert word_of('  {"comment": "good"}') == WordShape(comment="good")
    assert word_of("  good {} ") == WordShape(comment="good {}")
    assert len(word_of("x" * 2001).comment) == 2000
    with pytest.raises(ValueError, match="surprise"):
        word_of('{"surprise": 1}')


# --- what happens to versions


def moved(book: Book, found: Found, target: Stage, glass: str | None = None) -> tuple[Decision, MovedBody]:
    case = Case("images", 3, found.version.stage, target, book.actor, book.standing(found), None, glass)
    decision = decide(case, book.rules("images", target), book.now)
    book.move(case, decision, (1, 2), "stage")
    entry = said(book)[-1]
    assert entry.kind is Kind.MOVED
    return decision, read(MovedBody, entry.body)


def test_a_move_is_written_down_with_all_that_it_rests_on(by: Say, checked: Found) -> None:
    by(BO).take_approval(checked, "")
    decision, body = moved(by(ANA), checked, Stage.PRODUCTION)
    assert decision
    assert body == MovedBody(source="None", target="Production", displaced=(1, 2), digest=FIRST.digest, evidence=2,
                             approvals=(3,), via="stage", call="call-1")  # fmt: skip
    now = by(ANA).standing(checked)
    assert (now.released, now.stands_on) == (True, FIRST.digest)


def test_a_movers_own_approval_is_an_entry_before_the_move(by: Say, checked: Found) -> None:
    mover = Actor("bo", verified=True)
    _, body = moved(by(mover), checked, Stage.PRODUCTION)
    approved = said(by(ANA))[-2]
    assert (approved.kind, approved.actor, body.approvals) == (Kind.APPROVED, mover, (approved.seq,))
    assert read(WordBody, approved.body) == WordBody(
        digest=FIRST.digest, evidence=2, comment="by moving it to Production", by_moving=True
    )
    assert approval_of(approved).evidence == 2


def test_a_broken_glass_is_written_down_with_why_and_over_what(by: Say, checked: Found) -> None:
    decision, body = moved(by(Actor("root", verified=True)), checked, Stage.PRODUCTION, glass="the site is down")
    assert body.glass == "the site is down"
    assert body.overridden == decision.overridden != ()


def test_released_stays_released_and_staging_releases_nothing(by: Say, checked: Found) -> None:
    seen = []
    for stage in (Stage.STAGING, Stage.PRODUCTION, Stage.ARCHIVED):
        moved(by(ANA), checked, stage)
        seen.append(by(ANA).standing(checked).released)
    assert seen == [False, True, True]


def test_a_champion_is_known_by_the_digest_that_it_was_checked_on(by: Say, checked: Found) -> None:
    champion = by(ANA).champion(checked)
    assert (champion.number, champion.digest) == (3, FIRST.digest)
    unknown = by(ANA).champion(replace(checked, created=1))
    assert (unknown.number, unknown.digest) == (3, None)


def test_whoever_adopts_answers_for_the_version_where_it_stands(by: Say) -> None:
    there = replace(IMAGES, version=replace(IMAGES.version, stage=Stage.PRODUCTION))
    by(BO).adopt(there)
    now = by(ANA).standing(there)
    assert (now.authors, now.released, now.stands_on, now.approvals) == (("bo",), True, None, ())
    registered, move = said(by(ANA))
    assert read(RegisteredBody, registered.body) == RegisteredBody(
        authors=("bo",), source="models:/m-1", run_id="run", created=1000
    )
    assert read(MovedBody, move.body) == MovedBody(source="None", target="Production", displaced=(), digest=None,
                                                   evidence=None, approvals=(), via="adopted")  # fmt: skip


def test_a_version_that_stands_nowhere_is_adopted_without_a_move(by: Say) -> None:
    by(BO).adopt(replace(IMAGES, version=replace(IMAGES.version, run_id="")))
    (entry,) = said(by(ANA))
    assert read(RegisteredBody, entry.body).run_id is None


@pytest.mark.parametrize("stage", [Stage.STAGING, Stage.PRODUCTION])
def test_what_stands_in_a_stage_does_not_go(by: Say, checked: Found, stage: Stage) -> None:
    there = replace(checked, version=replace(checked.version, stage=stage))
    with pytest.raises(PromotionRefused, match=f"cannot be renamed: it is in {stage.value}"):
        by(ANA).leave(there, "renamed")


def test_what_somebody_relies_on_does_not_go_until_they_take_it_back(by: Say, checked: Found) -> None:
    by(BO).take_approval(checked, "")
    with pytest.raises(PromotionRefused, match="it was approved or released"):
        by(ANA).leave(checked, "deleted")
    by(BO).take_withdrawal(checked, "")
    by(ANA).leave(replace(checked, version=replace(checked.version, stage=Stage.ARCHIVED)), "deleted")
    gone = said(by(ANA))[-1]
    assert (gone.kind, gone.actor, gone.body) == (Kind.DELETED, ANA, '{"source":"Archived"}')


def test_evidence_travels_as_a_tag_of_its_own(by: Say, checked: Found) -> None:
    TAKERS[EVIDENCE_TAG](by(CI), checked, SECOND.dump())
    evidence = by(ANA).standing(checked).evidence
    assert evidence
    assert evidence.digest == SECOND.digest
