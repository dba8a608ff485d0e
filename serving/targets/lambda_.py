"""A release on AWS Lambda: a function for each model, a version for each release, an alias for each stage."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from .. import package, parity
from ..aws import Aws, FunctionState, LayerState, Offer
from ..bundle import Bundle
from ..config import Settings
from ..errors import AwsConflict, ConfigurationInvalid, GoldenFailed, NotDeployed, Refused
from ..plan import (
    AskGolden,
    CreateFunction,
    FunctionSpec,
    Plan,
    PointAlias,
    PublishLayer,
    PublishVersion,
    Step,
    UpdateCode,
    UpdateConfiguration,
    Upload,
)
from ..runtime.core import GOLDEN, Golden, read_golden
from ..runtime.manifest import NAME as MANIFEST

ALIAS = "production"
PREFERRED = "python3.12"
# Lambda quotas, AWS documentation, read 2026-11: code and layers together, unpacked.
UNZIPPED_LIMIT = 262_144_000


@dataclass(frozen=True, slots=True)
class Wanted:
    """What shall be in service?

    Attributes:
        bundle: uploads of the bundle's files, its manifest last, so that a cut-off upload is no bundle.
        code: the upload of the function's zip.
        layer_name, layer: the dependency layer that the function needs.
        spec: the function, its layer not yet known.
    """

    title: str
    bundle: tuple[Upload, ...]
    code: Upload
    layer_name: str
    layer: package.LayerSpec
    layer_key: str
    spec: FunctionSpec


@dataclass(frozen=True, slots=True)
class Observed:
    """What is there now? ``stored`` are the keys that S3 holds with the right bytes."""

    stored: frozenset[str]
    layers: tuple[LayerState, ...]
    latest: FunctionState | None
    versions: tuple[FunctionState, ...]
    alias: str | None


def function_name(settings: Settings, model: str) -> str:
    """Which function serves this model?"""
    return f"{settings.prefix}-{model}"


def choose_runtime(settings: Settings, model_layer: Callable[[str], Offer]) -> tuple[str, Offer]:
    """Which Python shall the function have, and what is published for it?

    python3.12 unless slipway.yaml names another. Where the endpoint does not offer it, the newest that it does
    offer and that the dependencies have wheels for.

    Raises:
        ConfigurationInvalid: the one that slipway.yaml names is not offered.
    """
    wanted = settings.lambda_.runtime or PREFERRED
    offer = model_layer(wanted)
    if not offer.instead:
        return wanted, offer
    if settings.lambda_.runtime:
        raise ConfigurationInvalid(f"lambda.runtime: {wanted} is not offered here; offered: {', '.join(offer.instead)}")
    return offer.instead[-1], model_layer(offer.instead[-1])


def layer_name(settings: Settings, runtime: str, architecture: str) -> str:
    """What is the layer called? One name for each Python and machine."""
    return f"{settings.prefix}-runtime-{runtime.replace('.', '')}-{architecture.replace('_', '-')}"


def wanted(bundle: Bundle, code: Path, *, runtime: str, settings: Settings, bucket: str, role: str) -> Wanted:
    """What does this bundle want in service, under these settings?"""
    manifest, options = bundle.manifest, settings.lambda_
    sha, manifest_sha = package.digest(code), package.digest(bundle.folder / MANIFEST)
    release = f"releases/{manifest.name}/{manifest.digest}"
    layer = package.layer_spec(runtime, options.architecture)
    title = f"{manifest.name}/{manifest.version}"
    return Wanted(
        title=title,
        bundle=tuple(_upload(bucket, f"{release}/bundles/{manifest_sha}/{name}", bundle.folder / name)
                     for name in (*sorted(f.path for f in manifest.files), MANIFEST)),
        code=_upload(bucket, f"{release}/lambda/{sha}.zip", code),
        layer_name=layer_name(settings, runtime, options.architecture),
        layer=layer,
        layer_key=f"layers/{layer.identity}.zip",
        spec=FunctionSpec(
            name=function_name(settings, manifest.name), description=f"{title} {manifest.digest}",
            code_sha256=base64.b64encode(bytes.fromhex(sha)).decode(), runtime=runtime,
            architecture=options.architecture, handler=package.HANDLER, memory=options.memory,
            timeout=options.timeout, role=role, layer=None),
    )


def observe(aws: Aws, wanted: Wanted, layers: tuple[LayerState, ...]) -> Observed:
    """What is there of what is wanted? Reads only.

    Raises:
        Refused: a key that should hold these bytes holds others.
    """
    name = wanted.spec.name
    stored = {u.key for u in (*wanted.bundle, wanted.code) if _is_stored(aws, u)}
    if aws.object(wanted.code.bucket, wanted.layer_key):
        stored.add(wanted.layer_key)
    alias = aws.alias(name, ALIAS)
    return Observed(frozenset(stored), layers, aws.function(name), aws.versions(name), alias.version if alias else None)


def plan(wanted: Wanted, observed: Observed, layer_zip: Callable[[], Path]) -> Plan:
    """Which steps lead from what is observed to what is wanted? None when it is in service already.

    Args:
        wanted: what shall be in service.
        observed: what is there.
        layer_zip: builds the dependency layer; asked only when it has to be published.
    """
    steps: list[Step] = [u for u in (*wanted.bundle, wanted.code) if u.key not in observed.stored]
    arn = next((v.arn for v in observed.layers if v.description == wanted.layer.identity), None)
    if arn is None:
        steps += _layer_steps(wanted, observed, layer_zip)
    spec = replace(wanted.spec, layer=arn)
    version = next((v.version for v in reversed(observed.versions) if _is(v, spec)), None)
    if version is None:
        steps += _function_steps(wanted, spec, observed.latest)
    if version is None or version != observed.alias:
        steps += [AskGolden(spec.name, version), PointAlias(spec.name, ALIAS, version, observed.alias)]
    return Plan(f"{wanted.title} on Lambda as {spec.name}:{ALIAS}", tuple(steps))


def execute(plan: Plan, aws: Aws, golden: Golden, report: Callable[[Step, float], None]) -> str:
    """Run the steps in their order; give the version that the alias now names.

    Raises:
        GoldenFailed: the new version does not answer as it should; the alias still names the old one.
        AwsFailed: AWS refused; running the same deploy again goes on from there.
    """
    run = _Run(aws, golden)
    for step in plan.steps:
        started = time.monotonic()
        run.do(step)
        report(step, time.monotonic() - started)
    return run.version


class _Run:
    """What is known only while a plan runs: the layer's ARN and the version's number."""

    def __init__(self, aws: Aws, golden: Golden) -> None:
        self._aws = aws
        self._golden = golden
        self._layer = ""
        self.version = ""

    def do(self, step: Step) -> None:
        match step:
            case Upload():
                self._upload(step)
            case PublishLayer():
                self._layer = self._aws.publish_layer(
                    step.name, bucket=step.bucket, key=step.key, runtime=step.runtime,
                    architecture=step.architecture, description=step.description)
            case CreateFunction():
                self._aws.create_function(self._state(step.spec), bucket=step.bucket, key=step.key)
            case UpdateCode() | UpdateConfiguration():
                self._update(step)
            case PublishVersion():
                self.version = self._aws.publish_version(
                    step.function, code_sha256=step.code_sha256, description=step.description).version
            case AskGolden():
                self.version = step.version or self.version
                ask_golden(self._aws, step.function, self.version, self._golden)
            case PointAlias():
                self._point(step)

    def _upload(self, step: Upload) -> None:
        try:
            self._aws.create_object(step.bucket, step.key, step.path, step.sha256)
        except AwsConflict:
            if not _is_stored(self._aws, step):  # somebody else put the very same bytes there: as good
                raise

    def _update(self, step: UpdateCode | UpdateConfiguration) -> None:
        now = self._aws.function(step.spec.name)
        if now is None:
            raise AwsConflict(f"{step.spec.name} was deleted while it was deployed. Next: run the deploy again")
        if isinstance(step, UpdateCode):
            self._aws.update_code(self._state(step.spec), bucket=step.bucket, key=step.key, revision=now.revision)
        else:
            self._aws.update_configuration(self._state(step.spec), revision=now.revision)

    def _point(self, step: PointAlias) -> None:
        now = self._aws.alias(step.function, step.alias)
        if now is None:
            self._aws.create_alias(step.function, step.alias, self.version)
        elif now.version != step.was:
            raise AwsConflict(f"{step.function}:{step.alias} was moved to {now.version} by somebody else while "
                              "this ran. Next: run the deploy again")
        else:
            self._aws.move_alias(step.function, step.alias, self.version, revision=now.revision)

    def _state(self, spec: FunctionSpec) -> FunctionState:
        return FunctionState(
            name=spec.name, version="$LATEST", description=spec.description, code_sha256=spec.code_sha256,
            runtime=spec.runtime, architecture=spec.architecture, handler=spec.handler, memory=spec.memory,
            timeout=spec.timeout, role=spec.role, layers=(spec.layer or self._layer,), revision="")


def ask_golden(aws: Aws, function: str, version: str, golden: Golden) -> None:
    """Does this version answer its golden requests as the native model did?

    Raises:
        GoldenFailed: it does not.
    """
    request = {"inputs": {name: rows.tolist() for name, rows in golden.inputs.items()}}
    answer = json.loads(aws.invoke(function, version, json.dumps(request).encode()))
    if "predictions" not in answer:
        raise GoldenFailed(f"{function}:{version} refused its golden requests: {answer.get('error')}")
    said = answer["predictions"] if len(golden.outputs) > 1 else {next(iter(golden.outputs)): answer["predictions"]}
    distance = max(float(np.abs(np.asarray(said[n]) - rows).max()) for n, rows in golden.outputs.items())
    if distance > parity.TOLERANCE:
        raise GoldenFailed(f"{function}:{version} answers its golden requests with a difference of {distance:.2g} > "
                           f"{parity.TOLERANCE:.0e}. The alias was not moved.")


def invoke(aws: Aws, settings: Settings, model: str, payload: bytes) -> bytes:
    """What does the version in service answer to this JSON?

    Raises:
        NotDeployed: nothing serves this model.
    """
    name = function_name(settings, model)
    if aws.alias(name, ALIAS) is None:
        raise NotDeployed(f"{model} is not in service on Lambda (no alias {name}:{ALIAS}). "
                          f"Next: slipway deploy {model} --target lambda")
    return aws.invoke(name, ALIAS, payload)


def golden_of(bundle: Bundle) -> Golden:
    """Which golden requests does the bundle hold?"""
    return read_golden(bundle.folder / GOLDEN)


def _layer_steps(wanted: Wanted, observed: Observed, layer_zip: Callable[[], Path]) -> list[Step]:
    path = layer_zip()
    _refuse_too_large(wanted, path)
    upload = _upload(wanted.code.bucket, wanted.layer_key, path)
    publish = PublishLayer(wanted.layer_name, upload.bucket, upload.key, wanted.layer.runtime,
                           wanted.layer.architecture, wanted.layer.identity)
    return [publish] if upload.key in observed.stored else [upload, publish]


def _function_steps(wanted: Wanted, spec: FunctionSpec, latest: FunctionState | None) -> list[Step]:
    code = wanted.code
    publish = PublishVersion(spec.name, spec.code_sha256, spec.description)
    if latest is None:
        return [CreateFunction(spec, code.bucket, code.key), publish]
    steps: list[Step] = []
    if latest.code_sha256 != spec.code_sha256 or latest.architecture != spec.architecture:
        steps.append(UpdateCode(spec, code.bucket, code.key))
    if not _is(replace(latest, code_sha256=spec.code_sha256), spec):
        steps.append(UpdateConfiguration(spec))
    return [*steps, publish]


def _is(state: FunctionState, spec: FunctionSpec) -> bool:
    return (state.code_sha256, state.description, state.runtime, state.architecture, state.handler, state.memory,
            state.timeout, state.role, state.layers) == (
        spec.code_sha256, spec.description, spec.runtime, spec.architecture, spec.handler, spec.memory,
        spec.timeout, spec.role, (spec.layer,))


def _refuse_too_large(wanted: Wanted, layer: Path) -> None:
    import zipfile

    total = 0
    for path in (layer, wanted.code.path):
        with zipfile.ZipFile(path) as archive:
            total += sum(entry.file_size for entry in archive.infolist())
    if total > UNZIPPED_LIMIT:
        raise Refused(f"{wanted.title} and its layer are {total / 1e6:.0f} MB unpacked; Lambda takes "
                      f"{UNZIPPED_LIMIT / 1e6:.0f} MB. Next: --target sagemaker")


def _upload(bucket: str, key: str, path: Path) -> Upload:
    return Upload(bucket, key, path, package.digest(path), path.stat().st_size)


def _is_stored(aws: Aws, upload: Upload) -> bool:
    found = aws.object(upload.bucket, upload.key)
    if found is None:
        return False
    if found.sha256 != upload.sha256:
        raise Refused(f"s3://{upload.bucket}/{upload.key} holds other bytes than this release "
                      f"(SHA-256 {found.sha256[:12] or 'not recorded'}, wanted {upload.sha256[:12]}). "
                      "Keys are create-only: somebody wrote there. Next: look who, and remove it")
    return True
