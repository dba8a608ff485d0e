"""`slipway train`: parse, call, print."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from .errors import BadParameter

if TYPE_CHECKING:
    from .training import Request, Trained
    from .tuning import Budget, Question, Tuned
    from .words import Metrics, Progress

HEADLINES = tuple(
    f"held_out.{name}"
    for name in ("accuracy", "recall_macro", "precision_macro", "f1_macro", "auc", "rmse", "mae", "r2")
)
DEFAULT_MINUTES = 2.0
OPEN_ENDED = {"ignore_unknown_options": True, "allow_extra_args": True}


@click.command(context_settings=OPEN_ENDED)
@click.argument("task", default="")
@click.option("--data", default="", help="Path of the data; the task's own default data without it.")
@click.option("--algorithm", default="", help="Which algorithm of the task; its first without it.")
@click.option("--seed", default="0", help="Seed of the split, the weights and the order of rows.")
@click.option("--name", default="", help="Registered model to add a candidate to; the task's name without it.")
@click.option("--resume", default="", metavar="RUN", help="Go on with a run that was cut off; nothing else is needed.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@click.pass_context
def train(context: click.Context, /, as_json: bool, resume: str, **words: str) -> None:
    """Train TASK (images, text, ratings, tabular) and register the result as a candidate.

    Any parameter of the data or the algorithm may follow as --parameter VALUE, such as --epochs 12.

    \b
    Example:
      slipway train tabular --data people.csv --target income --algorithm boosting
    """
    from . import training

    with shown_epochs() as listeners:
        request = None if resume else _request(context, **words)
        made = training.train(request, listeners) if request else training.resumed(resume, listeners)
    click.echo(_as_json(made) if as_json else _as_text(made))


def _request(context: click.Context, *, task: str, data: str, algorithm: str, seed: str, name: str) -> Request:
    from .tasks import NAMES
    from .training import Request

    if not task:
        raise BadParameter(f"which task? There are: {', '.join(NAMES)}")
    return Request(task, data, algorithm, read_seed(seed), read_parameters(context.args), name)


@click.command(context_settings=OPEN_ENDED)
@click.argument("task", default="")
@click.option("--data", default="", help="Path of the data; the task's own default data without it.")
@click.option("--algorithms", default="", help="Algorithms to compare, with commas; all of the task's without it.")
@click.option("--metric", default="", help="Figure of the validation rows to better: f1_macro, auc, rmse, ...")
@click.option("--trials", default="", help="Stop after this many trials, over all processes.")
@click.option("--minutes", default="", help="Stop this process after so many minutes (2 without --trials).")
@click.option("--storage", default="", help="Journal file, or database address, that processes share.")
@click.option("--seed", default="0", help="Seed of the split, the models and the search.")
@click.option("--name", default="", help="Registered model to add a candidate to; the task's name without it.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@click.pass_context
def tune(context: click.Context, /, as_json: bool, **words: str) -> None:
    """Search algorithms and parameters of TASK; register the best, retrained, as a candidate.

    Start the same command again, here or on another machine with the same --storage, and it helps.

    \b
    Example:
      slipway tune tabular --minutes 2 --algorithms svm,boosting,linear
    """
    from . import tuning

    question, budget = _question(words, read_parameters(context.args))
    with _shown_trials() as told:
        tuned = tuning.tune(question, budget, told)
    click.echo(_tuned_as_json(tuned) if as_json else _tuned_as_text(tuned))


def _question(words: Mapping[str, str], parameters: Mapping[str, str]) -> tuple[Question, Budget]:
    from .tasks import NAMES
    from .training import Request
    from .tuning import STORAGE, Budget, Question

    if not words["task"]:
        raise BadParameter(f"which task? There are: {', '.join(NAMES)}")
    request = Request(words["task"], words["data"], "", read_seed(words["seed"]), parameters, words["name"])
    chosen = tuple(name.strip() for name in words["algorithms"].split(",") if name.strip())
    trials, minutes = read_number("trials", words["trials"]), read_number("minutes", words["minutes"])
    question = Question(request, chosen, words["metric"], words["storage"] or STORAGE)
    return question, Budget(int(trials), minutes if minutes or trials else DEFAULT_MINUTES)


@contextmanager
def _shown_trials() -> Iterator[Callable[[int, float], None]]:
    """Where a person is looking, a line on stderr with trials, best value and time."""
    if not sys.stderr.isatty():
        yield lambda trials, best: None
        return
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        line = bar.add_task("reading the data", total=None)
        yield lambda trials, best: bar.update(line, description=f"{trials} trials, best {best:.4f}")


@contextmanager
def shown_epochs() -> Iterator[list[Progress]]:
    """A line on stderr that tells of each epoch, where a person is looking."""
    if not sys.stderr.isatty():
        yield []
        return
    from rich.console import Console
    from rich.status import Status

    with Status("reading the data", console=Console(stderr=True)) as status:
        yield [_Shown(status.update)]


class _Shown:
    """Tells of each epoch in one line."""

    def __init__(self, show: Callable[[str], None]) -> None:
        self.show = show

    def epoch(self, number: int, metrics: Metrics) -> None:
        """Show the epoch's figures."""
        self.show(f"epoch {number}: " + "  ".join(f"{name} {value:.4g}" for name, value in metrics.items()))


