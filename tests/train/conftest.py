"""One real training per session, on SQLite in a temporary folder; tests read what it left."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from train import Request, Trained, train


@dataclass(frozen=True)
class Tracked:
    """A finished training and how to read it back."""

    trained: Trained
    folder: Path
    uri: str

    @property
    def client(self) -> MlflowClient:
        """A client of the store that the training wrote to."""
        return MlflowClient(self.uri, registry_uri=self.uri)

    @property
    def run(self) -> Run:
        """The run as MLflow has it."""
        return self.client.get_run(self.trained.run_id)

    def artifact(self, path: str) -> Path:
        """A run's artifact, downloaded."""
        return Path(self.client.download_artifacts(self.trained.run_id, path))

    def model_files(self) -> Path:
        """The folder that the logged model's files lie in."""
        from mlflow.artifacts import download_artifacts

        return Path(download_artifacts(self.trained.source, tracking_uri=self.uri))


@pytest.fixture(scope="session")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A working folder with its own SQLite store, for the whole session of training tests."""
    folder = tmp_path_factory.mktemp("training")
    saved, before = {name: os.environ.get(name) for name in URIS}, Path.cwd()
    os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{folder}/mlflow.db"
    os.environ.pop("MLFLOW_REGISTRY_URI", None)
    os.chdir(folder)
    yield folder
    os.chdir(before)
    for name, value in saved.items():
        os.environ.pop(name, None) if value is None else os.environ.update({name: value})


URIS = ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI")


@pytest.fixture(scope="session")
def images(workspace: Path) -> Tracked:
    """The digits, trained for a few epochs: enough to be right far more often than by chance."""
    trained = train(Request("images", parameters={"epochs": "4", "filters": "8"}))
    return Tracked(trained, workspace, os.environ["MLFLOW_TRACKING_URI"])
