"""A new release as the shadow of the old one: in which configuration, by which steps. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ...aws import ConfigState
from ...plan import Step
from ...sagemaker_settings import ShadowSettings
from . import names
from .steps import CreateConfig, UpdateEndpoint, Watch

CAPTURED = "shadow"


@dataclass(frozen=True, slots=True)
class Trial:
    """Where the new release gets copies of the requests, and what is looked for in what it answers.

    Attributes:
        config: in which the old release serves and the new one is its shadow.
        back: in which the old one serves alone.
        bucket: where both answers are captured.
    """

    config: ConfigState
    back: str
    bucket: str
    limits: ShadowSettings


def trial_of(endpoint: str, old: ConfigState, new: ConfigState, bucket: str, limits: ShadowSettings) -> Trial | None:
    """How is the new release tried beside the old one? Not at all where both are the same model."""
    (serving,), (candidate,) = old.variants, new.variants
    if serving.model == candidate.model or serving.memory:
        return None
    shadow = replace(candidate, name=names.SHADOW, instances=limits.instances, weight=limits.share)
    name = names.trial_name(endpoint, [old.name, new.name, limits.share, limits.instances])
    # All of it is captured: a copy tells by nothing but its own bytes which request it is a copy of.
    config = ConfigState(name, (serving,), 100, captured_under(bucket, name), new.kms, (shadow,))
    return Trial(config, old.name, bucket, limits)


def captured_under(bucket: str, config: str) -> str:
    """At which S3 address lies what is captured while this configuration serves?"""
    return f"s3://{bucket}/{CAPTURED}/{config}"


def steps_of(trial: Trial, endpoint: str, now: str, *, made: bool) -> list[Step]:
    """By which steps is it tried? Where it was begun, from there on; ``now`` is the configuration that serves."""
    watch = Watch(endpoint, trial.config.name, trial.back, trial.bucket, trial.limits)
    if now == trial.config.name:
        return [watch]
    return [*([] if made else [CreateConfig(trial.config)]),
            UpdateEndpoint(endpoint, trial.config.name, now, None, resize=False), watch]
