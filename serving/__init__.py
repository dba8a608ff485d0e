"""From an approved release to an answer: bundles, plans, deployments, and the runtime that travels.

The face of this folder. Heavy imports wait until they are needed.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .errors import ServingError

if TYPE_CHECKING:
    from .aws import Aws
    from .bundle import Bundle, build, verify
    from .config import Settings
    from .deploy import Deployment, deploy, invoke, prepare

__all__ = ["Aws", "Bundle", "Deployment", "ServingError", "Settings", "build", "deploy", "invoke", "prepare", "verify"]

_HOMES = {"Aws": "aws", "Bundle": "bundle", "build": "bundle", "verify": "bundle", "Settings": "config",
          "Deployment": "deploy", "deploy": "deploy", "invoke": "deploy", "prepare": "deploy"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
