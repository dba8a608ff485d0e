"""How often is the gate wrong? A/A and power of the paired comparison with the champion, by simulation.

    python -m benchmarks.gates [--draws 4000] [--plot gates.png]

A/A: candidate and champion are equally good; `better` may be claimed, and a drop called, in at most 5 % of draws.
Power: the candidate is better or worse by so much; how often is that seen?
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence

import numpy as np

from registry.gates import Champion, NotWorse, not_worse
from registry.words import Outcome, Paired

RULE = NotWorse(margin=1.0, significance=0.05)  # the margin out of the way: the test alone is on trial
CHAMPION = Champion(1, "c" * 64)
ROWS, DISAGREE = 1000, 0.08


def draw(rng: np.random.Generator, gain: float, rows: int, disagree: float) -> Paired:
    """One held-out set: on a share of rows exactly one of the two is right, leaning towards the better."""
    pairs = int(rng.binomial(rows, disagree))
    wins = int(rng.binomial(pairs, 0.5 + gain / (2 * disagree)))
    return Paired(1, "c" * 64, rows, only_candidate=wins, only_champion=pairs - wins)


def rates(gain: float, draws: int, rows: int = ROWS, disagree: float = DISAGREE, seed: int = 7) -> dict[str, float]:
    """How often is the candidate called better, and how often worse?"""
    rng = np.random.default_rng(seed)
    verdicts = [not_worse(draw(rng, gain, rows, disagree), CHAMPION, RULE) for _ in range(draws)]
    better = sum("better" in verdict.reason for verdict in verdicts)
    worse = sum(verdict.outcome is Outcome.FAILED for verdict in verdicts)
    return {"better": better / draws, "worse": worse / draws}


def plot(gains: Sequence[float], curve: Sequence[dict[str, float]], path: str) -> None:
    """The power curve as a picture."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 4))
    for name in ("better", "worse"):
        axes.plot([100 * gain for gain in gains], [point[name] for point in curve], marker="o", label=f"called {name}")
    axes.axhline(0.05, color="grey", linestyle=":", label="5 %")
    axes.set(xlabel="true gain in accuracy, points", ylabel="share of draws", title=f"{ROWS} rows, 8 % disagreement")
    axes.legend()
    figure.savefig(path, dpi=120, bbox_inches="tight")


def main() -> None:
    """Print the rates as JSON, and draw the curve where asked."""
    ask = argparse.ArgumentParser(description=__doc__)
    ask.add_argument("--draws", type=int, default=4000)
    ask.add_argument("--plot")
    asked = ask.parse_args()
    same = {f"{rows} rows, {disagree:.0%} disagree": rates(0.0, asked.draws, rows, disagree)
            for rows in (100, 1000, 10000) for disagree in (0.02, 0.2)}  # fmt: skip
    gains = [g / 1000 for g in range(-40, 41, 5)]
    curve = [rates(gain, asked.draws) for gain in gains]
    print(json.dumps({"A/A": same, "power": dict(zip(map(str, gains), curve, strict=True))}, indent=2))
    if asked.plot:
        plot(gains, curve, asked.plot)


if __name__ == "__main__":
    main()
