"""What is said when a model or a version is not there: what is, and what to do. No I/O happens here."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from difflib import get_close_matches

_SHOWN = 10


def model(name: str, registered: Sequence[str]) -> str:
    """There is no such model."""
    if not registered:
        return f"no model {name} here, nor any other. Next: slipway train, or cd to the project's folder"
    near = get_close_matches(name, registered, 1)
    step = f"slipway history {near[0]}" if near else "name one of these, or slipway train"
    more = f" and {len(registered) - _SHOWN} more" if len(registered) > _SHOWN else ""
    return f"no model {name} here; registered: {', '.join(sorted(registered)[:_SHOWN])}{more}. Next: {step}"


def version(name: str, number: int, numbers: Sequence[int]) -> str:
    """The model is there, the version is not."""
    if not numbers:
        return f"{name} has no version {number}, nor any other. Next: slipway train"
    *first, last = map(str, sorted(numbers)[-_SHOWN:])
    before = f"{'older ones, ' if len(numbers) > _SHOWN else ''}{', '.join(first)} and " if first else ""
    return f"{name} has no version {number}; it has {before}{last}. Next: slipway history {name}"


def in_policy(source: str, named: Iterable[str], registered: Collection[str]) -> Iterator[str]:
    """Which models does a policy name that nobody registered? A warning, not a fault: they may come yet."""
    for name in named:
        if name not in registered:
            near = get_close_matches(name, registered, 1)
            told = f"no such registered model{f'; the nearest is {near[0]}' if near else ''}"
            yield f"{source}: models: {name}: {told}. Its rules hold for nothing until there is one"