def read_parameters(words: Sequence[str]) -> dict[str, str]:
    """`--a 1 --b-c=2` as {"a": "1", "b_c": "2"}; an empty value is as good as none.

    Raises:
        BadParameter: a word that is no option, or an option without a value.
    """
    found: dict[str, str] = {}
    rest = iter(words)
    for word in rest:
        if not word.startswith("--"):
            raise BadParameter(f"{word!r} is not understood: parameters are written --name VALUE")
        name, equals, value = word[2:].partition("=")
        text = value if equals else next(rest, None)
        if text is None:
            raise BadParameter(f"parameter {name} has no value: write --{name} VALUE")
        found[name.replace("-", "_")] = text
    return {name: text for name, text in found.items() if text}


def read_number(name: str, text: str) -> float:
    """The number that `text` means, 0 for an empty text.

    Raises:
        BadParameter: it is no number, or below 0.
    """
    try:
        number = float(text or 0)
    except ValueError:
        raise BadParameter(f"parameter {name}: {text!r} is not a number") from None
    if not 0 <= number < float("inf"):
        raise BadParameter(f"parameter {name}: {text} is below 0 or without end")
    return number


def read_seed(text: str) -> int:
    """The seed that `text` means; an empty text is 0.

    Raises:
        BadParameter: it is not a whole number from 0 to 2**32 - 1.
    """
    if text and not (text.isdecimal() and int(text) < 2**32):
        raise BadParameter(f"parameter seed: {text!r} is not a whole number from 0 to 4294967295")
    return int(text or 0)


def _as_json(made: Trained) -> str:
    facts = {"model": made.name, "version": made.version, "run_id": made.run_id, "source": made.source}
    return json.dumps(facts | {"metrics": made.metrics, "notes": made.notes})


def _as_text(made: Trained) -> str:
    from .scores import interval_of

    lines = [f"{made.name}/{made.version} registered as a candidate (run {made.run_id})"]
    for name in HEADLINES:
        if name in made.metrics:
            low, high = made.metrics[f"{name}.ci_low"], made.metrics[f"{name}.ci_high"]
            sure = f"95 % interval {low:.4f} to {high:.4f}, {interval_of(name)}"
            lines.append(f"  {name:<24} {made.metrics[name]:.4f}   {sure}")
    lines += [f"  note: {note}" for note in made.notes]
    return "\n".join([*lines, f"Next: slipway check {made.name}/{made.version}"])


def _tuned_as_json(tuned: Tuned) -> str:
    facts = {"study": tuned.study, "run_id": tuned.run_id, "trials": tuned.trials, "algorithms": tuned.algorithms}
    facts |= {"metric": tuned.metric, "value": tuned.value, "parameters": dict(tuned.parameters)}
    return json.dumps(facts | {"winner": json.loads(_as_json(tuned.winner))})


def _tuned_as_text(tuned: Tuned) -> str:
    chosen = ", ".join(f"{name} {value}" for name, value in tuned.parameters.items())
    lines = [f"{tuned.trials} trials over {', '.join(tuned.algorithms)} (run {tuned.run_id})"]
    lines.append(f"best on validation: {tuned.metric} {tuned.value:.4f} with {chosen}")
    return "\n".join([*lines, _as_text(tuned.winner)])
