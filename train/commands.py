"""`slipway train`: parse, call, print."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from .errors import BadParameter

if TYPE_CHECKING:
    from .training import Request, Trained
    from .words import Metrics, Progress

HEADLINES = tuple(
    f"held_out.{name}"
    for name in ("accuracy", "recall_macro", "precision_macro", "f1_macro", "auc", "rmse", "mae", "r2")
)
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
    lines = [f"{made.name}/{made.version} registered as a candidate (run {made.run_id})"]
    for name in HEADLINES:
        if name in made.metrics:
            low, high = made.metrics[f"{name}.ci_low"], made.metrics[f"{name}.ci_high"]
            lines.append(f"  {name:<24} {made.metrics[name]:.4f}   95 % interval {low:.4f} to {high:.4f}")
    lines += [f"  note: {note}" for note in made.notes]
    return "\n".join([*lines, f"Next: slipway check {made.name}/{made.version}"])
