"""Every rule of promotion, one case each; no database, no clock."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from registry.policy import StageRules, parse
from registry.promotion import Case, decide
from registry.standing import Standing
from registry.words import Actor, Approval, Evidence, FileDigest, Measure, Rejection, Stage
from tests.registry import saying

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
DIGEST, OTHER = "a" * 64, "b" * 64
GOOD = Evidence(
    digest=DIGEST, files=(FileDigest("model.onnx", "f" * 64, 1),), held_out="e" * 64, rows=100,
    measures=(Measure("accuracy", 0.95), Measure("recall_macro", 0.95), Measure("recall_lowest", 0.9)), paired=None,
    by=Actor("ci"), at=NOW - timedelta(days=1), entry=2, measured=saying.evidence().measured,
)  # fmt: skip
ANA, BO, CY, CI = Actor("ana"), Actor("bo"), Actor("cy"), Actor("ci")


def rules(text: str = "", stage: Stage = Stage.PRODUCTION) -> StageRules:
    return parse(f"schema: 1\n{text}", "the test's policy").rules("images", stage)


def yes(who: Actor, digest: str = DIGEST, at: datetime = NOW - timedelta(hours=1)) -> Approval:
    return Approval(who, digest, at, "", evidence=2, entry=3)


def case(approvals: Iterable[Approval] = (), target: Stage = Stage.PRODUCTION, mover: Actor = ANA) -> Case:
    standing = Standing(authors=("ana",), created=1, evidence=GOOD, approvals=tuple(approvals))
    return Case("images", 3, Stage.STAGING, target, mover, standing, champion=None)


def reasons(asked: Case, by: StageRules | None = None) -> tuple[str, ...]:
    return decide(asked, by or rules(), NOW).reasons


def test_checked_and_approved_may_enter() -> None:
    decision = decide(case([yes(BO)]), rules(), NOW)
    assert decision
    assert str(decision) == "images/3 may enter Production"


def test_the_refusal_says_why_and_what_next() -> None:
    assert str(decide(case(), rules(), NOW)) == (
        "images/3 may not enter Production: no approval (author ana does not count). Next: slipway approve images/3"
    )


def test_no_evidence_blocks() -> None:
    asked = case([yes(BO)])
    assert "never checked" in reasons(replace(asked, standing=replace(asked.standing, evidence=None)))


def test_a_failed_gate_blocks_with_its_numbers() -> None:
    asked = case([yes(BO)])
    poor = replace(GOOD, measures=(Measure("accuracy", 0.5), *GOOD.measures[1:]))
    assert reasons(replace(asked, standing=replace(asked.standing, evidence=poor))) == ("accuracy 0.500 < 0.800",)


def test_old_evidence_blocks() -> None:
    asked = case([yes(BO)])
    old = replace(GOOD, at=NOW - timedelta(days=31))
    assert "longer ago than 30 days" in reasons(replace(asked, standing=replace(asked.standing, evidence=old)))[0]


def test_evidence_from_the_future_blocks() -> None:
    asked = case([yes(BO)])
    ahead = replace(GOOD, at=NOW + timedelta(minutes=1))
    assert "in the future" in reasons(replace(asked, standing=replace(asked.standing, evidence=ahead)))[0]


def test_evidence_counts_only_from_those_whom_the_policy_names() -> None:
    asked = case([yes(BO)])
    assert not reasons(asked, rules("defaults: {gates: {evidence_by: [ci]}}"))
    assert reasons(asked, rules("defaults: {gates: {evidence_by: [nightly]}}")) == (
        "checked by ci, whose evidence does not count",
    )
    strict = rules("defaults: {gates: {evidence_by: [ci]}, approvals: {claimed_names: refuse}}")
    assert "checked by ci, who is only claimed" in reasons(asked, strict)


def test_a_policy_without_any_gate_lets_nothing_through() -> None:
    none = "accuracy: null, recall_macro: null, recall_lowest: null, r2: null"
    more = ("slices", "calibration", "overlap", "signature", "dependencies", "serving", "formats")
    away = ", ".join(f"{gate}: null" for gate in ("not_worse", *more))
    bare = f"defaults: {{gates: {{{away}, forbidden_files: [], floors: {{{none}}}}}}}"
    assert reasons(case([yes(BO)]), rules(bare)) == ("no gate applies, and no gate is no pass",)


@pytest.mark.parametrize(
    ("approval", "why"),
    [
        (yes(ANA), "author ana does not count"),
        (yes(CI), "ci is a CI identity"),
        (yes(Actor("anonymous")), "nobody is named"),
        (yes(BO, digest=OTHER), "bo approved other bytes"),
        (yes(BO, at=NOW - timedelta(days=31)), "bo's expired 2026-11-22"),
        (yes(BO, at=NOW + timedelta(seconds=1)), "bo's is dated in the future"),
    ],
)
def test_this_approval_does_not_count(approval: Approval, why: str) -> None:
    (reason,) = reasons(case([approval]))
    assert reason.startswith("no approval")
    assert why in reason


def test_a_claimed_name_does_not_count_where_the_policy_refuses_it() -> None:
    strict = rules("defaults: {approvals: {claimed_names: refuse}}")
    assert "bo is only claimed, not logged in" in reasons(case([yes(BO)]), strict)[0]
    assert not reasons(case([yes(Actor("bo", verified=True))]), strict)


def test_two_of_three_need_two_different_people() -> None:
    two = rules("defaults: {approvals: {needed: 2, of: [bo, cy, dee]}}")
    assert reasons(case([yes(BO), yes(BO)]), two) == ("1 of 2 approvals (bo; author ana does not count)",)
    assert "eve is not among the policy's approvers" in reasons(case([yes(BO), yes(Actor("eve"))]), two)[0]
    assert not reasons(case([yes(BO), yes(CY)]), two)


def test_a_role_must_be_among_the_approvers() -> None:
    risky = rules("roles: {risk: [cy]}\ndefaults: {approvals: {at_least: {risk: 1}}}")
    assert reasons(case([yes(BO)]), risky) == ("0 of 1 approvals from risk (bo; author ana does not count)",)
    assert not reasons(case([yes(CY)]), risky)


def test_a_rejection_blocks_beside_any_number_of_approvals() -> None:
    asked = case([yes(BO)])
    no = Rejection(CY, DIGEST, NOW, "class 6", entry=4)
    standing = replace(asked.standing, rejections=(no,))
    assert reasons(replace(asked, standing=standing)) == ("rejected by cy: class 6",)
    other = replace(asked.standing, rejections=(replace(no, digest=OTHER),))
    assert not reasons(replace(asked, standing=other))


def test_moving_is_approving_only_for_a_reviewer_whom_a_login_proved() -> None:
    assert not reasons(case(mover=Actor("bo", verified=True)))
    for mover in (BO, Actor("ana", verified=True), Actor("ci", verified=True)):
        assert reasons(case(mover=mover))


def test_staging_needs_evidence_and_no_approval() -> None:
    staging = rules(stage=Stage.STAGING)
    asked = replace(case(target=Stage.STAGING), current=Stage.NONE)
    assert not reasons(asked, staging)
    assert reasons(replace(asked, standing=replace(asked.standing, evidence=None)), staging) == ("never checked",)


def test_a_stage_is_entered_only_from_where_the_policy_says() -> None:
    narrow = rules("stages: {Production: {enter_from: [Staging, Archived]}}")
    asked = case([yes(BO)])
    assert decide(asked, narrow, NOW)
    assert decide(replace(asked, current=Stage.ARCHIVED), narrow, NOW), "the way back"
    assert str(decide(replace(asked, current=Stage.NONE), narrow, NOW)) == (
        "images/3 may not enter Production: it stands in None, and Production is entered from Staging or Archived. "
        "Next: slipway promote images/3 --to Staging"
    )
    assert decide(replace(asked, current=Stage.NONE), rules(), NOW), "without such a rule from anywhere"
    closed = decide(asked, rules("stages: {Production: {enter_from: []}}"), NOW)
    assert closed.reasons == ("it stands in Staging, and Production is entered from nowhere",)


def test_a_version_of_unknown_author_cannot_enter_production() -> None:
    asked = case([yes(BO)])
    assert "author not recorded" in reasons(replace(asked, standing=replace(asked.standing, authors=())))


def test_only_people_take_a_version_out_of_production() -> None:
    leaving = replace(case(target=Stage.ARCHIVED), current=Stage.PRODUCTION)
    assert not reasons(leaving)
    assert reasons(replace(leaving, mover=CI))
    assert reasons(replace(leaving, mover=Actor("anonymous")))


def test_the_glass_breaks_only_for_those_named_logged_in_and_never_without_evidence() -> None:
    admin = Actor("root", verified=True)
    named = rules("break_glass: [root]")
    asked = replace(case(mover=admin), glass="the site is down")
    broken = decide(asked, named, NOW)
    assert broken
    assert broken.overridden == ("no approval (author ana does not count)",)
    assert reasons(asked) == ("root may not break the glass (nobody may)",)
    assert reasons(replace(asked, mover=Actor("root")), named) == (
        "root (claimed) may not break the glass (root, logged in, may)",)
    assert reasons(replace(asked, standing=replace(asked.standing, evidence=None)), named) == ("never checked",)


def checked(asked: Case, **changes: Any) -> Case:
    """The same case with other evidence."""
    return replace(asked, standing=replace(asked.standing, evidence=replace(GOOD, **changes)))


def test_the_decision_carries_the_verdicts_and_the_approvals_that_it_rests_on() -> None:
    decision = decide(case([yes(BO), yes(ANA)]), rules(), NOW)
    assert {verdict.gate for verdict in decision.verdicts} >= {"accuracy", "not_worse", "files"}
    assert [approval.approver for approval in decision.approvals] == [BO]


def test_limits_of_age_are_inclusive() -> None:
    month = timedelta(days=30)
    assert not reasons(checked(case([yes(BO, at=NOW - month)]), at=NOW - month))
    assert not reasons(checked(case([yes(BO, at=NOW)]), at=NOW))
    assert "expired" in reasons(case([yes(BO, at=NOW - month - timedelta(microseconds=1))]))[0]
    assert "longer ago" in reasons(checked(case([yes(BO)]), at=NOW - month - timedelta(microseconds=1)))[0]


def test_evidence_of_a_login_counts_where_claimed_names_do_not() -> None:
    strict = rules("defaults: {gates: {evidence_by: [ci]}, approvals: {claimed_names: refuse}}")
    asked = checked(case([yes(Actor("bo", verified=True))]), by=Actor("ci", verified=True))
    assert not reasons(asked, strict)


def test_moving_to_staging_is_nobodys_approval() -> None:
    careful = rules("stages: {Staging: {approvals: {needed: 1}}}", Stage.STAGING)
    asked = replace(case(target=Stage.STAGING, mover=Actor("bo", verified=True)), current=Stage.NONE)
    assert reasons(asked, careful) == ("no approval (author ana does not count)",)
    assert not reasons(replace(asked, standing=replace(asked.standing, approvals=(yes(BO),))), careful)


def test_moving_what_was_never_checked_approves_nothing() -> None:
    asked = case(mover=Actor("bo", verified=True))
    found = reasons(replace(asked, standing=replace(asked.standing, evidence=None)))
    assert found == ("never checked", "no approval (author ana does not count)")


def test_moving_approves_these_bytes_whatever_the_mover_said_of_others() -> None:
    mover = Actor("bo", verified=True)
    (implied,) = decide(case([yes(mover, digest=OTHER)], mover=mover), rules(), NOW).approvals
    assert (implied.digest, implied.at, implied.evidence) == (DIGEST, NOW, GOOD.entry)
    assert implied.entry == 0, "it is written down with the move"


def test_who_approved_already_does_not_approve_again_by_moving() -> None:
    mover = Actor("bo", verified=True)
    (said,) = decide(case([yes(mover)], mover=mover), rules(), NOW).approvals
    assert said.entry == 3


def test_a_lapsed_approval_is_renewed_by_approving_and_not_by_moving() -> None:
    mover = Actor("bo", verified=True)
    assert "bo's expired" in reasons(case([yes(mover, at=NOW - timedelta(days=31))], mover=mover))[0]


def test_the_no_of_somebody_whose_yes_would_not_count_blocks_nothing() -> None:
    asked = case([yes(BO)])
    for who in (ANA, CI, Actor("anonymous")):
        said = replace(asked.standing, rejections=(Rejection(who, DIGEST, NOW, "", entry=4),))
        assert not reasons(replace(asked, standing=said)), who
    silent = replace(asked.standing, rejections=(Rejection(CY, DIGEST, NOW, "", entry=4),))
    assert reasons(replace(asked, standing=silent)) == ("rejected by cy",)


def test_where_nobody_has_to_agree_nobodys_no_and_no_missing_author_blocks() -> None:
    asked = replace(case(target=Stage.STAGING), current=Stage.NONE)
    no = Rejection(CY, DIGEST, NOW, "", entry=4)
    unknown = replace(asked.standing, authors=(), rejections=(no,))
    assert not reasons(replace(asked, standing=unknown), rules(stage=Stage.STAGING))
    unchecked = replace(unknown, evidence=None)
    assert reasons(replace(asked, standing=unchecked), rules(stage=Stage.STAGING)) == ("never checked",)
    assert "never checked" in reasons(replace(case(), standing=replace(unchecked, authors=("ana",))))


def test_evidence_may_be_asked_to_be_younger_than_a_day() -> None:
    asked = checked(case([yes(BO)]), at=NOW - timedelta(hours=13))
    assert "longer ago than 0.5 days" in reasons(asked, rules("defaults: {gates: {evidence_max_age_days: 0.5}}"))[0]


def test_anybody_may_take_a_version_out_of_staging() -> None:
    leaving = case(target=Stage.ARCHIVED, mover=CI)
    decision = decide(leaving, rules(), NOW)
    assert decision
    assert (decision.model, decision.version, decision.target) == ("images", 3, Stage.ARCHIVED)


NARROW = "stages: {Production: {enter_from: [Staging]}}"
NO = Rejection(CY, DIGEST, NOW, "", entry=4)
POOR = (Measure("accuracy", 0.5), *GOOD.measures[1:])


@pytest.mark.parametrize(
    ("asked", "policy", "step"),
    [
        (checked(case([yes(BO)]), measures=POOR), "", "slipway check images/3 shows what each gate found"),
        (checked(case([yes(BO)]), measured=None), "", "slipway check images/3"),
        (case(), "", "slipway approve images/3"),
        (replace(case(), standing=Standing(evidence=GOOD)), "", "register images anew through slipway"),
        (replace(case([yes(BO)]), standing=replace(case([yes(BO)]).standing, rejections=(NO,))), "",
         "check another version, or who rejected this one runs slipway approve images/3 --withdraw"),
        (replace(case(), current=Stage.NONE), NARROW, "slipway approve images/3"),
        (replace(case([yes(BO)]), current=Stage.NONE), NARROW, "slipway promote images/3 --to Staging"),
        (case([yes(BO)]), NARROW.replace("[Staging]", "[Archived]"), "ask whoever keeps policy.yaml"),
        (replace(case(), glass="the site is down"), "", "slipway approve images/3"),
        (replace(case(mover=Actor("root", verified=True)), standing=Standing(), glass="the site is down"),
         "break_glass: [root]", "slipway check images/3"),
        (replace(case(mover=CI, target=Stage.ARCHIVED), current=Stage.PRODUCTION), "", "log in, or set SLIPWAY_USER"),
    ],
)  # fmt: skip
def test_a_refusal_names_the_step_that_leads_on(asked: Case, policy: str, step: str) -> None:
    decision = decide(asked, rules(policy), NOW)
    assert not decision
    assert decision.next_step.startswith(step)
    if decision.next_step != step:
        assert decision.next_step == f"{step}; then register a version that passes"
