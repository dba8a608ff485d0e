"""What may be configured about serving: flags over environment over slipway.yaml over these defaults."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from . import config_faults, limits
from .errors import ConfigurationInvalid
from .judging_settings import JudgingSettings
from .lambda_settings import Caller, DeadLetter, Retention, VpcSettings, checked
from .sagemaker_settings import SageMakerSettings
from .traffic import HALF, LATENCY, TAIL, Limit, Schedule

Runtime = Literal["python3.11", "python3.12", "python3.13"]
Architecture = Literal["x86_64", "arm64"]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class CanarySettings(JudgingSettings):
    """How does a new version take over from the old one? ``least`` are requests that it answered since it began.

    Attributes:
        shares: of the requests, rising to 1: the new version is watched at each before the next.
        latency_ratio: so many times the old version's time may most requests, and its slowest twentieth, take; null
            leaves times unjudged.
        latency_ms: and so many milliseconds more in any case.
        patience: seconds to wait at each share for the least number of requests; then the old version gets all back.
    """

    shares: tuple[float, ...] = (0.1, 0.5, 1.0)
    latency_ratio: float | None = Field(1.25, ge=1)
    latency_ms: float = Field(1.0, ge=0)
    patience: float = Field(900, gt=0)

    @model_validator(mode="after")
    def _rises(self) -> Self:
        _ = self.schedule  # what makes no sense is refused here, not when the first requests have moved
        return self

    @property
    def schedule(self) -> Schedule:
        """How does the new version's share grow?"""
        return Schedule(self.shares, self.least, self.alpha)

    def limits(self, *, compared: bool) -> tuple[Limit, ...]:
        """What is judged? ``compared`` tells whether both versions are asked the same requests."""
        ratio = self.latency_ratio
        times = (Limit(LATENCY, HALF, f"over {ratio:g} times the old version's"),
                 Limit(TAIL, HALF, "that one version alone answers beyond the old p95 are the new one's"),
                 ) if ratio else ()
        return self.failures, *times, *(self.answers if compared else ())


class LinearSettings(_Section):
    """By how many percent of the requests does a new version's share grow, and how many seconds does each last?"""

    size: int = Field(10, ge=1, le=50)
    wait: int = Field(300, ge=0)

    @property
    def shares(self) -> tuple[float, ...]:
        """Which shares are these, rising to 1?"""
        return (*(share / 100 for share in range(self.size, 100, self.size)), 1.0)


