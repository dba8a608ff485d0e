"""The words of the registry, as values. Nothing here does I/O."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from registry.measured import Measured


class Stage(Enum):
    """Where a version stands; Staging and Production each have an alias that always agrees."""

    NONE = "None"
    STAGING = "Staging"
    PRODUCTION = "Production"
    ARCHIVED = "Archived"

    @property
    def alias(self) -> str | None:
        """The alias that goes with the stage, if it has one."""
        return {Stage.STAGING: "challenger", Stage.PRODUCTION: "champion"}.get(self)

    @classmethod
    def of_alias(cls, alias: str) -> Stage | None:
        """Which stage does this alias stand for, if any?"""
        return next((stage for stage in cls if stage.alias == alias), None)

    @classmethod
    def named(cls, text: str) -> Stage:
        """Read a stage as people write it, in any case.

        Raises:
            ValueError: when it is none of the four.
        """
        for stage in cls:
            if stage.value.lower() == text.strip().lower():
                return stage
        raise ValueError(f"{text!r} is no stage; wanted one of {', '.join(s.value for s in cls)}")


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts, and whether a login proved it (`verified`) or the name is only claimed."""

    name: str
    verified: bool = False

    def __str__(self) -> str:
        return self.name if self.verified else f"{self.name} (claimed)"


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """One registered version; `source` is where its files lie, `author` who registered it (None: not recorded)."""

    name: str
    number: int
    run_id: str
    source: str
    stage: Stage
    author: str | None = None

    def __str__(self) -> str:
        return f"{self.name}/{self.number}"


@dataclass(frozen=True, slots=True)
class FileDigest:
    """One file of a model: its path inside the model, sha256 in hex, size in bytes."""

    path: str
    sha256: str
    size: int


class Outcome(Enum):
    """What a gate concluded; unknown (evidence missing) blocks exactly as failed does."""

    PASSED = "passed"
    FAILED = "failed"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one gate concluded about one version, with the numbers it rests on."""

    gate: str
    outcome: Outcome
    reason: str
    found: float | None = None
    wanted: float | None = None
    interval: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class Measure:
    """One number taken from a version, by name: accuracy, recall_macro, recall.<label>, ..."""

    name: str
    value: float


@dataclass(frozen=True, slots=True)
class Paired:
    """Candidate and champion on the same rows.

    Of classes: on how many rows only one of them was right. Of numbers: `relative`, by what share the candidate's mean
    absolute error is smaller than the champion's, with its 90 % interval (so that each end is a one-sided 5 %).
    `left_out`: held-out rows that are not among `rows`, as the champion was trained on them.
    """

    champion: int
    champion_digest: str
    rows: int
    only_candidate: int
    only_champion: int
    relative: tuple[float, float, float] | None = None
    left_out: int = 0


@dataclass(frozen=True, slots=True)
class Evidence:
    """What `slipway check` measured on exactly these bytes, and what the gates made of it.

    `held_out` is the sha256 of the rows used, `rows` how many they were; `entry` is the ledger entry that holds it.
    """

    digest: str
    files: tuple[FileDigest, ...]
    held_out: str
    rows: int
    measures: tuple[Measure, ...]
    paired: Paired | None
    by: Actor
    at: datetime
    entry: int
    verdicts: tuple[Verdict, ...] = ()
    measured: Measured | None = None

    @property
    def passed(self) -> bool:
        """Did every gate pass? No verdict at all is not a pass."""
        return bool(self.verdicts) and all(v.outcome is Outcome.PASSED for v in self.verdicts)


@dataclass(frozen=True, slots=True)
class Approval:
    """A person's consent to one digest, not to a name that can move; `evidence` is the entry it was given on."""

    approver: Actor
    digest: str
    at: datetime
    comment: str
    evidence: int
    entry: int


@dataclass(frozen=True, slots=True)
class Rejection:
    """A reviewer's no to one digest; it stands until that person withdraws it or approves."""

    by: Actor
    digest: str
    at: datetime
    comment: str
    entry: int


@dataclass(frozen=True, slots=True)
class Decision:
    """Every reason for and against one move; truthy only when it may go ahead.

    `overridden` are the reasons against that somebody broke the glass over.
    """

    model: str
    version: int
    target: Stage
    reasons: tuple[str, ...]
    next_step: str
    verdicts: tuple[Verdict, ...] = ()
    approvals: tuple[Approval, ...] = ()
    overridden: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return not self.reasons

    def __str__(self) -> str:
        subject = f"{self.model}/{self.version}"
        if self:
            return f"{subject} may enter {self.target.value}"
        return f"{subject} may not enter {self.target.value}: {'; '.join(self.reasons)}. Next: {self.next_step}"


@dataclass(frozen=True, slots=True)
class Release:
    """The only thing serving may deploy: a version that stands in a stage, with the bytes and people behind it.

    `moved_at` is when it was put there, where the ledger says so.
    """

    model: str
    version: int
    run_id: str
    source: str
    digest: str
    files: tuple[FileDigest, ...]
    stage: Stage
    evidence: Evidence
    approvals: tuple[Approval, ...]
    moved_at: datetime | None = None
