"""What is wanted on Lambda, what is there, and which steps lead from one to the other."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ... import package
from ...aws import Aws, FunctionConfig, FunctionState, LayerState, Offer
from ...bundle import Bundle
from ...config import LambdaSettings, Settings
from ...errors import ConfigurationInvalid, Refused
from ...execution import is_stored
from ...journal import Entry, serving
from ...logbook import Logbook
from ...names import bundle_prefix
from ...plan import Plan, Step, Upload, noted
from ...runtime.manifest import NAME as MANIFEST
from ...runtime.manifest import Manifest
from . import around, names
from .around import Found
from .shipped import LambdaShipped
from .steps import (
    AskGolden,
    CreateFunction,
    FunctionSpec,
    PointAlias,
    PublishLayer,
    PublishVersion,
    Shift,
    UpdateCode,
    UpdateConfiguration,
)

PREFERRED = "python3.12"
FREE_STORAGE = 512  # MB of /tmp, AWS Lambda pricing, read 2026-11


@dataclass(frozen=True, slots=True)
class Wanted:
    """What shall be in service?

    Attributes:
        bundle: uploads of the bundle's files, its manifest last, so that a cut-off upload is no bundle.
        code: the upload of the function's zip.
        layer_name, layer: the dependency layer that the function needs.
        spec: the function, its layer not yet known.
        shipped: the same for the journal, the SHA-256 of the layer's zip not yet known.
        shares: by which the new version takes over from the old one; empty means at once.
        wait: seconds that each share lasts at least.
    """

    title: str
    bundle: tuple[Upload, ...]
    code: Upload
    layer_name: str
    layer: package.LayerSpec
    spec: FunctionSpec
    shipped: LambdaShipped
    shares: tuple[float, ...] = ()
    wait: float = 0.0

    @property
    def layer_key(self) -> str:
        """Under which S3 key does the layer's zip lie?"""
        return names.layer_key(self.layer.identity)


@dataclass(frozen=True, slots=True)
class Observed:
    """What is there now?

    Attributes:
        stored: the S3 keys that hold the right bytes already.
        layer_sha256: of the layer's zip in S3, empty when it is not there.
        alias: the version that the alias names.
        shared: whether some of its requests go to another version: a canary that was interrupted.
        seq: the number of the journal's last entry.
        recorded: what the journal says is in service; None while a deployment is open.
        around: what is set around the function.
    """

    stored: frozenset[str]
    layers: tuple[LayerState, ...]
    layer_sha256: str
    latest: FunctionState | None
    versions: tuple[FunctionState, ...]
    alias: str | None
    shared: bool = False
    seq: int = 0
    recorded: LambdaShipped | None = None
    around: Found = field(default_factory=Found)


def require_fits(manifest: Manifest) -> None:
    """Can a function of Lambda run this bundle at all?

    Raises:
        Refused: scikit-learn itself has to serve it.
    """
    if manifest.engine != "onnx":
        raise Refused(
            f"{manifest.name}/{manifest.version} is served by scikit-learn itself, and Lambda has no room for that: "
            "with what it needs it is 210 MB unpacked, without bytecode, of the 262 MB that Lambda takes, and 12 s of "
            "importing where Lambda gives 10. Next: --target sagemaker, or an estimator that converts to ONNX: "
            f"{manifest.source.get('unconverted', '')}")


def choose_runtime(settings: Settings, offered: Callable[[str], Offer]) -> tuple[str, Offer]:
    """Which Python shall the function have, and what is published for it?

    python3.12 unless slipway.yaml names another. Where the endpoint does not offer it, the newest that it does
    offer and that the dependencies have wheels for.

    Raises:
        ConfigurationInvalid: the one that slipway.yaml names is not offered.
    """
    chosen = settings.lambda_.runtime or PREFERRED
    offer = offered(chosen)
    if not offer.instead:
        return chosen, offer
    if settings.lambda_.runtime:
        raise ConfigurationInvalid(f"lambda.runtime: {chosen} is not offered here; offered: {', '.join(offer.instead)}")
    return offer.instead[-1], offered(offer.instead[-1])


