"""SageMaker as a place where releases serve: an endpoint for each model, a configuration for each release."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from ... import journal
from ...aws import Aws
from ...bundle import Bundle
from ...config import Settings
from ...errors import ConfigurationInvalid, NotDeployed
from ...golden import Golden
from ...journal import Entry
from ...logbook import Logbook, bucket_of
from ...names import bundle_prefix
from ...plan import Plan, Step, noted
from ...preflight import require
from ...target import InService, Say, WayBack
from . import images, leftovers, names, planning, preflight, proof
from .execution import CHANGING, SageMakerHands, settled
from .later import ask_of
from .shipped import SageMakerShipped
from .steps import AskGolden


@dataclass(frozen=True, slots=True)
class SageMakerTarget:
    """See `serving.target.Target`, whose questions these are."""

    aws: Aws
    settings: Settings
    name: str = "sagemaker"

    def place(self, model: str) -> str:
        """`slipway-images`."""
        return names.endpoint_name(self.settings, model)

    def logbook(self, model: str) -> Logbook[SageMakerShipped]:
        """Where is noted what was deployed to SageMaker?"""
        return Logbook(self.aws, bucket_of(self.aws, self.settings), model, self.name, SageMakerShipped)

    def plan(self, bundle: Bundle, scratch: Path, say: Say) -> Plan:
        """From what is there to this bundle in service; reads only, after any update that is under way."""
        aws, chosen, logbook = self.aws, self.settings.sagemaker, self.logbook(bundle.manifest.name)
        image = chosen.image or images.prebuilt(aws.region)
        say(f"image       {image}")
        checks = preflight.look(aws, self.settings, bundle, logbook.bucket)
        archive = images.archive(bundle, image, scratch)
        wanted = planning.wanted(bundle, archive, settings=self.settings, image=image, bucket=logbook.bucket,
                                 role=aws.role_arn(chosen.role))
        entries = logbook.read_free()
        self._settle(wanted.endpoint, say)
        observed = planning.observe(aws, wanted, entries, logbook.bucket)
        checks += preflight.takes(aws, chosen, observed.endpoint, wanted.config.name)
        require(checks)
        return replace(planning.plan(wanted, observed, logbook), facts=preflight.facts(chosen), checks=tuple(checks))

    def plan_back(self, model: str, version: int | None) -> WayBack:
        """From what serves to an earlier release, whose configuration is still there as it was shipped."""
        endpoint, logbook = self.place(model), self.logbook(model)
        entries = logbook.read_free()
        target = journal.way_back(entries, version)
        proof.require_intact(self.aws, endpoint, target, logbook.bucket)
        golden = proof.golden_of(self.aws, target.shipped, logbook.bucket)
        now = settled(self.aws, endpoint)
        was = now.config if now else ""
        begin = logbook.begin(entries[-1].seq, target.shipped, published=target.published, previous=was,
                              reason=journal.ROLLBACK)
        title = f"{endpoint} back to {target.shipped.model}/{target.shipped.version} ({target.published})"
        moves = planning.takeover(endpoint, target.published, now, None, resize=True)
        scaled = planning.rescaled(endpoint, target.shipped, self.aws.scaling.scaling(endpoint, names.VARIANT))
        if target == entries[-1] and not (moves or scaled):
            return WayBack(Plan(title, ()), golden, target)
        current = next(journal.newest_deployed(entries))
        known = was != target.published and not names.is_trial_of(endpoint, was)
        moves += [AskGolden(endpoint, target.published, was if known else current.published), *scaled]
        return WayBack(noted(title, moves, begin), golden, target)

    def hands(self, golden: Golden, probes: Sequence[Any] = ()) -> SageMakerHands:
        """Who runs the plans above?"""
        if probes:
            raise ConfigurationInvalid("--probe is for Lambda's canary; on SageMaker alarms judge (sagemaker.alarms)")
        return SageMakerHands(self.aws, golden)

    def in_service(self, model: str, *, thoroughly: bool, entries: Sequence[Entry[Any]] | None = None) -> InService:
        """What the endpoint serves, and whether it is what the journal says was shipped."""
        logbook = self.logbook(model)
        known = logbook.history() if entries is None else entries
        service = proof.in_service(self.aws, self.place(model), known)
        findings = (proof.prove if thoroughly else proof.look)(self.aws, service, logbook.bucket)
        endpoint, shipped = service.endpoint, service.entry.shipped
        told = f"{shipped.model}/{shipped.version} {shipped.digest}" if all(f.right for f in findings) else "?"
        return InService(f"{endpoint.name} -> {endpoint.config}, {endpoint.status}: {told}", service.entry,
                         tuple(findings))

    def needs(self, shipped: SageMakerShipped) -> tuple[str, ...]:
        """Its bundle and its archive."""
        return (bundle_prefix(shipped.model, shipped.digest, shipped.bundle) + "/",
                names.archive_key(shipped.model, shipped.digest, shipped.archive))

    def leftovers(self, journals: Mapping[str, Sequence[Entry[SageMakerShipped]]], keep: int) -> dict[str, list[Step]]:
        """Configurations and models that neither the endpoint nor a kept release needs, and trials' requests of old."""
        before = (datetime.now(UTC) - timedelta(days=self.settings.sagemaker.days)).date()
        return {model: leftovers.find(self.aws, self.place(model), self.logbook(model).bucket, entries, keep=keep,
                                      before=before)
                for model, entries in journals.items()}

    def bundle_in_service(self, model: str, into: Path) -> Path:
        """The bundle in the model.tar.gz that the endpoint was given."""
        logbook = self.logbook(model)
        shipped = proof.in_service(self.aws, self.place(model), logbook.history()).entry.shipped
        key = names.archive_key(shipped.model, shipped.digest, shipped.archive)
        with tempfile.TemporaryDirectory(prefix="slipway-") as scratch:
            archive = Path(scratch) / "model.tar.gz"
            self.aws.storage.fetch(logbook.bucket, key, archive)
            return proof.unpacked(archive, into)

    def invoke(self, model: str, payload: bytes) -> bytes:
        """The endpoint's answer to this JSON; of an asynchronous one when it lies in S3."""
        endpoint = self.aws.endpoints.endpoint(self.place(model))
        if endpoint is None:
            raise NotDeployed(f"{model} is not in service on SageMaker (no endpoint {self.place(model)}). "
                              f"Next: slipway deploy {model} --target sagemaker")
        return ask_of(self.aws, endpoint)(payload)

    def _settle(self, endpoint: str, say: Say) -> None:
        now = self.aws.endpoints.endpoint(endpoint)
        if now and now.status in CHANGING:
            say(f"waiting     {endpoint} is {now.status}")
            settled(self.aws, endpoint)
