"""What is wanted on SageMaker, what is there, and which steps lead from one to the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from ... import package
from ...aws import (
    Aws,
    ConfigState,
    EndpointState,
    Guardrails,
    LaterState,
    ModelState,
    ScalingState,
    VariantState,
)
from ...bundle import Bundle
from ...config import Settings
from ...errors import Refused
from ...execution import is_stored
from ...journal import Entry, serving
from ...logbook import Logbook
from ...names import bundle_prefix
from ...plan import Plan, Step, Upload, noted
from ...runtime.manifest import NAME as MANIFEST
from ...sagemaker_settings import SageMakerSettings, ShadowSettings
from . import images, names
from .shipped import SageMakerShipped
from .steps import (
    AskGolden,
    CreateConfig,
    CreateEndpoint,
    CreateModel,
    DeleteConfig,
    DeleteFailed,
    Reweigh,
    Scale,
    UpdateEndpoint,
    Watch,
)
from .trial import Trial, steps_of, trial_of

IN_SERVICE = "InService"
FAILED = ("Failed", "OutOfService")
FIRST_PERCENT = 100


@dataclass(frozen=True, slots=True)
class Wanted:
    """What shall be in service?

    Attributes:
        uploads: of the bundle's files, its manifest last of them, and of the archive.
        shipped: the same for the journal.
        shadow: how it is tried first.
    """

    title: str
    endpoint: str
    uploads: tuple[Upload, ...]
    model: ModelState
    config: ConfigState
    guardrails: Guardrails | None
    shipped: SageMakerShipped
    shadow: ShadowSettings | None = None


@dataclass(frozen=True, slots=True)
class Observed:
    """What is there now?

    Attributes:
        stored: the S3 keys that hold the right bytes already.
        model, config: of the names wanted.
        seq: the number of the journal's last entry.
        last: the last deployment that ended well.
        recorded: what the journal says is in service; None while a deployment is open, or after one that failed.
        trial: how the release is tried as a shadow of the last one; None when it is not.
        tried: the configuration of that name.
    """

    stored: frozenset[str]
    model: ModelState | None
    config: ConfigState | None
    endpoint: EndpointState | None
    scaling: ScalingState | None = None
    seq: int = 0
    last: Entry[SageMakerShipped] | None = None
    recorded: SageMakerShipped | None = None
    trial: Trial | None = None
    tried: ConfigState | None = None


def wanted(bundle: Bundle, archive: Path, *, settings: Settings, image: str, bucket: str, role: str) -> Wanted:
    """What shall serve this bundle?"""
    manifest, chosen = bundle.manifest, settings.sagemaker
    signed, sha = package.digest(bundle.folder / MANIFEST), package.digest(archive)
    prefix, endpoint = bundle_prefix(manifest.name, manifest.digest, signed), names.endpoint_name(
        settings, manifest.name)
    capture, serverless, scaling = chosen.capture, chosen.serverless, chosen.autoscaling
    shipped = SageMakerShipped(
        model=manifest.name, version=manifest.version, digest=manifest.digest, bundle=signed, archive=sha, image=image,
        role=role, environment=images.environment(image),
        # A serverless endpoint takes no network isolation (SageMaker developer guide, read 2026-11).
        isolated=serverless is None,
        instance_type="" if serverless else chosen.instance_type, instances=0 if serverless else chosen.instances,
        memory=serverless.memory if serverless else 0, concurrency=serverless.concurrency if serverless else 0,
        capture=round(capture.share * 100) if capture else 0,
        capture_to=(capture.to or f"s3://{bucket}/capture") if capture else "", kms=chosen.kms,
        least=scaling.least if scaling else 0, most=scaling.most if scaling else 0,
        invocations=(scaling.invocations or 0.0) if scaling else 0.0,
        backlog=(scaling.backlog or 0.0) if scaling else 0.0, later=_later(settings, endpoint, bucket))
    files = (*sorted(f.path for f in manifest.files), MANIFEST)
    model, config = specs_of(shipped, endpoint, bucket)
    return Wanted(
        title=f"{manifest.name}/{manifest.version}", endpoint=endpoint,
        uploads=(*(_upload(bucket, f"{prefix}/{name}", bundle.folder / name) for name in files),
                 _upload(bucket, names.archive_key(manifest.name, manifest.digest, sha), archive)),
        model=model, config=config, guardrails=guardrails_of(chosen), shipped=shipped,
        shadow=chosen.shadow)


def specs_of(shipped: SageMakerShipped, endpoint: str, bucket: str) -> tuple[ModelState, ConfigState]:
    """How are the model and the configuration that serve these bytes?"""
    data = f"s3://{bucket}/{names.archive_key(shipped.model, shipped.digest, shipped.archive)}"
    environment = tuple(sorted(shipped.environment.items()))
    content = [data, shipped.image, shipped.role, environment, shipped.isolated]
    model = ModelState(names.named_by_content(endpoint, content), shipped.image, data, shipped.role, environment,
                       shipped.isolated)
    size = [shipped.instance_type, shipped.instances, shipped.memory, shipped.concurrency]
    content = [model.name, names.VARIANT, *size, shipped.capture, shipped.capture_to, shipped.kms]
    if shipped.later:  # what answers at once is called as it was before there was another way
        content.append(asdict(shipped.later))
    variant = VariantState(names.VARIANT, model.name, shipped.instance_type, shipped.instances, shipped.memory,
                           shipped.concurrency)
    return model, ConfigState(names.named_by_content(endpoint, content), (variant,), shipped.capture,
                              shipped.capture_to, shipped.kms, later=shipped.later)


def _later(settings: Settings, endpoint: str, bucket: str) -> LaterState | None:
    """How is answered to S3? Encrypted by whatever key is configured nearest, at last by the bucket's own."""
    chosen, later = settings.sagemaker, settings.sagemaker.asynchronous
    if later is None:
        return None
    to = names.answered_later(f"s3://{bucket}/{later.to}/{endpoint}")
    return LaterState(to.answers, to.failures, chosen.kms or settings.kms_key or "", later.at_once or 0,
                      later.success_topic or "", later.error_topic or "")


