"""Is what serves on SageMaker what was approved? Looked at from the outside, with the registry or without it."""

from __future__ import annotations

import hashlib
import tarfile
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ...asking import ask_golden
from ...aws import Aws, ConfigState, EndpointState, ModelState, ScalingState
from ...errors import AwsFailed, AwsMissing, GoldenFailed, NotDeployed, Refused
from ...golden import Golden, read_golden
from ...journal import Entry, serving
from ...names import bundle_prefix
from ...proof import Finding, bundle_stored, same, stored
from ...runtime import manifest as manifests
from ...runtime.core import GOLDEN
from ...runtime.errors import BundleBroken
from . import names
from .later import ask_of
from .planning import FAILED, differing, scaling_of, specs_of
from .shipped import SageMakerShipped


@dataclass(frozen=True, slots=True)
class Service:
    """What does the endpoint serve now, and what does the journal say it should?"""

    endpoint: EndpointState
    config: ConfigState | None
    model: ModelState | None
    entry: Entry[SageMakerShipped]


def in_service(aws: Aws, name: str, entries: Sequence[Entry[SageMakerShipped]]) -> Service:
    """What serves under this name?

    Raises:
        NotDeployed: nothing does, or the journal knows nothing of it.
    """
    endpoint, last = aws.endpoints.endpoint(name), serving(entries)
    if endpoint is None or endpoint.status in FAILED or endpoint.status == "Creating":
        raise NotDeployed(f"nothing is in service as {name}")
    if last is None:
        raise NotDeployed(f"{name} serves {endpoint.config}, which no deployment recorded")
    config = aws.endpoints.config(endpoint.config)
    model = aws.endpoints.model(config.variants[0].model) if config else None
    return Service(endpoint, config, model, last)


def look(aws: Aws, service: Service, bucket: str) -> list[Finding]:
    """Is everything that decides what is answered as it was shipped? A handful of short questions to AWS."""
    shipped, endpoint = service.entry.shipped, service.endpoint
    model, config = specs_of(shipped, endpoint.name, bucket)
    found = service.model or ModelState("missing", "missing", "missing", "missing", (), isolated=False)
    return [
        Finding("configuration", endpoint.config == config.name, _unlike(endpoint.config, config.name)),
        _variants(service.config, config),
        *([_answers(service.config, config)] if config.later or (service.config and service.config.later) else []),
        Finding("weights", endpoint.weights == ((names.VARIANT, 1.0),), _weights(endpoint)),
        Finding("image", (found.image, found.containers) == (model.image, 1), _unlike(found.image, model.image)),
        Finding("environment", found.environment == model.environment, _environment(found)),
        Finding("model data", found.data == model.data, _unlike(found.data, model.data)),
        Finding("role", found.role == model.role, _unlike(found.role, model.role)),
        Finding("network", found.isolated == model.isolated, "isolated" if found.isolated else "not isolated"),
        _scaling(aws.scaling.scaling(endpoint.name, names.VARIANT), scaling_of(shipped)),
        stored(aws, bucket, names.archive_key(shipped.model, shipped.digest, shipped.archive), shipped.archive,
               "archive in S3"),
    ]


def prove(aws: Aws, service: Service, bucket: str) -> list[Finding]:
    """The same, and what it answers to the golden requests of the bundle in S3."""
    findings, name = look(aws, service, bucket), service.endpoint.name
    try:
        golden = golden_of(aws, service.entry.shipped, bucket)
    except Refused as error:
        return [*findings, Finding("bundle in S3", False, str(error))]
    shipped = service.entry.shipped
    findings.append(
        bundle_stored(aws, bucket, bundle_prefix(shipped.model, shipped.digest, shipped.bundle), shipped.bundle))
    try:
        said = ask_golden(ask_of(aws, service.endpoint), name, golden)
    except (AwsFailed, GoldenFailed) as error:
        return [*findings, Finding("answers", False, str(error))]
    return [*findings, same("answers name", said["digest"], service.entry.shipped.digest),
            Finding("answers", True, f"{golden.rows} golden requests answered as the native model did")]


