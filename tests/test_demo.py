"""`make demo` does what the README says it does."""

from __future__ import annotations

import json
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
