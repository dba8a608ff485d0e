"""Where there is no registry, whoever only looks says so and leaves nothing behind."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click
import mlflow
import pytest
from click.testing import CliRunner, Result

from registry import RegistryMisconfigured, commands, release
from registry.whereabouts import require_file

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
