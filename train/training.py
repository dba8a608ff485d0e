"""One training, from data to a registered candidate."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from . import tasks
from .errors import UnknownName
from .judging import judge, pictures, slice_names
from .settings import Scalar, Settings, resolve
from .splits import split
from .words import (
    Algorithm,
    Blueprint,
    DataOptions,
    Dataset,
    Engine,
    Fitted,
    Kind,
    Metrics,
    Progress,
    Split,
    Task,
)

if TYPE_CHECKING:
    from .tracking import Recorder

CHECKPOINTS = Path(".slipway") / "checkpoints"
# Classes are weighted by themselves when the rarest has less than this share of an equal part.
RARE = 0.4
NO_FACTS: Mapping[str, Scalar] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Request:
    """What to train: a task, its data, an algorithm, and parameters as the user wrote them."""

    task: str
    data: str = ""
    algorithm: str = ""
    seed: int = 0
    parameters: Mapping[str, str] = field(default_factory=dict)
    name: str = ""

    def as_json(self) -> str:
        """The request as it is kept with its run."""
        return json.dumps(asdict(self), sort_keys=True)


@dataclass(frozen=True, slots=True)
class Trained:
    """What a training left: the run, the registered version, its held-out figures, and what is worth saying."""

    run_id: str
    name: str
    version: int
    source: str
    metrics: Metrics
    notes: tuple[str, ...] = ()


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


@dataclass(frozen=True, slots=True)
class Plan:
    """A request found good: everything that fitting needs, nothing written yet."""

    task: Task
    algorithm: str
    settings: Settings
    options: DataOptions
    dataset: Dataset
    parts: Split
    blueprint: Blueprint

    @property
    def parameters(self) -> dict[str, Scalar]:
        """All that decided this training, as it is logged."""
        weights = zip(self.dataset.labels, self.blueprint.class_weights, strict=False)
        return {
            "task": self.task.name,
            "algorithm": self.algorithm,
            "seed": self.options.seed,
            "data": self.options.path,
            "balance.applied": "weights" if self.blueprint.class_weights else "none",
            **{f"class_weight.{label}": round(weight, 6) for label, weight in weights},
            **self.options.settings.values,
            **self.settings.values,
        }


def choose(request: Request) -> tuple[Task, str, Settings, DataOptions]:
    """The task, the algorithm's name, its settings and the data's that a request asks for.

    Raises:
        UnknownName: a task, algorithm or parameter that does not exist.
        BadParameter: a parameter of the wrong type or not allowed.
    """
    task = tasks.find(request.task)
    algorithm = request.algorithm or task.default
    if algorithm not in task.algorithms:
        raise UnknownName(f"algorithm of {task.name}", algorithm, task.algorithms)
    allowed = task.algorithms[algorithm].settings
    for name in request.parameters:
        if name not in allowed and name not in task.data:
            raise UnknownName(f"parameter of {task.name} with {algorithm}", name, {**allowed, **task.data})
    own = {name: text for name, text in request.parameters.items() if name in allowed}
    reading = {name: text for name, text in request.parameters.items() if name not in allowed}
    options = DataOptions(request.data, request.seed, resolve(task.data, reading))
    return task, algorithm, resolve(allowed, own), options


def plan(request: Request) -> Plan:
    """Load and split the data of a good request.

    Raises:
        TrainError: the request or the data is not good; the message names the place.
    """
    task, algorithm, settings, options = choose(request)
    dataset = task.load(options)
    parts = split(dataset, options)
    weights = class_weights(dataset, parts, options.settings.text("balance"))
    blueprint = Blueprint(parts.train, dataset.labels, dataset.kind, dataset.scale, settings, request.seed, weights)
    return Plan(task, algorithm, settings, options, dataset, parts, blueprint)


def class_weights(dataset: Dataset, parts: Split, balance: str) -> tuple[float, ...]:
    """One weight per class, rows / (classes * rows of the class), from training rows; empty for none."""
    if dataset.kind is not Kind.CLASSIFICATION or balance == "none":
        return ()
    counts = np.bincount(parts.train.target, minlength=len(dataset.labels))
    even = counts.sum() / len(counts)
    if balance == "auto" and counts.min() >= RARE * even:
        return ()
    return tuple(float(even / count) for count in counts)


def train(
    request: Request,
    listeners: Iterable[Progress] = (),
    *,
    resume: str = "",
    parent: str = "",
    facts: Mapping[str, Scalar] = NO_FACTS,
) -> Trained:
    """Load, split, fit, judge on held-out rows, write everything to MLflow, register a candidate.

    Nothing is written before the request and the data are found good. `resume` is the id of a run whose
    training was cut off: the same run goes on from its last checkpoint. `parent` is the run of the search
    that chose the parameters, and `facts` what is to be logged about it.
    """
    made = plan(request)

    from .tracking import recording  # MLflow takes seconds to import: not before the input is known to be good

    with recording(f"{made.task.name}-{made.algorithm}", run_id=resume, parent=parent) as recorder:
        recorder.parameters({**made.parameters, **facts})
        recorder.tags({"slipway.request": request.as_json()})
        recorder.data(made.dataset, made.parts)
        checkpoint = CHECKPOINTS / recorder.run_id / "state.npz"
        history = History((recorder, *listeners))
        fitted = fit(made.task.algorithms[made.algorithm], made.blueprint, made.parts, history, checkpoint)
        trained = _finish(recorder, made, fitted, history, request)
        checkpoint.unlink(missing_ok=True)
        return trained


def resumed(run_id: str, listeners: Iterable[Progress] = ()) -> Trained:
    """Go on with a run that was cut off, with the very request it was started with."""
    from .tracking import request_of

    return train(Request(**json.loads(request_of(run_id))), listeners, resume=run_id)


def fit(
    algorithm: Algorithm, blueprint: Blueprint, parts: Split, progress: Progress, checkpoint: Path | None = None
) -> Fitted:
    """Build the algorithm's model and fit it."""
    if algorithm.engine is Engine.SKLEARN:
        from . import estimators

        return estimators.fit(algorithm.build(blueprint), blueprint)
    from . import descent

    descent.prepare(blueprint.seed, blueprint.settings.text("precision"))
    return descent.fit(algorithm.build(blueprint), parts, blueprint, progress, checkpoint)


