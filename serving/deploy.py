"""Pull the approved version, build what serves it, plan, execute: a release's way to AWS."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from . import bundle as bundles
from . import package
from .aws import Aws
from .bundle import Bundle
from .config import Settings
from .plan import Plan, Step
from .targets import lambda_

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
    """
    from registry import download, release

    chosen = release(model)
    say(f"pulled      {chosen.model}/{chosen.version} {chosen.digest[:12]}, approved by "
        f"{', '.join(str(a.approver) for a in chosen.approvals)}")
    files = download(chosen, scratch / "model")
    bundle = bundles.build(chosen, files, scratch / "bundle")
    found = bundle.manifest.parity
    say(f"converted   {bundle.manifest.source['format']} to ONNX; {found.labels_equal} of {found.rows} golden requests "
        f"answered alike, largest difference {found.max_abs_diff:.1e}")
    architecture = settings.lambda_.architecture
    runtime, offer = lambda_.choose_runtime(
        settings, lambda r: aws.layers(lambda_.layer_name(settings, r, architecture), r))
    say(f"runtime     {runtime} on {architecture}" + _why(runtime, settings))
    code = package.build_release(bundle, scratch)
    wanted = lambda_.wanted(bundle, code, runtime=runtime, settings=settings, role=aws.role_arn(settings.lambda_.role),
                            bucket=settings.bucket or f"{settings.prefix}-{aws.account()}-{aws.region}")
    observed = lambda_.observe(aws, wanted, offer.layers)
    planned = lambda_.plan(wanted, observed, lambda: package.build_layer(wanted.layer))
    return Prepared(chosen, bundle, runtime, planned)


def deploy(prepared: Prepared, aws: Aws, settings: Settings, *, report: Callable[[Step, float], None]) -> Deployment:
    """Run the plan and say what is in service now.

    Raises:
        GoldenFailed: the new version answers wrongly; the old one still serves.
        AwsFailed: AWS refused; the same deploy, run again, goes on from there.
    """
    function = lambda_.function_name(settings, prepared.release.model)
    published = lambda_.execute(prepared.plan, aws, lambda_.golden_of(prepared.bundle), report)
    if not published:
        alias = aws.alias(function, lambda_.ALIAS)
        published = alias.version if alias else ""
    return Deployment(
        model=prepared.release.model, version=prepared.release.version, digest=prepared.release.digest,
        function=function, alias=lambda_.ALIAS, published=published, runtime=prepared.runtime,
        steps=len(prepared.plan.steps))


def invoke(aws: Aws, settings: Settings, model: str, payload: bytes) -> bytes:
    """What does the version in service answer to this JSON?

    Raises:
        NotDeployed: nothing serves this model.
        AwsFailed: the function failed, or AWS could not be reached.
    """
    return lambda_.invoke(aws, settings, model, payload)


def _why(runtime: str, settings: Settings) -> str:
    if settings.lambda_.runtime or runtime == lambda_.PREFERRED:
        return ""
    return f" (this endpoint offers no {lambda_.PREFERRED})"
