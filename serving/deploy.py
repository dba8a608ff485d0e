"""Pull the approved version, build what serves it, plan, execute: a release's way to AWS, and the way back.

What differs from one place to another is the `Target`'s; what is the same for all is here.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import bundle as bundles
from . import signing
from .again import Consent, TakenBack, refuse, taken_back
from .aws import Aws
from .bundle import Bundle
from .errors import AwsMissing, BundleInvalid
from .execution import Report, Sending, execute, unseen
from .golden import read_golden
from .journal import Entry, Shipped
from .plan import Plan
from .proof import Finding
from .runtime.core import GOLDEN
from .target import Target, WayBack
from .traffic import Judged

if TYPE_CHECKING:
    from registry import Release


@dataclass(frozen=True, slots=True)
class Prepared:
    """What is ready to be deployed: the plan, and the bundle whose golden requests judge it?

    Attributes:
        again: what it undoes, where a rollback took this release back.
    """

    release: Release
    bundle: Bundle
    plan: Plan
    again: TakenBack | None = None


@dataclass(frozen=True, slots=True)
class Deployment:
    """What is in service after a deploy?

    Attributes:
        place: where it serves, as in `slipway-images:production`.
        published: the target's own name of what serves: a Lambda version, say.
        judged: what was judged on the way, test by test.
    """

    model: str
    version: int
    digest: str
    target: str
    place: str
    published: str
    steps: int
    judged: tuple[Judged, ...] = ()


def prepare(
    model: str, scratch: Path, target: Target, *, say: Callable[[str], None], key: Path | None = None,
    consent: Consent = refuse,
) -> Prepared:
    """What would a deploy of this model change? Reads AWS, changes nothing.

    Args:
        model: the registered model's name.
        scratch: an empty folder for what is built.
        target: where it shall serve.
        say: told what is going on, for a reader.
        key: the private EC key that signs the bundle; None leaves it unsigned.
        consent: asked where a rollback took this release back.

    Raises:
        ReleaseMissing: no version is in Production.
        ReleaseTampered: the registered files are not those that were approved; each is named, AWS was not asked.
        ParityFailed, Unconvertible: see `bundle.build`.
        Refused: somebody else is deploying this model, or it was taken back and nobody says that it shall come again.
    """
    from registry import download, release

    chosen = release(model)
    say(f"pulled      {chosen.model}/{chosen.version} {chosen.digest[:12]}, approved by "
        f"{', '.join(str(a.approver) for a in chosen.approvals)}")
    files = download(chosen, scratch / "model")
    again = _allowed(chosen, target, None, consent)  # before minutes are spent
    bundle = bundles.build(chosen, files, scratch / "bundle")
    found = bundle.manifest.parity
    came = "to ONNX" if bundle.manifest.engine == "onnx" else "not: scikit-learn itself serves it"
    say(f"converted   {bundle.manifest.source['format']} {came}; {found.labels_equal} of {found.rows} golden requests "
        f"answered alike, largest difference {found.max_abs_diff:.1e}")
    if key:
        signing.sign(bundle.folder, key)
        say(f"signed      with {key.name}")
    planned = target.plan(bundle, scratch, say)
    # A rollback that came in between; one that comes later takes the number that the plan begins with.
    return Prepared(chosen, bundle, planned, _allowed(chosen, target, again, consent))


def _allowed(release: Release, target: Target, known: TakenBack | None, consent: Consent) -> TakenBack | None:
    """What is undone by a deploy of this release, with somebody's consent? Asked once for each rollback."""
    try:
        entries = target.logbook(release.model).history()
    except AwsMissing:  # no bucket: the preflight tells that, beside what else stands against it
        return None
    found = taken_back(release, entries, target.name)
    if found is not None and found != known:
        consent(found)
    return found


def deploy(
    prepared: Prepared, aws: Aws, target: Target, *, report: Report, probes: Sequence[Any] = (),
    sending: Sending = unseen,
) -> Deployment:
    """Run the plan and say what is in service now.

    Args:
        prepared: from `prepare`.
        aws: where the release lies.
        target: the one that the plan was made for.
        report: told each step that was done, with its seconds.
        probes: requests that a canary asks of both versions, each once.
        sending: entered for each upload; what it gives is told how many bytes have arrived, as they do.

    Raises:
        GoldenFailed, CanaryFailed: the new version answers wrongly or did worse; the old one still serves.
        AwsFailed: AWS refused; the same deploy, run again, goes on from there.
    """
    release = prepared.release
    golden = read_golden(prepared.bundle.folder / GOLDEN)
    hands = target.hands(golden, probes)
    published = execute(prepared.plan, aws, hands, report, sending)
    if not published:
        published = target.logbook(release.model).history()[-1].published
    return Deployment(
        model=release.model, version=release.version, digest=release.digest, target=target.name,
        place=target.place(release.model), published=published, steps=len(prepared.plan.steps),
        judged=hands.judged)


def rollback(back: WayBack, aws: Aws, target: Target, *, report: Report) -> Entry[Shipped]:
    """Run a way back from `Target.plan_back`, and say which deployment serves again.

    Raises:
        GoldenFailed: the earlier release does not answer as it did; what served still serves.
    """
    execute(back.plan, aws, target.hands(back.golden), report)
    return back.entry


def verify(model: str, target: Target, key: Path | None = None) -> tuple[Finding, ...]:
    """Is what serves what was approved? Asks AWS and S3 alone.

    Args:
        model: the registered model's name.
        target: where it serves.
        key: a public key: what serves must have been signed by its owner.

    Raises:
        NotDeployed: nothing is in service.
    """
    findings = target.in_service(model, thoroughly=True).findings
    return (*findings, _signature(model, target, key)) if key else findings


def _signature(model: str, target: Target, key: Path) -> Finding:
    with tempfile.TemporaryDirectory(prefix="slipway-") as scratch:
        try:
            signing.verify(target.bundle_in_service(model, Path(scratch)), key)
        except (BundleInvalid, OSError) as error:
            return Finding("signature", False, str(error))
    return Finding("signature", True, f"by the owner of {key.name}")


def invoke(model: str, payload: bytes, target: Target) -> bytes:
    """What does the version in service answer to this JSON?

    Raises:
        NotDeployed: nothing serves this model.
        AwsFailed: it failed, or AWS could not be reached.
    """
    return target.invoke(model, payload)