def _finish(recorder: Recorder, made: Plan, fitted: Fitted, history: History, request: Request) -> Trained:
    """Judge, write figures, pictures, rows and model, and register."""
    metrics = judge(made.task, fitted, made.dataset, made.parts, seed=request.seed)
    metrics |= {f"known.{name}": value for name, value in made.dataset.known.items()} | dict(made.parts.facts)
    if history.epochs:
        metrics |= {"best_epoch": float(fitted.best_epoch), "epochs_trained": float(len(history.epochs))}
    recorder.metrics(metrics)
    recorder.pictures(pictures(fitted, made.dataset, made.parts, history.epochs))
    recorder.held_out(made.parts.held_out, slice_names(made.parts))
    recorder.seen(made.parts)
    source = recorder.model(fitted, made.task, made.dataset, made.parts)
    name = request.name or made.task.name
    version = recorder.register(name, source)
    return Trained(recorder.run_id, name, version, source, metrics, _notes(made, metrics))


def _notes(made: Plan, metrics: Metrics) -> tuple[str, ...]:
    """What a reader of the figures should be told beside them."""
    notes = []
    if made.blueprint.class_weights:
        counts = np.bincount(made.parts.train.target)
        rarest = made.dataset.labels[int(counts.argmin())]
        share = counts.min() / counts.sum()
        notes.append(f"classes are weighted: {rarest!r} is {share:.1%} of the training rows (--balance none to not)")
    dropped = metrics.get("split.leaked_rows_dropped", 0)
    if dropped:
        notes.append(f"{dropped:.0f} held-out rows left out: they also stand in the training rows")
    return tuple(notes)