def wanted(bundle: Bundle, code: Path, *, runtime: str, settings: Settings, bucket: str, role: str) -> Wanted:
    """What does this bundle want in service, under these settings?"""
    manifest, options = bundle.manifest, settings.lambda_
    sha, manifest_sha = package.digest(code), package.digest(bundle.folder / MANIFEST)
    layer = package.layer_spec(runtime, options.architecture)
    prefix = bundle_prefix(manifest.name, manifest.digest, manifest_sha)
    title = f"{manifest.name}/{manifest.version}"
    shipped = LambdaShipped(
        model=manifest.name, version=manifest.version, digest=manifest.digest, bundle=manifest_sha, code=sha,
        layer=layer.identity, layer_sha256="", configuration=_configuration(options, runtime, role),
        around=around.wanted(options))
    return Wanted(
        title=title,
        bundle=tuple(_upload(bucket, f"{prefix}/{name}", bundle.folder / name)
                     for name in (*sorted(f.path for f in manifest.files), MANIFEST)),
        code=_upload(bucket, names.code_key(manifest.name, manifest.digest, sha), code),
        layer_name=names.layer_name(settings, runtime, options.architecture),
        layer=layer,
        spec=spec_of(shipped, names.function_name(settings, manifest.name), layer=None),
        shipped=shipped,
        shares=options.takeover.shares if options.takeover else (),
        wait=options.linear.wait if options.linear else 0.0,
    )


def _configuration(options: LambdaSettings, runtime: str, role: str) -> FunctionConfig:
    vpc = options.vpc
    return FunctionConfig(
        runtime=runtime, architecture=options.architecture, handler=package.HANDLER, memory=options.memory,
        timeout=options.timeout, role=role, environment=tuple(sorted(options.environment.items())),
        storage=options.storage, subnets=tuple(sorted(vpc.subnets)) if vpc else (),
        security_groups=tuple(sorted(vpc.security_groups)) if vpc else (), dead_letter=options.dead_letter,
        tracing="Active" if options.tracing else "PassThrough")


def spec_of(shipped: LambdaShipped, function: str, *, layer: str | None) -> FunctionSpec:
    """How is the function that runs these bytes?"""
    return FunctionSpec(
        name=function, description=f"{shipped.model}/{shipped.version} {shipped.digest}",
        code_sha256=base64.b64encode(bytes.fromhex(shipped.code)).decode(), configuration=shipped.configuration,
        layer=layer)


def facts(shipped: LambdaShipped) -> tuple[str, ...]:
    """By what will it cost?"""
    has, around_it = shipped.configuration, shipped.around
    found = [f"{has.memory} MB on {has.architecture}, by the millisecond, at most {has.timeout} s a request"]
    if has.storage > FREE_STORAGE:
        found.append(f"{has.storage} MB of /tmp, of which {FREE_STORAGE} are free")
    if around_it.provisioned:
        found.append(f"{around_it.provisioned} environments stand ready, by the hour; twice as many while a new "
                     "version takes over")
    return tuple(found)


def observe(
    aws: Aws, wanted: Wanted, layers: tuple[LayerState, ...], entries: Sequence[Entry[LambdaShipped]]
) -> Observed:
    """What is there of what is wanted? Reads only.

    Raises:
        Refused: a key that should hold these bytes holds others.
    """
    name, layer = wanted.spec.name, aws.storage.object(wanted.code.bucket, wanted.layer_key)
    stored = {u.key for u in (*wanted.bundle, wanted.code) if is_stored(aws, u)}
    alias, last = aws.functions.alias(name, names.ALIAS), serving(entries)
    return Observed(
        stored=frozenset(stored | ({wanted.layer_key} if layer else set())), layers=layers,
        layer_sha256=layer.sha256 if layer else "", latest=aws.functions.state(name),
        versions=aws.functions.versions(name),
        alias=alias.version if alias else None, shared=bool(alias and alias.shares),
        seq=entries[-1].seq if entries else 0,
        recorded=last.shipped if last and entries[-1] == last else None,
        around=look_around(aws, name, wanted.shipped.around))


