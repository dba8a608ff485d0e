"""Is what serves on Lambda what was approved? Looked at from the outside, with the registry or without it."""

from __future__ import annotations

import base64
import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ...asking import ask_golden
from ...aws import AliasState, Aws, FunctionState
from ...errors import AwsFailed, AwsMissing, GoldenFailed, NotDeployed, Refused
from ...golden import Golden, read_golden
from ...journal import Entry, serving
from ...names import bundle_prefix
from ...proof import Finding, as_said, bundle_stored, same, stored
from ...runtime import manifest as manifests
from ...runtime.core import GOLDEN
from ...runtime.errors import BundleBroken
from . import names
from .around import Found
from .around import findings as findings_around
from .planning import look_around, runs, spec_of
from .shipped import LambdaShipped
from .steps import changes


@dataclass(frozen=True, slots=True)
class Service:
    """What does the alias name now, and what does the journal say it should name?"""

    function: str
    alias: AliasState
    state: FunctionState
    entry: Entry[LambdaShipped]
    around: Found

    @property
    def shipped(self) -> LambdaShipped:
        """Which bytes should serve?"""
        return self.entry.shipped


def in_service(aws: Aws, function: str, entries: Sequence[Entry[LambdaShipped]]) -> Service:
    """What serves under this name?

    Raises:
        NotDeployed: nothing does, or the journal knows nothing of it.
    """
    alias = aws.functions.alias(function, names.ALIAS)
    state = aws.functions.state(function, names.ALIAS) if alias else None
    last = serving(entries)
    if alias is None or state is None:
        raise NotDeployed(f"nothing is in service as {function}:{names.ALIAS}")
    if last is None:
        raise NotDeployed(f"{function}:{names.ALIAS} names version {alias.version}, which no deployment recorded")
    return Service(function, alias, state, last, look_around(aws, function, last.shipped.around))


def prove(aws: Aws, service: Service, bucket: str) -> list[Finding]:
    """Look at everything that decides what is answered: alias, code, layer, configuration, and an answer itself."""
    with tempfile.TemporaryDirectory(prefix="slipway-") as scratch:
        code = Path(scratch) / "function.zip"
        sha256 = aws.functions.function_zip(service.function, service.alias.version, code)
        findings = _as_it_lies(aws, service, bucket, sha256)
        return [*findings, *_bundle_and_answer(aws, service, code, Path(scratch) / "function")]


def _as_it_lies(aws: Aws, service: Service, bucket: str, code: str) -> list[Finding]:
    """All but the answer. ``code`` is the SHA-256 of what Lambda gave back."""
    shipped, state = service.shipped, service.state
    return [
        _alias(service),
        same("code", code, shipped.code),
        same("code, as Lambda says", base64.b64decode(state.code_sha256).hex(), shipped.code),
        *_layers(aws, state, shipped),
        _configuration(service),
        *_around(service),
        stored(aws, bucket, names.code_key(shipped.model, shipped.digest, shipped.code), shipped.code, "code in S3"),
        stored(aws, bucket, names.layer_key(shipped.layer), shipped.layer_sha256, "layer in S3"),
        bundle_stored(aws, bucket, bundle_prefix(shipped.model, shipped.digest, shipped.bundle), shipped.bundle),
    ]


def glance(aws: Aws, service: Service, bucket: str) -> list[Finding]:
    """The same by what AWS says of alias, code, layer, configuration and S3's copies; fetches and asks nothing."""
    shipped, state = service.shipped, service.state
    return [
        _alias(service),
        same("code, as Lambda says", base64.b64decode(state.code_sha256).hex(), shipped.code),
        _layer_as_said(aws, state, shipped),
        _configuration(service),
        *_around(service),
        as_said(aws, bucket, names.code_key(shipped.model, shipped.digest, shipped.code), shipped.code, "code in S3"),
        as_said(aws, bucket, names.layer_key(shipped.layer), shipped.layer_sha256, "layer in S3"),
    ]


