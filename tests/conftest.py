"""What no module of tests may leave behind for the next."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

URIS = ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI")


@contextmanager
def told_not_rehearsed() -> Iterator[None]:
    """Inside, checks take a rehearsal's result as told: a real one takes ten seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SLIPWAY_REHEARSAL", "rehearsed")
        patch.setenv("PYTHONPATH", str(Path(__file__).parent / "rehearsed"), prepend=os.pathsep)
        yield


@pytest.fixture(autouse=True, scope="module")
def mlflow_as_it_was() -> Iterator[None]:
    """MLflow keeps the URIs that were set for the whole process, and copies them into the environment."""
    before = {name: os.environ.get(name) for name in URIS}
    yield
    if "mlflow" in sys.modules:
        import mlflow

        mlflow.set_tracking_uri(None)  # type: ignore[arg-type]  # its annotation forgets that it may be unset
        mlflow.set_registry_uri(None)  # type: ignore[arg-type]  # as above
    for name, value in before.items():
        os.environ.pop(name, None)
        if value is not None:
            os.environ[name] = value
