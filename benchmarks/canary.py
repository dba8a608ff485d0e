"""How often does a canary find what is worse, and how often does it send back what is not?

    python -m benchmarks.canary

Seeded traffic through the judge that `slipway deploy` uses (serving/traffic.py), with the default limits, looked at
after every request. No AWS, no model: what is measured is the test itself.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serving.config import CanarySettings
from serving.traffic import Count, Judgement, Limit, judge

RUNS, REQUESTS = 1000, 1000
SETTINGS = CanarySettings()
LIMITS = (Limit("errors", SETTINGS.errors), Limit("disagreement", SETTINGS.disagreement),
          Limit("score shift", SETTINGS.score_shift))
Answers = dict[str, NDArray[np.bool_]]


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with the new version: the share of yes to each question?"""

    name: str
    errors: float = 0.0
    disagreement: float = 0.0
    score_shift: float = 0.0

    def traffic(self, rng: np.random.Generator) -> Answers:
        """Which requests say yes to which question?"""
        rates = {"errors": self.errors, "disagreement": self.disagreement, "score shift": self.score_shift}
        return {question: rng.random(REQUESTS) < rate for question, rate in rates.items()}


FAULTS = (
    Fault("A/A: the same version"),
    Fault("A/A: at every limit exactly", 0.01, 0.05, 0.2),
    Fault("1 % of labels flipped", disagreement=0.01),
    Fault("5 % of labels flipped", disagreement=0.05),
    Fault("10 % of labels flipped", disagreement=0.10),
    Fault("20 % of labels flipped", disagreement=0.20),
    Fault("scores of 40 % shifted", score_shift=0.40),
    Fault("3 % of requests fail", errors=0.03),
    Fault("10 % of requests fail", errors=0.10),
)


def sent_back_at(answers: Answers) -> int | None:
    """After how many requests is this version sent back? None when it takes over."""
    totals = {question: np.cumsum(yes) for question, yes in answers.items()}
    schedule = SETTINGS.schedule
    for number in range(1, REQUESTS + 1):
        seen = {question: Count(number, int(total[number - 1])) for question, total in totals.items()}
        if judge(LIMITS, seen, schedule).judgement is Judgement.BACK:
            return number
    return None


def measure(fault: Fault, say: Callable[[str], None]) -> dict[str, object]:
    """How often, and after how many requests, is this fault found?"""
    rng = np.random.default_rng(2026)
    found = [sent_back_at(fault.traffic(rng)) for _ in range(RUNS)]
    caught = [number for number in found if number is not None]
    median = int(np.median(caught)) if caught else None
    say(f"{fault.name:<30} {len(caught) / RUNS:>9.1%} {median if median is not None else '-':>18}")
    return {"fault": fault.name, "sent_back": len(caught) / RUNS, "median_requests": median}


def main() -> None:
    """Measure every fault; a table on stderr, JSON on stdout."""
    print(f"{'new version':<30} {'sent back':>9} {'after (median)':>18}   of {RUNS} canaries of {REQUESTS} requests",
          file=sys.stderr)
    print(json.dumps([measure(fault, lambda line: print(line, file=sys.stderr)) for fault in FAULTS]))


if __name__ == "__main__":
    main()