def golden_of(aws: Aws, shipped: SageMakerShipped, bucket: str) -> Golden:
    """Which golden requests belong to this release? From its bundle in S3, by the digests that the journal leads to.

    Raises:
        Refused: something there is missing, or is not what was shipped.
    """
    prefix = bundle_prefix(shipped.model, shipped.digest, shipped.bundle)
    try:
        told = aws.storage.read(bucket, f"{prefix}/{manifests.NAME}")
        body = aws.storage.read(bucket, f"{prefix}/{GOLDEN}")
    except AwsMissing as error:
        raise Refused(f"the bundle in S3 is not whole: {error}") from None
    try:
        wanted = {file.path: file.sha256 for file in manifests.parse(told).files}.get(GOLDEN)
    except BundleBroken:
        wanted = None
    if (hashlib.sha256(told).hexdigest(), hashlib.sha256(body).hexdigest()) != (shipped.bundle, wanted):
        raise Refused(f"s3://{bucket}/{prefix}/ holds other files than were shipped. Next: look who wrote there")
    with tempfile.TemporaryDirectory() as scratch:
        (Path(scratch) / GOLDEN).write_bytes(body)
        return read_golden(Path(scratch) / GOLDEN)


def unpacked(archive: Path, into: Path) -> Path:
    """Where, in this folder, is the bundle of a model.tar.gz? Neither is ever in memory as a whole."""
    with tarfile.open(archive) as files:
        files.extractall(into, filter="data")
    return into / "bundle" if (into / "bundle").is_dir() else into


def require_intact(aws: Aws, endpoint: str, entry: Entry[SageMakerShipped], bucket: str) -> None:
    """Are the configuration, the model and the archive of an earlier deployment still what was deployed?

    Raises:
        Refused: one is gone, or is something else.
    """
    shipped = entry.shipped
    model, config = specs_of(shipped, endpoint, bucket)
    title, again = f"{shipped.model}/{shipped.version}", "Next: promote it again, then slipway deploy"
    for found, right in ((aws.endpoints.config(config.name), config), (aws.endpoints.model(model.name), model)):
        if found is None:
            raise Refused(f"{right.name} of {title} is gone. {again}")
        if found != right:
            raise Refused(f"{right.name} is not what was deployed as {title} on {entry.at:%Y-%m-%d}: "
                          f"{differing(found, right)} differs. {again}")
    archive = names.archive_key(shipped.model, shipped.digest, shipped.archive)
    lies = stored(aws, bucket, archive, shipped.archive, "archive in S3")
    if not lies.right:
        raise Refused(f"s3://{bucket}/{archive} of {title} is not what was deployed: {lies.found}")


def _variants(found: ConfigState | None, right: ConfigState) -> Finding:
    if found is None:
        return Finding("variants", False, "the configuration is gone")
    told = ", ".join(f"{v.name}: {f'{v.memory} MB serverless' if v.memory else f'{v.instances} x {v.instance_type}'}"
                     for v in found.variants) + "".join(f", shadow {v.name}" for v in found.shadows)
    return Finding("variants", (found.variants, found.shadows) == (right.variants, right.shadows), told)


def _answers(found: ConfigState | None, right: ConfigState) -> Finding:
    later = found.later if found else None
    return Finding("answers go to", later == right.later, later.to if later else "whoever asks")


def _scaling(found: ScalingState | None, right: ScalingState | None) -> Finding:
    told = str(found) if found else "none"
    return Finding("autoscaling", found == right, told)


def _weights(endpoint: EndpointState) -> str:
    return ", ".join(f"{name} {weight:g}" for name, weight in endpoint.weights)


def _environment(model: ModelState) -> str:
    return ", ".join(name for name, _ in model.environment) or "no variables"


def _unlike(found: str, wanted: str) -> str:
    return found if found == wanted else f"{found}; wanted {wanted}"
