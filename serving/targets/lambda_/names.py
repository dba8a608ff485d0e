"""What things are called on Lambda. Pure."""

from __future__ import annotations

import re

from ...config import Settings
from ...errors import ConfigurationInvalid
from ...names import release_prefix

ALIAS = "production"
# FunctionName, AWS Lambda API reference, read 2026-11: letters, digits, - and _, at most 64.
ALLOWED = re.compile(r"[A-Za-z0-9_-]{1,64}")


def function_name(settings: Settings, model: str) -> str:
    """Which function serves this model?

    Raises:
        ConfigurationInvalid: Lambda does not take a name made from it.
    """
    name = f"{settings.prefix}-{model}"
    if not ALLOWED.fullmatch(name):
        raise ConfigurationInvalid(f"{name!r} is no name for a Lambda function: letters, digits, - and _, at most 64. "
                                   "Next: register the model under such a name")
    return name


def layer_name(settings: Settings, runtime: str, architecture: str) -> str:
    """What is the layer called? One name for each Python and machine."""
    return f"{settings.prefix}-runtime-{runtime.replace('.', '')}-{architecture.replace('_', '-')}"


def code_key(model: str, digest: str, sha256: str) -> str:
    """Under which S3 key does a function's code lie?"""
    return f"{release_prefix(model, digest)}/lambda/{sha256}.zip"


def layer_key(identity: str) -> str:
    """Under which S3 key does a layer lie?"""
    return f"layers/{identity}.zip"
