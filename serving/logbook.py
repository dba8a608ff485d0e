"""The journal of one model's deployments to one target, where it lies in S3."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Generic

from . import journal
from .aws import Aws
from .config import Settings
from .errors import AwsConflict
from .journal import Entry, Kind, S, Shipped, this_process
from .names import journal_prefix
from .plan import Begin


@dataclass(frozen=True, slots=True)
class Logbook(Generic[S]):
    """Where the entries of one journal are read. ``shape`` says what the target ships."""

    aws: Aws
    bucket: str
    model: str
    target: str
    shape: type[S]

    @property
    def prefix(self) -> str:
        """Under which S3 prefix do the entries lie?"""
        return journal_prefix(self.model, self.target)

    def read(self) -> list[Entry[S]]:
        """What was begun and ended, oldest first?"""
        keys = self.aws.storage.keys(self.bucket, self.prefix)
        bodies = self.aws.storage.read_unchanging(self.bucket, keys)  # under create-only keys
        return [journal.parse(body, key, self.shape) for key, body in zip(keys, bodies, strict=True)]

    def read_free(self) -> list[Entry[S]]:
        """The same, for somebody who is about to deploy.

        Raises:
            Refused: somebody else is deploying.
        """
        entries = self.read()
        journal.require_free(entries, datetime.now(UTC), journal.may_be_alive)
        return entries

    def begin(self, seq: int, shipped: Shipped, *, published: str, previous: str, reason: str = "") -> Begin:
        """The step that notes that a deployment begins, after entry ``seq``."""
        return Begin(self.bucket, self.prefix, seq + 1, shipped, published, previous, reason)


def note(aws: Aws, begin: Begin, kind: Kind, *, published: str, reason: str = "") -> None:
    """Write that a deployment began, or how it ended, under a number that must still be free.

    Raises:
        AwsConflict: somebody else wrote that number first.
    """
    who, host, process = this_process()
    seq = begin.seq if kind is Kind.BEGAN else begin.seq + 1
    entry: Entry[Shipped] = Entry(
        seq=seq, kind=kind, at=datetime.now(UTC), who=who, host=host, process=process, shipped=begin.shipped,
        published=published or begin.published, previous=begin.previous,
        reason=reason or begin.reason)
    try:
        aws.storage.create_bytes(begin.bucket, f"{begin.prefix}{seq:06}.json", entry.to_bytes())
    except AwsConflict:
        raise AwsConflict(f"somebody else began to deploy {begin.shipped.model} at the same time, and was first. "
                          "Next: slipway status, then run this again") from None


def bucket_of(aws: Aws, settings: Settings) -> str:
    """In which bucket do releases and journals lie?"""
    return settings.bucket or f"{settings.prefix}-{aws.account()}-{aws.region}"
