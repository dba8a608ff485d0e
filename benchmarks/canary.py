"""How often does a canary find what is worse, and how often does it send back what is not?

    python -m benchmarks.canary [--runs 250] [--requests 1000] [--plot docs/deploying/canary.png]

Seeded traffic through the code that `slipway deploy` judges with (serving/comparing.py, serving/traffic.py): two
versions answer the same requests, and after every one it is asked whether the new one goes back. No AWS, no model:
what is measured is the test itself. Then the same for the times of SageMaker's shadows. Intervals are exact (C. J.
Clopper and E. S. Pearson, Biometrika 26, 1934).
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta

from serving.comparing import Answers, Times
from serving.config import CanarySettings
from serving.sagemaker_settings import ShadowSettings
from serving.traffic import ERRORS, HALF, LATENCY, Count, Judgement, judge, log_evidence

from . import record

DEFAULT = CanarySettings()
STRICT = CanarySettings(errors=0.001, disagreement=0.002, score_shift=0.02, score_bias=0.02, latency_ratio=1.1)
SEED, AA_RUNS = 2026, 4
CLASSES, MILLISECONDS, SPREAD = 3, 20.0, 0.3  # a lognormal whose p99 is twice its median
BARS = {"p90": 1.2816, "p95": 1.6449}  # percentiles of a normal distribution, in standard deviations
SIDE = np.array([1.0, -1.0, 0.0]) / np.sqrt(2)  # scores move from the second class to the first
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with the new version?

    Attributes:
        errors: the share of its requests that fail.
        flips: the share of its answers that name another label.
        shift: by so many standard deviations of the old version's scores all its scores move to one side.
        noise: by so many of them each score differs, up or down: a model trained anew.
        slower: its times are so many times the old version's.
        tail: this share of its requests takes five times as long.
        load: how much both versions' times swing together, as when the machine is busy.
        stretch: for so many requests on average each version by itself takes twice as long, and as many again not.
        good: whether to send it back is wrong.
    """

    name: str
    errors: float = 0.0
    flips: float = 0.0
    shift: float = 0.0
    noise: float = 0.0
    slower: float = 1.0
    tail: float = 0.0
    load: float = 0.0
    stretch: float = 0.0
    settings: CanarySettings = field(default=DEFAULT)
    good: bool = False


GOOD = (
    Fault("the same version", good=True),
    Fault("the same version, the load doubling and halving", load=0.7, good=True),
    Fault("trained anew: other scores, 1 % other labels", noise=0.1, flips=0.01, good=True),
    Fault("errors, labels and times exactly at their limits", errors=0.01, flips=0.05, slower=1.25, good=True),
    Fault("scores moved to one side exactly by the limit", shift=0.1, good=True),
)
FAULTS = (
    *(Fault(f"{100 * share:g} % of the labels flipped", flips=share) for share in (0.01, 0.05, 0.1, 0.2)),
    *(Fault(f"all scores moved by {by:g} sd", shift=by, noise=0.1) for by in (0.05, 0.1, 0.2, 0.5)),
    *(Fault(f"{times:g} times as slow", slower=times) for times in (1.2, 1.5, 2.0)),
    *(Fault(f"{100 * share:g} % of the requests take five times as long", tail=share) for share in (0.05, 0.1)),
    *(Fault(f"{100 * share:g} % of the requests fail", errors=share) for share in (0.01, 0.05, 0.2)),
)
STRICTER = tuple(replace(fault, settings=STRICT) for fault in (
    replace(GOOD[0], name="the same version"),
    Fault("1 % of the labels flipped", flips=0.01), Fault("5 % of the labels flipped", flips=0.05),
    Fault("all scores moved by 0.05 sd", shift=0.05, noise=0.1), Fault("1.2 times as slow", slower=1.2),
    Fault("1 % of the requests fail", errors=0.01)))


# Equal versions of which each is slowed by itself, as where processes share cores: for how long, put up with what?
LEANING = tuple((Fault(f"the same version, either one slowed for stretches of {stretch:g}", stretch=stretch, good=True,
                       settings=DEFAULT.model_copy(update={"latency_ratio": ratio})), ratio)
                for ratio in (1.25, 1.5) for stretch in (5.0, 10.0, 20.0, 40.0))
# Tried as shadows: over which percentile of the old version's times an answer is slow, and how many are copied.
SHADOWED = (*((fault, "p90", copied) for copied in (1.0, 0.2) for fault in (
    GOOD[0], GOOD[1], Fault("1.25 times as slow, exactly at the limit", slower=1.25, good=True),
    Fault("1.5 times as slow", slower=1.5), Fault("2 times as slow", slower=2.0))),
    *((Fault("10 % of the requests take five times as long", tail=0.1), bar, 1.0) for bar in BARS))


