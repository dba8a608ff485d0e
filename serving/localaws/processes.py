"""Child processes that never outlive the local AWS, whichever way it ends.

Two nets, because each has a hole. ``PR_SET_PDEATHSIG`` kills a child when its parent is killed, but not the child's
own children, and it does not exist on macOS. A guard process holds a list of process groups and kills them when its
stdin closes, but a parent killed between the fork and the note to the guard would leave one behind.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO

# The signal fires when the forking *thread* ends, not the process: fork from one thread that never does (prctl(2)).
_FORKER = ThreadPoolExecutor(max_workers=1, thread_name_prefix="slipway-forker")
_PR_SET_PDEATHSIG = 1

# Reads "+PGID" and "-PGID"; end of input means that the local AWS is gone, however it went.
_GUARD_SOURCE = """
import os, shutil, signal, sys
for name in ("SIGINT", "SIGTERM", "SIGHUP"):
    signal.signal(getattr(signal, name), signal.SIG_IGN)
groups = set()
for line in sys.stdin:
    (groups.add if line[0] == "+" else groups.discard)(int(line[1:]))
for group in groups:
    try:
        os.killpg(group, signal.SIGKILL)
    except OSError:
        pass
for folder in sys.argv[1:]:
    shutil.rmtree(folder, ignore_errors=True)
"""


def _death_signal() -> Callable[[], None] | None:
    """A step for the child, right after the fork, or None where the system has no such signal."""
    if not sys.platform.startswith("linux"):
        return None
    prctl = ctypes.CDLL(None).prctl
    return lambda: prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) and None


class Nursery:
    """Who starts the emulator's processes, and makes sure that none is left behind?

    Args:
        scratch: A folder that goes with them.
    """

    def __init__(self, scratch: Path | None = None) -> None:
        self._lock = threading.Lock()
        self._groups: set[int] = set()
        self._closed = False
        self._after_fork = _death_signal()
        self._guard = subprocess.Popen(  # noqa: S603 - this interpreter, source above
            [sys.executable, "-S", "-c", _GUARD_SOURCE, *([str(scratch)] if scratch else [])],
            stdin=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def spawn(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        cwd: Path | None = None,
        output: int | IO[bytes] = subprocess.PIPE,
    ) -> subprocess.Popen[bytes]:
        """Start a process in a group of its own; stderr goes where stdout goes.

        Raises:
            RuntimeError: The nursery has been closed.
        """
        return _FORKER.submit(self._fork, list(argv), dict(env), cwd, output).result()

    def _fork(
        self, argv: list[str], env: dict[str, str], cwd: Path | None, output: int | IO[bytes]
    ) -> subprocess.Popen[bytes]:
        with self._lock:
            if self._closed:
                raise RuntimeError("the local AWS is stopping; it starts no more processes")
            process = subprocess.Popen(  # noqa: S603 - running the user's code is what this is for
                argv,
                env=env,
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=self._after_fork,
            )
            self._groups.add(process.pid)
            self._tell_guard(f"+{process.pid}\n")
            return process

    def foreground(self, argv: Sequence[str], env: Mapping[str, str]) -> subprocess.Popen[bytes]:
        """Start a process that shares this one's terminal and process group, so that Ctrl-C reaches it too."""
        return _FORKER.submit(subprocess.Popen, list(argv), env=dict(env), preexec_fn=self._after_fork).result()

    def kill(self, process: subprocess.Popen[bytes]) -> None:
        """End a process and everything it started, and collect it."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        with self._lock:
            self._groups.discard(process.pid)
            self._tell_guard(f"-{process.pid}\n")

    def count(self) -> int:
        """How many processes were started and not ended?"""
        with self._lock:
            return len(self._groups)

    def close(self) -> None:
        """End every process still there; after this none can be started."""
        with self._lock:
            self._closed = True
            groups, self._groups = self._groups, set()
        for group in groups:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(group, signal.SIGKILL)
        if self._guard.stdin is not None:
            self._guard.stdin.close()
        self._guard.wait()

    def _tell_guard(self, line: str) -> None:
        if self._guard.stdin is not None:
            with contextlib.suppress(BrokenPipeError, ValueError):
                self._guard.stdin.write(line)
                self._guard.stdin.flush()


def family(pid: int) -> list[int]:
    """Which processes belong to this one: itself and all below it (Linux; elsewhere only itself)."""
    found, waiting = [], [pid]
    while waiting:
        current = waiting.pop()
        found.append(current)
        with contextlib.suppress(OSError):
            waiting += [int(child) for child in Path(f"/proc/{current}/task/{current}/children").read_text().split()]
    return found


def memory_mib(pid: int, field: str = "VmRSS") -> int:
    """How much memory do a process and its children hold, in MiB? ``field`` may be VmHWM for the highest so far."""
    total = 0
    for member in family(pid):
        with contextlib.suppress(OSError, StopIteration, ValueError):
            lines = Path(f"/proc/{member}/status").read_text().splitlines()
            total += int(next(line for line in lines if line.startswith(field)).split()[1])
    return total // 1024
