"""What a reviewer looks at: one version with its standing, its verdicts and what is missing. No I/O happens here."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist

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
class Beside:
    """One measure of candidate and champion; `interval` where one is known: of shares of rows, at 95 %."""

    name: str
    mine: float | None
    theirs: float | None
    interval: tuple[float, float] | None = None
    theirs_interval: tuple[float, float] | None = None


def side_by_side(row: Shown, champion: Shown | None) -> list[Beside]:
    """Every measure that either has."""
    mine, theirs = _figures(row), _figures(champion) if champion else {}
    return [
        Beside(name, _value(mine, name), _value(theirs, name), _interval(mine, name), _interval(theirs, name))
        for name in sorted(mine.keys() | theirs.keys())
    ]


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


Figures = dict[str, tuple[float, int]]


def _figures(shown: Shown) -> Figures:
    evidence = shown.standing.evidence
    return {m.name: (m.value, evidence.rows) for m in evidence.measures} if evidence else {}


def _value(figures: Figures, name: str) -> float | None:
    return figures[name][0] if name in figures else None


def _interval(figures: Figures, name: str) -> tuple[float, float] | None:
    """Only the accuracy is a share of all rows; how many rows a class has, the evidence does not say."""
    return wilson(*figures[name]) if name == "accuracy" and name in figures else None


def wilson(share: float, rows: int) -> tuple[float, float]:
    """The 95 % interval of a share of so many rows: Wilson (1927), JASA 22, 209-212."""
    z = NormalDist().inv_cdf(0.975)
    centre, spread = share + z * z / (2 * rows), z * sqrt(share * (1 - share) / rows + z * z / (4 * rows * rows))
    return max(0.0, (centre - spread) / (1 + z * z / rows)), min(1.0, (centre + spread) / (1 + z * z / rows))


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why something was not done, and the HTTP status that says so."""

    reason: str
    status: int