@dataclass(slots=True)
class Traffic:
    """One canary's requests: what each version answers and how long it takes."""

    fault: Fault
    requests: int
    rng: np.random.Generator

    def scores(self) -> tuple[Floats, Floats]:
        """A row of scores of each version for each request; they sum to 1."""
        logits = self.rng.normal(0, 2, (self.requests, CLASSES))
        old = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        along = old @ SIDE
        by = self.fault.shift + self.fault.noise * self.rng.normal(0, 1, self.requests)
        new = old + np.outer(by * along.std(), SIDE)
        flipped = self.rng.random(self.requests) < self.fault.flips
        new[flipped] = np.roll(old[flipped], 1, axis=1)
        return old, new

    def times(self) -> tuple[Floats, Floats]:
        """Milliseconds of each version for each request; cold starts are left out before they come here."""
        load = np.exp(self.fault.load * np.sin(np.arange(self.requests) / 40))
        old, new = MILLISECONDS * load * self.rng.lognormal(0, SPREAD, (2, self.requests))
        if self.fault.stretch:
            turns = self.rng.random((2, self.requests)) < 1 / self.fault.stretch
            old, new = np.array([old, new]) * (1 + turns.cumsum(axis=1) % 2)
        new *= self.fault.slower * np.where(self.rng.random(self.requests) < self.fault.tail, 5.0, 1.0)
        return old, new

    def seen(self) -> Iterator[dict[str, Count]]:
        """What the canary knows after each request."""
        chosen = self.fault.settings
        times, answers = Times(chosen.latency_ratio or 1.0, chosen.latency_ms), Answers(chosen.score_step,
                                                                                       chosen.score_bias)
        (old, new), (was, now) = self.scores(), self.times()
        failed, so_far = self.rng.random(self.requests) < self.fault.errors, 0
        for number in range(self.requests):
            if failed[number]:
                so_far += 1
            else:
                answers.add(old[number : number + 1], new[number : number + 1])
                times.add(float(was[number]), float(now[number]))
            yield {ERRORS: Count(number + 1, so_far), **times.counts(), **answers.counts()}


def slower(fault: Fault, requests: int, seed: Sequence[int]) -> int | None:
    """After how many requests is this version sent back for its times, of which no others are judged?"""
    chosen, traffic = fault.settings, Traffic(fault, requests, np.random.default_rng(seed))
    times, said = Times(chosen.latency_ratio or 1.0, chosen.latency_ms), 0
    needed = math.log(len(chosen.limits(compared=True)) / chosen.alpha)
    for number, pair in enumerate(zip(*traffic.times(), strict=True), start=1):
        times.add(float(pair[0]), float(pair[1]))
        before, said = said, sum(count.yes for count in times.counts().values())
        if said > before and any(log_evidence(count, HALF) >= needed for count in times.counts().values()):
            return number
    return None


def leaning(runs: int, requests: int) -> list[dict[str, Any]]:
    """How often is an equal version sent back because its process or the other one's was slowed for a while?"""
    return [_row(f"{fault.name}; latency_ratio {ratio:g}", [slower(fault, requests, (SEED, number))
                                                           for number in range(runs)], good=True, by="times")
            for fault, ratio in LEANING]


def _row(version: str, found: Sequence[int | None], *, good: bool, by: str) -> dict[str, Any]:
    """What `measure` tells, where only times are judged."""
    caught = [one for one in found if one is not None]
    return {"version": version, "good": good, "strict": False, "canaries": len(found), "sent back": len(caught),
            "share": len(caught) / len(found), "interval": interval(len(caught), len(found)),
            "median requests": int(np.median(caught)) if caught else None, "by": [by] if caught else []}


def taken_away(fault: Fault, requests: int, bar: float, copied: float, seed: Sequence[int]) -> int | None:
    """After how many requests is a shadow taken away for how many were slow? None when it is not.

    Args:
        bar: standard deviations of the logarithm above the median, over which the old version's answer counts as slow.
        copied: the share of the requests that the shadow gets.
    """
    traffic = Traffic(fault, requests, np.random.default_rng(seed))
    slow_ms = MILLISECONDS * float(np.exp(bar * SPREAD))
    settings = ShadowSettings(slow_ms=slow_ms, share=copied)
    old, new = traffic.times()
    mine = (new > settings.bar_ms) & (traffic.rng.random(requests) < copied)
    slow, (limit,) = mine.cumsum() + (old > slow_ms).cumsum(), [
        one for one in settings.limits() if one.question == LATENCY]
    needed = math.log(len(settings.limits()) / settings.alpha)
    for number in np.flatnonzero(mine):
        if log_evidence(Count(int(slow[number]), int(mine[: number + 1].sum())), limit.rate) >= needed:
            return int(number) + 1
    return None


def shadows(runs: int, requests: int) -> list[dict[str, Any]]:
    """How often is each shadow taken away for its times, of which no others are judged?"""
    return [_row(f"{fault.name}; over the old {bar}, {copied:.0%} copied",
                 [taken_away(fault, requests, BARS[bar], copied, (SEED, number))
                  for number in range(runs * (AA_RUNS if fault.good else 1))], good=fault.good, by=LATENCY)
            for fault, bar, copied in SHADOWED]


