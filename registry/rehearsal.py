"""Does the version serve? Asked of whoever is installed for it, in a process of its own.

The registry knows no runtime. A package that has one names, as an entry point of the group `slipway.rehearsal`, a
module that is run as `python -m MODULE FOLDER --name NAME --version NUMBER --digest SHA256 --wait`, waits with its
clock until its standard input ends, and prints one line of JSON: `registry.measured.Rehearsal`. SLIPWAY_REHEARSAL
names another module.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from registry.measured import Rehearsal
from registry.words import ModelVersion

GROUP, VARIABLE = "slipway.rehearsal", "SLIPWAY_REHEARSAL"
SECONDS = 900.0


@dataclass(frozen=True, slots=True)
class Begun:
    """A rehearsal under way; without a process nobody is installed for it."""

    process: subprocess.Popen[str] | None

    def finish(self) -> Rehearsal | str:
        """The measurements; or why there are none."""
        if self.process is None:
            return "nobody is installed who could serve it. Next: make setup"
        try:
            said, errors = self.process.communicate(timeout=SECONDS)
        except subprocess.TimeoutExpired:
            return f"it took longer than {SECONDS:.0f} s"
        if self.process.returncode:
            last = (errors.strip().splitlines() or ["it said nothing"])[-1]
            return f"it ended with {self.process.returncode}: {last[:500]}"
        try:
            return TypeAdapter(Rehearsal).validate_json(said)
        except ValidationError as error:
            return f"its answer is not understood: {error.errors()[0]['msg']}"


@contextmanager
def begun(version: ModelVersion, folder: Path, digest: str) -> Iterator[Begun]:
    """Start the rehearsal of a downloaded version; it converts at once, and measures once `finish` is called."""
    module = _module()
    if not module:
        yield Begun(None)
        return
    command = [sys.executable, "-m", module, str(folder), "--name", version.name, "--version", str(version.number)]
    process = subprocess.Popen(  # noqa: S603 - an installed module, no shell
        [*command, "--digest", digest, "--wait"], text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        yield Begun(process)
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()


def _module() -> str:
    named = os.environ.get(VARIABLE)
    if named is not None:
        return named
    return next((point.value for point in entry_points(group=GROUP)), "")
