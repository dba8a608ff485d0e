"""What a reader of the registry UI sees of the ledger: short tags. No I/O happens here."""

from __future__ import annotations

from registry.standing import Standing
from registry.words import Approval, Evidence, Outcome

PREFIX = "slipway."
EVIDENCE_TAG = "slipway.evidence"
APPROVAL_TAG = "slipway.approval"
_LONGEST = 1000


def is_protected(key: str) -> bool:
    """Is this tag ours to write? Upper and lower case are not told apart, as some databases do not."""
    return key.strip().lower().startswith(PREFIX)


def tags(now: Standing) -> dict[str, str | None]:
    """The tags that a version should carry, by key; None: it should carry none. `now.evidence` must be judged."""
    evidence = now.evidence
    current = [a for a in now.approvals if evidence and a.digest == evidence.digest]
    return {
        EVIDENCE_TAG: _evidence(evidence) if evidence else None,
        APPROVAL_TAG: "; ".join(_approval(a) for a in current)[:_LONGEST] or None,
    }


def _evidence(evidence: Evidence) -> str:
    word = "passed" if evidence.passed else "not passed"
    blocking = [v for v in evidence.verdicts if v.outcome is not Outcome.PASSED] or list(evidence.verdicts)
    numbers = ", ".join(verdict.reason for verdict in blocking)
    told = f"{word}: {numbers} (sha256 {evidence.digest[:12]}, by {evidence.by}, {evidence.at:%Y-%m-%d})"
    return told[:_LONGEST]


def _approval(approval: Approval) -> str:
    comment = f": {approval.comment}" if approval.comment else ""
    return f"{approval.approver} {approval.at:%Y-%m-%d}{comment}"
