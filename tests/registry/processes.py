"""`slipway ...` as processes of their own, several at once."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def start(*words: str, **env: str) -> subprocess.Popen[str]:
    """Start a command, which knows of MLflow and slipway only what is given here."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("MLFLOW_", "SLIPWAY_", "GITHUB_"))}
    command = [sys.executable, str(ROOT / "slipway.py"), *words]
    return subprocess.Popen(
        command, env={**kept, **env}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """The exit code, and what was said on stdout and stderr."""
    stdout, stderr = process.communicate(timeout=120)
    return process.returncode, stdout, stderr
