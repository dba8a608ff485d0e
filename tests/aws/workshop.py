"""Trains every version of every kind ahead of the tests, in one process beside them: what one core waits for, one does.

It is run as ``python -m tests.aws.workshop FOLDER KIND=MODEL...``.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

import slipway

from .kinds import KINDS

ROOT = Path(__file__).parents[2]
VERSIONS = (1, 2, 3)


class Workshop:
    """A process that trains all that these tests need as ana, ahead of them; see `main`."""

    def __init__(self, home: Path, models: dict[str, str]) -> None:
        self._log = (home / "training.log").open("w+")
        words = [sys.executable, "-m", "tests.aws.workshop", str(home), *(f"{k}={name}" for k, name in models.items())]
        # One thread: the other core is the tests'.
        here = {**os.environ, "SLIPWAY_USER": "ana", "TF_NUM_INTRAOP_THREADS": "1", "OMP_NUM_THREADS": "1",
                "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])}
        self._process = subprocess.Popen(words, cwd=home, env=here, stdout=subprocess.PIPE, stderr=self._log, text=True)
        self._trained: set[str] = set()

    def wait(self, model: str) -> None:
        """Come back once all versions of the model are registered."""
        assert self._process.stdout is not None
        while model not in self._trained:
            line = self._process.stdout.readline()
            if not line:
                self._log.seek(0)
                pytest.fail(f"training {model} ended: {self._log.read()[-2000:]}")
            self._trained.add(line.removeprefix("trained ").strip())

    def close(self) -> None:
        """Train no more."""
        self._process.kill()
        self._process.communicate()
        self._log.close()


def main(folder: Path, models: dict[str, str]) -> int:
    """Train; a line ``trained MODEL`` on stdout for each model whose versions are all there."""
    for kind in KINDS:
        if kind.name not in models:
            continue
        for version in VERSIONS:
            words = kind.words(version, models[kind.name], folder)
            result = CliRunner().invoke(slipway.cli, words)
            if result.exception is not None:
                print(f"slipway {' '.join(words)}: {result.output} {result.exception!r}", file=sys.stderr)
                return 1
        print(f"trained {models[kind.name]}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), dict(word.split("=", 1) for word in sys.argv[2:])))
