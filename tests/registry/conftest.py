"""A real MLflow on SQLite in a temporary folder, and small scikit-learn models that take milliseconds."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import mlflow
import pytest

from registry import connect
from registry.store import GovernedStore
from tests.conftest import told_not_rehearsed
from tests.registry.servers import POLICY, running, running_with_logins
from tests.registry.world import World, empty_database


@pytest.fixture(autouse=True, scope="module")
def quick_checks() -> Iterator[None]:
    """The rehearsal itself is on trial in tests/serving/test_rehearsal.py."""
    with told_not_rehearsed():
        yield


@pytest.fixture(scope="session")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One migrated, empty database: migrating takes seconds, copying does not."""
    return empty_database(tmp_path_factory.mktemp("pristine") / "mlflow.db")


@pytest.fixture
def anas(tmp_path: Path, pristine: Path, monkeypatch: pytest.MonkeyPatch) -> GovernedStore:
    """Ana's store in a folder of its own, with a model and no version."""
    shutil.copy(pristine, tmp_path / "mlflow.db")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SLIPWAY_POLICY", raising=False)
    monkeypatch.setenv("SLIPWAY_USER", "ana")
    made = GovernedStore(f"sqlite:///{tmp_path / 'mlflow.db'}")
    made.create_registered_model("images")
    return made


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """`mlflow server --app-name slipway`: names are claimed. One for all tests, each with models of its own names."""
    with running(tmp_path_factory.mktemp("server"), "slipway") as address:
        yield address


@pytest.fixture(scope="session")
def logins(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """`--app-name slipway-auth` with accounts for ana, bo, cy and ci, where bo and cy review and root breaks glass."""
    with running_with_logins(tmp_path_factory.mktemp("logins"), ("ana", "bo", "cy", "ci"), POLICY) as address:
        yield address


@pytest.fixture
def remote(server: str, world: World) -> World:
    """Ana's client of the server; the world's own database is not touched."""
    world.monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    mlflow.set_tracking_uri(server)
    connect()
    return world


@pytest.fixture
def world(tmp_path: Path, pristine: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """A registry of its own for one test, with ana at the keyboard."""
    shutil.copy(pristine, tmp_path / "mlflow.db")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SLIPWAY_POLICY", raising=False)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///mlflow.db")
    monkeypatch.delenv("MLFLOW_REGISTRY_URI", raising=False)
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path / 'mlflow.db'}")
    world = World(tmp_path, monkeypatch)
    world.acting("ana")
    yield world
    while mlflow.active_run():
        mlflow.end_run()
    mlflow.set_registry_uri("")
    mlflow.set_tracking_uri("")
