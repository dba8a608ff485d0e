"""Which algorithm with which parameters? A search over both, shared by as many processes as join it.

The laws:
  1. Every process draws from the numbers of its trials, so two processes on one storage never do the same work,
     and one process with the same seed and budget of trials finds the same again.
  2. Choices are made on validation rows. Held-out rows are looked at once, by the winner's retraining.
  3. A killed process loses the trial it was in; whoever joins next marks that trial as failed.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
from optuna.samplers import BaseSampler, TPESampler
from optuna.trial import TrialState

from . import plots, scores, tasks
from .errors import BadParameter, UnknownName
from .settings import Scalar, Settings, Value, resolve
from .training import Plan, Request, Trained, fit, plan, train
from .words import Fitted, Kind, Metrics

if TYPE_CHECKING:
    from optuna.study import Study
    from optuna.trial import FrozenTrial, Trial

    from .tracking import Search

STORAGE = str(Path(".slipway") / "tune.journal")
# Figure of the validation rows -> whether more is better, and the per-epoch figure that pruning compares.
METRICS: Mapping[str, tuple[bool, str]] = {
    "f1_macro": (True, "validation.accuracy"),
    "recall_macro": (True, "validation.accuracy"),
    "accuracy": (True, "validation.accuracy"),
    "auc": (True, "validation.accuracy"),
    "log_loss": (False, "validation.loss"),
    "rmse": (False, "validation.loss"),
}
FEWEST_TO_PRUNE, EPOCHS_BEFORE_PRUNING = 4, 3
WINNER_SECONDS, CLAIM_SECONDS = 600.0, 0.5


@dataclass(frozen=True, slots=True)
class Budget:
    """When to stop: trials are counted over all processes, minutes for this one; 0 is no limit."""

    trials: int = 0
    minutes: float = 0.0


@dataclass(frozen=True, slots=True)
class Question:
    """What to search: the request whose parameters stay fixed, the algorithms to compare, the figure to better."""

    request: Request
    algorithms: tuple[str, ...] = ()
    metric: str = ""
    storage: str = STORAGE


@dataclass(frozen=True, slots=True)
class Tuned:
    """What a search found."""

    study: str
    run_id: str
    trials: int
    algorithms: tuple[str, ...]
    metric: str
    value: float
    winner: Trained
    parameters: Mapping[str, Scalar] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Ground:
    """What stays the same over all trials of a search."""

    base: Plan
    algorithms: tuple[str, ...]
    metric: str
    fixed: Mapping[str, str]

    def searched(self, algorithm: str) -> dict[str, Value]:
        """The parameters of the algorithm that may vary: those with a range that the user has not fixed."""
        settings = self.base.task.algorithms[algorithm].settings
        return {name: value for name, value in settings.items() if value.search and name not in self.fixed}

    def plan(self, algorithm: str, drawn: Mapping[str, Scalar]) -> Plan:
        """The plan with this algorithm and these parameters, on the same rows."""
        allowed = self.base.task.algorithms[algorithm].settings
        values = resolve(allowed, {name: text for name, text in self.fixed.items() if name in allowed}).values
        settings = Settings({**values, **drawn})
        blueprint = replace(self.base.blueprint, settings=settings)
        return replace(self.base, algorithm=algorithm, settings=settings, blueprint=blueprint)


class Numbered(BaseSampler):
    """Draws each trial with a generator of its own, seeded by the search's seed and the trial's number."""

    def __init__(self, seed: int) -> None:
        """Take the search's seed."""
        self.seed = seed

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, Any]:
        """None: each parameter is drawn by itself, as the tree-structured Parzen estimator does."""
        return {}

    def sample_relative(self, study: Study, trial: FrozenTrial, search_space: dict[str, Any]) -> dict[str, Any]:
        """Nothing is drawn together."""
        return {}

    def sample_independent(self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: Any) -> Any:
        """One parameter of this trial."""
        mixed = hashlib.sha256(f"{self.seed}/{trial.number}/{param_name}".encode()).digest()
        sampler = TPESampler(seed=int.from_bytes(mixed[:4], "big"), n_startup_trials=8, constant_liar=True)
        return sampler.sample_independent(study, trial, param_name, param_distribution)


