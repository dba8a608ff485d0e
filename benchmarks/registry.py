# mypy: disallow-untyped-calls=False
"""What does governance cost? A gated move beside MLflow's own, in a registry of a size that hurts.

    python -m benchmarks.registry [--models 1000] [--versions 10] [--rounds 200]

Both stores move the same number of versions to Production and back, in databases filled alike, alternating, in one
process. MLflow's own side makes the two calls that the gated one makes in one: the stage and the alias.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
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
from registry.replay import at
from registry.store import GovernedStore
from registry.wire import EvidenceShape, FileShape, MovedBody, RegisteredBody, WordBody
from registry.words import Actor, FileDigest

CREATED = 1_700_000_000_000
FILES = tuple(FileDigest(f"file{i}", f"{i:064x}", 1000) for i in range(10))
EVIDENCE = EvidenceShape(
    digest=digest_of(FILES), files=tuple(FileShape(path=f.path, sha256=f.sha256, size=f.size) for f in FILES),
    held_out="0" * 64, rows=1000, paired=None,
    measures={"accuracy": 0.95, "recall_macro": 0.95, "recall_lowest": 0.9, **{f"recall.{i}": 0.9 for i in range(10)}},
)  # fmt: skip


def fill(store: GovernedStore, models: int, versions: int) -> int:
    """Models, versions and five ledger entries for each version; answers how many entries."""
    with store.ManagedSessionMaker(read_only=False) as session:
        for m in range(models):
            session.add(SqlRegisteredModel(workspace="default", name=f"m{m}", creation_time=CREATED))
        session.flush()
        for m in range(models):
            session.add_all(_version(f"m{m}", number) for number in range(1, versions + 1))
        session.flush()
        return _write(session, [draft for m in range(models) for v in range(1, versions + 1) for draft in _life(m, v)])


def _version(name: str, number: int) -> SqlModelVersion:
    return SqlModelVersion(
        workspace="default", name=name, version=number, creation_time=CREATED, last_updated_time=CREATED,
        source=f"s3://bucket/{name}/{number}", storage_location=f"s3://bucket/{name}/{number}", current_stage="None",
    )  # fmt: skip


def _life(m: int, number: int) -> list[Draft]:
    registered = RegisteredBody(authors=("ana",), source=f"s3://bucket/m{m}/{number}", run_id=None, created=CREATED)
    approved = WordBody(digest=EVIDENCE.digest, evidence=1, comment="")
    moved = MovedBody(
        source="None", target="Archived", displaced=(), digest=None, evidence=None, approvals=(), via="stage"
    )
    said = ((Kind.REGISTERED, "ana", registered), (Kind.CHECKED, "ci", EVIDENCE), (Kind.CHECKED, "ci", EVIDENCE),
            (Kind.APPROVED, "bo", approved), (Kind.MOVED, "ana", moved))  # fmt: skip
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


def measure(folder: Path, models: int, versions: int, rounds: int) -> dict[str, Any]:
    """Everything, side by side."""
    os.environ["SLIPWAY_USER"] = "cy"
    ours = GovernedStore(f"sqlite:///{folder / 'ours.db'}")
    entries = fill(ours, models, versions)
    shutil.copy(folder / "ours.db", folder / "theirs.db")
    theirs = SqlAlchemyStore(f"sqlite:///{folder / 'theirs.db'}")
    costs: dict[str, list[float]] = {"slipway": [], "mlflow": [], "mlflow, stage only": []}
    for m in range(rounds):
        costs["slipway"].append(timed(partial(governed, ours, f"m{m}", 1)))
        costs["mlflow"].append(timed(partial(plain, theirs, f"m{m}", 1)))
        costs["mlflow, stage only"].append(
            timed(partial(theirs.transition_model_version_stage, f"m{m}", 2, "Production", True))
        )
    median = {name: round(statistics.median(values), 2) for name, values in costs.items()}
    asked = [queries(ours, partial(governed, ours, f"m{m}", 1)) for m in (models - 2, models - 1)]
    busy = f"m{rounds // 2}"
    return {
        "models": models, "versions": models * versions, "entries": entries, "ms per move, median": median,
        "times MLflow's stage and alias": round(median["slipway"] / median["mlflow"], 2),
        "times MLflow's stage alone": round(median["slipway"] / median["mlflow, stage only"], 2),
        "queries of a move": asked,
        "history of one model, ms": round(timed(lambda: ours.ledger_page(busy)), 1),
        "what stood where, one model, ms": round(timed(lambda: replay(ours, busy)), 1),
    }  # fmt: skip


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
