"""The steps that only Lambda knows, done."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from ...asking import ask_golden
from ...aws import Aws, FunctionState
from ...errors import AwsConflict, CanaryFailed
from ...golden import Golden
from ...plan import Step
from ...traffic import Judged
from .around import Allow, AroundStep, CloseUrl, Forbid, OpenUrl, Provision, Reserve, Retain, Unprovision
from .canary import Canary, give_back
from .steps import (
    AskGolden,
    CreateFunction,
    DeleteLayer,
    DeleteVersion,
    FunctionSpec,
    PointAlias,
    PublishLayer,
    PublishVersion,
    Shift,
    UpdateCode,
    UpdateConfiguration,
)


class LambdaHands:
    """Does Lambda's steps, and remembers what is known only meanwhile: the layer's ARN, the version's number."""

    def __init__(self, aws: Aws, golden: Golden, canary: Canary) -> None:
        self._aws = aws
        self._canary = canary
        self._golden = golden
        self._layer = ""
        self.published = ""
        self.renew: Callable[[], None] = lambda: None

    @property
    def judged(self) -> tuple[Judged, ...]:
        """What did the canary's tests see?"""
        return self._canary.judged

    def do(self, step: Step) -> None:
        """Do one step; see `serving.execution.Hands`."""
        functions = self._aws.functions
        match step:
            case PublishLayer():
                self._layer = functions.publish_layer(
                    step.name, bucket=step.bucket, key=step.key, runtime=step.runtime,
                    architecture=step.architecture, description=step.description)
            case CreateFunction():
                functions.create_function(self._state(step.spec), bucket=step.bucket, key=step.key)
            case UpdateCode() | UpdateConfiguration():
                self._update(step)
            case PublishVersion():
                self.published = functions.publish_version(
                    step.function, code_sha256=step.code_sha256, description=step.description).version
            case AskGolden():
                self.published = step.version or self.published
                ask_golden(partial(functions.invoke, step.function, self.published),
                           f"{step.function}:{self.published}", self._golden)
            case Shift():
                self._shift(step)
            case PointAlias():
                self._point(step)
            case Reserve() | Provision() | Unprovision() | Allow() | Forbid() | OpenUrl() | CloseUrl() | Retain():
                self._around(step)
            case DeleteVersion():
                functions.delete_version(step.function, step.version)
            case DeleteLayer():
                functions.delete_layer(step.arn)
            case _:
                raise TypeError(f"Lambda has no step {step!r}")

    def _shift(self, step: Shift) -> None:
        self._canary.renew = self.renew
        try:
            self._canary.run(self._aws, step, self.published)
        except CanaryFailed:  # what was sent back shall not stand ready, and cost
            self._aws.surroundings.unprovision(step.function, self.published)
            raise

    def _around(self, step: AroundStep) -> None:
        held = self._aws.surroundings
        match step:
            case Reserve():
                held.reserve(step.function, step.count)
            case Provision():
                held.provision(step.function, step.version or self.published, step.count)
            case Unprovision():
                held.unprovision(step.function, step.version)
            case Allow():
                held.allow(step.function, step.alias, step.grant)
            case Forbid():
                held.forbid(step.function, step.alias, step.grant.sid)
            case OpenUrl():
                held.open_url(step.function, step.alias)
            case CloseUrl():
                held.close_url(step.function, step.alias)
            case Retain():
                self._aws.logs.retain(step.group, step.days)

    def stopped(self, step: Step) -> str:
        """Give a canary's requests back; say what the alias names."""
        if not isinstance(step, Shift | PointAlias):
            return "what served before still does"
        if isinstance(step, Shift):
            give_back(self._aws, step)
            self._aws.surroundings.unprovision(step.function, self.published)
        now = self._aws.functions.alias(step.function, step.alias)
        return f"{step.function}:{step.alias} gives {f'version {now.version}' if now else 'nobody'} all requests"

    def _update(self, step: UpdateCode | UpdateConfiguration) -> None:
        now = self._aws.functions.state(step.spec.name)
        if now is None:
            raise AwsConflict(f"{step.spec.name} was deleted while it was deployed. Next: run the deploy again")
        if isinstance(step, UpdateCode):
            self._aws.functions.update_code(
                self._state(step.spec), bucket=step.bucket, key=step.key, revision=now.revision)
        else:
            self._aws.functions.update_configuration(self._state(step.spec), revision=now.revision)

    def _point(self, step: PointAlias) -> None:
        now = self._aws.functions.alias(step.function, step.alias)
        if (now.version if now else None) != step.was:
            raise AwsConflict(f"{step.function}:{step.alias} was moved to {now.version if now else 'nowhere'} by "
                              "somebody else while this ran. Next: run the deploy again")
        if now is None:
            self._aws.functions.create_alias(step.function, step.alias, self.published)
        else:
            self._aws.functions.move_alias(step.function, step.alias, self.published, revision=now.revision)

    def _state(self, spec: FunctionSpec) -> FunctionState:
        return FunctionState(
            name=spec.name, version="$LATEST", description=spec.description, code_sha256=spec.code_sha256,
            configuration=spec.configuration, layers=(spec.layer or self._layer,), revision="")
