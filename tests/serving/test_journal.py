"""What the journal of deployments says: who deploys, where the way back leads, what was taken back. Pure."""

from __future__ import annotations

import getpass
import os
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from serving import journal
from serving.again import taken_back
from serving.aws import FunctionConfig
from serving.errors import AwsFailed, Refused
from serving.journal import Entry, Kind
from serving.targets.lambda_.shipped import LambdaShipped

from .conftest import release_of

SHIPPED = LambdaShipped(model="m", version=1, digest="d", bundle="b", code="c", layer="l", layer_sha256="s",
                        configuration=FunctionConfig("r", "x86_64", "h", 128, 3, "r"))
NOW = datetime(2026, 1, 2, 12, tzinfo=UTC)


def entry(seq: int, kind: Kind, version: int = 1, minutes: int = 0) -> Entry[LambdaShipped]:
    return Entry(seq=seq, kind=kind, at=NOW - timedelta(minutes=minutes), who="ci", host="runner", process=1,
                 shipped=SHIPPED.model_copy(update={"version": version, "digest": str(version)}))


def test_a_second_deployer_is_told_who_is_deploying_until_the_lease_is_over() -> None:
    held = [entry(1, Kind.BEGAN, minutes=1)]
    with pytest.raises(Refused, match="ci on runner is deploying m/1 since 2026-01-02 11:59:00 UTC"):
        journal.require_free(held, NOW, lambda e: True)
    journal.require_free(held, NOW, lambda e: False)
    journal.require_free([entry(1, Kind.BEGAN, minutes=16)], NOW, lambda e: True)
    journal.require_free([*held, entry(2, Kind.FAILED)], NOW, lambda e: True)


def test_what_is_no_journal_entry_is_named() -> None:
    with pytest.raises(AwsFailed, match=r"000001.json is no entry"):
        journal.parse(b'{"seq": 1}', "000001.json", LambdaShipped)


def test_the_way_back_skips_redeployments_of_the_same_release() -> None:
    done = [entry(1, Kind.DONE, 1), entry(2, Kind.DONE, 2), entry(3, Kind.FAILED, 3), entry(4, Kind.DONE, 2)]
    assert journal.way_back(done).shipped.version == 1
    with pytest.raises(Refused, match="the only release that was ever in service"):
        journal.way_back(done[:1])
    with pytest.raises(Refused, match="nothing was deployed yet"):
        journal.way_back([])


def began_back(seq: int, version: int) -> Entry[LambdaShipped]:
    return entry(seq, Kind.BEGAN, version).model_copy(update={"reason": journal.ROLLBACK})


DEPLOYED = [entry(1, Kind.BEGAN, 1), entry(2, Kind.DONE, 1), entry(3, Kind.BEGAN, 2), entry(4, Kind.DONE, 2)]
BACK = [*DEPLOYED, began_back(5, 1)]
BACK_DONE = [*BACK, entry(6, Kind.DONE, 1)]


@pytest.mark.parametrize(("entries", "by"), [
    (DEPLOYED, None), (BACK_DONE, 5), (BACK, 5), ([*BACK, entry(6, Kind.STOPPED, 1)], 5),
    ([*BACK, entry(6, Kind.FAILED, 1)], None),
    ([*BACK_DONE, entry(7, Kind.BEGAN, 2), entry(8, Kind.FAILED, 2)], 5),
    ([*BACK_DONE, entry(7, Kind.BEGAN, 2), entry(8, Kind.DONE, 2)], None),
    ([*BACK_DONE, entry(7, Kind.BEGAN, 3), entry(8, Kind.DONE, 3)], 5),
    ([*DEPLOYED, began_back(5, 2), entry(6, Kind.DONE, 2)], None),
], ids=["never", "ended", "killed", "stopped", "failed", "in vain again", "came again", "another came", "to itself"])
def test_a_release_counts_as_taken_back_until_it_serves_again(
    entries: list[Entry[LambdaShipped]], by: int | None
) -> None:
    found = journal.taken_back(entries, 2, "2")
    assert (found.seq if found else None) == by
    assert journal.taken_back(entries, 1, "1") is None


def test_a_rollback_that_was_cut_off_is_finished_by_a_rollback() -> None:
    assert journal.finishes(BACK, "lambda") == "slipway rollback m --target lambda --to 1"
    assert journal.finishes(DEPLOYED[:3], "lambda") == "slipway deploy m --target lambda"


