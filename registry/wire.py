"""The shapes that cross an edge as JSON: what a client sends in a tag, and what ledger entries carry."""

from __future__ import annotations

import math
from datetime import datetime
from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError, field_validator, model_validator

from registry.digest import digest_of
from registry.ledger import Entry, Kind, canonical, moment_of, stamp
from registry.measured import Measured
from registry.words import Actor, FileDigest, Measure, Paired

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Text = Annotated[str, Field(max_length=2000)]


class Shape(BaseModel):
    """Frozen, and unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    def dump(self) -> str:
        """Canonical JSON of this value."""
        return canonical(self.model_dump(mode="json"))


class FileShape(Shape):
    """One file's digest."""

    path: Annotated[str, Field(min_length=1, max_length=1000)]
    sha256: Sha256
    size: Annotated[int, Field(ge=0)]

    @field_validator("path")
    @classmethod
    def _one_line(cls, path: str) -> str:
        if "\n" in path:  # the digest is over lines: two files could be told as one
            raise ValueError(f"a file's name of two lines: {path!r}")
        return path


class PairedShape(Shape):
    """Candidate and champion on the same rows."""

    champion: Annotated[int, Field(ge=1)]
    champion_digest: Sha256
    rows: Annotated[int, Field(ge=1)]
    only_candidate: Annotated[int, Field(ge=0)]
    only_champion: Annotated[int, Field(ge=0)]
    relative: tuple[FiniteFloat, FiniteFloat, FiniteFloat] | None = None
    left_out: Annotated[int, Field(ge=0)] = 0

    @model_validator(mode="after")
    def _counts_fit(self) -> PairedShape:
        if self.only_candidate + self.only_champion > self.rows:
            raise ValueError("more disagreements than rows")
        return self


class EvidenceShape(Shape):
    """What `slipway check` sends in the tag `slipway.evidence`; who and when are the server's to say."""

    schema_: Literal[1] = Field(default=1, alias="schema")
    digest: Sha256
    files: Annotated[tuple[FileShape, ...], Field(min_length=1)]
    held_out: Sha256
    rows: Annotated[int, Field(ge=1)]
    measures: dict[str, float]
    paired: PairedShape | None
    measured: Measured | None = None  # evidence recorded before these gates has none

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    def dump(self) -> str:
        """Canonical JSON of this value."""
        return canonical(self.model_dump(mode="json", by_alias=True))

    @field_validator("measures")
    @classmethod
    def _finite(cls, measures: dict[str, float]) -> dict[str, float]:
        odd = [name for name, value in measures.items() if not math.isfinite(value)]
        if odd:
            raise ValueError(f"not a finite number: {', '.join(odd)}")
        return measures

    @model_validator(mode="after")
    def _digest_fits(self) -> EvidenceShape:
        if digest_of(self.file_digests()) != self.digest:
            raise ValueError("the digest is not that of the files listed")
        return self

    def file_digests(self) -> tuple[FileDigest, ...]:
        """The files as words."""
        return tuple(FileDigest(f.path, f.sha256, f.size) for f in self.files)

    def figures(self) -> tuple[Measure, ...]:
        """The numbers as words."""
        return tuple(Measure(name, value) for name, value in sorted(self.measures.items()))

    def paired_word(self) -> Paired | None:
        """The comparison as a word."""
        return Paired(**self.paired.model_dump()) if self.paired else None


class WordShape(Shape):
    """What a reviewer sends (yes, no, or never mind); with a digest, only while that one was checked last."""

    digest: Sha256 | None = None
    comment: Text = ""


class GlassShape(Shape):
    """What `slipway promote --break-glass` sends: a move that overrides gates and approvals, and why."""

    reason: Annotated[str, Field(min_length=10, max_length=2000)]
    stage: Literal["Staging", "Production"] = "Production"


class RegisteredBody(Shape):
    """Who answers for a version; `created` (ms) tells this life of the number from an earlier, deleted one."""

    authors: tuple[str, ...]
    source: str
    run_id: str | None
    created: int


class WordBody(Shape):
    """A reviewer's word on a digest, given on the evidence in that entry; `by_moving`: implied by a verified move."""

    digest: Sha256
    evidence: int
    comment: Text
    by_moving: bool = False


class MovedBody(Shape):
    """A move between stages, with what it displaced and what it rested on.

    `glass`: why it overrode those reasons. `call`: the command that asked for it, as it named itself.
    """

    source: str
    target: str
    displaced: tuple[int, ...]
    digest: Sha256 | None
    evidence: int | None
    approvals: tuple[int, ...]
    via: str
    glass: str | None = None
    overridden: tuple[str, ...] = ()
    call: str | None = None


class DeletedBody(Shape):
    """A version that was deleted, and where it stood."""

    source: str


S = TypeVar("S", bound=Shape)


def read(shape: type[S], text: str) -> S:
    """Parse JSON into a shape.

    Raises:
        ValueError: in one line, naming the first key that is wrong and why.
    """
    try:
        return shape.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "it"
        raise ValueError(f"{where}: {first['msg']}") from None


class EntryShape(Shape):
    """A ledger entry as it travels and as it is exported, one JSON line each."""

    seq: int
    at: str
    kind: Kind
    model: str
    version: int
    actor: str
    verified: bool
    body: str
    prev: str
    hash: str

    @classmethod
    def of(cls, entry: Entry) -> EntryShape:
        """Wrap an entry."""
        return cls(
            seq=entry.seq, at=stamp(entry.at), kind=entry.kind, model=entry.model, version=entry.version,
            actor=entry.actor.name, verified=entry.actor.verified, body=entry.body, prev=entry.prev, hash=entry.hash,
        )  # fmt: skip

    def entry(self) -> Entry:
        """Unwrap it; its hash is not checked here."""
        return Entry(
            seq=self.seq, at=moment_of(self.at), kind=self.kind, model=self.model, version=self.version,
            actor=Actor(self.actor, self.verified), body=self.body, prev=self.prev, hash=self.hash,
        )  # fmt: skip


class LedgerPage(Shape):
    """What the server answers: some entries, and where the chain ends now."""

    entries: tuple[EntryShape, ...]
    head_seq: int
    head_hash: str


class TokenShape(Shape):
    """What the server tells about a token; what it opens with, it tells once, beside this."""

    id: str
    owner: str
    note: str
    created: datetime
    expires: datetime
    revoked: datetime | None = None
