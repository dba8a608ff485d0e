"""AWS Lambda as a place where releases serve: a function for each model, a version for each release, an alias."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ... import journal, package
from ...aws import Aws
from ...bundle import Bundle
from ...config import CanarySettings, Settings
from ...errors import NotDeployed
from ...golden import Golden
from ...journal import Entry
from ...logbook import Logbook, bucket_of
from ...names import bundle_prefix
from ...plan import Plan, Step, noted
from ...preflight import require
from ...target import InService, Say, WayBack
from . import around, leftovers, names, planning, preflight, proof
from .canary import Canary
from .execution import LambdaHands
from .shipped import LambdaShipped
from .steps import AskGolden, PointAlias

TOO_LARGE = "a smaller model, or --target sagemaker, which has no such limit"


@dataclass(frozen=True, slots=True)
class LambdaTarget:
    """See `serving.target.Target`, whose questions these are."""

    aws: Aws
    settings: Settings
    name: str = "lambda"

    def place(self, model: str) -> str:
        """`slipway-images:production`."""
        return f"{names.function_name(self.settings, model)}:{names.ALIAS}"

    def logbook(self, model: str) -> Logbook[LambdaShipped]:
        """Where is noted what was deployed to Lambda?"""
        return Logbook(self.aws, bucket_of(self.aws, self.settings), model, self.name, LambdaShipped)

    def plan(self, bundle: Bundle, scratch: Path, say: Say) -> Plan:
        """From what is there to this bundle in service; reads only."""
        planning.require_fits(bundle.manifest)
        aws, settings, logbook = self.aws, self.settings, self.logbook(bundle.manifest.name)
        checks = preflight.look(aws, settings, bundle, logbook.bucket)
        architecture = settings.lambda_.architecture
        runtime, offer = planning.choose_runtime(
            settings, lambda r: aws.functions.layers(names.layer_name(settings, r, architecture), r))
        say(f"runtime     {runtime} on {architecture}{_why(runtime, settings)}")
        code = package.build_release(bundle, scratch, runtime)
        wanted = planning.wanted(bundle, code, runtime=runtime, settings=settings, bucket=logbook.bucket,
                                 role=aws.role_arn(settings.lambda_.role))
        checks.append(preflight.unpacked(code, lambda: package.build_layer(wanted.layer), TOO_LARGE))
        require(checks)
        observed = planning.observe(aws, wanted, offer.layers, logbook.read_free())
        planned = planning.plan(wanted, observed, logbook, lambda: package.build_layer(wanted.layer))
        return replace(planned, facts=planning.facts(wanted.shipped), checks=tuple(checks))

    def plan_back(self, model: str, version: int | None) -> WayBack:
        """From what serves to an earlier release, whose Lambda version is still there as it was shipped."""
        function, logbook = names.function_name(self.settings, model), self.logbook(model)
        entries = logbook.read_free()
        target = journal.way_back(entries, version)
        proof.require_intact(self.aws, function, target)
        golden = proof.golden_of(self.aws, function, target.published)
        alias = self.aws.functions.alias(function, names.ALIAS)
        was = alias.version if alias else None
        left = next(journal.newest_deployed(entries)).shipped.around  # no release's: it stays as it is
        shipped = target.shipped.model_copy(update={"around": left})
        begin = logbook.begin(entries[-1].seq, shipped, published=target.published, previous=was or "",
                              reason=journal.ROLLBACK)
        found = planning.look_around(self.aws, function, left)
        title = f"{self.place(model)} back to {shipped.model}/{shipped.version} (Lambda version {target.published})"
        moved = alias is None or was != target.published or bool(alias.shares)
        if target == entries[-1] and not moved:
            return WayBack(Plan(title, ()), golden, target)
        steps: list[Step] = [AskGolden(function, target.published)]
        steps += around.ready(function, target.published, left, found)
        if moved:
            steps.append(PointAlias(function, names.ALIAS, target.published, was))
        steps += around.last(function, names.ALIAS, target.published, left, found)
        return WayBack(noted(title, steps, begin), golden, target)

    def hands(self, golden: Golden, probes: Sequence[Any] = ()) -> LambdaHands:
        """Who runs the plans above?"""
        chosen = self.settings.lambda_
        return LambdaHands(self.aws, golden, Canary(chosen.takeover or CanarySettings(), probes, alarms=chosen.alarms))

    def in_service(self, model: str, *, thoroughly: bool, entries: Sequence[Entry[Any]] | None = None) -> InService:
        """What the alias names, and whether it is what the journal says was shipped."""
        logbook = self.logbook(model)
        known = logbook.history() if entries is None else entries
        service = proof.in_service(self.aws, names.function_name(self.settings, model), known)
        findings = (proof.prove if thoroughly else proof.glance)(self.aws, service, logbook.bucket)
        place = f"{self.place(model)} -> version {service.alias.version}, {service.state.description}"
        url = service.around.url.url if service.around.url else ""
        return InService(place, service.entry, tuple(findings), url)

    def needs(self, shipped: LambdaShipped) -> tuple[str, ...]:
        """Its bundle and its code; the layer, which models share, is looked at in `leftovers`."""
        return (bundle_prefix(shipped.model, shipped.digest, shipped.bundle) + "/",
                names.code_key(shipped.model, shipped.digest, shipped.code))

    def leftovers(self, journals: Mapping[str, Sequence[Entry[LambdaShipped]]], keep: int) -> dict[str, list[Step]]:
        """Versions that no alias and no kept release needs, and layers that no function does."""
        return leftovers.find(self.aws, self.settings, journals, keep)

    def bundle_in_service(self, model: str, into: Path) -> Path:
        """The bundle in the zip of the version that the alias names."""
        service = proof.in_service(self.aws, names.function_name(self.settings, model), self.logbook(model).history())
        return proof.bundle_of(self.aws, service.function, service.alias.version, into)

    def invoke(self, model: str, payload: bytes) -> bytes:
        """The alias's answer to this JSON."""
        function = names.function_name(self.settings, model)
        if self.aws.functions.alias(function, names.ALIAS) is None:
            raise NotDeployed(f"{model} is not in service on Lambda (no alias {self.place(model)}). "
                              f"Next: slipway deploy {model} --target lambda")
        return self.aws.functions.invoke(function, names.ALIAS, payload)


def _why(runtime: str, settings: Settings) -> str:
    if settings.lambda_.runtime or runtime == planning.PREFERRED:
        return ""
    return f" (this endpoint offers no {planning.PREFERRED})"
