"""Training: from data to a registered candidate version.

Nothing heavy is imported until it is asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .errors import BadData, BadParameter, TrainError, UnknownName
    from .training import Request, Trained, train
    from .words import Algorithm, DataOptions, Dataset, Examples, Task

_HOME = {
    "train.errors": ("BadData", "BadParameter", "TrainError", "UnknownName"),
    "train.training": ("Request", "Trained", "train"),
    "train.words": ("Algorithm", "DataOptions", "Dataset", "Examples", "Task"),
}

__all__ = [
    "Algorithm",
    "BadData",
    "BadParameter",
    "DataOptions",
    "Dataset",
    "Examples",
    "Request",
    "Task",
    "TrainError",
    "Trained",
    "UnknownName",
    "train",
]


def __getattr__(name: str) -> object:
    for module, names in _HOME.items():
        if name in names:
            return getattr(import_module(module), name)
    raise AttributeError(f"module 'train' has no attribute {name!r}")
