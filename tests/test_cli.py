"""The command itself: what it lists, what it says on an error, and what it does not import."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

import slipway

ROOT = Path(__file__).parent.parent
HEAVY = ("tensorflow", "keras", "mlflow", "boto3", "moto", "numpy", "sklearn", "onnxruntime")


@pytest.mark.parametrize("command", slipway.COMMANDS)
def test_every_command_explains_itself_with_an_example(command: str) -> None:
    result = CliRunner().invoke(slipway.cli, [command, "--help"])
    assert result.exit_code == 0, result.output
    assert "Example" in result.output


def started(*words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own, then say which heavy modules it imported."""
    code = (f"import atexit, sys; sys.argv[1:] = {list(words)!r}; import slipway;"
            f"atexit.register(lambda: print('imported', [m for m in {HEAVY!r} if m in sys.modules])); slipway.main()")
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True,
                          env={**os.environ, **variables})


@pytest.mark.parametrize("words", [("--help",), ("--version",), ("check", "--help"), ("deploy", "--help"),
                                   ("train", "--help"), ("local", "--help")])
def test_help_imports_nothing_heavy(words: tuple[str, ...]) -> None:
    done = started(*words)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "imported []"


def test_status_imports_no_framework(tmp_path: Path) -> None:
    done = started("status", "images", AWS_ENDPOINT_URL="http://127.0.0.1:9", AWS_DEFAULT_REGION="us-east-1",
                   AWS_ACCESS_KEY_ID="x", AWS_SECRET_ACCESS_KEY="x", AWS_MAX_ATTEMPTS="1",
                   MLFLOW_TRACKING_URI=f"sqlite:///{tmp_path}/mlflow.db")
    assert done.returncode == 3, done.stderr
    assert "tensorflow" not in done.stdout.splitlines()[-1]
    assert "mlflow" not in done.stdout.splitlines()[-1]
    assert "numpy" not in done.stdout.splitlines()[-1]


def test_an_error_of_ours_is_one_line_and_an_exit_code() -> None:
    done = started("plan", "images", "--config", "missing.yaml")
    assert done.returncode == 2
    assert done.stderr == "error: missing.yaml: no such file\n"


def test_wrong_use_names_the_right_one() -> None:
    done = started("promote", "images/1")
    assert done.returncode == 2
    assert "--to" in done.stderr


def test_a_bundle_is_used_as_it_is_typed() -> None:
    told = CliRunner().invoke(slipway.cli, ["bundle", "--help"]).output
    assert "MODEL[@STAGE] -o DIR | verify DIR" in told and "-o, --output" in told
    wrong = CliRunner().invoke(slipway.cli, ["bundle", "wine"])
    assert wrong.exit_code == 2
    assert "bundle [OPTIONS] MODEL[@STAGE]" in wrong.output and "build" not in wrong.output
    version = CliRunner().invoke(slipway.cli, ["bundle", "wine/1", "-o", "bundle"]).output
    assert "found wine/1, wanted a model" in version and version.endswith("Next: wine, or wine@Staging\n")
