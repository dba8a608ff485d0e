"""The tasks: one module each, imported only when its task is asked for.

A sixth task is a module here that defines `TASK`, and its name in `NAMES`.
"""

from __future__ import annotations

from importlib import import_module

from ..errors import UnknownName
from ..words import Task

NAMES = ("images", "text", "ratings", "tabular")


def find(name: str) -> Task:
    """The task of this name.

    Raises:
        UnknownName: there is none.
    """
    if name not in NAMES:
        raise UnknownName("task", name, NAMES)
    task: Task = import_module(f"{__name__}.{name}").TASK
    return task
