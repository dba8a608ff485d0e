"""What a reviewer looks at: one version with its standing, its verdicts and what is missing. No I/O happens here."""

from __future__ import annotations

from dataclasses import dataclass

from registry.book import Found
from registry.standing import Standing
from registry.words import Decision, Verdict


@dataclass(frozen=True, slots=True)
class Shown:
    """One version as the approvals page shows it; `decision` is about Production, for whoever looks."""

    found: Found
    standing: Standing
    verdicts: tuple[Verdict, ...]
    decision: Decision


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why something was not done, and the HTTP status that says so."""

    reason: str
    status: int
