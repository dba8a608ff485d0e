"""Gives processes the paths they would have on AWS: with bubblewrap where it works, by variables where not.

bubblewrap (Debian's ``bubblewrap``; no daemon, no image, no root) makes /var/task, /var/runtime, /opt and /opt/ml/model
real and read-only. Without it a function finds its files through LAMBDA_TASK_ROOT and PYTHONPATH, as most code does.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

_PROBE_SECONDS = 5
_MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Layout:
    """How to start a process, and where it will find things."""

    argv: tuple[str, ...]
    cwd: Path
    task: Path
    runtime: Path
    opt: Path | None
    home: Path


@dataclass(frozen=True, slots=True)
class Folders:
    """What a function is made of, on this machine. ``needed`` are the interpreter's own folders."""

    task: Path
    runtime: Path
    opt: Path | None
    home: Path
    needed: frozenset[Path]


@dataclass(frozen=True, slots=True)
class Sandbox:
    """The way processes are put in place; ``bwrap`` is None where there is none that works."""

    bwrap: Path | None = None

    @classmethod
    def find(cls) -> Sandbox:
        """Look for a bubblewrap that works: user namespaces may be forbidden where it is installed."""
        found = shutil.which("bwrap")
        if found is None:
            return cls()
        try:
            argv = [found, "--ro-bind", "/", "/", "--tmpfs", "/opt", "true"]
            subprocess.run(argv, check=True, capture_output=True, timeout=_PROBE_SECONDS)  # noqa: S603 - found on PATH
        except (OSError, subprocess.SubprocessError):
            return cls()
        return cls(Path(found))

    def function(self, argv: Sequence[str], folders: Folders, *, scratch_mib: int) -> Layout:
        """Place a Lambda function: everything read-only but /tmp, which is its own and of that size."""
        if self.bwrap is None:
            return Layout(tuple(argv), folders.task, folders.task, folders.runtime, folders.opt, folders.home)
        task, runtime, opt = Path("/var/task"), Path("/var/runtime"), Path("/opt")
        shown = [(folders.task, task), (folders.runtime, runtime), *([(folders.opt, opt)] if folders.opt else [])]
        hidden = ["--tmpfs", "/var", "--tmpfs", "/opt", "--size", str(scratch_mib * _MIB), "--tmpfs", "/tmp"]  # noqa: S108
        wrapped = (
            *(str(self.bwrap), "--die-with-parent", "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc"),
            *hidden,
            *_bound(shown),
            *_bound((path, path) for path in sorted(folders.needed)),
            *("--chdir", str(task), "--"),
            *argv,
        )
        return Layout(wrapped, Path("/"), task, runtime, opt if folders.opt else None, Path("/tmp"))  # noqa: S108

    def container(self, argv: Sequence[str], model: Path, needed: Iterable[Path]) -> tuple[str, ...]:
        """Place a SageMaker container: its model at `model_dir`, the rest of the machine as it is."""
        if self.bwrap is None:
            return tuple(argv)
        return (
            *(str(self.bwrap), "--die-with-parent", "--dev-bind", "/", "/", "--tmpfs", "/opt"),
            *_bound([(model, self.model_dir(model)), *((path, path) for path in sorted(needed))]),
            *("--", *argv),
        )

    def model_dir(self, model: Path) -> Path:
        """Where a container finds its model."""
        return model if self.bwrap is None else Path("/opt/ml/model")


def _bound(pairs: Iterable[tuple[Path, Path]]) -> list[str]:
    return [word for source, target in pairs for word in ("--ro-bind", str(source), str(target))]
