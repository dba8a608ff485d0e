"""What can go wrong in training.

TrainError                 exit 2
  UnknownName              a task, algorithm or parameter that does not exist
  BadParameter             a parameter of the wrong type or outside its range
  BadData                  the data cannot be trained on: file, row and column are named
    LeakedRows             the same rows stand in train and in held-out
  EnvironmentIncomplete    exit 3: the python that runs lacks what training needs
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import ClassVar


class TrainError(Exception):
    """What every error of this folder is; `exit_code` is what a command ends with."""

    exit_code: ClassVar[int] = 2


class UnknownName(TrainError):
    """A name that nothing answers to; the message lists the nearest right one."""

    def __init__(self, what: str, found: str, known: Iterable[str]) -> None:
        """Say what kind of thing was asked for, what was found, and what exists."""
        names = sorted(known)
        near = get_close_matches(found, names, n=1)
        known_names = f"; there are: {', '.join(names)}" if names else ""
        hint = f"; did you mean {near[0]!r}?" if near else known_names
        super().__init__(f"there is no {what} {found!r}{hint}")


class BadParameter(TrainError):
    """A parameter of the wrong type or outside its range."""


class BadData(TrainError):
    """Data that cannot be trained on."""

    def __init__(self, message: str, *, file: str = "", row: int | None = None, column: str = "") -> None:
        """Put the place in front of the message; `row` counts data rows from 1, a CSV header not counted."""
        place = [file] if file else []
        place += [f"row {row}"] if row is not None else []
        place += [f"column {column!r}"] if column else []
        super().__init__(f"{', '.join(place)}: {message}" if place else message)


class LeakedRows(BadData):
    """Rows that stand in both train and held-out."""


class EnvironmentIncomplete(TrainError):
    """The python that runs lacks what training needs."""

    exit_code: ClassVar[int] = 3
