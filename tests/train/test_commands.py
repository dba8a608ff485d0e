"""The commands as a person types them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from train.commands import read_parameters, train, tune
from train.errors import BadParameter

ROOT = Path(__file__).resolve().parents[2]


def test_parameters_are_read_in_both_ways_of_writing_and_empty_ones_count_as_not_given() -> None:
    words = ["--learning-rate", "0.1", "--batch_size=64", "--epochs", ""]
    assert read_parameters(words) == {"learning_rate": "0.1", "batch_size": "64"}


@pytest.mark.parametrize("words", [["--epochs"], ["12"]])
def test_a_parameter_without_a_name_or_a_value_is_refused(words: list[str]) -> None:
    with pytest.raises(BadParameter):
        read_parameters(words)


@pytest.mark.parametrize("command", [train, tune])
def test_help_ends_with_an_example(command: object) -> None:
    said = CliRunner().invoke(command, ["--help"]).output  # type: ignore[arg-type]
    assert "Example:\n    slipway t" in said


def test_json_is_all_that_stands_on_stdout() -> None:
    words = ["tabular", "--algorithm", "linear", "--name", "by-command", "--json"]
    made = CliRunner().invoke(train, words, catch_exceptions=False)
    told = json.loads(made.stdout)
    assert (told["model"], told["version"]) == ("by-command", 1)
    assert told["metrics"]["held_out.accuracy"] > 0.9


def test_nothing_heavy_is_imported_before_a_training_starts() -> None:
    code = "import sys, train.commands; print(sorted({'tensorflow', 'mlflow', 'optuna', 'sklearn'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.slow
def test_mlflow_run_trains_and_registers_with_no_address_set(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    words = [sys.executable, "-m", "mlflow", "run", str(ROOT), "--env-manager", "local"]
    words += ["-P", "task=tabular", "-P", "algorithm=linear", "-P", "C=0.5"]
    done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "tabular/1 registered as a candidate" in done.stdout
    assert (tmp_path / "mlflow.db").exists()
