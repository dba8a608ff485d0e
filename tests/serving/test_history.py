"""A journal is read from its newest entry backwards: what is asked of S3 does not grow with what was deployed."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving import Aws, Bundle, Settings, build, journal
from serving.errors import AwsFailed, AwsMissing, Refused
from serving.execution import execute
from serving.golden import read_golden
from serving.history import History, keys_of
from serving.journal import Entry, Kind, Shipped
from serving.localaws import running
from serving.logbook import deployed_in
from serving.names import after_journal, entry_key
from serving.targets.lambda_.target import LambdaTarget

from . import recorded
from .conftest import release_of
from .test_deploy import environment

PREFIX, BUCKET = "deployments/m/lambda/", "slipway-123456789012-us-east-1"
Reading = History[Shipped]


class Bucket:
    """The keys of a journal, listed some at a time; which bodies were fetched is kept."""

    def __init__(self, numbers: Sequence[int], size: int) -> None:
        self.keys, self.size = [entry_key(PREFIX, n) for n in numbers], size
        self.asked: list[str] = []
        self.fetched: list[str] = []

    def page(self, after: str) -> tuple[Sequence[str], bool]:
        self.asked.append(after)
        start = bisect_right(self.keys, after)
        return self.keys[start : start + self.size], start + self.size < len(self.keys)

    def read(self, keys: Sequence[str]) -> list[bytes]:
        self.fetched += keys
        if gone := set(keys) - set(self.keys):
            raise AwsMissing(str(gone))
        return [entry(int(key[-11:-5])).to_bytes() for key in keys]

    def history(self) -> Reading:
        return History(keys_of(self.page, PREFIX), listed=lambda: self.keys, read=self.read, shape=Shipped)


def entry(number: int, kind: Kind = Kind.DONE) -> Entry[Shipped]:
    shipped = Shipped(model="m", version=number, digest=str(number), bundle="b")
    return Entry(seq=number, kind=kind, at=datetime(2026, 1, 1, tzinfo=UTC), who="ci", host="h", process=1,
                 shipped=shipped, published=str(number))


JOURNALS = st.builds(lambda first, count: range(first, first + count), st.integers(1, 2000), st.integers(0, 3000))


@given(JOURNALS, st.integers(1, 50))
def test_the_last_number_is_found_by_few_lists_and_tells_every_key(numbers: range, size: int) -> None:
    there = Bucket(numbers, size)
    assert list(keys_of(there.page, PREFIX)) == there.keys
    assert len(there.asked) <= 2 + 2 * max(len(numbers) // size, 1).bit_length()


@given(st.integers(1, 40), st.sets(st.integers(1, 40)), st.integers(1, 5), st.integers(-45, 45), st.integers(-45, 45))
def test_a_journal_is_the_list_of_its_entries_whatever_was_deleted(
    count: int, deleted: set[int], size: int, start: int, stop: int
) -> None:
    there = Bucket([n for n in range(1, count + 1) if n not in deleted], size)
    told = [entry(int(key[-11:-5])) for key in there.keys]
    assert list(reversed(there.history())) == told[::-1]
    assert list(there.history()) == told
    read = there.history()
    list(reversed(read))  # what was deleted is known from here on
    assert (len(read), read[start:stop]) == (len(told), told[start:stop])
    assert [read[n] for n in range(-len(told), len(told))] == told + told
    for outside in (len(told), -len(told) - 1):
        with pytest.raises(IndexError):
            read[outside]


def test_no_more_is_fetched_than_somebody_looks_at() -> None:
    there = Bucket(range(1, 5001), 1000)
    read = there.history()
    assert there.fetched == []
    assert (read[-1], journal.serving(read)) == (entry(5000), entry(5000))
    assert journal.way_back(read) == entry(4999)
    assert len(journal.kept(read, 3)) == 3
    assert set(there.fetched) == {entry_key(PREFIX, n) for n in range(4998, 5001)}
    assert journal.way_back(read, 4000) == entry(4000)
    assert len(set(there.fetched)) < 1100
    with pytest.raises(Refused, match="was never in service"):
        journal.way_back(read, 6000)


TOLD = st.tuples(st.sampled_from(Kind), st.integers(1, 3), st.sampled_from(["", journal.ROLLBACK]))
HISTORIES = st.lists(TOLD, max_size=14)


@given(HISTORIES, st.integers(0, 15))
def test_a_release_that_was_taken_back_since_is_found_without_what_was_before(
    history: list[tuple[Kind, int, str]], since: int
) -> None:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    entries = [entry(version, kind).model_copy(update={"at": at + timedelta(hours=n), "reason": reason})
               for n, (kind, version, reason) in enumerate(history)]
    found, when = journal.taken_back(entries, 2, "2"), at + timedelta(hours=since)
    read = journal.taken_back(entries, 2, "2", when)
    assert (read if read and read.at >= when else None) == (found if found and found.at >= when else None)


def test_a_deploy_looks_no_further_back_than_its_release_was_put_into_production() -> None:
    there = Bucket(range(1, 5001), 1000)
    at = datetime(2025, 12, 31, tzinfo=UTC)
    assert journal.taken_back(there.history(), 6000, "6000", at + timedelta(days=2)) is None
    assert len(there.fetched) <= 4


def test_what_is_no_entry_is_named() -> None:
    with pytest.raises(AwsFailed, match=r"deployments/m/lambda/notes.txt is no entry"):
        keys_of(lambda after: ([f"{PREFIX}000001.json", f"{PREFIX}notes.txt"], True), PREFIX)


def test_another_journal_begins_after_the_last_key_of_one() -> None:
    mine, before, behind = (f"deployments/m/{name}/999999.json" for name in ("lambda", "lambda-2", "sagemaker"))
    assert before < mine < after_journal(mine) < behind


@pytest.fixture(scope="module")
def bundle(network_files: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bundle]:
    """What is in service on a local AWS: two releases, one after the other."""
    home = tmp_path_factory.mktemp("history")
    with running() as variables, environment(**variables):
        for version in (1, 2):
            (home / f"{version}").mkdir()
            release = replace(release_of(network_files), version=version)
            made = build(release, network_files, home / f"{version}" / "bundle")
            aws, target = Aws(), LambdaTarget(Aws(), Settings())
            plan = target.plan(made, home / f"{version}", lambda line: None)
            execute(plan, aws, target.hands(read_golden(made.folder / "golden.npz")), lambda step, seconds: None)
        yield made


def reads(ask: Callable[[LambdaTarget], object]) -> Counter[str]:
    """How often is S3 asked for keys, and for entries?"""
    recorded.forget()
    ask(LambdaTarget(Aws(), Settings()))
    return Counter(call.operation for call in recorded.calls() if call.operation in {"ListObjectsV2", "GetObject"})


def test_a_thousand_deployments_later_every_command_asks_as_little(bundle: Bundle, tmp_path: Path) -> None:
    def planned(target: LambdaTarget) -> None:
        scratch = tmp_path / f"{len(list(tmp_path.iterdir()))}"
        scratch.mkdir()
        assert not target.plan(bundle, scratch, lambda line: None)

    commands: list[Callable[[LambdaTarget], object]] = [
        planned, lambda target: target.in_service("images", thoroughly=False),
        lambda target: target.in_service("images", thoroughly=True), lambda target: target.plan_back("images", None)]
    before = [reads(ask) for ask in commands]
    logbook = LambdaTarget(Aws(), Settings()).logbook("images")
    told = list(logbook.read())
    storage = Aws().storage
    with ThreadPoolExecutor(4) as pool:
        for _ in pool.map(lambda n: storage.create_bytes(
                BUCKET, entry_key(logbook.prefix, n),
                told[(n - 1) % 4].model_copy(update={"seq": n}).to_bytes()), range(5, 1005)):
            pass
    storage.create_bytes(BUCKET, "deployments/others/lambda/000001.json", b"{}")
    after = [reads(ask) for ask in commands]
    assert [one["GetObject"] for one in after] == [one["GetObject"] for one in before]
    assert all(now["ListObjectsV2"] <= 3 * was["ListObjectsV2"] for now, was in zip(after, before, strict=True))
    assert logbook.read()[-1].seq == 1004
    assert deployed_in(Aws(), BUCKET) == {"images": ("lambda",), "others": ("lambda",)}