def look_around(aws: Aws, function: str, wished: around.Around) -> around.Found:
    """What is set around this function? The log is looked at only where it is somebody's wish how long it is kept."""
    held, group = aws.surroundings, around.log_group(function)
    return around.Found(
        held.reserved(function), tuple(sorted(held.provisioned(function).items())), held.url(function, names.ALIAS),
        held.grants(function, names.ALIAS), None if wished.retention is None else aws.logs.retention(group))


def plan(wanted: Wanted, observed: Observed, logbook: Logbook[LambdaShipped], layer_zip: Callable[[], Path]) -> Plan:
    """Which steps lead from what is observed to what is wanted? None when it is in service already.

    Args:
        wanted: what shall be in service.
        observed: what is there.
        logbook: where it is noted.
        layer_zip: builds the dependency layer; asked only when it has to be published.
    """
    steps: list[Step] = [u for u in (*wanted.bundle, wanted.code) if u.key not in observed.stored]
    same = [layer.arn for layer in observed.layers if layer.description == wanted.layer.identity]
    layer_sha256 = observed.layer_sha256
    if not same:
        added = _layer_steps(wanted, observed, layer_zip)
        layer_sha256 = next((s.sha256 for s in added if isinstance(s, Upload)), layer_sha256)
        steps += added
    spec = replace(wanted.spec, layer=_chosen(same, observed))
    shipped = wanted.shipped.model_copy(update={"layer_sha256": layer_sha256})
    version = next((v.version for v in reversed(observed.versions)
                    if any(runs(v, replace(spec, layer=arn)) for arn in same)), None)
    if version is None:
        steps += _function_steps(wanted, spec, observed.latest)
    steps += around.first(spec.name, shipped.around, observed.around)
    made_ready = around.ready(spec.name, version, shipped.around, observed.around)
    if version is None or version != observed.alias or observed.shared:
        steps += [AskGolden(spec.name, version), *made_ready]
        steps += _takeover(wanted, version, observed.alias)
    else:
        steps += made_ready
    steps += around.last(spec.name, names.ALIAS, version, shipped.around, observed.around)
    title = f"{wanted.title} on Lambda as {spec.name}:{names.ALIAS}"
    if not steps and observed.recorded == shipped:
        return Plan(title, ())
    return noted(title, steps, logbook.begin(
        observed.seq, shipped, published=version or "", previous=observed.alias or ""))


def _chosen(same: Sequence[str], observed: Observed) -> str | None:
    """Of equal versions of the layer, oldest first, which is to be used? None when there is none.

    Lambda publishes a second time where the answer to the first was late or lost. What the function has already stays,
    so that the second one changes nothing, and can be pruned.
    """
    has = observed.latest.layers if observed.latest else ()
    return next((arn for arn in same if arn in has), next(iter(same), None))


def _takeover(wanted: Wanted, version: str | None, was: str | None) -> list[Step]:
    """Point the alias at the version; where another one serves, by way of the canary's shares."""
    function = wanted.spec.name
    point = PointAlias(function, names.ALIAS, version, was)
    if was is None or was == version:
        return [point]
    return [*(Shift(function, names.ALIAS, version, was, share, wanted.wait) for share in wanted.shares if share < 1),
            point]


def runs(state: FunctionState, spec: FunctionSpec) -> bool:
    """Is the function as the specification says?"""
    return (state.code_sha256, state.description, state.configuration, state.layers) == (
        spec.code_sha256, spec.description, spec.configuration, (spec.layer,))


def _layer_steps(wanted: Wanted, observed: Observed, layer_zip: Callable[[], Path]) -> list[Step]:
    path = layer_zip()
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
    architectures = latest.configuration.architecture, spec.configuration.architecture
    if latest.code_sha256 != spec.code_sha256 or architectures[0] != architectures[1]:
        steps.append(UpdateCode(spec, code.bucket, code.key))
    if not runs(replace(latest, code_sha256=spec.code_sha256), spec):
        steps.append(UpdateConfiguration(spec, latest.configuration))
    return [*steps, publish]


def _upload(bucket: str, key: str, path: Path) -> Upload:
    return Upload(bucket, key, path, package.digest(path), path.stat().st_size)
