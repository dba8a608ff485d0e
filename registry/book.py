"""The ledger while one transaction is open: what it says about a version, and writing the next entry.

The lock is taken when a book is opened for writing, so what it says cannot change until the transaction ends; who acts
and what time it is are settled at the same moment, once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from registry import policy, shown
from registry.errors import PromotionRefused
from registry.freeze import stored_at
from registry.gates import Champion
from registry.identity import NOBODY
from registry.ledger import Draft, Entry, Kind
from registry.promotion import Case, cannot_approve
from registry.standing import Standing, standing
from registry.wire import DeletedBody, EvidenceShape, MovedBody, RegisteredBody, Shape, WordBody, WordShape, read
from registry.words import Actor, Decision, ModelVersion, Stage


@dataclass(frozen=True, slots=True)
class Found:
    """A version as the registry's tables hold it.

    `created` (ms) is when this life of its number began, `location` where its files lie.
    """

    version: ModelVersion
    created: int
    location: str

    @property
    def model(self) -> str:
        """Its model's name."""
        return self.version.name

    @property
    def number(self) -> int:
        """Its number."""
        return self.version.number

    def __str__(self) -> str:
        return str(self.version)


class Pages(Protocol):
    """Where a book is written: a database's tables in one transaction (`tables.Chain`)."""

    def append(self, draft: Draft) -> Entry:
        """Write one entry at the end of the chain."""

    def of_version(self, model: str, version: int) -> Iterable[Entry]:
        """All entries of one version, oldest first."""

    def freeze(self, path: str, model: str, version: int) -> None:
        """From now on nothing under this path may be written."""


