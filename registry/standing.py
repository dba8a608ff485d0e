"""What does the ledger say about one version? A fold over its entries. No I/O happens here."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from registry.ledger import Entry, Kind
from registry.wire import EvidenceShape, MovedBody, RegisteredBody, WordBody, read
from registry.words import Approval, Evidence, Rejection, Stage


@dataclass(frozen=True, slots=True)
class Standing:
    """All that counts about a version: who answers for it, what was measured last, who consented.

    `created` (ms) is when the registry says this life of the version began; None: nobody recorded it.
    `released`: it has stood in Production. `stands_on`: the digest it was last moved on, if it was.
    """

    authors: tuple[str, ...] = ()
    created: int | None = None
    evidence: Evidence | None = None
    approvals: tuple[Approval, ...] = ()
    rejections: tuple[Rejection, ...] = ()
    released: bool = False
    stands_on: str | None = None

    @property
    def protected(self) -> bool:
        """Somebody relies on it: approved, or once in Production (the way back)."""
        return bool(self.approvals) or self.released


def standing(entries: Iterable[Entry]) -> Standing:
    """Fold one version's entries, oldest first; registering or deleting it starts it afresh."""
    now = Standing()
    for entry in entries:
        now = _STEPS[entry.kind](now, entry)
    return now


def _registered(_: Standing, entry: Entry) -> Standing:
    body = read(RegisteredBody, entry.body)
    return Standing(authors=body.authors, created=body.created)


def _checked(now: Standing, entry: Entry) -> Standing:
    return replace(now, evidence=evidence_of(entry))


def _approved(now: Standing, entry: Entry) -> Standing:
    now = _unsaid(now, entry)
    return replace(now, approvals=(*now.approvals, approval_of(entry)))


def _rejected(now: Standing, entry: Entry) -> Standing:
    now, body = _unsaid(_withdrawn(now, entry, rejections=False), entry), read(WordBody, entry.body)
    said = Rejection(entry.actor, body.digest, entry.at, body.comment, entry.seq)
    return replace(now, rejections=(*now.rejections, said))


def _unsaid(now: Standing, entry: Entry) -> Standing:
    """Without what this person said before about these bytes: only the last word of each counts."""
    who, digest = entry.actor.name, read(WordBody, entry.body).digest
    return replace(
        now,
        approvals=tuple(a for a in now.approvals if (a.approver.name, a.digest) != (who, digest)),
        rejections=tuple(r for r in now.rejections if (r.by.name, r.digest) != (who, digest)),
    )


def _withdrawn(now: Standing, entry: Entry, rejections: bool = True) -> Standing:
    """Without anything that this person said, about these bytes or others.

    Evidence for other bytes may be sent between a yes and the no that takes it back, and the first sent again after.
    """
    who = entry.actor.name
    return replace(
        now,
        approvals=tuple(a for a in now.approvals if a.approver.name != who),
        rejections=tuple(r for r in now.rejections if r.by.name != who or not rejections),
    )


def _moved(now: Standing, entry: Entry) -> Standing:
    body = read(MovedBody, entry.body)
    return replace(now, released=now.released or body.target == Stage.PRODUCTION.value, stands_on=body.digest)


def _deleted(_: Standing, __: Entry) -> Standing:
    return Standing()


_STEPS = {
    Kind.REGISTERED: _registered,
    Kind.CHECKED: _checked,
    Kind.APPROVED: _approved,
    Kind.REJECTED: _rejected,
    Kind.WITHDRAWN: _withdrawn,
    Kind.MOVED: _moved,
    Kind.DELETED: _deleted,
}


def evidence_of(entry: Entry) -> Evidence:
    """The evidence that an entry holds, its verdicts left to whoever knows the policy."""
    body = read(EvidenceShape, entry.body)
    return Evidence(
        digest=body.digest,
        files=body.file_digests(),
        held_out=body.held_out,
        rows=body.rows,
        measures=body.figures(),
        paired=body.paired_word(),
        by=entry.actor,
        at=entry.at,
        entry=entry.seq,
        measured=body.measured,
    )


def approval_of(entry: Entry) -> Approval:
    """The approval that an entry holds."""
    body = read(WordBody, entry.body)
    return Approval(entry.actor, body.digest, entry.at, body.comment, body.evidence, entry.seq)
