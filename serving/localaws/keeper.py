"""Writes the account to its state folder while it changes, and reads it at the start."""

from __future__ import annotations

import fcntl
import json
import logging
import threading
import time
from pathlib import Path
from typing import IO, Any

from serving.localaws import kept
from serving.localaws.endpoints import EndpointService
from serving.localaws.errors import LocalAwsError
from serving.localaws.functions import FunctionService
from serving.localaws.objects import Objects

_log = logging.getLogger(__name__)

_SCHEMA = 1
_EVERY_SECONDS = 1.0
_LOCK_ATTEMPTS, _LOCK_SECONDS = 5, 0.02


class Keeper:
    """Keeps the account in ``account.json`` and ``objects/`` of the state folder.

    A change is on disk within a second; whoever kills the local AWS loses at most that.

    Raises:
        LocalAwsError: Another local AWS has this folder.
    """

    def __init__(self, folder: Path, functions: FunctionService, endpoints: EndpointService) -> None:
        self._file = folder / "account.json"
        self._objects = Objects(folder / "objects")
        self._functions = functions
        self._endpoints = endpoints
        self._lock = _locked(folder / "lock")
        self._last = ""
        self._failed = ""
        self._stop = threading.Event()

    def load(self) -> None:
        """Put back what was kept, if anything was.

        Raises:
            LocalAwsError: The file is not one of ours, or of another version.
        """
        if not self._file.exists():
            return
        try:
            data: dict[str, Any] = json.loads(self._file.read_text())
            if data["schema"] != _SCHEMA:
                raise ValueError(f"schema {data['schema']}, wanted {_SCHEMA}")
            self._objects.load(data["buckets"])
            if "rest" in data:  # accounts kept before 2026-11-25 have it not
                kept.load(data["rest"])
            self._functions.load(data["functions"])
            self._endpoints.load(data["endpoints"])
        except (ValueError, KeyError, TypeError, OSError) as error:
            raise LocalAwsError(
                f"{self._file} cannot be read ({error!r}). Next: start with another --state, or delete its folder"
            ) from error

    def start(self) -> None:
        """Begin to write."""
        threading.Thread(target=self._run, daemon=True).start()

    def stop(self) -> None:
        """Write once more, and then no more."""
        self._stop.set()
        try:
            self._save()
        except OSError as error:  # whatever runs must be ended nevertheless
            self._tell(error)

    def release(self) -> None:
        """Leave the folder to others."""
        self._lock.close()

    def _run(self) -> None:
        while not self._stop.wait(_EVERY_SECONDS):
            try:
                self._save()
            except RuntimeError:
                continue  # something changed while it was read: the next round has it
            except OSError as error:  # a full disk may have room again
                self._tell(error)

    def _tell(self, error: OSError) -> None:
        if str(error) != self._failed:
            self._failed = str(error)
            _log.error("the account cannot be kept in %s: %s. Next: make room there; it is tried again",
                       self._file.parent, error.strerror)

    def _save(self) -> None:
        account = {
            "schema": _SCHEMA,
            "buckets": self._objects.dump(),
            "rest": kept.dump(),
            "functions": self._functions.dump(),
            "endpoints": self._endpoints.dump(),
        }
        text = json.dumps(account)
        if text != self._last:
            draft = self._file.with_suffix(".part")
            draft.write_text(text)
            draft.replace(self._file)
            self._last, self._failed = text, ""


def _locked(file: Path) -> IO[str]:
    """Hold a state folder for this process alone; the lock goes with the process, however it ends."""
    held = file.open("w")
    for attempt in range(_LOCK_ATTEMPTS):  # whoever asks whether it is held, holds it for a moment
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if attempt + 1 < _LOCK_ATTEMPTS:
                time.sleep(_LOCK_SECONDS)
                continue
            held.close()
            raise LocalAwsError(
                f"another local AWS keeps its account in {file.parent}. Next: stop it, or start with another --state"
            ) from error
        break
    return held