class LambdaSettings(_Section):
    """How is a model run on Lambda?

    Attributes:
        runtime: None takes python3.12 when the endpoint offers it; onnxruntime needs glibc 2.28, which
            python3.11's Amazon Linux 2 does not have.
        memory: MB; CPU is given in proportion.
        timeout: seconds.
        role: ARN or name of the execution role.
        storage: MB of /tmp.
        environment: variables; none that decides what code runs, none that looks like a secret.
        vpc: where the function's network is; None leaves it in Lambda's own.
        dead_letter: ARN of a queue or topic for events of asynchronous callers that failed; empty drops them.
        tracing: whether X-Ray samples requests that no caller traced.
        reserved: requests at once that are kept for this function, and that it may not exceed; None reserves nothing.
        provisioned: environments of the version in service that stand ready, and are paid for as long as they do.
        url: ``iam`` gives the alias an HTTPS address for signed requests, ``none`` takes it away.
        url_callers: accounts, or ARNs of users and roles, that the alias lets in beside this account's own.
        log_retention: days; None leaves the log group as it is.
        canary: None points the alias at once after the golden requests were answered.
        linear: the share grows evenly instead, judged by the limits of ``canary``, or by their defaults.
        alarms: of CloudWatch, none of which may be firing before a deploy begins, nor while a version takes over.
    """

    runtime: Runtime | None = None
    architecture: Architecture = "x86_64"
    memory: int = Field(1024, ge=limits.MEMORY.least, le=limits.MEMORY.most)
    timeout: int = Field(30, ge=limits.SECONDS.least, le=limits.SECONDS.most)
    role: str = "slipway-exec-lambda"
    storage: int = Field(512, ge=limits.STORAGE.least, le=limits.STORAGE.most)
    environment: Annotated[dict[str, str], AfterValidator(checked)] = Field(default={}, repr=False)
    vpc: VpcSettings | None = None
    dead_letter: DeadLetter | Literal[""] = ""
    tracing: bool = False
    reserved: int | None = Field(None, ge=1)
    provisioned: int = Field(0, ge=0)
    url: Literal["none", "iam"] = "none"
    url_callers: tuple[Caller, ...] = ()
    log_retention: Retention | None = None
    canary: CanarySettings | None = None
    linear: LinearSettings | None = None
    alarms: tuple[str, ...] = Field((), max_length=10)

    @property
    def takeover(self) -> CanarySettings | None:
        """By which shares does a new version take over, and by which limits is it judged? None: at once."""
        if self.linear is None:
            return self.canary
        return (self.canary or CanarySettings()).model_copy(update={"shares": self.linear.shares})

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.reserved is not None and self.reserved < 2 * self.provisioned:
            raise ValueError(f"while a new version takes over, both have their {self.provisioned} environments ready: "
                             f"reserved must be at least {2 * self.provisioned}, found {self.reserved}")
        if self.url_callers and self.url == "none":
            raise ValueError("url_callers are let in by the URL, and there is none. Next: url: iam")
        if self.linear and self.canary and "shares" in self.canary.model_fields_set:
            raise ValueError("canary.shares and linear are two ways for a share to grow; choose one")
        return self


class Settings(_Section):
    """What is configured?

    Attributes:
        prefix: the start of every name made on AWS, so that one policy can cover them.
        bucket: where releases lie; None means ``PREFIX-ACCOUNT-REGION``.
        kms_key: id, ARN or alias of the KMS key that encrypts what is put there; None leaves it to the bucket.
    """

    prefix: str = Field("slipway", pattern=r"^[a-z][a-z0-9-]{0,19}$")
    bucket: str | None = None
    kms_key: str | None = Field(None, min_length=1)
    lambda_: LambdaSettings = Field(default=LambdaSettings(), alias="lambda")
    sagemaker: SageMakerSettings = SageMakerSettings()


def load(path: Path | None = None, environ: Mapping[str, str] = os.environ) -> Settings:
    """Which settings are in force?

    Args:
        path: a slipway.yaml; None means ``SLIPWAY_CONFIG``, else ./slipway.yaml, else the defaults.
        environ: the environment.

    Raises:
        ConfigurationInvalid: the file is missing or says something that is not understood.
    """
    named = path or (Path(environ["SLIPWAY_CONFIG"]) if "SLIPWAY_CONFIG" in environ else None)
    source = named or Path("slipway.yaml")
    if not source.is_file():
        if named:
            raise ConfigurationInvalid(f"{source}: no such file")
        return Settings()
    return parse(source.read_text(encoding="utf-8"), name=str(source))


def parse(text: str, *, name: str) -> Settings:
    """Which settings does this YAML hold?

    Raises:
        ConfigurationInvalid: every fault with its line, what is found and what is wanted there, and the nearest right
            key where one is unknown.
    """
    import yaml

    from registry import line_of, not_yaml, said_twice, together

    try:
        node, raw = yaml.compose(text, Loader=yaml.SafeLoader), yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigurationInvalid(not_yaml(error, name)) from None
    if node is None:
        return Settings()
    faults, found = list(said_twice(node)), Settings()
    try:
        found = Settings.model_validate(raw)
    except ValidationError as error:
        faults += [(line_of(node, path), fault) for path, fault in config_faults.told(error.errors(), Settings)]
    if faults:
        raise ConfigurationInvalid(together(name, faults))
    return found
