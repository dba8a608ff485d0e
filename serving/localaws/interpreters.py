"""Which Lambda runtimes can this machine play?

A runtime is offered when an interpreter of that version runs here and imports ``awslambdaric``. A name on PATH is not
enough: a pyenv shim exists for every version it knows and fails for those not selected.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

# Lambda's supported Python runtimes that this project's code can run on (docs.aws.amazon.com/lambda, 2026-11).
RUNTIMES = ("python3.11", "python3.12", "python3.13")

# What AWS keeps in /var/runtime beside the interpreter: the runtime client and the SDK with its dependencies.
_CLIENT = ("awslambdaric", "runtime_client", "simplejson", "snapshot_restore_py")
_SDK = ("boto3", "botocore", "s3transfer", "jmespath", "dateutil", "urllib3", "six")
_PROBE_SECONDS = 10

_PROBE = """
import importlib.util, json, sys
def place(name):
    spec = importlib.util.find_spec(name)
    return spec and (spec.submodule_search_locations[0] if spec.submodule_search_locations else spec.origin)
import awslambdaric, runtime_client
names = json.loads(sys.argv[1])
version = "python%d.%d" % sys.version_info[:2]
places = {n: place(n) for n in names}
print(json.dumps({"version": version, "places": places, "prefixes": [sys.prefix, sys.base_prefix]}))
"""


@dataclass(frozen=True, slots=True)
class Interpreter:
    """One way to run one Lambda runtime.

    Attributes:
        runtime: Lambda's name for it, such as ``python3.12``.
        executable: The interpreter that answered.
        modules: Where the modules are that AWS keeps in /var/runtime, by name.
        prefixes: Where the interpreter itself is installed.
    """

    runtime: str
    executable: Path
    modules: tuple[tuple[str, Path], ...]
    prefixes: frozenset[Path] = frozenset()

    @property
    def folders(self) -> frozenset[Path]:
        """Every folder that it needs to run, those below another one left out."""
        every = self.prefixes | {place.parent for _, place in self.modules}
        return frozenset(one for one in every if not any(other in one.parents for other in every))

    def runtime_folder(self, under: Path) -> Path:
        """Make the folder that plays /var/runtime: links to those modules and to nothing else.

        The function then sees what it would see on AWS, and not what happens to be installed here.
        """
        folder = under / self.runtime
        folder.mkdir(parents=True, exist_ok=True)
        for _, place in self.modules:
            link = folder / place.name
            if not link.is_symlink():
                link.symlink_to(place)
        return folder


def probe(executable: Path) -> Interpreter | None:
    """Run an interpreter and ask who it is; None when it fails or has no runtime client."""
    argv = [str(executable), "-c", _PROBE, json.dumps(_CLIENT + _SDK)]
    try:
        answer = subprocess.run(argv, capture_output=True, text=True, timeout=_PROBE_SECONDS, check=True)  # noqa: S603 - an interpreter named on PATH
        found = json.loads(answer.stdout)
    except (OSError, subprocess.SubprocessError, json.JSONDecodeError):
        return None
    places = {name: Path(place) for name, place in found["places"].items() if place}
    prefixes = frozenset(Path(prefix) for prefix in found.get("prefixes", ()))
    return Interpreter(found["version"], executable, tuple(sorted(places.items())), prefixes)


def candidates(runtime: str) -> Iterator[Path]:
    """Every file on PATH that claims to be this runtime's interpreter, in order."""
    for folder in os.environ.get("PATH", "").split(os.pathsep):
        path = Path(folder or ".") / runtime
        if path.is_file() and os.access(path, os.X_OK):
            yield path


def find_interpreters() -> dict[str, Interpreter]:
    """Find the runtimes on offer, by Lambda's name; the interpreter that runs this comes first for its version."""
    offered: dict[str, Interpreter] = {}
    own = probe(Path(sys.executable))
    if own is not None and own.runtime in RUNTIMES:
        offered[own.runtime] = own
    for runtime in RUNTIMES:
        if runtime not in offered:
            answers = (probe(path) for path in candidates(runtime))
            match = next((found for found in answers if found and found.runtime == runtime), None)
            if match is not None:
                offered[runtime] = match
    return dict(sorted(offered.items()))
