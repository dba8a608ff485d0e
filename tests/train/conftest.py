"""Real trainings, one per kind of model and session, on SQLite in a temporary folder; tests read what they left."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.artifacts import download_artifacts
from mlflow.entities import Run

from train import Request, Trained, train

URIS = ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI", "MLFLOW_RUN_ID")


@dataclass(frozen=True)
class Tracked:
    """A finished training and how to read it back."""

    trained: Trained
    uri: str

    @property
    def client(self) -> MlflowClient:
        """A client of the store that the training wrote to."""
        return MlflowClient(self.uri, registry_uri=self.uri)

    @property
    def run(self) -> Run:
        """The run as MLflow has it."""
        return self.client.get_run(self.trained.run_id)

    @property
    def metrics(self) -> dict[str, float]:
        """The run's metrics, each at its last step."""
        return dict(self.run.data.metrics)

    def artifact(self, path: str) -> Path:
        """A run's artifact, downloaded."""
        return Path(self.client.download_artifacts(self.trained.run_id, path))

    def pictures(self) -> set[str]:
        """The names of the run's pictures."""
        return {Path(item.path).stem for item in self.client.list_artifacts(self.trained.run_id, "plots")}

    def model_files(self) -> Path:
        """The folder that the logged model's files lie in."""
        return Path(download_artifacts(self.trained.source, tracking_uri=self.uri))


@pytest.fixture(scope="session")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A working folder with its own SQLite store, for the whole session of training tests."""
    folder = tmp_path_factory.mktemp("training")
    with pytest.MonkeyPatch.context() as patch:
        for name in URIS:
            patch.delenv(name, raising=False)
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db")
        patch.chdir(folder)
        yield folder


@pytest.fixture(autouse=True)
def in_workspace(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test here works in that folder with that store, whatever other tests have set."""
    for name in URIS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{workspace}/mlflow.db")
    monkeypatch.chdir(workspace)


def trained(task: str, algorithm: str = "", data: str = "", **parameters: str) -> Tracked:
    """Train for real in the workspace."""
    return Tracked(train(Request(task, data, algorithm, parameters=parameters)), os.environ["MLFLOW_TRACKING_URI"])


@pytest.fixture(scope="session")
def images(workspace: Path) -> Tracked:
    """The digits, trained for a few epochs: enough to be right far more often than by chance."""
    return trained("images", epochs="4", filters="8")


@pytest.fixture(scope="session")
def text(workspace: Path) -> Tracked:
    """The generated reviews, read by a GRU."""
    return trained("text", epochs="4")


@pytest.fixture(scope="session")
def ratings(workspace: Path) -> Tracked:
    """The generated ratings."""
    return trained("ratings")


@pytest.fixture(scope="session")
def dnn(workspace: Path) -> Tracked:
    """The tumours, by a dense network."""
    return trained("tabular", epochs="20")


@pytest.fixture(scope="session")
def svm(workspace: Path) -> Tracked:
    """The tumours, by a support vector machine."""
    return trained("tabular", "svm")
