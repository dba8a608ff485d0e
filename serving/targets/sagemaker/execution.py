"""The steps that only SageMaker knows, done."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence

from ...asking import ask_golden
from ...aws import Aws, EndpointState
from ...errors import AwsConflict, AwsFailed, CanaryFailed, GoldenFailed, Refused
from ...golden import Golden
from ...plan import Step
from ...traffic import Judged, Judgement, Verdict
from .later import ask_of
from .names import VARIANT
from .planning import FAILED, IN_SERVICE
from .steps import (
    AskGolden,
    CreateConfig,
    CreateEndpoint,
    CreateModel,
    DeleteConfig,
    DeleteFailed,
    DeleteModel,
    Reweigh,
    Scale,
    UpdateEndpoint,
    Watch,
)
from .watching import Watching

CHANGING = ("Creating", "Updating", "SystemUpdating", "RollingBack", "Deleting")
# Seconds between two looks: an update takes minutes on AWS, less than one here.
FIRST_LOOK, LONGEST_LOOK = 0.2, 15.0
# SageMaker itself ends an update after 8 hours (MaximumExecutionTimeoutInSeconds, API reference, read 2026-11).
PATIENCE = 8.5 * 3600
Sleep = Callable[[float], None]


def settled(aws: Aws, endpoint: str, sleep: Sleep = time.sleep) -> EndpointState | None:
    """How is the endpoint once SageMaker changes it no more? None when it is gone.

    Raises:
        AwsFailed: it is being changed for longer than SageMaker allows.
    """
    look, ends = FIRST_LOOK, time.monotonic() + PATIENCE
    while True:
        now = aws.endpoints.endpoint(endpoint)
        if now is None or now.status not in CHANGING:
            return now
        if time.monotonic() > ends:
            raise AwsFailed(f"{endpoint} is {now.status} for over 8 hours. Next: slipway status, and AWS's support")
        sleep(look)
        look = min(look * 1.5, LONGEST_LOOK)


def take_out(aws: Aws, endpoint: str, sleep: Sleep = time.sleep) -> None:
    """Let nothing serve under this name, nor scale; what is gone already is no fault.

    Scaling goes first: AWS keeps what is registered there when the endpoint goes, and a next endpoint of the same name
    would scale by it.
    """
    if aws.scaling.scaling(endpoint, VARIANT) is not None:
        aws.scaling.unscale(endpoint, VARIANT)
    if aws.endpoints.endpoint(endpoint) is not None:
        aws.endpoints.delete_endpoint(endpoint)
        settled(aws, endpoint, sleep)


class SageMakerHands:
    """Does SageMaker's steps. ``published`` is the endpoint configuration's name."""

    def __init__(self, aws: Aws, golden: Golden, sleep: Sleep = time.sleep) -> None:
        self._aws = aws
        self._golden = golden
        self._sleep = sleep
        self.published = ""
        self.renew: Callable[[], None] = lambda: None
        self._judged: tuple[Judged, ...] = ()

    @property
    def judged(self) -> tuple[Judged, ...]:
        """What did a shadow show, or the alarms say, while requests moved?"""
        return self._judged

    def do(self, step: Step) -> None:
        """Do one step; see `serving.execution.Hands`."""
        endpoints = self._aws.endpoints
        match step:
            case CreateModel() | CreateConfig():
                self._create(step)
            case DeleteFailed():
                self._delete(step.endpoint)
            case CreateEndpoint():
                endpoints.create_endpoint(step.endpoint, step.config)
                self._require(step.endpoint, step.config, "")
            case UpdateEndpoint():
                self._update(step)
            case Reweigh():
                endpoints.reweigh(step.endpoint, step.variant, step.weight)
                settled(self._aws, step.endpoint, self._wait)
            case AskGolden():
                self._ask(step)
            case Watch():
                self._watch(step)
            case Scale():
                self._scale(step)
            case DeleteConfig():
                endpoints.delete_config(step.config)
            case DeleteModel():
                endpoints.delete_model(step.model)
            case _:
                raise TypeError(f"SageMaker has no step {step!r}")

    def stopped(self, step: Step) -> str:
        """Say what the endpoint does: SageMaker goes on by itself with what it was asked for, its alarms judging.

        A shadow that was watched is taken away.
        """
        if not isinstance(step, CreateEndpoint | UpdateEndpoint | DeleteFailed | Reweigh | AskGolden | Watch | Scale):
            return "what served before still does"
        now = self._aws.endpoints.endpoint(step.endpoint)
        if now is None:
            return f"there is no endpoint {step.endpoint}"
        if isinstance(step, Watch) and (now.config, now.status) == (step.config, IN_SERVICE):
            # Nobody would look at the shadow anymore, and its instances cost as those that answer.
            self._aws.endpoints.update_endpoint(step.endpoint, step.back, guardrails=None, resize=False)
            return f"SageMaker takes the shadow away from {step.endpoint}, which goes on with {step.back}"
        if now.status in CHANGING:
            return f"{step.endpoint} is {now.status}: SageMaker goes on by itself, and the next run waits for it"
        return f"{step.endpoint} is {now.status} with {now.config}"

    def _wait(self, seconds: float) -> None:
        self._sleep(seconds)
        self.renew()

    def _create(self, step: CreateModel | CreateConfig) -> None:
        endpoints = self._aws.endpoints
        try:
            if isinstance(step, CreateModel):
                endpoints.create_model(step.model)
            else:
                endpoints.create_config(step.config)
        except AwsConflict:  # the answer was lost and boto3 asked again, or somebody made the very same: as good
            same = (endpoints.model(step.model.name) == step.model if isinstance(step, CreateModel)
                    else endpoints.config(step.config.name) == step.config)
            if not same:
                raise

    def _update(self, step: UpdateEndpoint) -> None:
        now = self._aws.endpoints.endpoint(step.endpoint)
        if now is None or (now.config, now.status) != (step.was, IN_SERVICE):
            found = f"{now.status} with {now.config}" if now else "gone"
            raise AwsConflict(f"{step.endpoint} is {found}; somebody else changed it while this ran. "
                              "Next: run the deploy again")
        self._aws.endpoints.update_endpoint(step.endpoint, step.config, guardrails=step.guardrails, resize=step.resize)
        self._require(step.endpoint, step.config, step.was, step.guardrails.alarms if step.guardrails else ())

    def _require(self, endpoint: str, config: str, was: str, alarms: Sequence[str] = ()) -> None:
        """Wait, and see that the configuration serves: SageMaker calls an endpoint that went back `InService` too."""
        now = settled(self._aws, endpoint, self._wait)
        self._judged += self._watched(alarms, now.reason if now and now.config != config else "")
        if now is not None and (now.config, now.status) == (config, IN_SERVICE):
            return
        if now is None:
            raise AwsConflict(f"{endpoint} was deleted while it was deployed. Next: run the deploy again")
        if now.status in FAILED:
            raise Refused(f"{endpoint} did not start: {now.reason}. Next: look at its log, "
                          f"/aws/sagemaker/Endpoints/{endpoint}; the next deploy removes it and tries again")
        if now.status != IN_SERVICE:
            raise AwsFailed(f"{endpoint} is {now.status}: {now.reason}. Next: slipway status")
        if now.config != was:
            raise AwsConflict(f"{endpoint} was moved to {now.config} by somebody else. Next: run the deploy again")
        watched = "".join(f" ({one.test}: {one.limit})" for one in self._judged if one.verdict is Verdict.BROKEN)
        reason = now.reason.rstrip(".") or "it gave no reason"
        raise CanaryFailed(f"SageMaker sent {config} back: {reason}{watched}. "
                           f"{endpoint} serves {was} again, read back from SageMaker", self._judged)

    def _watched(self, alarms: Sequence[str], reason: str) -> tuple[Judged, ...]:
        """What do the alarms say? One that SageMaker named may be quiet again by now."""
        states, rules = (self._aws.metrics.alarms(alarms), self._aws.metrics.rules(alarms)) if alarms else ({}, {})
        fired = {name for name, state in states.items()
                 if state == "ALARM" or re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", reason)}
        return tuple(Judged(name, f"alarm {state}", rules.get(name, ""),
                            Verdict.BROKEN if name in fired else Verdict.WITHIN) for name, state in states.items())

    def _ask(self, step: AskGolden) -> None:
        try:
            if (now := self._aws.endpoints.endpoint(step.endpoint)) is None:
                raise AwsFailed(f"{step.endpoint} is gone.")
            ask_golden(ask_of(self._aws, now, self._wait), step.endpoint, self._golden)
        except (GoldenFailed, AwsFailed) as error:
            raise GoldenFailed(f"{error} {self._back(step)}") from None

    def _back(self, step: AskGolden) -> str:
        """Go back from a configuration that answers wrongly, and say what serves now, read back."""
        if not step.back and step.first:
            self._delete(step.endpoint)
            return f"{step.endpoint} was deleted: nothing served before"
        if not step.back:
            return f"{step.endpoint} still serves {step.config}: there is nothing to go back to"
        return self._return(step.endpoint, step.back)

    def _return(self, endpoint: str, back: str) -> str:
        self._aws.endpoints.update_endpoint(endpoint, back, guardrails=None, resize=False)
        now = settled(self._aws, endpoint, self._wait)
        if now is None or (now.config, now.status) != (back, IN_SERVICE):
            return (f"And {endpoint} could NOT be moved back to {back}: it is "
                    f"{f'{now.status} with {now.config}' if now else 'gone'}. Next: slipway rollback")
        return f"{endpoint} serves {back} again"

    def _watch(self, step: Watch) -> None:
        """Let the new release take over from the old one, or the old one go on without it."""
        opinion = Watching(step, self._wait).opinion(self._aws)
        self._judged = opinion.judged
        if opinion.judgement is Judgement.GO_ON:
            return
        said = self._return(step.endpoint, step.back)
        now = self._aws.endpoints.endpoint(step.endpoint)
        if now is not None and now.config == step.back:
            self._aws.endpoints.delete_config(step.config)
        raise CanaryFailed(f"the shadow of {step.endpoint} was taken away: {opinion.reason}. {said}", opinion.judged)

    def _scale(self, step: Scale) -> None:
        if step.scaling:
            self._aws.scaling.scale(step.endpoint, step.variant, step.scaling)
        else:
            self._aws.scaling.unscale(step.endpoint, step.variant)

    def _delete(self, endpoint: str) -> None:
        self._aws.endpoints.delete_endpoint(endpoint)
        settled(self._aws, endpoint, self._wait)