def tune(question: Question, budget: Budget, told: Callable[[int, float], None] = lambda trials, best: None) -> Tuned:
    """Search until the budget is spent, then retrain the best with its parameters and register it.

    `told` hears the number of finished trials and the best value after each.

    Raises:
        TrainError: the question or the data is not good; nothing is written then.
    """
    from .tracking import search_run  # MLflow takes seconds to import

    ground = _ground(question)
    study = _study(question, ground)
    _bury_the_dead(study)
    for name in ground.algorithms:
        study.enqueue_trial(_defaults(ground, name), skip_if_exists=True)
    search = search_run(study.user_attrs.get("run_id", ""), study.study_name)
    study.set_user_attr("run_id", search.run_id)
    deadline = time.monotonic() + budget.minutes * 60 if budget.minutes else np.inf
    while time.monotonic() < deadline and _open(study, budget):
        _one(study, ground, search, deadline)
        told(len(_finished(study)), _best(study))
    return _conclude(study, question, ground, search)


def _ground(question: Question) -> _Ground:
    """The question found good: data read, names known, fixed parameters allowed by some algorithm.

    Raises:
        TrainError: something in it is not good.
    """
    task = tasks.find(question.request.task)
    algorithms = question.algorithms or tuple(task.algorithms)
    for name in algorithms:
        if name not in task.algorithms:
            raise UnknownName(f"algorithm of {task.name}", name, task.algorithms)
    known = {name for algorithm in algorithms for name in task.algorithms[algorithm].settings}
    given = question.request.parameters
    for name in given:
        if name not in known and name not in task.data:
            raise UnknownName(f"parameter of {task.name}", name, {*known, *task.data})
    reading = {name: text for name, text in given.items() if name in task.data}
    base = plan(replace(question.request, algorithm="", parameters=reading))
    metric = question.metric or ("f1_macro" if base.dataset.kind is Kind.CLASSIFICATION else "rmse")
    _refuse_metric(metric, base)
    ground = _Ground(base, algorithms, metric, {name: text for name, text in given.items() if name not in reading})
    for name in algorithms:
        ground.plan(name, {})
    return ground


def _refuse_metric(metric: str, base: Plan) -> None:
    if metric not in METRICS:
        raise UnknownName("metric", metric, METRICS)
    if (metric == "rmse") == (base.dataset.kind is Kind.CLASSIFICATION):
        raise BadParameter(f"parameter metric: {metric} is no figure of a {base.dataset.kind.value} task")


def _study(question: Question, ground: _Ground) -> Study:
    """The study of exactly this question: other data, seed or fixed parameters are another study."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    asked = [question.request.as_json(), ground.base.parts.train.digest(), ground.algorithms, ground.metric]
    name = f"{ground.base.task.name}-{hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:10]}"
    return optuna.create_study(
        study_name=name,
        storage=_storage(question.storage),
        sampler=Numbered(question.request.seed),
        pruner=optuna.pruners.MedianPruner(FEWEST_TO_PRUNE, EPOCHS_BEFORE_PRUNING),
        direction="maximize" if METRICS[ground.metric][0] else "minimize",
        load_if_exists=True,
    )


def _storage(where: str) -> Any:
    """A database by its address, or else a journal file that processes append to."""
    if "://" in where:
        return where
    from optuna.storages.journal import JournalFileBackend

    Path(where).parent.mkdir(parents=True, exist_ok=True)
    return optuna.storages.JournalStorage(JournalFileBackend(where))


def _me() -> str:
    return f"{socket.gethostname()}/{os.getpid()}"


def _lives(who: str) -> bool:
    """Is that process still there? Another machine's is taken to be."""
    host, _, process = who.rpartition("/")
    if host != socket.gethostname():
        return True
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _bury_the_dead(study: Study) -> None:
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        if not _lives(trial.user_attrs.get("process", _me())):
            study.tell(trial.number, state=TrialState.FAIL)


