"""Does a candidate load and answer where it would serve? What `slipway check` runs, in a process of its own.

    python -m serving.rehearse FOLDER --name images --version 3 --digest SHA256 [--wait]

converts the model in FOLDER, then measures the bundle in a further, fresh process (`serving.measure`), and prints one
line of JSON: the measurements, or {"refused": why}. With --wait it measures only once its standard input has ended, so
that whoever started it can be busy in the meantime without disturbing the clock.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from registry import Actor, Evidence, Release, Stage

from . import bundle, parity
from .asking import as_json
from .errors import Refused
from .golden import Golden, read_golden
from .runtime.core import GOLDEN

FAR = 1e9  # a difference of another shape or of text: JSON holds no infinity


def rehearse(folder: Path, name: str, version: int, digest: str, *, wait: bool = False) -> dict[str, Any]:
    """What came of converting and serving the model in this folder?"""
    with tempfile.TemporaryDirectory(prefix="slipway-rehearsal-") as scratch:
        try:
            made = bundle.build(_candidate(name, version, digest), folder, Path(scratch) / "bundle", natively=True)
        except Refused as error:
            return {"refused": str(error)[:1000]}
        if wait:
            sys.stdin.read()
        return _measured(made)


def _candidate(name: str, version: int, digest: str) -> Release:
    """The release that a candidate would be, had anybody approved it; it never leaves this process."""
    nobody = Actor("nobody")
    evidence = Evidence(digest, (), "", 0, (), None, nobody, datetime.now(UTC), 0)
    return Release(name, version, "", "", digest, (), Stage.NONE, evidence, ())


def _measured(made: bundle.Bundle) -> dict[str, Any]:
    golden = read_golden(made.folder / GOLDEN)
    requests = [{"inputs": {name: as_json(rows[row : row + 1]) for name, rows in golden.inputs.items()}}
                for row in range(golden.rows)]
    done = subprocess.run(  # noqa: S603 - our own module, no shell
        [sys.executable, "-m", "serving.measure", str(made.folder)], input=json.dumps(requests),
        capture_output=True, text=True, check=False,
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        return {"refused": f"the runtime ended with {done.returncode}: {last[:500]}"}
    found: dict[str, Any] = json.loads(done.stdout)
    ran = {"engine": made.manifest.engine, "unconverted": made.manifest.source.get("unconverted", "")[:500]}
    return _likeness(golden, found.pop("answers"), labels=bool(made.manifest.labels)) | found | ran


def _likeness(golden: Golden, said: list[dict[str, Any]], *, labels: bool) -> dict[str, Any]:
    """How many rows were answered as the native model did, and how far apart at most?"""
    alike, difference, names = 0, 0.0, list(golden.outputs)
    for row, answer in enumerate(said):
        if "predictions" not in answer:
            return {"refused": f"golden request {row} is refused: {str(answer.get('error'))[:500]}"}
        outputs = answer["predictions"] if len(names) > 1 else {names[0]: answer["predictions"]}
        wanted = {name: rows[row : row + 1] for name, rows in golden.outputs.items()}
        found = parity.compare(wanted, {name: np.asarray(outputs[name]) for name in names}, labels=labels)
        alike += found.labels_equal == 1 and found.max_abs_diff <= found.tolerance
        difference = max(difference, found.max_abs_diff)
    return {"golden": golden.rows, "alike": alike, "difference": min(difference, FAR), "tolerance": parity.TOLERANCE}


def main() -> None:
    """Print what came of it as JSON; whatever converters print goes to stderr."""
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("folder", type=Path)
    ask.add_argument("--name", required=True)
    ask.add_argument("--version", type=int, required=True)
    ask.add_argument("--digest", required=True)
    ask.add_argument("--wait", action="store_true")
    asked = ask.parse_args()
    answer = os.dup(1)
    os.dup2(2, 1)
    found = rehearse(asked.folder, asked.name, asked.version, asked.digest, wait=asked.wait)
    os.write(answer, (json.dumps(found) + "\n").encode())


if __name__ == "__main__":
    main()
