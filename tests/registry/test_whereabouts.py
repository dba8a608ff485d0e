"""Where there is no registry, whoever only looks says so and leaves nothing behind."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import click
import mlflow
import pytest
from click.testing import CliRunner, Result

from registry import RegistryMisconfigured, RegistryUnreachable, commands, release
from registry.whereabouts import reason, require_file

READERS = (
    (commands.history, "images"), (commands.check, "images/1"), (commands.approve, "images/1"),
    (commands.reject, "images/1", "--comment", "no"), (commands.promote, "images/1", "--to", "Production"),
    (commands.ledger, "verify"), (commands.ledger, "export"), (commands.adopt, "--dry-run"),
    (commands.watch, "--run", "true", "--once"),
)  # fmt: skip


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder without a registry, and nothing said about where one is."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_REGISTRY_URI", raising=False)
    mlflow.set_tracking_uri(None)  # type: ignore[arg-type]  # MLflow's annotation forgets that it may be unset
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    yield tmp_path
    mlflow.set_registry_uri("")
    mlflow.set_tracking_uri("")


def run(command: click.Command, *words: str) -> Result:
    return CliRunner().invoke(command, list(words))


@pytest.mark.parametrize("said", ["", "sqlite:///mlflow.db"])
@pytest.mark.parametrize("words", READERS, ids=lambda words: words[0].name)
def test_reading_where_there_is_no_registry_makes_none(
    nowhere: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[click.Command, str], said: str
) -> None:
    if said:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", said)
    told = run(*words).exception
    assert isinstance(told, RegistryMisconfigured)
    assert str(told).startswith("no registry at sqlite:///")
    assert str(told).endswith("mlflow.db. Next: cd to the project's folder, or set MLFLOW_TRACKING_URI")
    assert list(nowhere.iterdir()) == []


def test_a_release_is_not_looked_for_where_there_is_no_registry(nowhere: Path) -> None:
    with pytest.raises(RegistryMisconfigured, match="no registry at sqlite:///"):
        release("images")
    assert list(nowhere.iterdir()) == []


@pytest.mark.parametrize("uri", ["sqlite://", "sqlite:///:memory:", "postgresql://somewhere/db"])
def test_a_database_that_is_no_file_is_not_looked_for_on_this_disk(uri: str) -> None:
    require_file(uri)


@pytest.mark.parametrize("words", [READERS[0], READERS[1]], ids=lambda words: words[0].name)
def test_a_server_that_was_stopped_is_named_within_seconds(
    nowhere: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[click.Command, str]
) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{probe.getsockname()[1]}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    began = time.monotonic()
    told = run(*words).exception
    assert isinstance(told, RegistryUnreachable)
    step = "start the server, or unset MLFLOW_TRACKING_URI"
    assert str(told) == f"cannot reach {address}: connection refused. Next: {step}"
    assert time.monotonic() - began < 5


def test_why_a_server_does_not_answer_is_said_in_few_words() -> None:
    assert reason("Failed to resolve 'nowhere' ([Errno -2] Name or service not known)") == "no such host"
    assert reason("Read timed out. (read timeout=10)") == "no answer in time"
    assert reason("something else") == "something else"
