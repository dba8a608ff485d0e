# mypy: disallow-untyped-calls=False
# MLflow's store carries no annotations.
"""Several writers at once: one wins, the others are told; whatever dies halfway leaves nothing half done."""

from __future__ import annotations

import importlib.util
import itertools
import json
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
from mlflow.entities.model_registry import ModelVersionTag
from mlflow.exceptions import MlflowException
from sqlalchemy import create_engine, event, text

from registry import tables
from registry.ledger import Kind, first_bad
from registry.store import GovernedStore
from tests.registry.processes import ended, start
from tests.registry.saying import evidence

WRITERS = 4


@dataclass(frozen=True)
class Postgres:
    """A PostgreSQL of its own, on a socket in a temporary folder."""

    folder: Path
    bins: Path

    def run(self, program: str, *words: str | Path) -> None:
        become = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
        subprocess.run([*become, self.bins / program, *words], check=True, capture_output=True, cwd=self.folder)

    def uri(self, name: str) -> str:
        return f"postgresql+psycopg://postgres@/{name}?host={self.folder}"


@pytest.fixture(scope="module")
def postgresql() -> Iterator[Postgres]:
    bins = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not bins or importlib.util.find_spec("psycopg") is None:
        pytest.skip("needs Debian's postgresql and the Python package psycopg")
    folder = Path("/tmp") / f"registry-pg-{os.getpid()}"  # noqa: S108  a socket's path may have 107 characters at most
    folder.mkdir()
    folder.chmod(0o777)
    made = Postgres(folder, bins[-1])
    made.run("initdb", "-D", folder / "data", "-A", "trust", "-U", "postgres")
    options = f"-k {folder} -c listen_addresses= -c fsync=off"
    made.run("pg_ctl", "-D", folder / "data", "-o", options, "-w", "-l", folder / "log", "start")
    try:
        made.run("createdb", "-h", folder, "-U", "postgres", "pristine")
        GovernedStore(made.uri("pristine")).engine.dispose()
        yield made
    finally:
        made.run("pg_ctl", "-D", folder / "data", "-m", "immediate", "stop")
        shutil.rmtree(folder)


