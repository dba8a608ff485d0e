"""Ledger entries as people and machines read them. No I/O happens here."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from datetime import datetime

from registry.ledger import Entry, Kind, stamp
from registry.replay import at
from registry.spelling import one_line
from registry.standing import standing
from registry.wire import DeletedBody, EvidenceShape, MovedBody, RegisteredBody, WordBody, read
from registry.words import Approval, ModelVersion, Stage

GLASS = "BREAKING THE GLASS"


def line(entry: Entry) -> str:
    """One entry in one line: number, time, version, who, what."""
    who = one_line(f"{entry.model}/{entry.version}  {entry.actor}")
    return f"{entry.seq:>5}  {entry.at:%Y-%m-%d %H:%M:%S}  {who}  {told(entry)}"


def as_json(entry: Entry) -> dict[str, object]:
    """One entry with its body opened up."""
    return {
        "seq": entry.seq,
        "at": stamp(entry.at),
        "kind": entry.kind.value,
        "model": entry.model,
        "version": entry.version,
        "actor": entry.actor.name,
        "verified": entry.actor.verified,
        "body": json.loads(entry.body),
        "hash": entry.hash,
    }


def all_of(entries: Iterable[Entry]) -> tuple[list[str], list[dict[str, object]]]:
    """Every entry, as lines and as JSON."""
    kept = list(entries)
    return [line(entry) for entry in kept], [as_json(entry) for entry in kept]


def stood(entries: Iterable[Entry], moment: datetime) -> tuple[list[str], list[dict[str, object]]]:
    """Which version stood in which stage at a moment and who put it there, as lines and as JSON."""
    found = [one for one in at(entries, moment) if one.stage is not Stage.NONE]
    lines = [f"{one.stage.value:<11} {one.model}/{one.version}  since  {line(one.since)}" for one in found]
    rows: list[dict[str, object]] = [
        {"model": one.model, "version": one.version, "stage": one.stage.value, "since": as_json(one.since)}
        for one in found
    ]
    return lines, rows


def approval_by(name: str, digest: str, entries: Iterable[Entry]) -> Approval | None:
    """The approval of these bytes that stands, by one person."""
    said = standing(entries).approvals
    return next((a for a in reversed(said) if a.digest == digest and a.approver.name == name), None)


def put_there(entries: Iterable[Entry], stage: Stage) -> Entry | None:
    """The last move of one version, if it was into this stage."""
    last = next((entry for entry in reversed([*entries]) if entry.kind is Kind.MOVED), None)
    return last if last and read(MovedBody, last.body).target == stage.value else None


def made_by(move: Entry, call: str, name: str, before: Iterable[Entry]) -> bool:
    """Did this call make the move? Where the registry wrote no call down: is it new, and by this name?"""
    said = read(MovedBody, move.body).call
    return said == call if said else move.actor.name == name and move not in before


def next_step(version: ModelVersion, entries: Iterable[Entry], needed: int) -> str:
    """What a version that was checked wants next, where so many approvals are needed."""
    now = standing(entries)
    given = [a for a in now.approvals if now.evidence and a.digest == now.evidence.digest]
    if version.stage is Stage.PRODUCTION:
        return f"slipway deploy {version.name}"
    if len(given) >= needed:
        return f"slipway promote {version} --to Production"
    return f"{'somebody else runs ' if given else ''}slipway approve {version}"


def told(entry: Entry) -> str:
    """What happened, without when and who: one line, whatever a comment or an address holds."""
    return one_line(_WORDS[entry.kind](entry.body))


def _registered(text: str) -> str:
    body = read(RegisteredBody, text)
    return f"registered {body.source} (author {', '.join(body.authors)})"


def _checked(text: str) -> str:
    body = read(EvidenceShape, text)
    shown = [f"{name} {body.measures[name]:.3f}" for name in ("accuracy", "recall_macro") if name in body.measures]
    return f"checked sha256 {body.digest[:12]} on {body.rows} rows: {', '.join(shown) or 'nothing measured'}"


def _word(verb: str) -> Callable[[str], str]:
    def said(text: str) -> str:
        body = read(WordBody, text)
        return f"{verb} sha256 {body.digest[:12]}{f': {body.comment}' if body.comment else ''}"

    return said


def _moved(text: str) -> str:
    body = read(MovedBody, text)
    archived = f", archiving {', '.join(map(str, body.displaced))}" if body.displaced else ""
    on = f" (approvals {', '.join(map(str, body.approvals))})" if body.approvals else ""
    glass = f" {GLASS}: {body.glass} (overriding: {'; '.join(body.overridden)})" if body.glass else ""
    return f"moved from {body.source} to {body.target}{archived}{on}{glass}"


def _deleted(text: str) -> str:
    return f"deleted from {read(DeletedBody, text).source}"


_WORDS: dict[Kind, Callable[[str], str]] = {
    Kind.REGISTERED: _registered,
    Kind.CHECKED: _checked,
    Kind.APPROVED: _word("approved"),
    Kind.REJECTED: _word("rejected"),
    Kind.WITHDRAWN: _word("withdrew their word on"),
    Kind.MOVED: _moved,
    Kind.DELETED: _deleted,
}
