"""`slipway train`: parse, call, print."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from .errors import BadParameter

if TYPE_CHECKING:
    from .training import Trained

HEADLINES = ("held_out.accuracy", "held_out.recall_macro", "held_out.precision_macro", "held_out.f1_macro")
OPEN_ENDED = {"ignore_unknown_options": True, "allow_extra_args": True}


@click.command(context_settings=OPEN_ENDED)
@click.argument("task")
@click.option("--data", default="", help="Path of the data; the task's own default data without it.")
@click.option("--algorithm", default="", help="Which algorithm of the task; its first without it.")
@click.option("--seed", default="0", help="Seed of the split, the weights and the order of rows.")
@click.option("--epochs", default="", help="Most epochs to train.")
@click.option("--name", default="", help="Registered model to add a candidate to; the task's name without it.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@click.pass_context
def train(
    context: click.Context, task: str, data: str, algorithm: str, seed: str, epochs: str, name: str, as_json: bool
) -> None:
    """Train TASK and register the result as a candidate.

    Any parameter of the algorithm may follow as --parameter VALUE.

    \b
    Example:
      slipway train images --epochs 12 --learning-rate 0.002
    """
    from . import training
    from .words import DataOptions

    parameters = read_parameters(context.args)
    if epochs:
        parameters["epochs"] = epochs
    number = read_seed(seed)
    options = DataOptions(path=data, seed=number)
    made = training.train(training.Request(task, options, algorithm, number, parameters, name))
    click.echo(_as_json(made) if as_json else _as_text(made))


def read_parameters(words: Sequence[str]) -> dict[str, str]:
    """`--a 1 --b-c=2` as {"a": "1", "b_c": "2"}.

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
    return found


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
    return json.dumps(facts | {"metrics": made.metrics})


def _as_text(made: Trained) -> str:
    lines = [f"{made.name}/{made.version} registered as a candidate (run {made.run_id})"]
    for name in HEADLINES:
        if name in made.metrics:
            low, high = made.metrics[f"{name}.ci_low"], made.metrics[f"{name}.ci_high"]
            lines.append(f"  {name:<24} {made.metrics[name]:.4f}   95 % interval {low:.4f} to {high:.4f}")
    return "\n".join([*lines, f"Next: slipway check {made.name}/{made.version}"])
