"""The places where a release may serve, a folder for each, and which of them a command means."""

from __future__ import annotations

from ..aws import Aws
from ..config import Settings
from ..errors import ConfigurationInvalid, NotDeployed
from ..logbook import bucket_of
from ..names import DEPLOYMENTS, TARGETS, deployed_models
from ..target import Target
from .lambda_.target import LambdaTarget
from .sagemaker.target import SageMakerTarget


def open_target(name: str, aws: Aws, settings: Settings) -> Target:
    """Which place does this name mean?"""
    if name == "lambda":
        return LambdaTarget(aws, settings)
    if name == "sagemaker":
        return SageMakerTarget(aws, settings)
    raise ConfigurationInvalid(f"no target is called {name!r}; there are {', '.join(TARGETS)}")


def target_of(model: str, named: str | None, aws: Aws, settings: Settings) -> Target:
    """Where is this model deployed? ``named`` decides when it is given.

    Raises:
        NotDeployed: nowhere, and none was named.
        ConfigurationInvalid: in more than one place.
    """
    if named:
        return open_target(named, aws, settings)
    where = deployed_models(aws.storage.keys(bucket_of(aws, settings), f"{DEPLOYMENTS}{model}/")).get(model, ())
    if not where:
        raise NotDeployed(f"{model} was never deployed. Next: slipway status lists what was, "
                          f"slipway deploy {model} would be the first")
    if len(where) > 1:
        raise ConfigurationInvalid(f"{model} is deployed to {' and '.join(where)}. Next: --target {where[0]}")
    return open_target(where[0], aws, settings)
