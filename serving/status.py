"""Registry, journal and AWS side by side, and what differs between them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from .aws import Aws
from .config import Settings
from .deploy import bucket_of, read_journal
from .errors import NotDeployed
from .journal import Entry, Kind, held_by, may_be_alive
from .plan import short
from .targets.lambda_ import names, proof


@dataclass(frozen=True, slots=True)
class Status:
    """What does each place say about one model, and where do they disagree?

    Attributes:
        registry: what stands in Production, or why that is not known.
        journal: what was deployed last.
        aws: what the alias names.
        drift: one sentence for each difference; empty when all agree.
    """

    model: str
    registry: str
    journal: str
    aws: str
    drift: tuple[str, ...]

    def lines(self) -> list[str]:
        """How is it printed?"""
        rows = [self.model, f"  registry  {self.registry}", f"  journal   {self.journal}", f"  lambda    {self.aws}"]
        return rows + ([f"  drift     {line}" for line in self.drift] or ["  drift     none"])


def models(aws: Aws, settings: Settings) -> list[str]:
    """Which models were ever deployed?"""
    return sorted({key.split("/")[1] for key in aws.storage.keys(bucket_of(aws, settings), "deployments/")})


def status_of(model: str, aws: Aws, settings: Settings) -> Status:
    """How does one model stand? Reads only, and goes on when the registry does not answer."""
    registry, digest = _registry(model)
    bucket, function = bucket_of(aws, settings), names.function_name(settings, model)
    entries = read_journal(aws, bucket, model)
    if not entries:
        waiting = f"Production is {digest[:12]}, nothing is in service. Next: slipway deploy {model}"
        return Status(model, registry, "nothing deployed", "nothing in service", (waiting,) if digest else ())
    last = entries[-1]
    journal = (f"{model}/{last.shipped.version} {last.shipped.digest[:12]} {last.kind.value} "
               f"{last.at:%Y-%m-%d %H:%M:%S} UTC by {last.who}")
    drift = [] if last.kind is Kind.DONE else [_unfinished(last)]
    try:
        service = proof.in_service(aws, function, entries)
    except NotDeployed as error:
        return Status(model, registry, journal, str(error), tuple(drift))
    if digest and digest != service.shipped.digest:
        drift.append(f"Production is {digest[:12]}, in service is {service.shipped.digest[:12]}. "
                     f"Next: slipway deploy {model}")
    findings = proof.prove(aws, service, bucket)
    drift += [f"{finding.what}: {finding.found}" for finding in findings if not finding.right]
    place = f"{function}:{names.ALIAS} -> version {service.alias.version}, {short(service.state.description)}"
    return Status(model, registry, journal, place, tuple(drift))


def _unfinished(last: Entry) -> str:
    if last.kind is Kind.FAILED:
        return f"the last deployment failed: {last.reason}"
    if held_by([last], datetime.now(UTC), may_be_alive):
        return f"{last.who} on {last.host} is deploying since {last.at:%H:%M:%S} UTC"
    return f"the last deployment was interrupted. Next: slipway deploy {last.shipped.model} finishes it"


def _registry(model: str) -> tuple[str, str]:
    from registry import RegistryError, release

    try:
        found = release(model)
    except RegistryError as error:
        return f"not known: {error}", ""
    return f"{model}/{found.version} {found.digest[:12]} in {found.stage.value}", found.digest
