"""A runtime is offered only when an interpreter of its version runs here and can run functions."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from serving.localaws import interpreters
from serving.localaws.interpreters import find_interpreters, probe

OWN = f"python3.{sys.version_info.minor}"
OTHER = next(name for name in interpreters.RUNTIMES if name != OWN)


def script(path: Path, text: str) -> Path:
    """An executable shell script."""
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def test_the_interpreter_that_runs_this_is_on_offer() -> None:
    assert find_interpreters()[OWN].executable == Path(sys.executable)


@pytest.mark.parametrize("text", ["echo 'pyenv: command not found' >&2; exit 127", "echo hello"])
def test_a_shim_that_fails_is_not_offered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    script(tmp_path / OTHER, text)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert list(find_interpreters()) == [OWN]


def test_one_that_answers_with_another_version_is_not_offered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script(tmp_path / OTHER, f'exec "{sys.executable}" "$@"')
    monkeypatch.setenv("PATH", str(tmp_path))
    assert list(find_interpreters()) == [OWN]


def test_a_failing_one_does_not_hide_a_good_one_behind_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        folder.mkdir()
    script(first / OTHER, "exit 1")
    good = script(second / OTHER, f"echo '{json.dumps({'version': OTHER, 'places': {}})}'")
    monkeypatch.setenv("PATH", f"{first}{os.pathsep}{second}")
    assert find_interpreters()[OTHER].executable == good


def test_one_without_the_runtime_client_is_not_offered(tmp_path: Path) -> None:
    assert probe(script(tmp_path / "python", f'exec "{sys.executable}" -S "$@"')) is None


def test_the_runtime_folder_holds_the_client_and_the_sdk_and_nothing_else(tmp_path: Path) -> None:
    folder = find_interpreters()[OWN].runtime_folder(tmp_path)
    names = {path.name.split(".")[0] for path in folder.iterdir()}
    assert {"awslambdaric", "runtime_client", "boto3"} <= names
    assert not names & {"numpy", "click", "moto"}
