"""The journal of one model's deployments to one target, where it lies in S3."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Generic

from . import journal
from .aws import Aws
from .config import Settings
from .errors import AwsConflict, AwsMissing
from .history import History, keys_of
from .journal import Entry, Kind, S, Shipped, this_process
from .names import DEPLOYMENTS, after_journal, deployed_models, entry_key, journal_prefix
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
        """What was begun and ended, oldest first? All of it; what a command asks for is in `history`."""
        return list(self.history())

    def history(self) -> History[S]:
        """The same, each entry fetched when somebody looks at it: the newest are, and a journal may be long."""
        storage = self.aws.storage
        return History(
            keys_of(partial(storage.page, self.bucket, self.prefix), self.prefix),
            listed=partial(storage.keys, self.bucket, self.prefix),
            read=partial(storage.read_unchanging, self.bucket), shape=self.shape)  # under create-only keys

    def read_free(self) -> History[S]:
        """The same, for somebody who is about to deploy.

        Raises:
            Refused: somebody else is deploying.
        """
        entries = self.history()
        journal.require_free(entries, datetime.now(UTC), journal.may_be_alive)
        return entries

    def begin(self, seq: int, shipped: Shipped, *, published: str, previous: str, reason: str = "") -> Begin:
        """The step that notes that a deployment begins, after entry ``seq``."""
        return Begin(self.bucket, self.prefix, seq + 1, shipped, published, previous, reason)


def note(
    aws: Aws, begin: Begin, kind: Kind, *, published: str, reason: str = "", seq: int = 0, at: datetime | None = None
) -> None:
    """Write that a deployment began, goes on or ended, under a number that must still be free.

    Args:
        aws: where the journal lies.
        begin: what is deployed.
        kind: what is said of it.
        published: the target's own name of what is deployed, empty while unknown.
        reason: why it failed or was stopped.
        seq: the number; without it the first one, or the one after for what is not a beginning.
        at: the time; now without it.

    Raises:
        AwsConflict: somebody else wrote that number first; says who.
    """
    who, host, process = this_process()
    entry: Entry[Shipped] = Entry(
        seq=seq or begin.seq + (kind is not Kind.BEGAN), kind=kind, at=at or datetime.now(UTC), who=who, host=host,
        process=process, shipped=begin.shipped, published=published or begin.published, previous=begin.previous,
        reason=reason or begin.reason)
    key = entry_key(begin.prefix, entry.seq)
    try:
        aws.storage.create_bytes(begin.bucket, key, entry.to_bytes())
    except AwsConflict:
        found = aws.storage.read(begin.bucket, key)
        if found != entry.to_bytes():  # else it was us, and the first answer was lost
            first = f"{journal.author(found)} began to deploy {begin.shipped.model} meanwhile, and was first"
            raise AwsConflict(f"{first}. Next: slipway status, then run this again") from None


def deployed_in(aws: Aws, bucket: str, under: str = DEPLOYMENTS) -> dict[str, tuple[str, ...]]:
    """Which models were ever deployed, and to which targets? What is left of a journal at a page's end is skipped.

    Raises:
        AwsMissing: there is no bucket.
    """
    found: set[str] = set()
    after, more = "", True
    while more:
        try:
            keys, more = aws.storage.page(bucket, under, after)
        except AwsMissing as error:
            raise AwsMissing(f"there is no bucket {bucket}, where releases and their journals lie (region "
                             f"{aws.region}). Next: the right region (AWS_REGION), account or bucket (slipway.yaml); "
                             "or slipway iam --cloudformation prints a stack that makes it", code=error.code) from None
        found |= {key.rpartition("/")[0] + "/" for key in keys}
        after = after_journal(keys[-1]) if keys else ""
    return deployed_models(found)


def bucket_of(aws: Aws, settings: Settings) -> str:
    """In which bucket do releases and journals lie?"""
    return settings.bucket or f"{settings.prefix}-{aws.account()}-{aws.region}"