def _finished(study: Study) -> list[FrozenTrial]:
    return study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))


def _open(study: Study, budget: Budget) -> bool:
    taken = len(_finished(study)) + len(study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)))
    return not budget.trials or taken < budget.trials


def _best(study: Study) -> float:
    done = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    return float(study.best_value) if done else np.nan


def _defaults(ground: _Ground, algorithm: str) -> dict[str, Scalar]:
    values = {f"{algorithm}.{name}": value.default for name, value in ground.searched(algorithm).items()}
    return {"algorithm": algorithm, **values}


def _draw(trial: Trial, ground: _Ground) -> tuple[str, dict[str, Scalar]]:
    algorithm = trial.suggest_categorical("algorithm", ground.algorithms)
    searched = ground.searched(algorithm)
    return algorithm, {name: _drawn(trial, f"{algorithm}.{name}", value) for name, value in searched.items()}


def _drawn(trial: Trial, name: str, value: Value) -> Scalar:
    low, high = value.search[0], value.search[-1]
    if isinstance(low, str) or isinstance(high, str):
        return str(trial.suggest_categorical(name, value.search))
    if isinstance(value.default, int):
        return trial.suggest_int(name, int(low), int(high), log=value.log)
    return trial.suggest_float(name, low, high, log=value.log)


@dataclass
class _Watch:
    """Reports each epoch to the trial, and ends it when it is behind the others or out of time."""

    trial: Trial
    figure: str
    deadline: float
    epochs: list[Metrics] = field(default_factory=list)

    def epoch(self, number: int, metrics: Metrics) -> None:
        self.epochs.append(metrics)
        self.trial.report(metrics[self.figure], number)
        if self.trial.should_prune() or time.monotonic() > self.deadline:
            raise optuna.TrialPruned


def _one(study: Study, ground: _Ground, search: Search, deadline: float) -> None:
    """Run one trial, or take over the value of one that did the same."""
    trial = study.ask()
    trial.set_user_attr("process", _me())
    algorithm, drawn = _draw(trial, ground)
    twin = _twin(study, trial)
    if twin is not None:
        trial.set_user_attr("same_as", twin.number)
        study.tell(trial, twin.value, state=TrialState.COMPLETE)
        return
    watch, started = _Watch(trial, METRICS[ground.metric][1], deadline), time.monotonic()
    value = _value(ground.plan(algorithm, drawn), watch, ground.metric)
    study.tell(trial, value, state=TrialState.PRUNED if value is None else TrialState.COMPLETE)
    figures = {f"validation.{ground.metric}": np.nan if value is None else value, "seconds": time.monotonic() - started}
    search.trial(trial.number, {"algorithm": algorithm, **drawn}, watch.epochs, figures)


def _twin(study: Study, trial: Trial) -> FrozenTrial | None:
    done = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    return next((other for other in done if other.params == trial.params), None)


def _value(made: Plan, watch: _Watch, metric: str) -> float | None:
    """The figure of a model fitted as planned; None if it was given up on the way."""
    try:
        fitted = fit(made.task.algorithms[made.algorithm], made.blueprint, made.parts, watch)
    except optuna.TrialPruned:
        return None
    return figure(fitted, made, metric)


