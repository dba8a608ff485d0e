"""Pull the approved version, build what serves it, plan, execute: a release's way to AWS, and the way back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import bundle as bundles
from . import journal, package
from .aws import Aws
from .bundle import Bundle
from .config import Settings
from .journal import Entry
from .plan import AskGolden, Begin, Plan, PointAlias, Step
from .runtime.core import GOLDEN, Golden, read_golden
from .targets.lambda_ import execution, names, planning, proof
from .targets.lambda_.canary import Canary
from .targets.lambda_.execution import Report

if TYPE_CHECKING:
    from registry import Release

@dataclass(frozen=True, slots=True)
class Prepared:
    """What is ready to be deployed: the plan, and the bundle whose golden requests judge it?"""

    release: Release
    bundle: Bundle
    runtime: str
    plan: Plan


@dataclass(frozen=True, slots=True)
class Deployment:
    """What is in service after a deploy?"""

    model: str
    version: int
    digest: str
    function: str
    alias: str
    published: str
    runtime: str
    steps: int


def prepare(model: str, scratch: Path, aws: Aws, settings: Settings, *, say: Callable[[str], None]) -> Prepared:
    """What would a deploy of this model change? Reads AWS, changes nothing.

    Args:
        model: the registered model's name.
        scratch: an empty folder for what is built.
        aws, settings: where, and how.
        say: told what is going on, for a reader.

    Raises:
        ReleaseMissing: no version is in Production.
        ReleaseTampered: the registered files are not those that were approved; each is named, AWS was not asked.
        ParityFailed, Unconvertible: see `bundle.build`.
        Refused: somebody else is deploying this model.
    """
    from registry import download, release

    chosen = release(model)
    say(f"pulled      {chosen.model}/{chosen.version} {chosen.digest[:12]}, approved by "
        f"{', '.join(str(a.approver) for a in chosen.approvals)}")
    bundle = bundles.build(chosen, download(chosen, scratch / "model"), scratch / "bundle")
    found = bundle.manifest.parity
    say(f"converted   {bundle.manifest.source['format']} to ONNX; {found.labels_equal} of {found.rows} golden requests "
        f"answered alike, largest difference {found.max_abs_diff:.1e}")
    runtime, plan = plan_bundle(bundle, scratch, aws, settings)
    say(f"runtime     {runtime} on {settings.lambda_.architecture}" + _why(runtime, settings))
    return Prepared(chosen, bundle, runtime, plan)


def plan_bundle(bundle: Bundle, scratch: Path, aws: Aws, settings: Settings) -> tuple[str, Plan]:
    """For which runtime, and by which steps, does this bundle come into service? Reads AWS, changes nothing.

    Raises:
        Refused: somebody else is deploying this model, or S3 holds other bytes under this release's keys.
    """
    architecture, bucket = settings.lambda_.architecture, bucket_of(aws, settings)
    runtime, offer = planning.choose_runtime(
        settings, lambda r: aws.functions.layers(names.layer_name(settings, r, architecture), r))
    code = package.build_release(bundle, scratch, runtime)
    wanted = planning.wanted(bundle, code, runtime=runtime, settings=settings, bucket=bucket,
                             role=aws.role_arn(settings.lambda_.role))
    entries = read_journal(aws, bucket, bundle.manifest.name)
    journal.require_free(entries, datetime.now(UTC), journal.may_be_alive)
    observed = planning.observe(aws, wanted, offer.layers, entries)
    return runtime, planning.plan(wanted, observed, lambda: package.build_layer(wanted.layer))


def deploy(
    prepared: Prepared, aws: Aws, settings: Settings, *, report: Report, probes: Sequence[Any] = ()
) -> Deployment:
    """Run the plan and say what is in service now.

    Args:
        prepared: from `prepare`.
        aws, settings: where, and how.
        report: told each step that was done, with its seconds.
        probes: requests that a canary asks of both versions, each once.

    Raises:
        GoldenFailed, CanaryFailed: the new version answers wrongly or did worse; the old one still serves.
        AwsFailed: AWS refused; the same deploy, run again, goes on from there.
    """
    function = names.function_name(settings, prepared.release.model)
    golden = read_golden(prepared.bundle.folder / GOLDEN)
    canary = Canary(settings.lambda_.canary, probes) if settings.lambda_.canary else None
    published = execution.execute(prepared.plan, aws, golden, report, canary)
    if not published:
        alias = aws.functions.alias(function, names.ALIAS)
        published = alias.version if alias else ""
    return Deployment(
        model=prepared.release.model, version=prepared.release.version, digest=prepared.release.digest,
        function=function, alias=names.ALIAS, published=published, runtime=prepared.runtime,
        steps=len(prepared.plan.steps))


def plan_rollback(
    model: str, aws: Aws, settings: Settings, *, version: int | None = None
) -> tuple[Plan, Golden, Entry]:
    """Which steps bring the previous release back? Asks AWS and S3 alone: the registry may be gone.

    Args:
        model: the model's name.
        aws, settings: where, and how.
        version: a registered version that was in service before; None means the one before the current.

    Raises:
        NotDeployed: nothing is in service.
        Refused: there is no way back, somebody else is deploying, or what lies there is not what was shipped.
    """
    function, bucket = names.function_name(settings, model), bucket_of(aws, settings)
    entries = read_journal(aws, bucket, model)
    journal.require_free(entries, datetime.now(UTC), journal.may_be_alive)
    target = journal.way_back(entries, version)
    proof.require_intact(aws, function, target)
    golden = proof.golden_in(aws.functions.function_zip(function, target.published))
    alias = aws.functions.alias(function, names.ALIAS)
    was = alias.version if alias else None
    begin = Begin(bucket, names.journal_prefix(model), entries[-1].seq + 1, target.shipped, target.published, was or "")
    shipped = target.shipped
    title = f"{function}:{names.ALIAS} back to {shipped.model}/{shipped.version} (Lambda version {target.published})"
    steps: list[Step] = [AskGolden(function, target.published)]
    if alias is None or was != target.published or alias.shares:
        steps.append(PointAlias(function, names.ALIAS, target.published, was))
    return planning.noted(title, steps, begin), golden, target


def verify(model: str, aws: Aws, settings: Settings) -> list[proof.Finding]:
    """Is what serves what was approved? Asks AWS and S3 alone.

    Raises:
        NotDeployed: nothing is in service.
    """
    bucket, function = bucket_of(aws, settings), names.function_name(settings, model)
    service = proof.in_service(aws, function, read_journal(aws, bucket, model))
    return proof.prove(aws, service, bucket)


def invoke(aws: Aws, settings: Settings, model: str, payload: bytes) -> bytes:
    """What does the version in service answer to this JSON?

    Raises:
        NotDeployed: nothing serves this model.
        AwsFailed: the function failed, or AWS could not be reached.
    """
    return execution.invoke(aws, settings, model, payload)


def read_journal(aws: Aws, bucket: str, model: str) -> list[Entry]:
    """What was begun and ended in the deployments of this model, oldest first?"""
    keys = aws.storage.keys(bucket, names.journal_prefix(model))
    return [journal.parse(aws.storage.read(bucket, key), key) for key in keys]


def bucket_of(aws: Aws, settings: Settings) -> str:
    """In which bucket do releases lie?"""
    return settings.bucket or f"{settings.prefix}-{aws.account()}-{aws.region}"


def _why(runtime: str, settings: Settings) -> str:
    if settings.lambda_.runtime or runtime == planning.PREFERRED:
        return ""
    return f" (this endpoint offers no {planning.PREFERRED})"
