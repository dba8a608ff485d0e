"""What a reader of the registry UI sees of the ledger: short tags. No I/O happens here."""

from __future__ import annotations

import re
from datetime import datetime
from urllib.parse import quote

from registry.spelling import looks, one_line
from registry.standing import Standing
from registry.words import Actor, Evidence, Outcome

PREFIX = "slipway."
EVIDENCE_TAG = "slipway.evidence"
APPROVAL_TAG = "slipway.approval"
REJECTION_TAG = "slipway.rejection"
WITHDRAWAL_TAG = "slipway.withdrawal"
GLASS_TAG = "slipway.break_glass"
_LONGEST = 1000
_LONGEST_DESCRIPTION = 5000  # MLflow's column, model_versions.description
LONGEST_WORDS = 4000  # so that there is always room for what we have to say
# Our part of a description, from the first to the last; a list of versions shows its first line as it is.
_OURS = "kept by slipway"
_FIRST = f"Gates and approvals, {_OURS}: "
_LAST = "[//]: # (above: kept by slipway)"  # Markdown that renders as nothing
_FIRST_ONCE = "[//]: # (below: kept by slipway)"  # how our part began until 2026-11, and then it had no last line


def is_protected(key: str) -> bool:
    """Is this tag ours to write? Upper and lower case are not told apart, as some databases do not."""
    return key.strip().lower().startswith(PREFIX)


def is_taken_for_ours(key: str) -> bool:
    """Would a reader take this tag for one of ours? Letters of other alphabets that look like ours count as ours."""
    return is_protected(key) or looks(key).startswith(looks(PREFIX))


def speaks_for_us(written: str) -> bool:
    """Would a reader take what somebody wrote for our part of a description?"""
    letters = "".join(filter(str.isalnum, looks(written)))
    return "".join(filter(str.isalnum, looks(_OURS))) in letters


def tags(now: Standing) -> dict[str, str | None]:
    """The tags that a version should carry, by key; None: it should carry none. `now.evidence` must be judged."""
    evidence = now.evidence
    digest = evidence.digest if evidence else None
    approvals = [_said(a.approver, a.at, a.comment) for a in now.approvals if a.digest == digest]
    rejections = [_said(r.by, r.at, r.comment) for r in now.rejections if r.digest == digest]
    return {
        EVIDENCE_TAG: _evidence(evidence) if evidence else None,
        APPROVAL_TAG: "; ".join(approvals)[:_LONGEST] or None,
        REJECTION_TAG: "; ".join(rejections)[:_LONGEST] or None,
    }


def description(written: str | None, now: Standing, subject: str) -> str | None:
    """What people wrote about a version, and under it what the registry knows, in Markdown; None: nothing at all.

    The registry UI renders it, so that a reviewer who knows only that sees what to decide, and where.
    """
    own = own_words(written)
    if not now.evidence:
        return own or None
    own = f"{own[:LONGEST_WORDS]}\n\n" if own else ""
    told = f"{own}{_block(now, subject)}"
    return told if len(told) <= _LONGEST_DESCRIPTION else f"{own}{_short_block(now, subject)}"


def own_words(written: str | None) -> str:
    """What people wrote, before our part and after it."""
    text = written or ""
    while (first := next((mark for mark in (_FIRST, _FIRST_ONCE) if mark in text), None)) is not None:
        before, _, ours = text.partition(first)
        text = "\n\n".join(part.strip() for part in (before, ours.partition(_LAST)[2]) if part.strip())
    return text.rstrip()


def _block(now: Standing, subject: str) -> str:
    verdicts = now.evidence.verdicts if now.evidence else ()
    rows = [f"| {v.gate} | {v.outcome.value} | {_words(v.reason).replace('|', '/')} |" for v in verdicts]
    said = [f"- approved by {_words(_said(a.approver, a.at, a.comment))}" for a in now.approvals]
    said += [f"- **rejected** by {_words(_said(r.by, r.at, r.comment))}" for r in now.rejections]
    link = _link(subject)
    table = ("| gate | verdict | numbers |", "|---|---|---|", *rows)
    return "\n".join([f"{_FIRST}{_in_short(now)}", "", *table, "", *said, "", link, "", _LAST])


def _short_block(now: Standing, subject: str) -> str:
    """What must be read even where there is no room for the table."""
    said, link = f"{_FIRST}{_in_short(now)}"[:500], _link(subject)
    return "\n".join([said, "", *((link, "") if len(link) < 400 else ()), _LAST])


def _link(subject: str) -> str:
    model, _, number = subject.rpartition("/")
    return f"[Approve or reject {_words(subject)}](slipway/approvals/{quote(model)}/{number})"


def _words(text: str) -> str:
    """What somebody said, as words and nothing else: no line, no link and no mark of ours begins in it."""
    return re.sub(r"([\\`*\[\]]|<(?=\S))", r"\\\1", one_line(text))


def _in_short(now: Standing) -> str:
    passed = "every gate passed" if now.evidence and now.evidence.passed else "not every gate passed"
    no = ", ".join(f"rejected by {_words(str(one.by))}" for one in now.rejections)
    yes = ", ".join(f"approved by {_words(str(one.approver))}" for one in now.approvals)
    return f"{passed}, {', '.join(part for part in (no, yes) if part) or 'nobody approved it yet'}"


def _evidence(evidence: Evidence) -> str:
    word = "passed" if evidence.passed else "not passed"
    blocking = [v for v in evidence.verdicts if v.outcome is not Outcome.PASSED] or list(evidence.verdicts)
    numbers = ", ".join(verdict.reason for verdict in blocking)
    told = f"{word}: {numbers} (sha256 {evidence.digest[:12]}, by {evidence.by}, {evidence.at:%Y-%m-%d})"
    return told[:_LONGEST]


def _said(who: Actor, at: datetime, comment: str) -> str:
    return one_line(f"{who} {at:%Y-%m-%d}{f': {comment}' if comment else ''}")