def scaling_of(shipped: SageMakerShipped) -> ScalingState | None:
    """How shall the variant scale? None when it shall not."""
    if not shipped.most:
        return None
    return ScalingState(shipped.least, shipped.most, shipped.invocations, shipped.backlog)


def rescaled(endpoint: str, shipped: SageMakerShipped, found: ScalingState | None) -> list[Step]:
    """Which steps let it scale as it shall? None when it does."""
    wanted = scaling_of(shipped)
    return [] if found == wanted else [Scale(endpoint, names.VARIANT, wanted)]


def guardrails_of(chosen: SageMakerSettings) -> Guardrails | None:
    """How shall requests move to a new release? None without alarms: all at once."""
    if not chosen.alarms:
        return None
    shift = chosen.canary or chosen.linear
    kind = "CANARY" if chosen.canary else "LINEAR" if chosen.linear else "ALL_AT_ONCE"
    return Guardrails(kind, shift.size if shift else FIRST_PERCENT, shift.wait if shift else 0, chosen.keep,
                      chosen.alarms)


def observe(aws: Aws, wanted: Wanted, entries: Sequence[Entry[SageMakerShipped]], bucket: str) -> Observed:
    """What is there of what is wanted? Reads only.

    Raises:
        Refused: a key or a name that should hold this content holds another.
    """
    model, config = aws.endpoints.model(wanted.model.name), aws.endpoints.config(wanted.config.name)
    last = serving(entries)
    trial = _trial(wanted, last.shipped, bucket) if last else None
    tried = aws.endpoints.config(trial.config.name) if trial else None
    for found, right in ((model, wanted.model), (config, wanted.config), (tried, trial.config if trial else None)):
        if found is not None and right is not None and found != right:
            raise Refused(f"{right.name} is named by its content and holds another: somebody deleted it and made "
                          f"{differing(found, right)} anew. Next: look who, delete it, and run this again")
    return Observed(
        stored=frozenset(u.key for u in wanted.uploads if is_stored(aws, u)), model=model, config=config,
        endpoint=aws.endpoints.endpoint(wanted.endpoint), scaling=aws.scaling.scaling(wanted.endpoint, names.VARIANT),
        seq=entries[-1].seq if entries else 0,
        last=last, recorded=last.shipped if last and entries[-1] == last else None,
        trial=trial, tried=tried)