def sent_back(fault: Fault, requests: int, seed: Sequence[int]) -> tuple[int, str] | None:
    """After how many requests is this version sent back, and by which test? None when it takes over.

    Only another yes speaks against a version, so after a request without one nothing new can be said, and nobody asks.
    """
    limits, schedule, before = fault.settings.limits(compared=True), fault.settings.schedule, -1
    for number, seen in enumerate(Traffic(fault, requests, np.random.default_rng(seed)).seen(), start=1):
        said, before = before, sum(count.yes for count in seen.values())
        if said == before:
            continue
        opinion = judge(limits, seen, schedule)
        if opinion.judgement is Judgement.BACK:
            return number, next(one.test for one in opinion.judged if one.verdict == "broken")
    return None


def measure(fault: Fault, runs: int, requests: int) -> dict[str, Any]:
    """How often, after how many requests, and by which tests is this version sent back?"""
    found = [sent_back(fault, requests, (SEED, number)) for number in range(runs)]
    caught = [one for one in found if one is not None]
    tests = {test: sum(by == test for _, by in caught) for test in sorted({by for _, by in caught})}
    return {"version": fault.name, "good": fault.good, "strict": fault.settings == STRICT, "canaries": runs,
            "sent back": len(caught), "share": len(caught) / runs, "interval": interval(len(caught), runs),
            "median requests": int(np.median([number for number, _ in caught])) if caught else None, "by": tests}


def interval(found: int, runs: int, confidence: float = 0.95) -> tuple[float, float]:
    """Between which rates does the true one lie, by Clopper and Pearson?"""
    tail = (1 - confidence) / 2
    low = float(beta.ppf(tail, found, runs - found + 1)) if found else 0.0
    high = float(beta.ppf(1 - tail, found + 1, runs - found)) if found < runs else 1.0
    return low, high


def table(rows: Sequence[dict[str, Any]]) -> str:
    """The table of docs/deploying.md."""
    lines = ["| new version | sent back | 95 % interval | median requests | by |", "|---|---|---|---|---|"]
    for row in rows:
        low, high = row["interval"]
        by = ", ".join(row["by"])
        lines.append(f"| {row['version']} | {100 * row['share']:.1f} % | {100 * low:.1f} to {100 * high:.1f} % | "
                     f"{row['median requests'] or ''} | {by} |")
    return "\n".join(lines)


def plot(rows: Sequence[dict[str, Any]], path: str) -> None:
    """The share sent back of each version as a picture, with its interval."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    shown = [row for row in rows if not row["strict"]][::-1]
    share = np.array([row["share"] for row in shown])
    bounds = np.array([row["interval"] for row in shown])
    figure, axes = plt.subplots(figsize=(8, 6))
    colours = ["tab:green" if row["good"] else "tab:blue" for row in shown]
    axes.barh([row["version"] for row in shown], share, color=colours,
              xerr=np.abs(bounds.T - share), ecolor="black", capsize=2)
    axes.axvline(DEFAULT.alpha, color="grey", linestyle=":", label=f"alpha, {DEFAULT.alpha:.0%}")
    for place, row in enumerate(shown):
        if row["median requests"] and row["share"] > 0.05:
            axes.text(row["interval"][1] + 0.02, place, f"{row['median requests']}", va="center")
    axes.set(xlim=(0, 1.12), xlabel="sent back within 1,000 requests; beside it, after how many (median)")
    axes.legend(loc="upper right")
    figure.savefig(path, dpi=120, bbox_inches="tight")


def main() -> None:
    """Measure every fault, print the tables, keep all."""
    ask = argparse.ArgumentParser(description=__doc__)
    ask.add_argument("--runs", type=int, default=250, help="canaries of each fault; four times as many of a good one")
    ask.add_argument("--requests", type=int, default=1000)
    ask.add_argument("--plot")
    asked = ask.parse_args()
    faults = (*GOOD, *FAULTS, *STRICTER)
    runs = [asked.runs * (AA_RUNS if fault.good else 1) for fault in faults]
    with ProcessPoolExecutor() as pool:
        rows = []
        for row in pool.map(partial(measure, requests=asked.requests), faults, runs):
            print(f"{row['sent back']:>5} of {row['canaries']}  {row['version']}", file=sys.stderr, flush=True)
            rows.append(row)
    for title, strict in (("With the default limits", False), ("With strict limits", True)):
        print(f"\n{title}:\n\n{table([row for row in rows if row['strict'] is strict])}\n")
    leant, tried = leaning(asked.runs, asked.requests), shadows(asked.runs, asked.requests)
    for title, more in (("Times that lean in stretches", leant), ("The times of a shadow", tried)):
        print(f"\n{title}:\n\n{table(more)}\n")
    record.write("canary", record.machine(("numpy",)), {"seed": SEED, "requests": asked.requests, "rows": rows,
                                                          "shadows": tried, "leaning": leant})
    if asked.plot:
        plot(rows, asked.plot)


if __name__ == "__main__":
    main()
