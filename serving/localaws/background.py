"""The local AWS in the background: started once, found again, stopped, forgotten.

The state folder says everything: whose lock it is runs there, ``running.json`` says how it is reached, ``log`` what it
said. A process number alone would not do: after a restart of the machine it may be somebody else's.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from serving.localaws.errors import LocalAwsError, LocalAwsRefused

FOLDER = Path(".slipway") / "local"
LOCK, TOLD, LOG = "lock", "running.json", "log"
# Everything that a state folder holds; what else lies there is the user's and stays.
OURS = frozenset({LOCK, TOLD, LOG, "account.json", "objects", "packages", "models", "scratch", "runtimes"})
_START_SECONDS, _STOP_SECONDS, _LOOK_SECONDS = 60.0, 20.0, 0.05


@dataclass(frozen=True, slots=True)
class Running:
    """A local AWS that runs.

    Attributes:
        pid: Its process.
        since: When it began, in ISO 8601.
        arguments: The options with which it was started.
        environment: The variables with which AWS clients find it.
    """

    pid: int
    since: str
    arguments: tuple[str, ...]
    environment: dict[str, str]


def announce(folder: Path, running: Running) -> None:
    """Write how it is reached, whole or not at all."""
    draft = folder / f"{TOLD}.part"
    draft.write_text(json.dumps(asdict(running)))
    draft.replace(folder / TOLD)


def running_in(folder: Path) -> Running | None:
    """Which local AWS keeps its account in this folder? None when none runs, or it is only just starting."""
    if not _held(folder):
        return None
    try:
        told = json.loads((folder / TOLD).read_text())
        return Running(**{**told, "arguments": tuple(told["arguments"])})
    except (OSError, ValueError, TypeError, KeyError):
        return None


def start(folder: Path, arguments: Sequence[str]) -> Running:
    """Start one that outlives this process, and wait until it answers.

    Raises:
        LocalAwsError: It ended at once; the message holds what it said.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / TOLD).unlink(missing_ok=True)
    argv = [sys.executable, "-m", "serving.localaws", "--state", str(folder), "--announce", *arguments]
    with (folder / LOG).open("ab") as log:
        begin = log.tell()
        process = subprocess.Popen(  # noqa: S603 - this interpreter, this package
            argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        found = running_in(folder)
        if found is not None and found.pid == process.pid:
            return found
        if process.poll() is not None:
            raise LocalAwsError(f"the local AWS did not start: {_said(folder / LOG, begin)}")
        time.sleep(_LOOK_SECONDS)
    process.kill()
    raise LocalAwsError(f"the local AWS did not answer within {_START_SECONDS:.0f} s; {folder / LOG} has what it said")


def stop(folder: Path) -> Running | None:
    """End the local AWS of this folder, and everything that it started; None when none runs."""
    running = running_in(folder)
    if running is None:
        return None
    for number, seconds in ((signal.SIGTERM, _STOP_SECONDS), (signal.SIGKILL, _STOP_SECONDS)):
        with contextlib.suppress(ProcessLookupError):
            os.kill(running.pid, number)
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if not _held(folder):
                (folder / TOLD).unlink(missing_ok=True)
                return running
            time.sleep(_LOOK_SECONDS)
    raise LocalAwsError(f"process {running.pid} does not end. Next: look at {folder / LOG}")


def forget(folder: Path) -> list[str]:
    """Delete the account that was kept in this folder; the names of what lies there beside it and stays.

    Raises:
        LocalAwsRefused: One still runs there, or no local AWS ever did.
    """
    if _held(folder):
        raise LocalAwsRefused(f"a local AWS runs in {folder}. Next: slipway local down")
    if not (folder / LOCK).exists():
        raise LocalAwsRefused(f"{folder} holds no account of a local AWS. Next: slipway local reset --state FOLDER")
    stays = []
    for entry in sorted(folder.iterdir()):
        if entry.name not in OURS:
            stays.append(entry.name)
        elif entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()
    if not stays:
        folder.rmdir()
    return stays


def inventory(running: Running) -> dict[str, int]:
    """How many buckets, functions, endpoints and processes does it hold?

    Raises:
        LocalAwsError: It does not answer.
    """
    url = f"{running.environment['AWS_ENDPOINT_URL']}/_slipway/inventory"
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 - our own, on this machine
            found: dict[str, int] = json.load(answer)
    except OSError as error:
        raise LocalAwsError(f"process {running.pid} does not answer ({error}). Next: slipway local down") from error
    return found


def _held(folder: Path) -> bool:
    """Does a process hold the folder? The lock goes with the process, however it ends."""
    try:
        with (folder / LOCK).open() as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False


def _said(log: Path, begin: int) -> str:
    with log.open("rb") as lines:
        lines.seek(begin)
        text = lines.read().decode(errors="replace").strip()
    return text.removeprefix("Error: ").removeprefix("error: ") or "it said nothing"
