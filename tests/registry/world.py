"""What the registry's tests share: people, models and a registry to act on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from registry import (
    SEEN,
    ModelVersion,
    Stage,
    check,
    connect,
    mlflow_store,
    register_candidate,
    row_digests,
    seen_rows,
)
from registry.store import GovernedStore
from registry.wire import WordShape

LABELS = ["low", "high"]
ROWS = 200


def empty_database(path: Path) -> Path:
    """Make an MLflow database with its tables and the ledger's."""
    GovernedStore(f"sqlite:///{path}").engine.dispose()
    return path


def points(seed: int, rows: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Two classes that a line tells apart, with a little noise across it."""
    rng = np.random.default_rng(seed)
    values = rng.uniform(size=(rows, 2))
    noise = rng.normal(scale=0.03, size=rows)
    return values, (values[:, 0] + noise > 0.5).astype(np.int64)


Columns = Mapping[str, NDArray[Any]]


def log_rows(
    folder: Path, held_out: Columns, truth: NDArray[Any], train: Columns, target: NDArray[Any], **slices: Any
) -> None:
    """Log what a training leaves of its rows: the held-out ones themselves, digests of the others."""
    named: dict[str, Any] = {f"in.{name}": values for name, values in held_out.items()} | {"labels": truth}
    digests: dict[str, Any] = seen_rows({"train": row_digests(train, target)})
    np.savez(folder / "held_out.npz", **named, **{f"slice.{name}": values for name, values in slices.items()})
    np.savez(folder / Path(SEEN).name, **digests)
    for name in ("held_out.npz", Path(SEEN).name):
        mlflow.log_artifact(str(folder / name), "evaluation")


@dataclass
class World:
    """A registry in one folder, and who acts in it."""

    folder: Path
    monkeypatch: pytest.MonkeyPatch

    def acting(self, name: str) -> None:
        """From here on, this person is at the keyboard."""
        self.monkeypatch.setenv("SLIPWAY_USER", name)

    def train(self, *, wrong: float = 0.0, **slices: NDArray[Any]) -> str:
        """Fit and log a classifier whose training labels are flipped for a share of rows; returns the run's id."""
        values, labels = points(1, 400)
        flipped = np.random.default_rng(2).uniform(size=len(labels)) < wrong
        model = LogisticRegression().fit(values, np.where(flipped, 1 - labels, labels))
        held_out, truth = points(3, ROWS)
        with mlflow.start_run() as run:
            mlflow.sklearn.log_model(
                model, name="model", pip_requirements=[], input_example=held_out[:2], pyfunc_predict_fn="predict_proba",
                metadata={"slipway": {"schema": 1, "task": "images", "kind": "classification", "labels": LABELS}},
            )  # fmt: skip
            log_rows(self.folder, {"values": held_out}, truth, {"values": values}, labels, **slices)
        return str(run.info.run_id)

    def candidate(self, name: str = "images", *, wrong: float = 0.0, **slices: NDArray[Any]) -> ModelVersion:
        """Train and register, as whoever acts; `slices` name the group of each held-out row, by column."""
        connect()
        run_id = self.train(wrong=wrong, **slices)
        model = mlflow.search_logged_models(
            filter_string=f"source_run_id = '{run_id}'", output_format="list"
        )[0]
        return register_candidate(name, run_id=run_id, source=model.model_uri)

    def stages(self, name: str = "images") -> dict[int, tuple[Stage, tuple[str, ...]]]:
        """Every version's stage and aliases, as plain MLflow tells them."""
        client = mlflow.MlflowClient()
        found = {}
        for version in client.search_model_versions(f"name = '{name}'"):
            full = client.get_model_version(name, version.version)
            found[int(version.version)] = (Stage(full.current_stage), tuple(sorted(full.aliases)))
        return found


    def approved(self, name: str = "images", **how: Any) -> ModelVersion:
        """Ana's candidate, checked by CI and approved by bo."""
        version = self.candidate(name, **how)
        self.acting("ci")
        check.check(version)
        self.acting("bo")
        mlflow_store.send_approval(version, WordShape())
        self.acting("ana")
        return version

    def released(self, name: str = "images", **how: Any) -> ModelVersion:
        """A version that stands in Production by the rules."""
        return mlflow_store.move(self.approved(name, **how), Stage.PRODUCTION)
