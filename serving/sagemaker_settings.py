"""What may be configured about SageMaker. Limits are SageMaker's own, of its API reference as read 2026-11."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from .comparing import eased, share_of_slow
from .judging_settings import JudgingSettings
from .limits import ALARMS, BAKING, FIRST_SHARE, SERVERLESS_REQUESTS
from .traffic import LATENCY, Limit, Schedule

Seconds = int
_TOPIC = r"^arn:aws[a-z-]*:sns:[a-z0-9-]*:\d{12}:[a-zA-Z0-9_.-]+$"
_OURS = ("releases", "layers", "deployments", "shadow", "capture", "batch")


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ServerlessSettings(_Section):
    """How large is an endpoint without instances?

    Attributes:
        memory: MB.
        concurrency: requests at once.
    """

    memory: Literal[1024, 2048, 3072, 4096, 5120, 6144] = 2048
    concurrency: int = Field(5, ge=SERVERLESS_REQUESTS.least, le=SERVERLESS_REQUESTS.most)


class CaptureSettings(_Section):
    """Which requests and answers are kept?

    Attributes:
        share: of the requests.
        to: an S3 address; None means ``capture/`` in the bucket of the releases.
    """

    share: float = Field(1.0, ge=0.01, le=1)
    to: str | None = Field(None, pattern=r"^s3://[^/]+/.+")


class CanaryShift(_Section):
    """How large a part of the new fleet is watched first, and for how many seconds? Then comes all the rest."""

    size: int = Field(10, ge=FIRST_SHARE.least, le=FIRST_SHARE.most)
    wait: Seconds = Field(300, ge=0, le=BAKING.most)


class LinearShift(_Section):
    """In which equal parts, percent of the new fleet, do the requests move, each watched for how many seconds?"""

    size: int = Field(20, ge=10, le=FIRST_SHARE.most)
    wait: Seconds = Field(300, ge=0, le=BAKING.most)


class AutoscalingSettings(_Section):
    """Between how many instances?

    Attributes:
        least, most: instances. None at all only where requests can wait, at an asynchronous endpoint.
        invocations: requests a minute that each instance shall have.
        backlog: at an asynchronous endpoint instead: requests that wait for each instance.
    """

    least: int = Field(1, ge=0)
    most: int = Field(ge=1)
    invocations: float | None = Field(None, gt=0)
    backlog: float | None = Field(None, gt=0)

    @model_validator(mode="after")
    def _rises(self) -> Self:
        if self.most < self.least:
            raise ValueError("most must be at least least")
        if (self.invocations is None) == (self.backlog is None):
            raise ValueError("wanted either invocations (a minute of each instance) or backlog (of an asynchronous "
                             "endpoint)")
        return self


class AsynchronousSettings(_Section):
    """How are requests answered later, to S3? SageMaker takes them as objects there, of at most 1 GB.

    Attributes:
        to: prefix in the bucket of the releases; requests, answers and failures lie under it, by endpoint.
        at_once: requests that an instance answers at once; None leaves it to SageMaker.
        success_topic, error_topic: ARNs of SNS topics that are told of each answer or failure.
    """

    to: str = Field("asynchronous", pattern=r"^[a-zA-Z0-9][a-zA-Z0-9._-]*(/[a-zA-Z0-9][a-zA-Z0-9._-]*)*$")
    at_once: int | None = Field(None, ge=1, le=1000)
    success_topic: str | None = Field(None, pattern=_TOPIC)
    error_topic: str | None = Field(None, pattern=_TOPIC)

    @model_validator(mode="after")
    def _out_of_the_way(self) -> Self:
        if (first := self.to.split("/")[0]) in _OURS:
            raise ValueError(f"under {first}/ lie other things of ours; choose another prefix")
        return self


class ShadowSettings(JudgingSettings):
    """How is a new release tried on copies of the requests, whose answers nobody gets, before it answers any?

    Attributes:
        share: of the requests that are copied.
        instances: that it is tried on.
        patience: seconds to wait for the least number; then the old release goes on alone.
        slow_ms: milliseconds of the model over which an answer of the old release counts as slow; None leaves times
            unjudged, since nobody else knows what is long for this model.
        latency_ratio, latency_ms: the new one's counts as slow over so many times ``slow_ms``, and over so many
            milliseconds more.
    """

    share: float = Field(1.0, gt=0, le=1)
    instances: int = Field(1, ge=1)
    patience: Seconds = Field(3600, ge=1)
    slow_ms: float | None = Field(None, gt=0)
    latency_ratio: float = Field(1.25, ge=1)
    latency_ms: float = Field(1.0, ge=0)

    @property
    def bar_ms(self) -> float:
        """Over how many milliseconds does an answer of the new release count as slow?"""
        return eased(self.slow_ms or 0.0, self.latency_ratio, self.latency_ms)

    @property
    def schedule(self) -> Schedule:
        """How many requests, how sure? A shadow has one share, that of the copies."""
        return Schedule((1.0,), self.least, self.alpha)

    def limits(self) -> tuple[Limit, ...]:
        """What is judged? Times by how many of each release were slow: CloudWatch has no pairs of them."""
        long = f"over {self.slow_ms:g} ms (the new release's over {self.bar_ms:g}) are the new release's" if (
            self.slow_ms) else ""
        times = (Limit(LATENCY, share_of_slow(self.share), long),) if long else ()
        return self.failures, *times, *self.answers


class SageMakerSettings(_Section):
    """How is a model run on SageMaker?

    Attributes:
        image: an address in ECR; None takes AWS's prebuilt PyTorch inference image of the region. One of AWS's
            ``pytorch-inference`` images is given our handler and its libraries beside the bundle; any other is taken
            for our own server, which the Dockerfile builds, and is given the bundle alone.
        instance_type, instances: what it runs on, unless ``serverless`` is there.
        role: ARN or name of the execution role.
        shadow: how a new release is tried beside the old one first; None lets it answer without.
        canary, linear: how requests move to a new release; without either, all at once.
        alarms: CloudWatch alarms, any of which brings the old release back while requests move.
        keep: seconds that the old fleet is kept after the last step, and watched by the alarms.
        autoscaling: None leaves the number of instances as it is.
        asynchronous: None answers at once, to whoever asks.
        kms: the key for volumes, captured requests and answers in S3.
        days: after which the bucket of the stack forgets what shadows and asynchronous endpoints were asked and said.
    """

    image: str | None = None
    instance_type: str = Field("ml.m7i.large", pattern=r"^ml\.[a-z0-9-]+\.[a-z0-9-]+$")
    instances: int = Field(1, ge=1)
    serverless: ServerlessSettings | None = None
    role: str = "slipway-exec-sagemaker"
    shadow: ShadowSettings | None = None
    canary: CanaryShift | None = None
    linear: LinearShift | None = None
    alarms: tuple[str, ...] = Field((), max_length=ALARMS.most)
    keep: Seconds = Field(0, ge=0, le=3600)
    capture: CaptureSettings | None = None
    autoscaling: AutoscalingSettings | None = None
    asynchronous: AsynchronousSettings | None = None
    kms: str = ""
    days: int = Field(30, ge=1, le=3650)

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.canary and self.linear:
            raise ValueError("canary and linear are two ways to move requests; choose one")
        if (self.canary or self.linear or self.keep) and not self.alarms:
            raise ValueError("requests that move in steps are watched by alarms, and there is none: name 1 to 10")
        if self.serverless and (self.canary or self.linear or self.alarms or self.capture or self.autoscaling
                                or self.asynchronous or self.kms):
            raise ValueError("a serverless endpoint has no canary, linear, alarms, keep, capture, autoscaling, "
                             "asynchronous or kms")
        return self

    @model_validator(mode="after")
    def _can_have_a_shadow(self) -> Self:
        """SageMaker developer guide, "Shadow tests: exclusions", read 2026-11."""
        if self.shadow is None:
            return self
        reasons = {"serverless": self.serverless, "asynchronous": self.asynchronous,
                   f"on {self.instance_type}": self.instance_type.startswith("ml.inf1.")}
        if found := [reason for reason, so in reasons.items() if so]:
            raise ValueError(f"SageMaker has no shadow beside an endpoint that is {found[0]}; leave out shadow")
        return self

    @model_validator(mode="after")
    def _scales_by_what_it_has(self) -> Self:
        scaling, later = self.autoscaling, self.asynchronous is not None
        if scaling and (scaling.backlog is not None) != later:
            raise ValueError("an asynchronous endpoint scales by autoscaling.backlog, any other by "
                             "autoscaling.invocations")
        if scaling and scaling.least == 0 and not later:
            raise ValueError("only an asynchronous endpoint can scale to no instance: elsewhere nobody would answer")
        if self.capture and later:
            raise ValueError("an asynchronous endpoint keeps its requests and answers in S3 as it is; leave out "
                             "capture")
        return self
