"""The steps of a deployment that only SageMaker knows. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from ...aws import ConfigState, Guardrails, ModelState, ScalingState
from ...plan import Step
from ...sagemaker_settings import ShadowSettings


@dataclass(frozen=True, slots=True)
class CreateModel(Step):
    """Make the model: image, archive, role, variables."""

    model: ModelState

    def __str__(self) -> str:
        isolated = "no network" if self.model.isolated else "with network"
        return f"create      model {self.model.name} ({self.model.image.rsplit('/', 1)[-1]}, {isolated})"


@dataclass(frozen=True, slots=True)
class CreateConfig(Step):
    """Make the endpoint configuration."""

    config: ConfigState

    def __str__(self) -> str:
        (variant,) = self.config.variants
        size = (f"serverless, {variant.memory} MB, {variant.concurrency} at once" if variant.memory
                else f"{variant.instances} x {variant.instance_type}")
        captured = f", {self.config.capture}% captured" if self.config.capture else ""
        later = f", answers to {self.config.later.to}" if self.config.later else ""
        beside = "".join(f", a shadow on {one.instances} x {one.instance_type}" for one in self.config.shadows)
        return f"create      configuration {self.config.name} ({size}{captured}{later}{beside})"


@dataclass(frozen=True, slots=True)
class DeleteFailed(Step):
    """Remove an endpoint that never came into service, so that it can be made again."""

    endpoint: str

    def __str__(self) -> str:
        return f"delete      endpoint {self.endpoint}, which failed to start"


@dataclass(frozen=True, slots=True)
class CreateEndpoint(Step):
    """Make the endpoint and wait until it serves."""

    endpoint: str
    config: str

    def __str__(self) -> str:
        return f"create      endpoint {self.endpoint}, and wait until it serves"


@dataclass(frozen=True, slots=True)
class UpdateEndpoint(Step):
    """Move the endpoint to the configuration and wait until it has all requests, or the old one has them back.

    Attributes:
        was: the configuration that serves now.
        guardrails: how the requests move; None for all at once, unwatched.
        resize: whether the number of instances is the configuration's, and not what autoscaling made of it.
    """

    endpoint: str
    config: str
    was: str
    guardrails: Guardrails | None
    resize: bool

    def __str__(self) -> str:
        return f"update      {self.endpoint} to {self.config} (was {self.was}), {_pace(self.guardrails)}"


@dataclass(frozen=True, slots=True)
class Watch(Step):
    """Judge what the shadow answered beside what was served; where it did worse, the old release goes on alone.

    Attributes:
        config: in which the new release is the shadow.
        back: in which the old one serves alone.
        bucket: where what both answered is captured.
        limits: what is put up with, how many pairs are wanted, how long they are waited for.
    """

    endpoint: str
    config: str
    back: str
    bucket: str
    limits: ShadowSettings

    def __str__(self) -> str:
        copied = "every request" if self.limits.share == 1 else f"{self.limits.share:.0%} of the requests"
        unjudged = "" if self.limits.slow_ms else " (times are not judged: no slow_ms)"
        return (f"watch       the shadow of {self.endpoint} on {copied}, {self.limits.least} at least{unjudged}; "
                f"back to {self.back} if it does worse")


@dataclass(frozen=True, slots=True)
class Reweigh(Step):
    """Give the variant its share of the requests back."""

    endpoint: str
    variant: str
    weight: float

    def __str__(self) -> str:
        return f"weigh       {self.endpoint}: {self.variant} {self.weight:g}"


@dataclass(frozen=True, slots=True)
class Scale(Step):
    """Let the variant scale by its requests; None lets it keep the instances that it has."""

    endpoint: str
    variant: str
    scaling: ScalingState | None

    def __str__(self) -> str:
        return f"scale       {self.endpoint} {self.scaling or 'no more'}"


@dataclass(frozen=True, slots=True)
class DeleteConfig(Step):
    """Delete a configuration that no endpoint and no kept release needs."""

    config: str

    def __str__(self) -> str:
        return f"delete      configuration {self.config}"


@dataclass(frozen=True, slots=True)
class DeleteModel(Step):
    """Delete a model that no kept configuration names."""

    model: str

    def __str__(self) -> str:
        return f"delete      model {self.model}"


@dataclass(frozen=True, slots=True)
class AskGolden(Step):
    """Ask the endpoint its golden requests; where it answers wrongly, go back.

    Attributes:
        back: the configuration that serves again then; empty when there is none.
        first: whether nothing was ever in service; the endpoint is then deleted.
    """

    endpoint: str
    config: str
    back: str
    first: bool = False

    def __str__(self) -> str:
        way = f"; back to {self.back} if they are answered wrongly" if self.back else ""
        return f"ask         golden requests of {self.endpoint}{way}"


def _pace(guardrails: Guardrails | None) -> str:
    if guardrails is None:
        return "all at once"
    watched = f"watched by {', '.join(guardrails.alarms)}"
    if guardrails.kind == "ALL_AT_ONCE":
        return f"all at once, {guardrails.keep} s {watched}"
    return f"{guardrails.kind.lower()} {guardrails.percent}%, {guardrails.wait} s {watched}"
