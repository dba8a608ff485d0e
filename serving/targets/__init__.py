"""The places where a release may serve, a folder for each, and which of them a command means."""

from __future__ import annotations

from difflib import get_close_matches

from ..aws import Aws
from ..config import Settings
from ..errors import ConfigurationInvalid, NotDeployed
from ..logbook import bucket_of, deployed_in
from ..names import DEPLOYMENTS, TARGETS
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
    where = deployed(model, aws, settings)
    if len(where) > 1:
        raise ConfigurationInvalid(f"{model} is deployed to {' and '.join(where)}. Next: --target {where[0]}")
    return open_target(where[0], aws, settings)


def deployed(model: str, aws: Aws, settings: Settings) -> tuple[str, ...]:
    """To which targets was this model deployed?

    Raises:
        NotDeployed: to none; the message names the deployed model whose name is nearest.
    """
    bucket = bucket_of(aws, settings)
    if where := deployed_in(aws, bucket, f"{DEPLOYMENTS}{model}/").get(model):
        return where
    near = get_close_matches(model, deployed_in(aws, bucket), n=1)
    raise NotDeployed(f"{model} was never deployed{f'; the nearest name is {near[0]}' if near else ''}. "
                      f"Next: slipway status lists what was, slipway deploy {model} would be the first")