def test_a_release_that_was_put_into_production_anew_since_is_no_longer_taken_back(tmp_path: Path) -> None:
    release = replace(release_of(tmp_path), model="m", version=2, digest="2")

    def found(moved_at: datetime | None) -> str:
        return str(taken_back(replace(release, moved_at=moved_at), BACK_DONE, "lambda"))

    told = "m/2 was taken back on 2026-01-02 12:00:00 UTC by ci, for m/1"
    assert (found(NOW - timedelta(seconds=1)), found(NOW), found(None)) == (told, told, told)
    assert found(NOW + timedelta(seconds=1)) == "None"
    cut_off = taken_back(release, BACK, "lambda")
    assert cut_off is not None
    assert str(cut_off) == f"{told}, which was cut off"
    assert cut_off.stays == "slipway rollback m --target lambda --to 1 to finish that"


# --- each question that is asked of the journal, at its edges


def test_an_entry_is_read_as_it_was_written_with_all_that_its_target_ships() -> None:
    said = entry(7, Kind.DONE).model_copy(update={"published": "4", "previous": "3", "reason": "again"})
    assert journal.parse(said.to_bytes(), "k", LambdaShipped) == said
    assert said.to_bytes().startswith(b'{\n "seq": 7,\n'), "for people to read, too"


@pytest.mark.parametrize(("body", "who"), [
    (entry(1, Kind.BEGAN).to_bytes(), "ci on runner"), (b'{"who": "ci"}', "somebody else"), (b"{", "somebody else"),
    (b"[]", "somebody else"), (b"null", "somebody else"),
])
def test_whoever_was_first_is_named_where_the_entry_tells(body: bytes, who: str) -> None:
    assert journal.author(body) == who


@pytest.mark.parametrize(("kind", "minutes", "alive", "held"), [
    (Kind.BEGAN, 0, True, True), (Kind.RENEWED, 0, True, True), (Kind.BEGAN, 15, True, True),
    (Kind.BEGAN, 15.001, True, False), (Kind.RENEWED, 15.001, True, False), (Kind.BEGAN, 0, False, False),
    (Kind.STOPPED, 0, True, False), (Kind.DONE, 0, True, False), (Kind.FAILED, 0, True, False),
])
def test_a_journal_is_held_while_its_last_word_is_fresh_and_its_process_may_live(
    kind: Kind, minutes: float, alive: bool, held: bool
) -> None:
    last = entry(2, kind).model_copy(update={"at": NOW - timedelta(minutes=minutes)})
    asked: list[int] = []

    def lives(one: Entry[LambdaShipped]) -> bool:
        asked.append(one.seq)
        return alive

    entries = [entry(1, Kind.BEGAN, minutes=20), last]
    assert journal.held_by(entries, NOW, lives) == (last if held else None)
    assert asked in ([], [2]), "only the last word counts"
    assert journal.held_by([], NOW, lives) is None


@pytest.mark.parametrize(("reason", "doing"), [("", "deploying m/2"), (journal.PRUNE, "pruning m"),
                                               (journal.ROLLBACK, "going back to m/2")])
def test_a_second_deployer_is_told_since_when_and_until_when(reason: str, doing: str) -> None:
    began = entry(3, Kind.BEGAN, 2, minutes=40).model_copy(update={"reason": reason})
    renewed = entry(4, Kind.RENEWED, 2, minutes=5).model_copy(update={"reason": reason})
    with pytest.raises(Refused) as caught:
        journal.require_free([*DEPLOYED[:2], began, renewed], NOW, lambda e: True)
    assert str(caught.value) == (f"ci on runner is {doing} since 2026-01-02 11:20:00 UTC. Next: wait; at 12:10:00 UTC "
                                 "it is taken for dead, unless it says that it goes on")


def test_a_deployment_whose_beginning_is_unknown_began_with_its_last_word() -> None:
    assert journal.begun([entry(1, Kind.DONE), entry(2, Kind.RENEWED)]).seq == 2
    assert journal.begun([*DEPLOYED, entry(5, Kind.RENEWED)]).seq == 3


