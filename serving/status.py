"""Registry, journal and AWS side by side, and what differs between them."""

from __future__ import annotations

from dataclasses import dataclass

from .aws import Aws
from .config import Settings
from .deploy import bucket_of, read_journal
from .errors import NotDeployed
from .journal import Kind
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
    return sorted({key.split("/")[1] for key in aws.keys(bucket_of(aws, settings), "deployments/")})


def status_of(model: str, aws: Aws, settings: Settings) -> Status:
    """How does one model stand? Reads only, and goes on when the registry does not answer."""
    registry, digest = _registry(model)
    bucket, function = bucket_of(aws, settings), names.function_name(settings, model)
    entries = read_journal(aws, bucket, model)
    if not entries:
        return Status(model, registry, "nothing deployed", "nothing in service", ())
    last = entries[-1]
    journal = (f"{model}/{last.shipped.version} {last.shipped.digest[:12]} {last.kind.value} "
               f"{last.at:%Y-%m-%d %H:%M:%S} UTC by {last.who}")
    drift = [] if last.kind is Kind.DONE else [f"the last deployment {last.kind.value}: {last.reason or 'still open'}"]
    try:
        service = proof.in_service(aws, function, entries)
    except NotDeployed as error:
        return Status(model, registry, journal, str(error), tuple(drift))
    if digest and digest != service.shipped.digest:
        drift.append(f"Production is {digest[:12]}, in service is {service.shipped.digest[:12]}. "
                     f"Next: slipway deploy {model}")
    findings = proof.prove(aws, service, bucket)
    drift += [f"{finding.what}: {finding.found}" for finding in findings if not finding.right]
    place = f"{function}:{names.ALIAS} -> version {service.alias.version}, {service.state.description[:40]}"
    return Status(model, registry, journal, place, tuple(drift))


def _registry(model: str) -> tuple[str, str]:
    from registry import RegistryError, release

    try:
        found = release(model)
    except RegistryError as error:
        return f"not known: {error}", ""
    return f"{model}/{found.version} {found.digest[:12]} in {found.stage.value}", found.digest
