"""What a reviewer looks at: one version with its standing, its verdicts and what is missing. No I/O happens here."""

from __future__ import annotations

from dataclasses import dataclass

from registry.book import Found
from registry.intervals import Interval, wilson
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
class Beside:
    """One measure of candidate and champion, each with its 95 % interval where one is known."""

    name: str
    mine: float | None
    theirs: float | None
    interval: tuple[float, float] | None = None
    theirs_interval: tuple[float, float] | None = None


def side_by_side(row: Shown, champion: Shown | None) -> list[Beside]:
    """Every measure that either has."""
    mine, theirs = _figures(row), _figures(champion)
    nothing = (None, None)
    return [
        Beside(name, mine.get(name, nothing)[0], theirs.get(name, nothing)[0],
               mine.get(name, nothing)[1], theirs.get(name, nothing)[1])
        for name in sorted(mine.keys() | theirs.keys())
    ]  # fmt: skip


@dataclass(frozen=True, slots=True)
class SliceShown:
    """One group of held-out rows, how many they are, and the candidate's figures on it."""

    name: str
    rows: int
    figures: tuple[Beside, ...]


def slices(row: Shown) -> list[SliceShown]:
    """Every slice that the evidence holds; none where it was recorded before there were any."""
    measured = row.standing.evidence.measured if row.standing.evidence else None
    return [
        SliceShown(str(cut), cut.rows, tuple(
            Beside(name, value, None, wilson(value, cut.rows) if name == "accuracy" else None)
            for name, value in sorted(cut.measures.items())
        ))
        for cut in (measured.slices if measured else ())
    ]  # fmt: skip


Figures = dict[str, tuple[float, Interval | None]]


def _figures(shown: Shown | None) -> Figures:
    """Each measure with its interval: the check's own; of evidence older than these, the accuracy's, a share of all."""
    evidence = shown.standing.evidence if shown else None
    if evidence is None:
        return {}
    sure = dict(evidence.measured.intervals) if evidence.measured else {}
    old = {m.name: wilson(m.value, evidence.rows) for m in evidence.measures if m.name == "accuracy"}
    return {m.name: (m.value, sure.get(m.name) or old.get(m.name)) for m in evidence.measures}


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why something was not done, and the HTTP status that says so."""

    reason: str
    status: int
