"""`make demo` does what the README says it does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.mark.slow
def test_the_demo_takes_a_network_from_training_to_lambda_and_leaves_nothing_running() -> None:
    done = subprocess.run([sys.executable, "-m", "demo"], cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    said = json.loads((ROOT / ".slipway" / "demo.json").read_text())
    assert said["answers_compared"] == said["answers_equal"] >= 300
    assert said["max_abs_diff"] <= 1e-4
    assert all(step["name"] and step["outcome"] and step["seconds"] >= 0 for step in said["steps"])
    assert "never checked" in said["refusals"][0]
    assert "no approval" in said["refusals"][1]
    assert str(ROOT / ".slipway" / "demo") not in subprocess.run(["ps", "axww"], capture_output=True, text=True).stdout


def test_the_ui_takes_its_server_along_when_it_is_told_to_end(tmp_path: Path) -> None:
    home = tmp_path / ".slipway" / "demo"
    home.mkdir(parents=True)
    (home / "mlflow.db").touch()
    with subprocess.Popen([sys.executable, "-m", "demo.ui"], cwd=tmp_path, stdout=subprocess.PIPE, text=True,
                          env={**os.environ, "PYTHONPATH": str(ROOT)}) as ui:  # fmt: skip
        assert ui.stdout
        assert ui.stdout.readline() == "starting MLflow ...\n"
        assert ui.stdout.readline().startswith("open http://127.0.0.1:")
        ui.terminate()
        assert ui.wait(60) == 0
    assert str(home) not in subprocess.run(["ps", "axww"], capture_output=True, text=True).stdout
