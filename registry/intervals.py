"""How sure is a share? 95 % intervals that also hold where every row was right, which resampled rows cannot tell."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from statistics import NormalDist

Interval = tuple[float, float]
_Z = NormalDist().inv_cdf(0.975)


def wilson(share: float, rows: int) -> Interval:
    """Of a share of so many rows: Wilson (1927), JASA 22, 209-212. No rows say nothing."""
    if not rows:
        return 0.0, 1.0
    z = _Z
    centre, spread = share + z * z / (2 * rows), z * sqrt(share * (1 - share) / rows + z * z / (4 * rows * rows))
    return max(0.0, (centre - spread) / (1 + z * z / rows)), min(1.0, (centre + spread) / (1 + z * z / rows))


def of_mean(shares: Sequence[tuple[float, int]]) -> Interval:
    """Of the plain mean of independent shares, each with its rows: their Wilson intervals put together.

    The method of variance estimates recovery: Zou and Donner (2008), Statistics in Medicine 27, 1693-1702.
    """
    mean = sum(share for share, _ in shares) / len(shares)
    ends = [(share, *wilson(share, rows)) for share, rows in shares]
    below = sqrt(sum((share - low) ** 2 for share, low, _ in ends)) / len(shares)
    above = sqrt(sum((high - share) ** 2 for share, _, high in ends)) / len(shares)
    return max(0.0, mean - below), min(1.0, mean + above)


def of_lowest(shares: Sequence[tuple[float, int]]) -> Interval:
    """Of the lowest of these shares: the lowest of their lower and of their upper ends.

    The true lowest is one of the true shares, so that each end misses it no more often than that share's own would.
    """
    ends = [wilson(share, rows) for share, rows in shares]
    return min(low for low, _ in ends), min(high for _, high in ends)
