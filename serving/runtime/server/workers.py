"""The processes that share one port, and the one that watches them."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import sys
import time
from collections import deque
from contextlib import suppress
from typing import NamedTuple

STOPS = (signal.SIGTERM, signal.SIGINT)
HEARD = (*STOPS, signal.SIGCHLD)  # by whoever watches, one after the other; blocked until a worker can hear them
DEATHS, WITHIN = 5, 60.0  # so many workers that die in so many seconds are no accident
PR_SET_PDEATHSIG = 1  # linux/prctl.h


class Ended(NamedTuple):
    """With which exit code did the workers end?"""

    code: int


def start(many: int, listener: socket.socket) -> int | Ended:
    """Which of the workers is this process? In the one that watches them: how did they end?

    A worker that dies by itself is replaced, and the port goes on being answered. When many die in a short time, all
    are stopped: the platform starts the container anew.

    Args:
        many: how many. The signals `HEARD` are blocked in every thread.
        listener: the port; closed in the process that watches once it stops.
    """
    signal.signal(signal.SIGCHLD, lambda number, frame: None)  # the default may throw it away
    watch = Watch(listener)
    due = list(range(many))
    while True:
        for number in due:
            if watch.fork(number):
                return number
        if not watch.numbers:
            return Ended(watch.code)
        due = watch.heard(signal.sigwait(HEARD))


class Watch:
    """Who runs, and what is to be done when a signal comes?

    Attributes:
        numbers: process id -> number of the worker.
        code: what the whole ends with.
    """

    def __init__(self, listener: socket.socket) -> None:
        self.numbers: dict[int, int] = {}
        self.code = 0
        self._listener = listener
        self._deaths: deque[float] = deque(maxlen=DEATHS)
        self._stopping = False

    def fork(self, number: int) -> bool:
        """Start a worker; is this process it?"""
        parent, child = os.getpid(), os.fork()
        if child:
            self.numbers[child] = number
            return False
        with suppress(AttributeError, OSError):  # Linux only: who watches may be killed, and nobody else would stop us
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
            if os.getppid() != parent:
                os.kill(os.getpid(), signal.SIGTERM)
        return True

    def heard(self, name: int) -> list[int]:
        """Which workers are to be started again?"""
        if name != signal.SIGCHLD:
            self._stop(name)
            return []
        due = []
        while self.numbers:
            child, status = os.waitpid(-1, os.WNOHANG)
            if not child:
                break
            number, code = self.numbers.pop(child), os.waitstatus_to_exitcode(status)
            if self._stopping:
                self.code = self.code or int(code != 0)
            else:
                self._died(number, code)
                due.append(number)
        return [] if self._stopping else due

    def _died(self, number: int, code: int) -> None:
        now = time.monotonic()
        self._deaths.append(now)
        many = len(self._deaths) == DEATHS and now - self._deaths[0] < WITHIN
        then = f"the {DEATHS}th in {WITHIN:g} s: all are stopped" if many else "it is replaced"
        print(f"worker {number} ended with {code}; {then}", file=sys.stderr, flush=True)
        if many:
            self.code = 1
            self._stop(signal.SIGTERM)

    def _stop(self, name: int) -> None:
        self._stopping = True
        self._listener.close()
        for child in self.numbers:
            with suppress(ProcessLookupError):  # it ended in this moment
                os.kill(child, name)
