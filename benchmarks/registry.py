# mypy: disallow-untyped-calls=False
"""What does governance cost? A gated move beside MLflow's own, in a registry of a size that hurts.

    python -m benchmarks.registry [--models 1000] [--versions 10] [--rounds 200]

The stores move the same versions, first into an empty Production and then over the champion, in databases filled alike,
alternating, in one process. MLflow's own side makes the two calls that the gated one makes in one, the stage and the
alias; a third database counts the stage alone. The whole registry is filled twice: small, and at full size.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from mlflow.store.model_registry.dbmodels.models import SqlModelVersion, SqlRegisteredModel
from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore
from sqlalchemy.orm import Session

from registry import tables
from registry.digest import digest_of
from registry.ledger import GENESIS, Draft, Entry, Kind, chained
from registry.measured import Calibration, Compatibility, Dependency, Figure, Measured, Overlap, Rehearsal, Scan
from registry.replay import at
from registry.store import GovernedStore
from registry.wire import EvidenceShape, FileShape, MovedBody, PairedShape, RegisteredBody, WordBody
from registry.words import Actor, FileDigest

CREATED = 1_700_000_000_000
FILES = tuple(FileDigest(f"file{i}.npz", f"{i:064x}", 1000) for i in range(10))
MEASURED = Measured(
    answers="probabilities", calibration=Calibration(15, Figure(0.01, 0.0, 0.02), Figure(0.1, 0.08, 0.12)),
    overlap=Overlap(1000, 4000, 0, 0, "d" * 64), compatibility=Compatibility(1, 1),
    dependencies=(Dependency("numpy", "2.4.6", "BSD-3-Clause"),), scan=Scan(len(FILES)),
    rehearsal=Rehearsal(golden=32, alike=32, tolerance=1e-4, p50_ms=1, p99_ms=2, memory_mb=66, bundle_mb=1),
)  # fmt: skip
EVIDENCE = EvidenceShape(
    digest=digest_of(FILES), files=tuple(FileShape(path=f.path, sha256=f.sha256, size=f.size) for f in FILES),
    held_out="0" * 64, rows=1000, paired=None,
    measures={"accuracy": 0.95, "recall_macro": 0.95, "recall_lowest": 0.9, **{f"recall.{i}": 0.9 for i in range(10)}},
    measured=MEASURED,
)  # fmt: skip
BESIDE_THE_FIRST = EVIDENCE.model_copy(update={
    "paired": PairedShape(
        champion=1, champion_digest=EVIDENCE.digest, rows=1000, only_candidate=20, only_champion=10),
    "measured": replace(MEASURED, compatibility=Compatibility(1, 1, 1, EVIDENCE.digest)),
})  # fmt: skip


def fill(store: GovernedStore, models: int, versions: int) -> int:
    """Models, versions and five ledger entries for each version, in bulk; answers how many entries."""
    names, numbers = [f"m{m}" for m in range(models)], range(1, versions + 1)
    with store.ManagedSessionMaker(read_only=False) as session:
        rows = [{"workspace": "default", "name": name, "creation_time": CREATED} for name in names]
        session.execute(sa.insert(SqlRegisteredModel), rows)
        session.execute(sa.insert(SqlModelVersion), [_version(name, number) for name in names for number in numbers])
        return _write(session, [draft for m in range(models) for v in numbers for draft in _life(m, v)])


def _version(name: str, number: int) -> dict[str, Any]:
    files = f"s3://bucket/{name}/{number}"
    return {
        "workspace": "default", "name": name, "version": number, "creation_time": CREATED, "last_updated_time": CREATED,
        "source": files, "storage_location": files, "current_stage": "None",
    }  # fmt: skip


def _life(m: int, number: int) -> list[Draft]:
    registered = RegisteredBody(authors=("ana",), source=f"s3://bucket/m{m}/{number}", run_id=None, created=CREATED)
    approved = WordBody(digest=EVIDENCE.digest, evidence=1, comment="")
    moved = MovedBody(
        source="None", target="Archived", displaced=(), digest=None, evidence=None, approvals=(), via="stage"
    )
    said = ((Kind.REGISTERED, "ana", registered), (Kind.CHECKED, "ci", EVIDENCE),
            (Kind.CHECKED, "ci", EVIDENCE if number == 1 else BESIDE_THE_FIRST), (Kind.APPROVED, "bo", approved),
            (Kind.MOVED, "ana", moved))  # fmt: skip
    now = datetime.now(UTC)
    return [Draft(now, kind, f"m{m}", number, Actor(who), body.dump()) for kind, who, body in said]


def _write(session: Session, drafts: list[Draft]) -> int:
    entries: list[Entry] = []
    for draft in drafts:
        entries.append(chained(draft, len(entries) + 1, entries[-1].hash if entries else GENESIS))
    tables.put(session, entries)
    return len(entries)


def governed(store: GovernedStore, model: str, number: int) -> None:
    """The gated move: decided, stage, alias and ledger."""
    store.transition_model_version_stage(model, number, "Production", True)


def plain(store: SqlAlchemyStore, model: str, number: int) -> None:
    """MLflow's own: the stage, then the alias."""
    store.transition_model_version_stage(model, number, "Production", True)
    store.set_registered_model_alias(model, "champion", number)


