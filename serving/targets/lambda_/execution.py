"""The steps of a plan, run in their order; and the questions asked of a version before and while it serves."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ... import parity
from ...aws import Aws, FunctionState
from ...config import CanarySettings, Settings
from ...errors import AwsConflict, GoldenFailed, NotDeployed, Refused
from ...journal import Entry, Kind, this_process
from ...plan import (
    AskGolden,
    Begin,
    CreateFunction,
    Done,
    FunctionSpec,
    Plan,
    PointAlias,
    PublishLayer,
    PublishVersion,
    Shift,
    Step,
    UpdateCode,
    UpdateConfiguration,
    Upload,
)
from ...runtime.core import Golden
from . import names
from .canary import Canary
from .planning import is_stored

Report = Callable[[Step, float], None]


def execute(plan: Plan, aws: Aws, golden: Golden, report: Report, canary: Canary | None = None) -> str:
    """Run the steps in their order; give the version that the alias now names, empty when there were none.

    Raises:
        GoldenFailed: the new version does not answer as it should; the alias still names the old one.
        CanaryFailed: it did worse than is put up with; the alias names the old one alone again.
        AwsConflict: somebody else deploys, or changed what this plan was made for.
        AwsFailed: AWS refused; running the same deploy again goes on from there.
    """
    run = _Run(aws, golden, canary)
    for step in plan.steps:
        started = time.monotonic()
        try:
            run.do(step)
        except Refused as error:
            run.note_failure(str(error))
            raise
        report(step, time.monotonic() - started)
    return run.version


class _Run:
    """What is known only while a plan runs: the layer's ARN, the version's number, the open entry of the journal."""

    def __init__(self, aws: Aws, golden: Golden, canary: Canary | None) -> None:
        self._aws = aws
        self._canary = canary or Canary(CanarySettings())
        self._golden = golden
        self._layer = ""
        self._begun: Begin | None = None
        self.version = ""

    def do(self, step: Step) -> None:
        match step:
            case Begin():
                self._note(step, Kind.BEGAN, step.seq)
                self._begun, self.version = step, step.published
            case Upload():
                self._upload(step)
            case PublishLayer():
                self._layer = self._aws.functions.publish_layer(
                    step.name, bucket=step.bucket, key=step.key, runtime=step.runtime,
                    architecture=step.architecture, description=step.description)
            case CreateFunction():
                self._aws.functions.create_function(self._state(step.spec), bucket=step.bucket, key=step.key)
            case UpdateCode() | UpdateConfiguration():
                self._update(step)
            case PublishVersion():
                self.version = self._aws.functions.publish_version(
                    step.function, code_sha256=step.code_sha256, description=step.description).version
            case AskGolden():
                self.version = step.version or self.version
                ask_golden(self._aws, step.function, self.version, self._golden)
            case Shift():
                self._canary.run(self._aws, step, self.version)
            case PointAlias():
                self._point(step)
            case Done():
                self._note(step.begin, Kind.DONE, step.begin.seq + 1)

    def note_failure(self, reason: str) -> None:
        """Close the open entry of the journal: what was begun came to nothing."""
        if self._begun:
            self._note(self._begun, Kind.FAILED, self._begun.seq + 1, reason)

    def _note(self, begin: Begin, kind: Kind, seq: int, reason: str = "") -> None:
        who, host, process = this_process()
        entry = Entry(seq=seq, kind=kind, at=datetime.now(UTC), who=who, host=host, process=process,
                      shipped=begin.shipped, published=self.version or begin.published, previous=begin.previous,
                      reason=reason)
        try:
            self._aws.storage.create_bytes(begin.bucket, f"{begin.prefix}{seq:06}.json", entry.to_bytes())
        except AwsConflict:
            raise AwsConflict(f"somebody else began to deploy {begin.shipped.model} at the same time, and was first. "
                              "Next: slipway status, then run this again") from None

    def _upload(self, step: Upload) -> None:
        try:
            self._aws.storage.create_object(step.bucket, step.key, step.path, step.sha256)
        except AwsConflict:
            if not is_stored(self._aws, step):  # somebody else put the very same bytes there: as good
                raise

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
            self._aws.functions.create_alias(step.function, step.alias, self.version)
        else:
            self._aws.functions.move_alias(step.function, step.alias, self.version, revision=now.revision)

    def _state(self, spec: FunctionSpec) -> FunctionState:
        return FunctionState(
            name=spec.name, version="$LATEST", description=spec.description, code_sha256=spec.code_sha256,
            runtime=spec.runtime, architecture=spec.architecture, handler=spec.handler, memory=spec.memory,
            timeout=spec.timeout, role=spec.role, layers=(spec.layer or self._layer,), revision="")


def ask_golden(aws: Aws, function: str, qualifier: str, golden: Golden) -> dict[str, Any]:
    """Does this version answer its golden requests as the native model did? Gives who it says it is.

    Raises:
        GoldenFailed: it does not.
    """
    request = {"inputs": {name: _as_json(rows) for name, rows in golden.inputs.items()}}
    answer = json.loads(aws.functions.invoke(function, qualifier, json.dumps(request).encode()))
    if "predictions" not in answer:
        raise GoldenFailed(f"{function}:{qualifier} refused its golden requests: {answer.get('error')}")
    said = answer["predictions"] if len(golden.outputs) > 1 else {next(iter(golden.outputs)): answer["predictions"]}
    distance = max(_distance(np.asarray(said[name]), rows) for name, rows in golden.outputs.items())
    if not distance <= parity.TOLERANCE:
        raise GoldenFailed(f"{function}:{qualifier} answers its golden requests with a difference of {distance:.2g} > "
                           f"{parity.TOLERANCE:.0e}. The alias was not moved.")
    served: dict[str, Any] = answer["model"]
    return served


def _as_json(rows: NDArray[Any]) -> Any:
    """The rows as JSON has them: a missing number is null there, and NaN is no JSON."""
    if rows.dtype.kind != "f" or not np.isnan(rows).any():
        return rows.tolist()
    values = rows.astype(object)
    values[np.isnan(rows)] = None
    return values.tolist()


def _distance(said: NDArray[Any], wanted: NDArray[Any]) -> float:
    if said.shape != wanted.shape:
        return float("inf")
    if wanted.dtype.kind not in "fiu":
        return 0.0 if (said == wanted).all() else float("inf")
    return float(np.abs(said - wanted).max(initial=0.0))


def invoke(aws: Aws, settings: Settings, model: str, payload: bytes) -> bytes:
    """What does the version in service answer to this JSON?

    Raises:
        NotDeployed: nothing serves this model.
    """
    name = names.function_name(settings, model)
    if aws.functions.alias(name, names.ALIAS) is None:
        raise NotDeployed(f"{model} is not in service on Lambda (no alias {name}:{names.ALIAS}). "
                          f"Next: slipway deploy {model} --target lambda")
    return aws.functions.invoke(name, names.ALIAS, payload)
