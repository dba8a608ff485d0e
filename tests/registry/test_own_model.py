"""A model that this project did not train goes the same way, as docs/governance.md shows it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
PAGE = ROOT / "docs" / "governance.md"


def test_the_model_of_the_page_is_registered_checked_and_passes_every_gate(tmp_path: Path) -> None:
    script = re.search(r"### A model of your own\n.*?```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert script
    environ = {**os.environ, "MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path}/mlflow.db", "SLIPWAY_USER": "ana"}
    for name in ("MLFLOW_REGISTRY_URI", "SLIPWAY_REHEARSAL", "PYTHONPATH"):  # rehearsed for real, unlike its neighbours
        environ.pop(name, None)
    made = subprocess.run([sys.executable, "-c", script[1]], cwd=tmp_path, env=environ, capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
    assert made.stdout.splitlines()[-1] == "wine/1"
    check = [sys.executable, "-c", "import slipway; slipway.main()", "check", "wine/1"]
    checked = subprocess.run(check, cwd=tmp_path, env=environ, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "every gate passed" in checked.stdout
    assert "32 of 32 golden requests answered alike" in checked.stdout
    assert "0 of 72 held-out rows among 106 that trained" in checked.stdout