@pytest.fixture(params=["sqlite", "postgresql"])
def database(
    request: pytest.FixtureRequest, tmp_path: Path, pristine: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    monkeypatch.chdir(tmp_path)  # no policy file: the built-in one
    if request.param == "sqlite":
        shutil.copy(pristine, tmp_path / "mlflow.db")
        uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    else:
        postgres, name = request.getfixturevalue("postgresql"), f"t{time.monotonic_ns()}"
        postgres.run("createdb", "-h", postgres.folder, "-U", "postgres", "-T", "pristine", name)
        uri = postgres.uri(name)
    yield uri
    GovernedStore._engine_map.pop(uri).dispose()


def approved_versions(store: GovernedStore, monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setenv("SLIPWAY_USER", "ana")
    store.create_registered_model("m")
    for number in range(1, count + 1):
        store.create_model_version("m", f"/files/{number}")
        store.set_model_version_tag("m", number, ModelVersionTag("slipway.evidence", evidence().dump()))
    monkeypatch.setenv("SLIPWAY_USER", "bo")
    for number in range(1, count + 1):
        store.set_model_version_tag("m", number, ModelVersionTag("slipway.approval", "fine"))


def in_production(store: GovernedStore) -> list[int]:
    return [int(v.version) for v in store.search_model_versions("name = 'm'") if v.current_stage == "Production"]


def chain_fault(store: GovernedStore) -> str | None:
    page = store.ledger_page()
    return first_bad([shape.entry() for shape in page.entries], (page.head_seq, page.head_hash))


def all_at_once(acts: Sequence[Callable[[], object]]) -> list[str]:
    """Run these at the same moment in threads of their own; what each was told, or `done`."""
    together, told = threading.Barrier(len(acts)), [""] * len(acts)

    def run(place: int) -> None:
        together.wait()
        try:
            acts[place]()
            told[place] = "done"
        except MlflowException as refused:
            told[place] = str(refused.message)

    threads = [threading.Thread(target=run, args=(place,)) for place in range(len(acts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return told


def moves(store: GovernedStore) -> int:
    return sum(shape.kind is Kind.MOVED for shape in store.ledger_page().entries)


def test_one_of_several_promotions_wins_and_the_others_say_why(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store = GovernedStore(database)
    approved_versions(store, monkeypatch, WRITERS)
    told = all_at_once([partial(promote, database, number) for number in range(1, WRITERS + 1)])
    (winner,) = [number for number, said in enumerate(told, 1) if said == "done"]
    assert in_production(store) == [winner]
    assert all(f"not compared with champion {winner}" in said for said in told if said != "done")
    assert store.get_model_version_by_alias("m", "champion").version == winner
    assert chain_fault(store) is None


def test_the_same_promotion_several_times_at_once_is_made_once(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store = GovernedStore(database)
    approved_versions(store, monkeypatch, 1)
    assert all_at_once([partial(promote, database, 1)] * WRITERS) == ["done"] * WRITERS
    assert (in_production(store), moves(store)) == ([1], 1)


def both_wait(database: str, jobs: Sequence[subprocess.Popen[str]]) -> bool:
    """Have both come as far as the lock? On SQLite, where nobody can see that: have both opened the database?"""
    if database.startswith("sqlite"):
        return all(_opened(job.pid, database.removeprefix("sqlite:///")) for job in jobs)
    engine = create_engine(database)
    with engine.connect() as asking:
        waits = asking.execute(text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")).scalar()
    engine.dispose()
    return bool(waits == len(jobs))


def _opened(pid: int, file: str) -> bool:
    folder = Path(f"/proc/{pid}/fd")
    with suppress(OSError):  # a descriptor may close while it is looked at
        return any(str(link.readlink()) == file for link in folder.iterdir())
    return False


def test_of_two_jobs_of_one_name_that_promote_one_version_at_once_one_moves_it_and_the_other_says_who_did(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = GovernedStore(database)
    approved_versions(store, monkeypatch, 1)
    words = ("promote", "m/1", "--to", "Production", "--json")
    with store.ManagedSessionMaker(read_only=False) as session:
        tables.lock(session)
        jobs = [start(*words, SLIPWAY_USER="ci", MLFLOW_TRACKING_URI=database) for _ in range(2)]
        deadline = time.monotonic() + 60
        while not both_wait(database, jobs) and time.monotonic() < deadline:
            time.sleep(0.05)
    told = [ended(job) for job in jobs]
    assert [code for code, _, _ in told] == [0, 0], told
    said = [json.loads(stdout) for _, stdout, _ in told]
    assert sorted(one["changed"] for one in said) == [False, True]
    assert {(one["moved_by"], one["moved_at"]) for one in said} == {("ci", said[0]["moved_at"])}
    assert moves(store) == 1


def test_many_writers_of_many_kinds_leave_one_whole_chain(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store = GovernedStore(database)
    approved_versions(store, monkeypatch, WRITERS)

    def say(number: int, word: str) -> None:
        for _ in range(5):
            store.set_model_version_tag("m", number, ModelVersionTag(f"slipway.{word}", "again"))

    acts = [partial(say, number, word) for number in range(1, WRITERS + 1) for word in ("approval", "rejection")]
    assert set(all_at_once(acts)) == {"done"}
    assert chain_fault(store) is None
    for number in range(1, WRITERS + 1):
        kinds = [entry.kind.value for entry in store.said_of("m", number)]
        assert kinds.count("rejected") == 5
        assert "approved approved" not in " ".join(kinds), "the same approval again is no news"


def promote(database: str, number: int) -> None:
    GovernedStore(database).transition_model_version_stage("m", number, "Production", True)


# --- kill -9 between any two writes


def die_at_write(database: str, nth: int) -> bool:
    """Promote version 2 in a process that is killed right before its nth write; did it get that far?"""
    GovernedStore._engine_map[database].dispose()  # a connection to a server is not for two processes
    child = os.fork()
    if child == 0:
        GovernedStore._engine_map.clear()
        store, writes = GovernedStore(database), itertools.count(1)

        def count(_c: object, _cursor: object, statement: str, *_: object) -> None:
            if statement.lstrip().upper().startswith(("INSERT", "UPDATE", "DELETE")) and next(writes) == nth:
                os.kill(os.getpid(), signal.SIGKILL)

        event.listen(store.engine, "before_cursor_execute", count)
        event.listen(store.engine, "commit", lambda _: count(None, None, "UPDATE"))  # and right before the commit
        store.transition_model_version_stage("m", 2, "Production", True)
        os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_promotion_killed_anywhere_is_wholly_undone_and_can_be_made_again(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = GovernedStore(database)
    approved_versions(store, monkeypatch, 2)
    promote(database, 1)
    compared = evidence(paired=(1, evidence().digest)).dump()
    store.set_model_version_tag("m", 2, ModelVersionTag("slipway.evidence", compared))
    before, deaths = store.ledger_page(), 0
    while die_at_write(database, deaths + 1):
        deaths += 1
        assert (store.ledger_page(), in_production(store)) == (before, [1]), deaths
        assert store.get_model_version_by_alias("m", "champion").version == 1
    assert deaths > 5
    assert (in_production(store), moves(store), chain_fault(store)) == ([2], 2, None)
