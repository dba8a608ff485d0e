"""One training, from data to a registered candidate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from . import plots, scores, tasks
from .errors import UnknownName
from .settings import Settings, resolve
from .splits import Split, split
from .words import Algorithm, Blueprint, DataOptions, Dataset, Fitted, Metrics, Progress, Task

if TYPE_CHECKING:
    from .tracking import Recorder


@dataclass(frozen=True, slots=True)
class Request:
    """What to train: a task, its data, an algorithm, and parameters as the user wrote them."""

    task: str
    data: DataOptions = field(default_factory=DataOptions)
    algorithm: str = ""
    seed: int = 0
    parameters: Mapping[str, str] = field(default_factory=dict)
    name: str = ""


@dataclass(frozen=True, slots=True)
class Trained:
    """What a training left: the run, the registered version, and its held-out figures."""

    run_id: str
    name: str
    version: int
    source: str
    metrics: Metrics


@dataclass
class History:
    """Remembers every epoch and passes it on."""

    listeners: tuple[Progress, ...]
    epochs: list[Metrics] = field(default_factory=list)

    def epoch(self, number: int, metrics: Metrics) -> None:
        """Keep the epoch's metrics and tell every listener."""
        self.epochs.append(metrics)
        for listener in self.listeners:
            listener.epoch(number, metrics)


def choose(request: Request) -> tuple[Task, str, Settings]:
    """The task, the algorithm's name and its settings that a request asks for.

    Raises:
        UnknownName: a task, algorithm or parameter that does not exist.
        BadParameter: a parameter of the wrong type or not allowed.
    """
    task = tasks.find(request.task)
    algorithm = request.algorithm or task.default
    if algorithm not in task.algorithms:
        raise UnknownName(f"algorithm for {task.name}", algorithm, task.algorithms)
    return task, algorithm, resolve(task.algorithms[algorithm].settings, request.parameters)


def train(request: Request, *listeners: Progress) -> Trained:
    """Load, split, fit, judge on held-out rows, write everything to MLflow, register a candidate.

    Nothing is written before the request and the data are found good.
    """
    task, algorithm, settings = choose(request)
    dataset = task.load(request.data)
    parts = split(dataset, seed=request.seed)
    blueprint = Blueprint(parts.train, dataset.labels, dataset.kind, dataset.scale, settings, request.seed)

    from .tracking import recording  # MLflow takes seconds to import: not before the input is known to be good

    with recording(f"{task.name}-{algorithm}") as recorder:
        recorder.parameters({"task": task.name, "algorithm": algorithm, "seed": request.seed, **settings.values})
        recorder.data(dataset, parts)
        history = History((recorder, *listeners))
        fitted = fit(task.algorithms[algorithm], blueprint, parts, history)
        metrics = judge(fitted, dataset, parts, seed=request.seed)
        record(recorder, fitted, dataset, parts, history, metrics)
        source = recorder.model(fitted, task.name, dataset, parts)
        name = request.name or task.name
        return Trained(recorder.run_id, name, recorder.register(name, source), source, metrics)


def fit(algorithm: Algorithm, blueprint: Blueprint, parts: Split, progress: Progress) -> Fitted:
    """Build the algorithm's model and fit it."""
    from . import descent

    descent.prepare(blueprint.seed, blueprint.settings.text("precision"))
    return descent.fit(algorithm.build(blueprint), parts, blueprint, progress)


def judge(fitted: Fitted, dataset: Dataset, parts: Split, *, seed: int) -> Metrics:
    """The held-out figures, named held_out.<figure>."""
    answers = fitted.answers(parts.held_out.inputs)
    matrix = scores.confusion(parts.held_out.target, answers.argmax(axis=1), len(dataset.labels))
    figures = scores.from_confusion(matrix, dataset.labels, seed=seed)
    return {f"held_out.{name}": value for name, value in figures.items()}


def record(
    recorder: Recorder, fitted: Fitted, dataset: Dataset, parts: Split, history: History, metrics: Metrics
) -> None:
    """Write what was measured, the pictures and the held-out rows."""
    recorder.metrics(metrics)
    answers = fitted.answers(parts.held_out.inputs)
    matrix = scores.confusion(parts.held_out.target, answers.argmax(axis=1), len(dataset.labels))
    pictures = {"confusion_matrix": plots.confusion_matrix(matrix, dataset.labels)}
    if history.epochs:
        best = int(np.argmin([row["validation.loss"] for row in history.epochs])) + 1
        pictures["learning_curves"] = plots.learning_curves(history.epochs, best)
    recorder.pictures(pictures)
    recorder.held_out(parts.held_out)
