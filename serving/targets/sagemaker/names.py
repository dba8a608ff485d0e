"""What things are called on SageMaker. Pure."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from typing import Any

from ...config import Settings
from ...errors import ConfigurationInvalid
from ...names import release_prefix

# Guardrails need the same variant name before and after an update, so it never changes.
VARIANT = "production"
SHADOW = "shadow"
# EndpointName, ModelName and EndpointConfigName, SageMaker API reference, read 2026-11.
ALLOWED = re.compile(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}")
LONGEST = 63
_DIGITS, _TRIAL = 12, "-shadow"


def endpoint_name(settings: Settings, model: str) -> str:
    """Which endpoint serves this model?

    Raises:
        ConfigurationInvalid: SageMaker does not take a name made from it.
    """
    name = f"{settings.prefix}-{model}"
    if not ALLOWED.fullmatch(name):
        raise ConfigurationInvalid(f"{name!r} is no name for a SageMaker endpoint: letters, digits and single hyphens, "
                                   f"at most {LONGEST}. Next: register the model under such a name")
    return name


def named_by_content(endpoint: str, content: Any) -> str:
    """What is a model or configuration with this content called? Equal content has an equal name."""
    identity = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:_DIGITS]
    return f"{endpoint[:LONGEST - len(identity) - 1].rstrip('-')}-{identity}"


def may_be_of(endpoint: str, name: str) -> bool:
    """Can a model or configuration of this endpoint have this name? Its journal tells whether one has."""
    start = endpoint[: LONGEST - _DIGITS - 1].rstrip("-")
    return re.fullmatch(f"{re.escape(start)}-[0-9a-f]{{{_DIGITS}}}", name) is not None


def trial_name(endpoint: str, content: Any) -> str:
    """What is a configuration called in which a new release is tried as a shadow?

    No other configuration's name ends so: those end with twelve digits of a hash.
    """
    named = named_by_content(endpoint[: LONGEST - len(_TRIAL) - _DIGITS - 1], content)
    return f"{named}{_TRIAL}"


def start_of(endpoint: str) -> str:
    """How do the names of all models and configurations of this endpoint start, trials too?"""
    return endpoint[: LONGEST - len(_TRIAL) - _DIGITS - 1].rstrip("-")


def is_trial_of(endpoint: str, config: str) -> bool:
    """Is this such a configuration, of this endpoint?"""
    return re.fullmatch(f"{re.escape(start_of(endpoint))}-[0-9a-f]{{{_DIGITS}}}{_TRIAL}", config) is not None


@dataclass(frozen=True, slots=True)
class Later:
    """Under which S3 addresses lies what an asynchronous endpoint is asked and says?"""

    requests: str
    answers: str
    failures: str


def answered_later(root: str) -> Later:
    """Where, under the S3 address of an endpoint? Takes that of its answers as well, which SageMaker tells."""
    root = root.removesuffix("/answers")
    return Later(f"{root}/requests", f"{root}/answers", f"{root}/failures")


def archive_key(model: str, digest: str, sha256: str) -> str:
    """Under which S3 key does a model.tar.gz lie?"""
    return f"{release_prefix(model, digest)}/sagemaker/{sha256}.tar.gz"
