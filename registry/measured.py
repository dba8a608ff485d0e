"""What a check measured beyond the figures: slices, calibration, overlap, signature, dependencies, serving, formats.

These values travel inside the evidence and stay in the ledger. Nothing here does I/O.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

# How these are read from JSON (pydantic asks for this name): unknown keys are refused, and so are infinities.
_STRICT: Mapping[str, object] = {"extra": "forbid", "allow_inf_nan": False}


@dataclass(frozen=True, slots=True)
class Slice:
    """A group of held-out rows that a column cuts out, and the figures on it."""

    __pydantic_config__ = _STRICT

    column: str
    value: str
    rows: int
    measures: Mapping[str, float]

    def __str__(self) -> str:
        return f"{self.column}={self.value}"


@dataclass(frozen=True, slots=True)
class Figure:
    """A number with its 95 % interval."""

    __pydantic_config__ = _STRICT

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Calibration:
    """How far stated probabilities are from what came true.

    `error` is the expected calibration error over `bins` bins of equal width, `brier` the Brier score; both in
    registry/evaluation.py, with their sources.
    """

    __pydantic_config__ = _STRICT

    bins: int
    error: Figure
    brier: Figure


@dataclass(frozen=True, slots=True)
class Overlap:
    """How many of the held-out `rows` the training saw.

    `copies` stand among the `trained` rows as they are, target included; of `alike` the inputs do, but for case,
    spacing and the fifth digit. `digests` is the sha256 of the file that the training left of its rows.
    """

    __pydantic_config__ = _STRICT

    rows: int
    trained: int
    copies: int
    alike: int
    digests: str


@dataclass(frozen=True, slots=True)
class Compatibility:
    """What the signature asks of callers, beside the champion's.

    `breaks` says what would fail for somebody who calls the champion today, `changes` what would not.
    """

    __pydantic_config__ = _STRICT

    inputs: int
    outputs: int
    champion: int | None = None
    champion_digest: str | None = None
    breaks: tuple[str, ...] = ()
    changes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Dependency:
    """One line of the model's requirements.

    `version` is None where the line pins none; `licence` is an SPDX expression, None where nobody says.
    """

    __pydantic_config__ = _STRICT

    name: str
    version: str | None
    licence: str | None


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """How the version serves, seen in the runtime that will serve it, in a process of its own.

    `refused` says why it cannot be served at all, and then the numbers mean nothing. Of `golden` requests `alike` were
    answered as the native model did, at most `difference` apart (`tolerance` passes). Milliseconds are of one request
    with one row; `memory_mb` is the process's peak. `engine` is what ran the model: `onnx`, or `skops` for scikit-learn
    itself, and then `unconverted` says why there is no ONNX.
    """

    __pydantic_config__ = _STRICT

    refused: str = ""
    golden: int = 0
    alike: int = 0
    difference: float = 0.0
    tolerance: float = 0.0
    requests: int = 0
    load_ms: float = 0.0
    p50_ms: float = 0.0
    p99_ms: float = 0.0
    memory_mb: float = 0.0
    bundle_mb: float = 0.0
    machine: str = ""
    engine: str = "onnx"
    unconverted: str = ""


@dataclass(frozen=True, slots=True)
class Scan:
    """How many files were looked into, and what in them could run code."""

    __pydantic_config__ = _STRICT

    files: int
    findings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Measured:
    """All of it; None where it could not be measured, and `unmeasured` says why, by gate.

    `intervals` holds the 95 % interval of each measure, by its name.
    """

    __pydantic_config__ = _STRICT

    answers: str  # probabilities, classes or numbers
    slices: tuple[Slice, ...] = ()
    calibration: Calibration | None = None
    overlap: Overlap | None = None
    compatibility: Compatibility | None = None
    dependencies: tuple[Dependency, ...] | None = None
    rehearsal: Rehearsal | None = None
    scan: Scan | None = None
    unmeasured: Mapping[str, str] = field(default_factory=dict)
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)
