"""From an approved release to an answer: bundles, plans, deployments, and the runtime that travels.

The face of this folder. Heavy imports wait until they are needed.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .errors import ServingError

if TYPE_CHECKING:
    from .bundle import Bundle, build, verify
    from .deploy import Deployment, deploy, prepare

__all__ = ["Bundle", "Deployment", "ServingError", "build", "deploy", "prepare", "verify"]

_HOMES = {"Bundle": "bundle", "build": "bundle", "verify": "bundle", "Deployment": "deploy", "deploy": "deploy",
          "prepare": "deploy"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
