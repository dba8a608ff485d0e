"""What a deployment will do, as plain data: the plan printed is the plan run. Pure.

The steps that every target shares are here; those of one target stand beside it, as in targets/lambda_/steps.py.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from .journal import Shipped
from .names import entry_key
from .preflight import Check


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that a deployment does; printed as it reads."""


@dataclass(frozen=True, slots=True)
class Upload(Step):
    """Put a file in S3 under a key that is still free."""

    bucket: str
    key: str
    path: Path
    sha256: str
    size: int

    def __str__(self) -> str:
        return f"upload      s3://{self.bucket}/{short(self.key)} ({_size(self.size)})"


@dataclass(frozen=True, slots=True)
class DeleteObjects(Step):
    """Delete what lies under these S3 keys, and nobody needs anymore; a key that is gone already is no fault."""

    bucket: str
    prefix: str
    keys: tuple[str, ...]

    def __str__(self) -> str:
        many = f"{len(self.keys)} object{'' if len(self.keys) == 1 else 's'}"
        return f"delete      s3://{self.bucket}/{short(self.prefix)} ({many})"


@dataclass(frozen=True, slots=True)
class AbortUpload(Step):
    """Let S3 forget an upload in parts that was begun long ago and never completed; its parts are paid for."""

    bucket: str
    key: str
    number: str
    began: datetime

    def __str__(self) -> str:
        return f"abort       s3://{self.bucket}/{short(self.key)}, an upload cut off on {self.began:%Y-%m-%d}"


@dataclass(frozen=True, slots=True)
class Begin(Step):
    """Note in the journal what is about to happen, so that nobody else begins and a killed deploy is seen.

    Attributes:
        seq: the number of the entry; taken by somebody else, the deploy ends before it changes anything more.
        published: the target's own name of what is deployed, when it is known already: a Lambda version, say.
        previous: what serves now, empty when nothing does.
        reason: `journal.PRUNE` when nothing is deployed, `journal.ROLLBACK` when an earlier release is.
    """

    bucket: str
    prefix: str
    seq: int
    shipped: Shipped
    published: str
    previous: str
    reason: str = ""

    def __str__(self) -> str:
        return f"note        that it begins: {entry_key(self.prefix, self.seq)}"


@dataclass(frozen=True, slots=True)
class Done(Step):
    """Note in the journal that it is in service."""

    begin: Begin

    def __str__(self) -> str:
        return f"note        that it is done: {entry_key(self.begin.prefix, self.begin.seq + 1)}"


@dataclass(frozen=True, slots=True)
class Plan:
    """Which steps lead from what is there to what is wanted? Falsy when nothing is left to do.

    Attributes:
        facts: by what it will cost: memory, machines, what stands ready.
        checks: what was looked at beforehand, and stands not against it.
    """

    title: str
    steps: tuple[Step, ...]
    facts: tuple[str, ...] = ()
    checks: tuple[Check, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.steps)

    def lines(self) -> list[str]:
        """How is it printed, one line for each step?"""
        return [f"{number:3}. {step}" for number, step in enumerate(self.steps, start=1)]


def noted(title: str, steps: Sequence[Step], begin: Begin) -> Plan:
    """The same steps between the two entries of the journal that say so."""
    return Plan(title, (begin, *steps, Done(begin)))


def _size(count: int) -> str:
    return f"{count / 1e6:.1f} MB" if count >= 1e5 else f"{count / 1e3:.1f} kB"


def short(text: str) -> str:
    """The text with every SHA-256 cut to the twelve digits that people compare."""
    return re.sub(r"\b([0-9a-f]{12})[0-9a-f]{52}\b", r"\1", text)