def figure(fitted: Fitted, made: Plan, metric: str) -> float:
    """The figure `metric` on the validation rows."""
    truth, answers = made.parts.validation.target, fitted.answers(made.parts.validation.inputs)
    if metric == "rmse":
        return float(np.sqrt(np.mean((truth.astype(np.float64) - answers) ** 2)))
    if metric == "auc":
        return scores.roc_area(truth, answers)(np.ones(len(truth)))
    if metric == "log_loss":
        right = answers[np.arange(len(truth)), truth].astype(np.float64)
        return float(-np.log(np.clip(right, scores.SMALLEST_PROBABILITY, 1)).mean())
    matrix = scores.confusion(truth, answers.argmax(axis=1), len(made.dataset.labels))
    if metric == "accuracy":
        return float(scores.accuracy(matrix))
    return float(np.nanmean(scores.PER_CLASS[metric.removesuffix("_macro")](matrix)))


def _conclude(study: Study, question: Question, ground: _Ground, search: Search) -> Tuned:
    """Retrain the best, once over all processes, and write what the search was."""
    if not study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)):
        raise BadParameter("parameter minutes: no trial was finished within the budget; give more")
    best, done = study.best_trial, _finished(study)
    compared = {str(trial.params["algorithm"]) for trial in done}
    facts: dict[str, Scalar] = {"search.study": study.study_name, "search.metric": ground.metric}
    facts |= {"search.trials": len(done), "search.best_trial": best.number}
    facts |= {"search.best_value": float(best.value or 0.0)}
    search.write({**facts, "search.algorithms": ",".join(sorted(compared))}, pictures(study, ground.metric))
    algorithm = str(best.params["algorithm"])
    drawn = {name.partition(".")[2]: value for name, value in best.params.items() if "." in name}
    own = ground.base.task.algorithms[algorithm].settings
    texts = {n: t for n, t in question.request.parameters.items() if n in own or n in ground.base.task.data}
    texts |= {name: str(value) for name, value in drawn.items()}
    request = replace(question.request, algorithm=algorithm, parameters=texts)
    winner = _once(study, best.number, lambda: train(request, parent=search.run_id, facts=facts))
    search.close()
    return Tuned(
        study.study_name, search.run_id, len(done), tuple(sorted(compared)), ground.metric,
        float(best.value or 0.0), winner, {"algorithm": algorithm, **drawn},
    )  # fmt: skip


def _once(study: Study, number: int, retrain: Callable[[], Trained]) -> Trained:
    """The winner's retraining, done by the first process to come here; the others wait for what it made."""
    winner, claim = f"winner.{number}", f"claim.{number}"
    waited = time.monotonic()
    while time.monotonic() - waited < WINNER_SECONDS:
        attributes = study.user_attrs
        if winner in attributes:
            kept = json.loads(attributes[winner])
            return Trained(**{**kept, "notes": tuple(kept["notes"])})
        if claim not in attributes or not _lives(attributes[claim]):
            study.set_user_attr(claim, _me())
            time.sleep(CLAIM_SECONDS)
        if study.user_attrs.get(claim) == _me():
            break
        time.sleep(CLAIM_SECONDS)
    trained = retrain()
    study.set_user_attr(winner, json.dumps(asdict(trained)))
    return trained


def pictures(study: Study, metric: str) -> dict[str, bytes]:
    """How the search went: every trial's value by algorithm, and the best so far."""
    done = sorted(study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)), key=lambda trial: trial.number)
    points = [(trial.number, float(trial.value or 0.0), str(trial.params["algorithm"])) for trial in done]
    drawn = {name: _by_parameter(done, name) for name in sorted({name for trial in done for name in trial.params})}
    numbers = {name: pairs for name, pairs in drawn.items() if len(pairs) > 1 and not isinstance(pairs[0][0], str)}
    made = {"search_history": plots.search_history(points, metric, rising=METRICS[metric][0])}
    return made | ({"search_parameters": plots.search_parameters(numbers, metric)} if numbers else {})


def _by_parameter(done: list[FrozenTrial], name: str) -> list[tuple[Any, float]]:
    return [(trial.params[name], float(trial.value or 0.0)) for trial in done if name in trial.params]
