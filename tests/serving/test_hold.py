"""A deployment that is under way says so in its journal, in time, once, and stops when somebody took it over."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import boto3
import pytest

from serving.aws import Aws, FunctionConfig
from serving.errors import AwsConflict, AwsFailed, TakenOver
from serving.hold import Hold
from serving.journal import LEASE, Entry, Kind, parse
from serving.localaws import running
from serving.plan import Begin
from serving.targets.lambda_.shipped import LambdaShipped

from .recorded import door, forget
from .test_deploy import environment

BUCKET = "journals"
NOW = datetime(2026, 1, 2, 12, tzinfo=UTC)
HALF, MOMENT = LEASE / 2, timedelta(microseconds=1)
SHIPPED = LambdaShipped(model="m", version=1, digest="d", bundle="b", code="c", layer="l", layer_sha256="s",
                        configuration=FunctionConfig("r", "x86_64", "h", 128, 3, "r"))


@pytest.fixture(scope="module", autouse=True)
def account() -> Iterator[None]:
    with running() as variables, environment(**variables):
        boto3.client("s3").create_bucket(Bucket=BUCKET)
        yield


@dataclass
class Journal:
    """One deployment's journal, and the clock of whoever holds it."""

    now: datetime = NOW
    prefix: str = field(default_factory=lambda: f"{uuid.uuid4()}/")

    def hold(self, seq: int = 4) -> Hold:
        begin = Begin(BUCKET, self.prefix, seq, SHIPPED, "7", "6", "")
        return Hold(Aws(), begin, now=lambda: self.now)

    def said(self) -> list[tuple[int, Kind, timedelta, str, str]]:
        return [(e.seq, e.kind, e.at - NOW, e.published, e.reason) for e in self.entries()]

    def entries(self) -> list[Entry[LambdaShipped]]:
        storage = Aws().storage
        return [parse(storage.read(BUCKET, key), key, LambdaShipped) for key in storage.keys(BUCKET, self.prefix)]

    def refuse(self) -> None:
        """The next entry is not taken."""
        door("POST", "faults", {"kind": "denied", "service": "s3", "operation": "PutObject"})


@pytest.fixture
def journal() -> Iterator[Journal]:
    yield Journal()
    forget()


START = (4, Kind.BEGAN, timedelta(), "7", "")


def test_a_beginning_is_noted_with_its_own_time_and_only_once(journal: Journal) -> None:
    hold = journal.hold()
    journal.now += timedelta(seconds=3)
    hold.begin()
    assert journal.said() == [(4, Kind.BEGAN, timedelta(seconds=3), "7", "")]
    with pytest.raises(AwsConflict, match="began to deploy m meanwhile"):
        other = journal.hold()
        journal.now += MOMENT
        other.begin()


def test_it_is_renewed_when_half_of_the_lease_is_over_and_not_before(journal: Journal) -> None:
    hold = journal.hold()
    hold.begin()
    for wait, entries in ((HALF - MOMENT, 1), (MOMENT, 2), (HALF - MOMENT, 2), (MOMENT, 3)):
        journal.now += wait
        hold.renew("8")
        assert len(journal.entries()) == entries
    assert journal.said() == [START, (5, Kind.RENEWED, HALF, "8", ""), (6, Kind.RENEWED, LEASE, "8", "")]
    hold.end(Kind.DONE, "8")
    assert journal.said()[3:] == [(7, Kind.DONE, LEASE, "8", "")]


def test_what_may_have_arrived_is_said_again_as_it_was_and_never_otherwise(journal: Journal) -> None:
    hold = journal.hold()
    hold.begin()
    journal.now += HALF
    journal.refuse()
    hold.renew("8")
    assert journal.said() == [START]
    journal.now += MOMENT
    hold.renew("9")
    assert journal.said() == [START, (5, Kind.RENEWED, HALF, "8", "")]
    journal.now += HALF - MOMENT
    hold.renew("9")
    assert journal.said()[2:] == [(6, Kind.RENEWED, LEASE, "9", "")]


def test_a_journal_that_takes_nothing_is_borne_until_the_lease_is_over(journal: Journal) -> None:
    hold = journal.hold()
    hold.begin()
    for wait in (HALF, HALF - MOMENT):
        journal.now += wait
        journal.refuse()
        hold.renew("8")
    journal.now += MOMENT
    journal.refuse()
    with pytest.raises(AwsFailed, match="PutObject"):
        hold.renew("8")


def test_who_was_taken_over_stops_and_changes_nothing(journal: Journal) -> None:
    hold = journal.hold()
    hold.begin()
    journal.now += HALF
    journal.hold(5).begin()  # somebody else, under the next number
    journal.now += MOMENT
    with pytest.raises(TakenOver, match=r"was silent for longer than its lease, 0:15:00, and was taken over"):
        hold.renew("8")
    with pytest.raises(TakenOver):
        hold.end(Kind.DONE, "8")
    assert [seq for seq, *_ in journal.said()] == [4, 5]


def test_an_end_says_how_and_why_after_what_may_have_arrived(journal: Journal) -> None:
    hold = journal.hold()
    hold.begin()
    journal.now += HALF
    journal.refuse()
    hold.renew("8")
    journal.now += MOMENT
    hold.end(Kind.FAILED, "9", "an alarm fired")
    assert journal.said() == [START, (5, Kind.RENEWED, HALF, "8", ""),
                              (6, Kind.FAILED, HALF + MOMENT, "9", "an alarm fired")]


def test_an_end_that_may_have_arrived_is_the_end(journal: Journal) -> None:
    hold = journal.hold()
    hold.begin()
    journal.refuse()
    with pytest.raises(AwsFailed):
        hold.end(Kind.STOPPED, "8", "by hand")
    journal.now += HALF
    hold.end(Kind.DONE, "8")
    assert journal.said() == [START, (5, Kind.STOPPED, timedelta(), "8", "by hand")]
