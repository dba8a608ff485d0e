"""What a model said to the held-out rows, and what that comes to beside the truth or another model. No I/O."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from registry.errors import ModelUnusable
from registry.evaluation import (
    Indices,
    Numbers,
    calibration,
    classification,
    classification_intervals,
    discordant,
    regression,
    regression_intervals,
    relative_gain,
)
from registry.intervals import Interval
from registry.measured import Calibration


@dataclass(frozen=True, slots=True)
class Classes:
    """One class index per row, and the probability of each class where the model tells."""

    said: Indices
    labels: tuple[str, ...]
    probabilities: Numbers | None = None

    @property
    def kind(self) -> str:
        """What are the answers?"""
        return "classes" if self.probabilities is None else "probabilities"

    def take(self, rows: Indices) -> Classes:
        """The answers to these rows."""
        return Classes(self.said[rows], self.labels, None if self.probabilities is None else self.probabilities[rows])

    def calibration(self, truth: NDArray[Any]) -> Calibration | None:
        """How far are the probabilities from the truth?"""
        if self.probabilities is None:
            return None
        return calibration(truth.astype(np.int64), self.probabilities)

    def measures(self, truth: NDArray[Any]) -> dict[str, float]:
        """Accuracy and recalls."""
        return classification(truth.astype(np.int64), self.said, self.labels)

    def intervals(self, truth: NDArray[Any]) -> dict[str, Interval]:
        """How sure each of these is, at 95 %."""
        return classification_intervals(truth.astype(np.int64), self.said, self.labels)

    def against(self, champion: Answers, truth: NDArray[Any]) -> dict[str, Any]:
        """On how many rows is only one of the two right?"""
        if not isinstance(champion, Classes):
            raise ModelUnusable("the champion answers with numbers, not with classes")
        mine_only, theirs_only = discordant(truth.astype(np.int64), self.said, champion.said)
        return {"only_candidate": mine_only, "only_champion": theirs_only}


@dataclass(frozen=True, slots=True)
class Amounts:
    """One number per row."""

    said: Numbers

    @property
    def kind(self) -> str:
        """What are the answers?"""
        return "numbers"

    def take(self, rows: Indices) -> Amounts:
        """The answers to these rows."""
        return Amounts(self.said[rows])

    def calibration(self, truth: NDArray[Any]) -> Calibration | None:
        """Numbers claim no probability."""
        return None

    def measures(self, truth: NDArray[Any]) -> dict[str, float]:
        """Errors, and the variance explained."""
        return regression(truth.astype(np.float64), self.said)

    def intervals(self, truth: NDArray[Any]) -> dict[str, Interval]:
        """How sure each of these is, at 95 %."""
        return regression_intervals(truth.astype(np.float64), self.said)

    def against(self, champion: Answers, truth: NDArray[Any]) -> dict[str, Any]:
        """By what share is the mean error smaller?"""
        if not isinstance(champion, Amounts):
            raise ModelUnusable("the champion answers with classes, not with numbers")
        relative = relative_gain(truth.astype(np.float64), self.said, champion.said)
        return {"only_candidate": 0, "only_champion": 0, "relative": relative}


Answers = Classes | Amounts