def _trial(wanted: Wanted, last: SageMakerShipped, bucket: str) -> Trial | None:
    """How is what is wanted tried beside the last release?"""
    if wanted.shadow is None:
        return None
    return trial_of(wanted.endpoint, specs_of(last, wanted.endpoint, bucket)[1], wanted.config, bucket, wanted.shadow)


def differing(found: ModelState | ConfigState, right: ModelState | ConfigState) -> str:
    """Which of their fields differ, for a reader?"""
    return ", ".join(name for name in type(right).__slots__ if getattr(found, name, None) != getattr(right, name))


def plan(wanted: Wanted, observed: Observed, logbook: Logbook[SageMakerShipped]) -> Plan:
    """Which steps lead from what is observed to what is wanted? None when it is in service already."""
    steps: list[Step] = [u for u in wanted.uploads if u.key not in observed.stored]
    if observed.model is None:
        steps.append(CreateModel(wanted.model))
    if observed.config is None:
        steps.append(CreateConfig(wanted.config))
    moves = _moves(wanted, observed)
    if moves or observed.recorded != wanted.shipped:
        moves.append(AskGolden(wanted.endpoint, wanted.config.name, _way_out(wanted, observed),
                               first=observed.last is None))
    if observed.trial and (observed.tried or any(isinstance(step, Watch) for step in moves)):
        moves.append(DeleteConfig(observed.trial.config.name))
    steps += [*moves, *rescaled(wanted.endpoint, wanted.shipped, observed.scaling)]
    title = f"{wanted.title} on SageMaker as {wanted.endpoint}"
    if not steps:
        return Plan(title, ())
    was = observed.endpoint.config if observed.endpoint else ""
    return noted(title, steps, logbook.begin(observed.seq, wanted.shipped, published=wanted.config.name, previous=was))


def _moves(wanted: Wanted, observed: Observed) -> list[Step]:
    """Which steps bring it into service: a trial first where one is wanted and an old release serves."""
    now, trial, tried = observed.endpoint, observed.trial, list[Step]()
    if trial and now and now.status not in FAILED and now.config != wanted.config.name:
        tried = steps_of(trial, wanted.endpoint, now.config, made=observed.tried is not None)
        now = replace(now, config=trial.config.name)
    resize = observed.last is not None and observed.last.shipped.instances != wanted.shipped.instances
    return tried + takeover(wanted.endpoint, wanted.config.name, now, wanted.guardrails, resize=resize)


def takeover(endpoint: str, config: str, now: EndpointState | None, guardrails: Guardrails | None,
             *, resize: bool) -> list[Step]:
    """Which steps let the endpoint serve this configuration? None when it does."""
    if now is None:
        return [CreateEndpoint(endpoint, config)]
    if now.status in FAILED:
        return [DeleteFailed(endpoint), CreateEndpoint(endpoint, config)]
    if now.config != config:
        return [UpdateEndpoint(endpoint, config, now.config, guardrails, resize)]
    return [Reweigh(endpoint, name, 1.0) for name, weight in now.weights if name == names.VARIANT and weight != 1]


def _way_out(wanted: Wanted, observed: Observed) -> str:
    """Which configuration comes back when the golden requests are answered wrongly?"""
    last = observed.last.published if observed.last else ""
    serves = observed.endpoint.config if observed.endpoint and observed.endpoint.status not in FAILED else ""
    if observed.trial or names.is_trial_of(wanted.endpoint, serves):  # from where it was tried, no way leads back there
        return last if last != wanted.config.name else ""
    return serves if serves and serves != wanted.config.name else last if last != wanted.config.name else ""


def _upload(bucket: str, key: str, path: Path) -> Upload:
    return Upload(bucket, key, path, package.digest(path), path.stat().st_size)
