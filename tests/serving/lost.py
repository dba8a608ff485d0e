"""MLflow's server killed and its database deleted; and commands as programs, which know MLflow only by its address."""

from __future__ import annotations

import os
import pty
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mlflow.store.model_registry import sqlalchemy_store as model_registry
from mlflow.store.tracking import sqlalchemy_store as tracking

from tests.registry import servers

from .test_deploy import ROOT, environment


def typed(*words: str) -> subprocess.CompletedProcess[str]:
    """Run a command as a program, in the current folder."""
    return subprocess.run([sys.executable, "-m", "slipway", *words], capture_output=True, text=True, timeout=300,
                          env=as_program())


def as_program() -> dict[str, str]:
    """The environment in which `python -m slipway` is found, whatever the current folder."""
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    return {**os.environ, "PYTHONPATH": path}


def answered(word: str, *words: str) -> tuple[int, str]:
    """Run a command at a terminal, and answer its question with a word; exit code, and what it said."""
    terminal, its_end = pty.openpty()
    try:
        with subprocess.Popen([sys.executable, "-m", "slipway", *words], stdin=its_end, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, env=as_program()) as process:
            os.write(terminal, word.encode() + b"\n")
            said, _ = process.communicate(timeout=300)
    finally:
        os.close(terminal)
        os.close(its_end)
    return process.returncode, said.decode()


@contextmanager
def registry_lost(home: Path) -> Iterator[None]:
    """Within, programs know a server that was killed, and its database is deleted; both are as before afterwards."""
    database, copy = home / "mlflow.db", home / "copy-of-the-test"
    copy.mkdir()
    with servers.killable(home) as (address, kill), environment(
        MLFLOW_TRACKING_URI=address, MLFLOW_HTTP_REQUEST_MAX_RETRIES="0"
    ):
        asked = typed("history", "images")
        assert asked.returncode == 0, f"the registry answers: {asked.stderr}"
        kill(signal.SIGKILL)
        files = sorted(home.glob("mlflow.db*"))
        for file in files:
            shutil.copy(file, copy / file.name)
            file.unlink()
        assert typed("history", "images").returncode == 3, "it is gone"
        try:
            yield
        finally:
            for file in home.glob("mlflow.db*"):
                file.unlink()
            for file in copy.iterdir():
                shutil.move(file, database.with_name(file.name))
            copy.rmdir()
            _let_go()


def _let_go() -> None:
    # This process's own connections still hold the files that are gone, and SQLite refuses to write to those
    # (SQLITE_READONLY_DBMOVED). MLflow keeps its engines for good and has no call to close them.
    for store in (model_registry.SqlAlchemyStore, tracking.SqlAlchemyStore):
        for engine in store._engine_map.values():
            engine.dispose()