def test_of_each_of_the_newest_releases_the_last_deployment_is_kept_and_never_fewer_than_two() -> None:
    releases = [1, 2, 3, 2, 4, 4]
    entries = [entry(n, Kind.DONE, version) for n, version in enumerate(releases, 1)] + [entry(9, Kind.FAILED, 5)]
    assert [(e.seq, e.shipped.version) for e in journal.kept(entries, 3)] == [(6, 4), (4, 2), (3, 3)]
    for keep in (0, 1, 2):
        assert [e.seq for e in journal.kept(entries, keep)] == [6, 4]
    other_bytes = entry(9, Kind.DONE, 4).model_copy(update={"shipped": SHIPPED.model_copy(update={"version": 4})})
    assert [e.seq for e in journal.kept([*entries, other_bytes], 2)] == [9, 6]


@pytest.mark.parametrize(("kind", "reason", "wanted"), [
    (Kind.BEGAN, "", True), (Kind.RENEWED, "", True), (Kind.STOPPED, "", True), (Kind.DONE, "", False),
    (Kind.FAILED, "", False), (Kind.BEGAN, journal.PRUNE, False), (Kind.STOPPED, journal.ROLLBACK, True),
])
def test_what_was_begun_and_did_not_end_is_open(kind: Kind, reason: str, wanted: bool) -> None:
    assert journal.is_open([*DEPLOYED, entry(5, kind).model_copy(update={"reason": reason})]) is wanted
    assert journal.is_open([]) is False


def test_a_prune_that_was_cut_off_is_finished_by_a_prune() -> None:
    cut = [*DEPLOYED, entry(5, Kind.BEGAN).model_copy(update={"reason": journal.PRUNE})]
    assert journal.finishes(cut, "lambda") == "slipway prune m"


def test_the_way_back_leads_where_it_is_asked_to_or_says_where_it_could() -> None:
    done = [entry(n, Kind.DONE, version) for n, version in enumerate((1, 2, 1, 3, 4), 1)]
    assert journal.way_back(done).seq == 4
    assert journal.way_back(done, 1).seq == 3, "the last deployment of it"
    assert journal.way_back(done, 4).seq == 5, "it serves already"
    with pytest.raises(Refused, match=r"m/9 was never in service before m/4. Next: one of m/1, m/2, m/3$"):
        journal.way_back(done, 9)
    with pytest.raises(Refused, match=r"m/1 is the only release that was ever in service"):
        journal.way_back(done[:1], 2)
    other_bytes = entry(6, Kind.DONE, 4).model_copy(update={"shipped": SHIPPED.model_copy(update={"version": 4})})
    assert journal.way_back([*done, other_bytes]).seq == 5, "the same number with other bytes is another release"


def test_only_on_its_own_host_and_of_another_process_is_a_deployer_known_to_be_gone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SLIPWAY_USER", "ana")
    who, host, process = journal.this_process()
    assert (who, process) == ("ana", os.getpid())
    here = entry(1, Kind.BEGAN).model_copy(update={"host": host})
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    for update, alive in (({"host": f"{host}x", "process": ended.pid}, True), ({"process": process}, False),
                          ({"process": ended.pid}, False), ({"process": os.getppid()}, True)):
        assert journal.may_be_alive(here.model_copy(update=update)) is alive, update
    monkeypatch.delenv("SLIPWAY_USER")
    assert journal.this_process()[0] == getpass.getuser()


def test_a_deployer_that_is_asked_whether_it_lives_is_left_alone() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        alive = entry(1, Kind.BEGAN).model_copy(update={"host": journal.this_process()[1], "process": other.pid})
        assert journal.may_be_alive(alive)
        other.communicate(b"\n")
    assert other.returncode == 0


def test_what_was_deployed_is_what_was_done_and_the_last_of_it_serves() -> None:
    entries = [*DEPLOYED, entry(5, Kind.BEGAN, 3), entry(6, Kind.FAILED, 3)]
    assert [e.seq for e in journal.deployed(entries)] == [2, 4]
    last = journal.serving(entries)
    assert last
    assert last.seq == 4
    assert journal.serving(entries[:1]) is None


def test_an_entry_with_a_key_that_nobody_knows_is_none_of_ours() -> None:
    with pytest.raises(AwsFailed, match="k is no entry"):
        journal.parse(entry(1, Kind.DONE).to_bytes().replace(b'"who"', b'"extra": 1, "who"'), "k", LambdaShipped)
