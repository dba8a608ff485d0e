"""What the journal of deployments says: who deploys, where the way back leads, what was taken back. Pure."""

from __future__ import annotations

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
