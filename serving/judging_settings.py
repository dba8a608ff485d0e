"""What is put up with of a new version that answers the same requests as the old one, whatever the target."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from .traffic import BIAS, DISAGREEMENT, ERRORS, HALF, SHIFT, Limit


class JudgingSettings(BaseModel):
    """How does what is seen of a new version decide?

    Attributes:
        least: requests that must have been seen.
        alpha: the probability of sending back a version that keeps within every limit.
        errors, disagreement, score_shift: the share of requests put up with that fail, that name another label than
            the old version, or whose score differs from its by more than ``score_step``.
        score_bias: by so many of the old scores' standard deviations may most scores move to the same side.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    least: int = Field(100, ge=1)
    alpha: float = Field(0.01, gt=0, lt=1)
    errors: float = Field(0.01, gt=0, lt=1)
    disagreement: float = Field(0.05, gt=0, lt=1)
    score_shift: float = Field(0.2, gt=0, lt=1)
    score_step: float = Field(0.1, gt=0)
    score_bias: float = Field(0.1, ge=0)

    @property
    def failures(self) -> Limit:
        """How many may fail?"""
        return Limit(ERRORS, self.errors)

    @property
    def answers(self) -> tuple[Limit, ...]:
        """How may answers to the same request differ?"""
        return (Limit(DISAGREEMENT, self.disagreement), Limit(SHIFT, self.score_shift),
                Limit(BIAS, HALF, "moved to the same side"))