def timed(act: Callable[[], object]) -> float:
    """Milliseconds that one call takes."""
    start = time.perf_counter()
    act()
    return (time.perf_counter() - start) * 1000


def queries(store: SqlAlchemyStore, act: Callable[[], object]) -> int:
    """How many statements one call sends to the database."""
    seen: list[str] = []

    def note(_c: object, _cursor: object, statement: str, *_: object) -> None:
        if not statement.startswith("PRAGMA"):
            seen.append(statement)

    sa.event.listen(store.engine, "before_cursor_execute", note)
    act()
    sa.event.remove(store.engine, "before_cursor_execute", note)
    return len(seen)


# What is moved in each round: into an empty Production, then over the champion who stands there.
MOVES = {"into Production": 1, "over the champion": 2}
Sides = dict[str, Callable[[str, int], object]]


def measure(folder: Path, models: int, versions: int, rounds: int) -> dict[str, Any]:
    """Everything, side by side."""
    os.environ["SLIPWAY_USER"] = "cy"
    database = folder / "ours.db"
    ours = GovernedStore(f"sqlite:///{database}")
    start = time.perf_counter()
    entries = fill(ours, models, versions)
    filled = time.perf_counter() - start
    theirs = [SqlAlchemyStore(f"sqlite:///{shutil.copy(database, folder / name)}") for name in ("both.db", "stage.db")]
    sides: Sides = {
        "slipway": partial(governed, ours), "mlflow": partial(plain, theirs[0]),
        "mlflow, stage only": lambda model, number: theirs[1].transition_model_version_stage(
            model, number, "Production", True
        ),
    }  # fmt: skip
    asked = [queries(ours, partial(governed, ours, f"m{models - 1}", number)) for number in MOVES.values()]
    return {
        "models": models, "versions": models * versions, "entries": entries, "filled in, s": round(filled, 1),
        "moves": alternating(sides, rounds), "queries of a move": dict(zip(MOVES, asked, strict=True)),
        "history of one model, ms": round(timed(lambda: ours.ledger_page("m0")), 1),
        "what stood where, one model, ms": round(timed(lambda: replay(ours, "m0")), 1),
        "whole processes, s": processes(database),
    }  # fmt: skip


def alternating(sides: Sides, rounds: int) -> dict[str, dict[str, float]]:
    """Medians in ms of the same moves on every side, and ours as a multiple of MLflow's; each side first in turn."""
    costs: dict[str, dict[str, list[float]]] = {move: {side: [] for side in sides} for move in MOVES}
    for m in range(rounds):
        turn = [*sides][m % len(sides) :] + [*sides][: m % len(sides)]
        for move, number in MOVES.items():
            for side in turn:
                costs[move][side].append(timed(partial(sides[side], f"m{m}", number)))
    told = {}
    for move, by_side in costs.items():
        median = {side: statistics.median(values) for side, values in by_side.items()}
        ratios = {f"slipway / {side}": median["slipway"] / median[side] for side in [*sides][1:]}
        told[move] = {name: round(value, 2) for name, value in {**median, **ratios}.items()}
    return told


# What people wait for: Python's start included, and no AWS asked. `status` reads the registry by these two calls.
COMMANDS = {
    "slipway history MODEL": ["-m", "slipway", "history", "m0"],
    "slipway history MODEL --at": ["-m", "slipway", "history", "m0", "--at", "2100-01-01"],
    "the registry's side of slipway status": ["-c", "import registry; print(registry.release('m0').version)"],
}


def processes(database: Path, times: int = 5) -> dict[str, float]:
    """Median seconds of whole processes that read one model of this database."""
    told, env = {}, {**os.environ, "MLFLOW_TRACKING_URI": f"sqlite:///{database}", "PYTHONPATH": str(Path.cwd())}
    env.pop("MLFLOW_REGISTRY_URI", None)
    for name, words in COMMANDS.items():
        run = partial(subprocess.run, [sys.executable, *words], env=env, check=True, capture_output=True)
        told[name] = round(statistics.median(timed(run) for _ in range(times)) / 1000, 2)
    return told


def replay(store: GovernedStore, model: str) -> object:
    """`history --at` on one model."""
    return at([shape.entry() for shape in store.ledger_page(model).entries], datetime.now(UTC))


def main() -> None:
    """Print the table as JSON."""
    ask = argparse.ArgumentParser(description=__doc__)
    ask.add_argument("--models", type=int, default=1000)
    ask.add_argument("--versions", type=int, default=10)
    ask.add_argument("--rounds", type=int, default=200)
    asked = ask.parse_args()
    small_and_large = []
    for models in (max(asked.rounds + 2, asked.models // 10), asked.models):
        with tempfile.TemporaryDirectory(prefix="slipway-benchmark-") as folder:
            small_and_large.append(measure(Path(folder), models, asked.versions, asked.rounds))
    print(json.dumps(small_and_large, indent=2))


if __name__ == "__main__":
    main()
