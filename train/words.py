"""The words of training: what data, a task, an algorithm and a trained model are.

Nothing here does I/O or imports a framework, so a task module can be read without one installed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from .settings import Settings, Value

Array = NDArray[Any]
Metrics = dict[str, float]


class Kind(Enum):
    """What a task's answers are: class probabilities, a number, or a score that orders items."""

    CLASSIFICATION = "classification"
    REGRESSION = "regression"
    RANKING = "ranking"


class Engine(Enum):
    """Who fits a model, and which MLflow flavour stores it."""

    KERAS = "keras"
    SKLEARN = "sklearn"


@dataclass(frozen=True, slots=True)
class Examples:
    """Rows: named input arrays of one length, the target, and columns that only split or slice.

    `inputs` are what the model sees under these very names. `target` holds class indices (int64)
    for classification, float32 otherwise. `aside` (group, time, slice columns) never reaches a model.
    """

    inputs: Mapping[str, Array]
    target: Array
    aside: Mapping[str, Array] = field(default_factory=dict)

    def __len__(self) -> int:
        """How many rows are there?"""
        return len(self.target)

    def take(self, rows: Array) -> Examples:
        """These rows, in this order."""
        return Examples(
            {name: values[rows] for name, values in self.inputs.items()},
            self.target[rows],
            {name: values[rows] for name, values in self.aside.items()},
        )

    def row_hashes(self) -> list[bytes]:
        """One hash per row over its inputs and target: equal rows have equal hashes."""
        columns = [_bytes_of(values) for values in (*self.inputs.values(), self.target)]
        return [hashlib.blake2b(b"\x1f".join(cells), digest_size=16).digest() for cells in zip(*columns, strict=True)]

    def digest(self) -> str:
        """SHA-256 over the row hashes in order: which rows exactly was this split?"""
        return hashlib.sha256(b"".join(self.row_hashes())).hexdigest()


def _bytes_of(values: Array) -> Iterator[bytes]:
    if values.dtype.kind in "OUS":
        return (str(value).encode() for value in values.tolist())
    flat = np.ascontiguousarray(values).reshape(len(values), -1)
    return (row.tobytes() for row in flat)


@dataclass(frozen=True, slots=True)
class Dataset:
    """All examples of a task before the split, and what is known about them.

    `labels` names the classes in index order, empty for a number target. `scale` divides raw
    input numbers where the format itself bounds them (pixels). `held_out` is there when the data
    comes with its own. `known` holds figures that hold for the data whatever the model, such as a
    generator's best reachable accuracy.
    """

    examples: Examples
    labels: tuple[str, ...]
    kind: Kind
    source: str
    scale: float = 1.0
    held_out: Examples | None = None
    known: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DataOptions:
    """Where the data is (an empty path: the task's own default data) and how it is to be read."""

    path: str
    seed: int
    settings: Settings

    def columns(self, name: str) -> tuple[str, ...]:
        """The column names that setting `name` lists, separated by commas."""
        return tuple(word.strip() for word in self.settings.text(name).split(",") if word.strip())


@dataclass(frozen=True, slots=True)
class Blueprint:
    """All that a builder may look at: training rows only, never held-out ones.

    `class_weights` holds one weight per class, empty where nothing is balanced.
    """

    train: Examples
    labels: tuple[str, ...]
    kind: Kind
    scale: float
    settings: Settings
    seed: int
    class_weights: tuple[float, ...] = ()

    @property
    def outputs(self) -> int:
        """How many numbers an answer has: one per class, or one."""
        return len(self.labels) or 1

    def weights_of(self, target: Array) -> Array:
        """The weight of each row of this target, float32: its class's, or 1."""
        if not self.class_weights:
            return np.ones(len(target), dtype=np.float32)
        return np.asarray(self.class_weights, dtype=np.float32)[target]


@dataclass(frozen=True, slots=True)
class Algorithm:
    """One way to solve a task: who fits it, how the unfitted model is built, what can be set."""

    engine: Engine
    build: Callable[[Blueprint], Any]
    settings: Mapping[str, Value]


# How data of every task may be read and split; a task adds its own columns to these.
DATA_SETTINGS: Mapping[str, Value] = MappingProxyType(
    {
        "split": Value("stratified", choices=("stratified", "group", "time")),
        "group": Value(""),
        "time": Value(""),
        "slices": Value(""),
        "held_out": Value(""),
        "duplicates": Value("refuse", choices=("refuse", "drop")),
        "balance": Value("auto", choices=("auto", "weights", "none")),
        "missing": Value(""),
        "limit": Value(0, 0, 1e12),
    }
)


@dataclass(frozen=True, slots=True)
class Task:
    """A task: how its data is loaded, and the algorithms that solve it, the default one first.

    `data` are the settings of reading (see `data_settings`); `more_scores` adds figures that only
    this task has, `files` text files that travel inside the model.
    """

    name: str
    load: Callable[[DataOptions], Dataset]
    algorithms: Mapping[str, Algorithm]
    data: Mapping[str, Value] = field(default_factory=lambda: DATA_SETTINGS)
    more_scores: Callable[[Fitted, Dataset, Split], Metrics] | None = None
    files: Callable[[Fitted], Mapping[str, str]] | None = None

    @property
    def default(self) -> str:
        """The algorithm used when none is named."""
        return next(iter(self.algorithms))


def data_settings(**added: Value) -> Mapping[str, Value]:
    """The settings of reading that every task has, with a task's own added."""
    return MappingProxyType({**DATA_SETTINGS, **added})


@dataclass(frozen=True, slots=True)
class Split:
    """Three disjoint sets of rows; models fit on train, choices are made on validation."""

    train: Examples
    validation: Examples
    held_out: Examples
    facts: Mapping[str, float] = field(default_factory=dict)


class Fitted(Protocol):
    """A fitted model, whoever fitted it."""

    @property
    def engine(self) -> Engine:
        """Which engine fitted it."""

    @property
    def native(self) -> Any:
        """The framework's own object, as it will be saved."""

    @property
    def best_epoch(self) -> int:
        """The epoch whose weights were kept; 0 where there are no epochs."""

    def answers(self, inputs: Mapping[str, Array]) -> Array:
        """Probabilities (rows, classes), or numbers (rows,), float32."""


class Progress(Protocol):
    """Who is told about each epoch."""

    def epoch(self, number: int, metrics: Metrics) -> None:
        """Take the metrics of epoch `number` (from 1), such as train.loss; may raise to stop."""
