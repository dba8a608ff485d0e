"""How often is the gate wrong? A/A and power of the paired comparison, and planted overlaps, by simulation.

    python -m benchmarks.gates [--draws 4000] [--plot docs/governance/power.png]

A/A: candidate and champion are equally good; `better` may be claimed, and a drop called, in at most 5 % of draws.
Power: the candidate is better or worse by so much; how often is that seen?
Overlaps: rows of a training are planted among the held-out ones, as they are and disguised; how many are found?
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from registry.gates import Champion, NotWorse, not_worse
from registry.rows import known, row_digests
from registry.words import Outcome, Paired

Rows = dict[str, NDArray[Any]]

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


def table(rng: np.random.Generator, rows: int) -> tuple[Rows, NDArray[np.int64]]:
    """Numbers, small pictures and sentences, no two rows alike."""
    words = np.array([f"Word{number}" for number in range(500)])
    text = np.array([" ".join(words[rng.integers(0, 500, 8)]) for _ in range(rows)], dtype=object)
    inputs: Rows = {"age": rng.normal(50, 20, rows).astype(np.float32), "count": rng.integers(0, 10**6, rows),
                    "image": rng.uniform(0, 16, (rows, 4, 4)).astype(np.float32), "text": text}
    return inputs, rng.integers(0, 3, rows)


def _shouted(rows: Rows) -> Rows:
    return rows | {"text": np.array([f"  {text.upper()} !" for text in rows["text"]], dtype=object)}


def _restored(rows: Rows) -> Rows:
    """As a file gives them back: text of a fixed width, wider numbers, columns in another order."""
    wide = {name: values.astype(np.float64) if values.dtype.kind == "f" else values for name, values in rows.items()}
    return dict(sorted((wide | {"text": rows["text"].astype(str)}).items(), reverse=True))


# How a planted row is disguised, and whether its label is changed too.
DISGUISES: dict[str, tuple[Callable[[Rows], Rows], bool]] = {
    "as it is": (lambda rows: rows, False),
    "as a file gives it back": (_restored, False),
    "relabelled": (lambda rows: rows, True),
    "shouted, other spacing": (_shouted, False),
    "shouted and relabelled": (_shouted, True),
}


def planted(count: int = 200, rows: int = 2000, seed: int = 7) -> dict[str, dict[str, int]]:
    """For each disguise: how many of `count` planted rows are found, and how many of as many clean ones?"""
    rng = np.random.default_rng(seed)
    train, target = table(rng, rows)
    clean, labels = table(rng, count)
    seen, found = row_digests(train, target), {}
    for name, (disguise, relabel) in DISGUISES.items():
        chosen = rng.choice(rows, count, replace=False)
        copied = disguise({column: values[chosen] for column, values in train.items()})
        mixed = {column: np.concatenate([clean[column], copied[column]]) for column in clean}
        truth = np.concatenate([labels, (target[chosen] + relabel) % 3])
        digests = row_digests(mixed, truth)
        hit = known(digests.copies, seen.copies) | known(digests.alike, seen.alike)
        planted_found, clean_found = int(hit[count:].sum()), int(hit[:count].sum())
        found[name] = {"planted": count, "found": planted_found, "clean called planted": clean_found}
    return found


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
    power = dict(zip(map(str, gains), curve, strict=True))
    print(json.dumps({"A/A": same, "overlaps": planted(), "power": power}, indent=2))
    if asked.plot:
        plot(gains, curve, asked.plot)


if __name__ == "__main__":
    main()
