"""The rehearsal that `slipway check` runs: in the real runtime, in a process that holds nothing else."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from registry import ModelVersion, Stage, rehearsal
from registry.measured import Rehearsal
from serving import bundle

from .conftest import release_of

VERSION = ModelVersion("images", 3, "", "", Stage.NONE)


def rehearsed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Rehearsal | str:
    monkeypatch.delenv(rehearsal.VARIABLE)
    with rehearsal.begun(VERSION, folder, "a" * 64) as begun:
        return begun.finish()


@pytest.mark.slow
def test_an_installed_runtime_is_found_and_answers_the_golden_requests(
    network_files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = rehearsed(network_files, monkeypatch)
    assert isinstance(found, Rehearsal)
    assert (found.refused, found.golden, found.alike) == ("", 8, 8)
    assert 0 < found.p50_ms <= found.p99_ms
    assert found.bundle_mb > 0
    assert found.memory_mb < 200, "TensorFlow alone takes more"


@pytest.mark.slow
def test_a_model_that_does_not_convert_is_refused_with_the_reason(
    network_files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = Path(shutil.copytree(network_files, tmp_path / "broken"))
    (broken / "data" / "model.keras").unlink()
    found = rehearsed(broken, monkeypatch)
    assert isinstance(found, Rehearsal)
    assert "no model.keras among the model's files" in found.refused


def test_the_measuring_process_holds_the_runtime_and_nothing_else(network_files: Path, tmp_path: Path) -> None:
    made = bundle.build(release_of(network_files), network_files, tmp_path / "bundle")
    asked: list[Any] = [{"inputs": {"image": np.zeros((1, 6, 6, 1)).tolist()}}, {"inputs": {"image": "no"}}]
    done = subprocess.run([sys.executable, "-m", "serving.measure", str(made.folder)], input=json.dumps(asked),
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    good, bad = json.loads(done.stdout)["answers"]
    assert "predictions" in good
    assert "error" in bad


@pytest.mark.parametrize(
    ("module", "told"),
    [("", "nobody is installed"), ("no_such_module", "No module named no_such_module"), ("this", "not understood")],
)
def test_a_rehearsal_that_did_not_happen_is_told_and_never_passes(
    module: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(rehearsal.VARIABLE, module)
    with rehearsal.begun(VERSION, tmp_path, "a" * 64) as begun:
        found = begun.finish()
    assert isinstance(found, str)
    assert told in found