def require_intact(aws: Aws, function: str, target: Entry[LambdaShipped]) -> None:
    """Is the Lambda version of an earlier deployment still the one that was deployed?

    Raises:
        Refused: it is gone, or is something else.
    """
    shipped, state = target.shipped, aws.functions.state(function, target.published)
    title = f"{function}:{target.published} ({shipped.model}/{shipped.version})"
    if state is None:
        raise Refused(f"{title} is gone. Next: promote {shipped.model}/{shipped.version} again, then slipway deploy")
    if not _as_shipped(state, function, shipped):
        raise Refused(f"{title} is not what was deployed on {target.at:%Y-%m-%d}: its code or configuration differs")


def golden_of(aws: Aws, function: str, version: str) -> Golden:
    """Which golden requests does the zip of this version hold?"""
    with tempfile.TemporaryDirectory(prefix="slipway-") as scratch:
        return read_golden(bundle_of(aws, function, version, Path(scratch)) / GOLDEN)


def _alias(service: Service) -> Finding:
    if service.alias.shares:
        beside = ", ".join(f"{share:.0%} to version {version}" for version, share in service.alias.shares)
        return Finding("alias", False, f"{beside}; wanted all to {service.entry.published}")
    return same("alias", service.alias.version, service.entry.published)


def _layers(aws: Aws, state: FunctionState, shipped: LambdaShipped) -> list[Finding]:
    if len(state.layers) != 1:
        return [Finding("layer", False, f"{len(state.layers)} layers; wanted 1")]
    return [same("layer", aws.functions.layer_zip_sha256(state.layers[0]), shipped.layer_sha256)]


def _layer_as_said(aws: Aws, state: FunctionState, shipped: LambdaShipped) -> Finding:
    what = "layer, as Lambda says"
    if len(state.layers) != 1:
        return Finding(what, False, f"{len(state.layers)} layers; wanted 1")
    try:
        return same(what, aws.functions.layer_sha256(state.layers[0]), shipped.layer_sha256)
    except AwsMissing:
        return Finding(what, False, f"{state.layers[0]} was deleted; wanted {shipped.layer_sha256[:12]}")


def _configuration(service: Service) -> Finding:
    state, has, shipped = service.state, service.state.configuration, service.shipped
    if changed := changes(has, shipped.configuration, "instead of"):
        return Finding("configuration", False, ", ".join(changed))
    found = f"{has.runtime} on {has.architecture}, {has.memory} MB, {has.timeout} s, {has.handler}"
    wrong = "" if _as_shipped(state, service.function, shipped) else "; its code, layer or description differs"
    return Finding("configuration", not wrong, found + wrong)


def _around(service: Service) -> list[Finding]:
    return findings_around(service.shipped.around, service.around, service.entry.published)


def _as_shipped(state: FunctionState, function: str, shipped: LambdaShipped) -> bool:
    """Is the function configured as it was shipped, with one layer? Which bytes that layer holds is asked elsewhere."""
    layer = state.layers[0] if len(state.layers) == 1 else None
    return runs(state, spec_of(shipped, function, layer=layer))


def _bundle_and_answer(aws: Aws, service: Service, code: Path, scratch: Path) -> list[Finding]:
    try:
        folder = _unpacked(code, scratch)
        manifest, golden = manifests.read(folder), read_golden(folder / GOLDEN)
    except (BundleBroken, OSError, zipfile.BadZipFile, KeyError) as error:
        return [Finding("bundle", False, str(error))]
    findings = [same("bundle", manifest.digest, service.shipped.digest)]
    try:
        said = ask_golden(partial(aws.functions.invoke, service.function, names.ALIAS),
                          f"{service.function}:{names.ALIAS}", golden)
    except (AwsFailed, GoldenFailed) as error:
        return [*findings, Finding("answers", False, str(error))]
    return [*findings, same("answers name", said["digest"], service.shipped.digest),
            Finding("answers", True, f"{golden.rows} golden requests answered as the native model did")]


def bundle_of(aws: Aws, function: str, version: str, into: Path) -> Path:
    """Where, in this empty folder, is the bundle in the zip of this version? Nothing is ever in memory as a whole."""
    code = into / "function.zip"
    aws.functions.function_zip(function, version, code)
    bundle = _unpacked(code, into / "function")
    code.unlink()
    return bundle


def _unpacked(code: Path, into: Path) -> Path:
    with zipfile.ZipFile(code) as archive:
        archive.extractall(into)  # zipfile drops absolute names and `..`
    return into / "bundle"
