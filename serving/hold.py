"""A deployment that is under way, as its journal knows it: begun, still going on, ended or stopped.

While it waits, it says every few minutes that it is still there, under the journal's next number. Whoever finds the
last word older than the lease may write that number instead; then this one finds it taken, and stops. So the journal's
numbers alone decide, whatever the clocks of two machines say.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from . import journal
from .aws import Aws
from .errors import AwsConflict, AwsFailed, TakenOver
from .journal import Kind
from .logbook import note
from .plan import Begin

log = logging.getLogger(__name__)
# Of the lease: late enough to write little, early enough to try again when S3 does not answer.
RENEW_AFTER = 0.5


class Hold:
    """Holds a model's journal from `begin` to `end`. May be renewed from several threads."""

    def __init__(self, aws: Aws, step: Begin, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._aws, self._step, self._now = aws, step, now
        self._seq, self._said = step.seq, now()
        self._unsure: _Word | None = None  # may have arrived, but no answer came: said again, and never otherwise
        self._lock = threading.Lock()

    def begin(self) -> None:
        """Note that it begins.

        Raises:
            AwsConflict: somebody else began first.
        """
        self._said = self._now()
        note(self._aws, self._step, Kind.BEGAN, seq=self._seq, at=self._said, published=self._step.published)

    def renew(self, published: str) -> None:
        """Note that it still goes on, where half of the lease is over; to be called while anything is waited for.

        Args:
            published: the target's own name of what is being deployed, empty while unknown.

        Raises:
            TakenOver: somebody else goes on with it. Nothing more may be changed.
            AwsFailed: S3 does not take it, and the lease is over.
        """
        with self._lock:
            now = self._now()
            if now - self._said < journal.LEASE * RENEW_AFTER:
                return
            try:
                self._write(self._unsure or _Word(Kind.RENEWED, now, published, ""))
            except AwsFailed as error:
                if now - self._said >= journal.LEASE:
                    raise
                log.warning("the journal could not be told that this goes on, and will be again: %s", error)

    def end(self, kind: Kind, published: str, reason: str = "") -> None:
        """Note how it ended, or that it was stopped.

        Raises:
            TakenOver: somebody else goes on with it.
        """
        with self._lock:
            if before := self._unsure:
                self._write(before)
                if before.kind is not Kind.RENEWED:
                    return
            self._write(_Word(kind, self._now(), published, reason))

    def _write(self, word: _Word) -> None:
        self._unsure = word
        try:
            note(self._aws, self._step, word.kind, seq=self._seq + 1, at=word.at, published=word.published,
                 reason=word.reason)
        except AwsConflict as error:
            raise TakenOver(f"this deployment was silent for longer than its lease, {journal.LEASE}, and was taken "
                            f"over. It stops here: {error}") from None
        self._seq, self._said, self._unsure = self._seq + 1, word.at, None


@dataclass(frozen=True, slots=True)
class _Word:
    """What is said in one entry?"""

    kind: Kind
    at: datetime
    published: str
    reason: str