@dataclass(frozen=True, slots=True)
class Book:
    """The ledger while it is open for somebody, and when that is; `call`: what they name the call that opened it."""

    pages: Pages
    actor: Actor
    now: datetime
    call: str | None

    def write(self, kind: Kind, model: str, version: int, body: Shape) -> Entry:
        """Append one entry; it is there when the transaction is, and else never was."""
        return self.pages.append(Draft(self.now, kind, model, version, self.actor, body.dump()))

    def standing(self, found: Found) -> Standing:
        """What the ledger says about a version.

        A number can come back after its model was deleted by other means; what was said of the old one says nothing
        about the new one.
        """
        now = standing(self.pages.of_version(found.model, found.number))
        return now if now.created == found.created else Standing()

    def champion(self, found: Found) -> Champion:
        """A version in Production, with the digest it was checked on."""
        evidence = self.standing(found).evidence
        return Champion(found.number, evidence.digest if evidence else None)

    def rules(self, model: str, stage: Stage = Stage.PRODUCTION) -> policy.StageRules:
        """The rules in force for one model and stage."""
        return policy.load().rules(model, stage)

    # --- what people and machines say

    def take_evidence(self, found: Found, text: str) -> None:
        """Write down what `slipway check` measured."""
        if self.actor.name == NOBODY:
            raise PromotionRefused(f"evidence for {found} needs a name. Next: log in, or set SLIPWAY_USER")
        self.write(Kind.CHECKED, found.model, found.number, read(EvidenceShape, text))

    def take_approval(self, found: Found, text: str) -> None:
        """Write down a yes, from somebody whose yes counts; the same yes again, while it lasts, is no news."""
        body, rules, now = self._word(found, text), self.rules(found.model), self.standing(found)
        flaw = cannot_approve(self.actor, now.authors, rules)
        if flaw:
            somebody = f"somebody else runs slipway approve {found}"
            raise PromotionRefused(f"{found} is not approved: {flaw}. Next: {somebody}", str(found))
        said = [a for a in now.approvals if (a.approver, a.digest) == (self.actor, body.digest)]
        if any(approval.at <= self.now <= approval.at + rules.approvals.last for approval in said):
            return
        self.write(Kind.APPROVED, found.model, found.number, body)
        self.freeze(found)

    def freeze(self, found: Found) -> None:
        """From here on the server refuses to write this version's files."""
        path = stored_at(found.location)
        if path:
            self.pages.freeze(path, found.model, found.number)

    def take_rejection(self, found: Found, text: str) -> None:
        """Write down a no, from somebody whose yes would count."""
        body = self._word(found, text)
        flaw = cannot_approve(self.actor, self.standing(found).authors, self.rules(found.model))
        if flaw:
            somebody = f"somebody else runs slipway reject {found}"
            raise PromotionRefused(f"{found} is not rejected: {flaw}. Next: {somebody}", str(found))
        self.write(Kind.REJECTED, found.model, found.number, body)

    def take_withdrawal(self, found: Found, text: str) -> None:
        """Write down that somebody takes back their yes or no."""
        now, body = self.standing(found), self._word(found, text)
        said = {a.approver.name for a in now.approvals} | {r.by.name for r in now.rejections}
        if self.actor.name not in said:
            raise PromotionRefused(f"{self.actor.name} said nothing about {found} that could be withdrawn. "
                                   f"Next: slipway history {found.model}", str(found))
        self.write(Kind.WITHDRAWN, found.model, found.number, body)

    def _word(self, found: Found, text: str) -> WordBody:
        shape = word_of(text)
        evidence = self.standing(found).evidence
        if evidence is None:
            raise PromotionRefused(f"{found} cannot be judged: never checked. Next: slipway check {found}", str(found))
        if shape.digest not in (None, evidence.digest):
            again = f"{found} was checked again, with other bytes"
            raise PromotionRefused(f"{again}. Next: slipway history {found.model}", str(found))
        return WordBody(digest=evidence.digest, evidence=evidence.entry, comment=shape.comment)

    # --- what happens to versions

    def register(self, found: Found, authors: set[str]) -> None:
        """Write down a version's beginning, and who answers for it."""
        version = found.version
        body = RegisteredBody(
            authors=tuple(sorted(authors)), source=version.source, run_id=version.run_id or None, created=found.created
        )
        self.write(Kind.REGISTERED, found.model, found.number, body)

    def move(self, case: Case, decision: Decision, displaced: tuple[int, ...], via: str) -> None:
        """Write down a move that was decided, the mover's own approval first if the move is one."""
        approvals = tuple(
            approval.entry or self._approved_by_moving(case, WordBody(
                digest=approval.digest, evidence=approval.evidence, comment=approval.comment, by_moving=True
            ))
            for approval in decision.approvals
        )  # fmt: skip
        evidence = case.standing.evidence
        body = MovedBody(
            source=case.current.value, target=case.target.value, displaced=displaced,
            digest=evidence.digest if evidence else None, evidence=evidence.entry if evidence else None,
            approvals=approvals, via=via, glass=case.glass, overridden=decision.overridden, call=self.call,
        )  # fmt: skip
        self.write(Kind.MOVED, case.model, case.version, body)

    def _approved_by_moving(self, case: Case, body: WordBody) -> int:
        return self.write(Kind.APPROVED, case.model, case.version, body).seq

    def adopt(self, found: Found) -> None:
        """Write down a version that was here before us, where it stands; whoever adopts answers for it."""
        self.register(found, {self.actor.name})
        stage = found.version.stage
        if stage is not Stage.NONE:
            body = MovedBody(
                source=Stage.NONE.value, target=stage.value, displaced=(), digest=None, evidence=None, approvals=(),
                via="adopted",
            )  # fmt: skip
            self.write(Kind.MOVED, found.model, found.number, body)

    def leave(self, found: Found, word: str) -> None:
        """Write down that a version goes (deleted, renamed), unless somebody relies on it."""
        stage = found.version.stage
        if stage.alias:
            raise PromotionRefused(f"{found} cannot be {word}: it is in {stage.value}. Next: archive it first")
        if self.standing(found).protected:
            raise PromotionRefused(f"{found} cannot be {word}: it was approved or released, and is a way back")
        self.write(Kind.DELETED, found.model, found.number, DeletedBody(source=stage.value))


TAKERS: dict[str, Callable[[Book, Found, str], None]] = {
    shown.EVIDENCE_TAG: Book.take_evidence,
    shown.APPROVAL_TAG: Book.take_approval,
    shown.REJECTION_TAG: Book.take_rejection,
    shown.WITHDRAWAL_TAG: Book.take_withdrawal,
}


def word_of(text: str) -> WordShape:
    """A client sends JSON; a person typing into the registry UI's tag dialog sends a comment."""
    if text.lstrip().startswith("{"):
        return read(WordShape, text)
    return WordShape(comment=text.strip()[:2000])
