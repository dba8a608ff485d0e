"""Registry, journal and AWS side by side, and what differs between them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from .aws import Aws
from .config import Settings
from .errors import NotDeployed
from .journal import PRUNE, Entry, Kind, Shipped, begun, deployed, held_by, may_be_alive
from .logbook import bucket_of
from .names import DEPLOYMENTS, deployed_models
from .plan import short
from .target import InService, Target

Open = Callable[[str], Target]
AT_ONCE = 8  # models asked about at a time; a client keeps ten connections (botocore 1.43, max_pool_connections)


@dataclass(frozen=True, slots=True)
class Standing:
    """What does one target say about one model?

    Attributes:
        target: its name.
        journal: what was deployed last.
        place: what serves now.
        drift: one sentence for each difference; empty when all agree.
        url: where it is reached by HTTPS with a signature; empty without such an address.
    """

    target: str
    journal: str
    place: str
    drift: tuple[str, ...]
    url: str = ""


@dataclass(frozen=True, slots=True)
class Status:
    """What does each place say about one model, and where do they disagree?

    Attributes:
        registry: what stands in Production, or why that is not known.
        targets: where it was ever deployed.
        drift: one sentence for each difference; empty when all agree.
    """

    model: str
    registry: str
    targets: tuple[Standing, ...]
    drift: tuple[str, ...]

    def lines(self) -> list[str]:
        """How is it printed?"""
        rows = [self.model, f"  registry  {self.registry}"]
        for one in self.targets:
            rows += [f"  journal   {one.journal}", f"  {one.target:<9} {one.place}"]
            rows += [f"  url       {one.url}"] if one.url else []
        return rows + ([f"  drift     {line}" for line in self.drift] or ["  drift     none"])


def models(aws: Aws, settings: Settings, model: str | None = None) -> dict[str, tuple[str, ...]]:
    """Which models were ever deployed, and to which targets? With ``model``, only that one is looked for."""
    under = f"{DEPLOYMENTS}{model}/" if model else DEPLOYMENTS
    return deployed_models(aws.storage.keys(bucket_of(aws, settings), under))


def all_of(deployed: Mapping[str, Sequence[str]], open_target: Open) -> list[Status]:
    """How do these models stand? Several are asked at a time."""
    with ThreadPoolExecutor(AT_ONCE, "slipway-status") as pool:
        return list(pool.map(lambda model: status_of(model, deployed[model], open_target), deployed))


def status_of(model: str, targets: Sequence[str], open_target: Open) -> Status:
    """How does one model stand? Reads only, and goes on when the registry does not answer.

    Raises:
        VersionMissing: no place knows a model of this name.
    """
    with ThreadPoolExecutor(1 + len(targets), "slipway-status") as pool:
        asked = pool.submit(_registry, model, bool(targets))
        found = [pool.submit(_service, model, open_target(name)) for name in targets]
        registry, digest = asked.result()
        standings = tuple(_standing(model, digest, one.result()) for one in found)
    if standings:
        return Status(model, registry, standings, tuple(line for one in standings for line in one.drift))
    waiting = f"Production is {digest[:12]}, nothing is in service. Next: slipway deploy {model}"
    return Status(model, registry, (), (waiting,) if digest else ())


def _service(model: str, target: Target) -> tuple[str, Sequence[Entry[Any]], InService | NotDeployed]:
    """A target's name, its journal, and what serves there or why nothing does."""
    entries = target.logbook(model).read()
    try:
        return target.name, entries, target.in_service(model, thoroughly=False)
    except NotDeployed as error:
        return target.name, entries, error


def _standing(model: str, digest: str, seen: tuple[str, Sequence[Entry[Any]], InService | NotDeployed]) -> Standing:
    name, entries, service = seen
    last = entries[-1]
    journal = (f"{model}/{last.shipped.version} {last.shipped.digest[:12]} {last.kind.value} "
               f"{last.at:%Y-%m-%d %H:%M:%S} UTC by {last.who}")
    drift = [] if last.kind is Kind.DONE else [_unfinished(entries)]
    if isinstance(service, NotDeployed):
        return Standing(name, journal, str(service), tuple(drift))
    served = service.entry.shipped.digest
    if digest and digest != served:
        drift.append(_other(name, digest, service.entry.shipped, entries))
    drift += [f"{finding.what}: {finding.found}" for finding in service.findings if not finding.right]
    return Standing(name, journal, short(service.place), tuple(drift), service.url)


def _other(target: str, digest: str, serves: Shipped, entries: Sequence[Entry[Any]]) -> str:
    """What is said where another release serves than stands in Production: newer, or the one that was gone back to?"""
    release, served = f"{serves.model}/{serves.version}", serves.digest
    deploys = f"slipway deploy {serves.model} --target {target}"
    if digest in (entry.shipped.digest for entry in deployed(entries)[:-1]):
        return (f"Production is {digest[:12]}, which {release} {served[:12]} took the place of again. "
                f"Next: slipway promote {release} --to Production to stay with it, or {deploys} to return")
    return f"Production is {digest[:12]}, in service is {served[:12]}. Next: {deploys}"


def _unfinished(entries: Sequence[Entry[Any]]) -> str:
    last = entries[-1]
    if last.kind is Kind.FAILED:
        return f"the last deployment failed: {last.reason}"
    if held_by(entries, datetime.now(UTC), may_be_alive):
        doing = "pruning" if last.reason == PRUNE else "deploying"
        return f"{last.who} on {last.host} is {doing} since {begun(entries).at:%Y-%m-%d %H:%M:%S} UTC"
    if last.kind is Kind.STOPPED:
        return f"the last deployment was {last.reason}. Next: slipway deploy {last.shipped.model} finishes it"
    if last.reason == PRUNE:
        return f"the last prune was interrupted. Next: slipway prune {last.shipped.model} finishes it"
    return f"the last deployment was interrupted. Next: slipway deploy {last.shipped.model} finishes it"


def _registry(model: str, deployed: bool) -> tuple[str, str]:
    from registry import RegistryError, VersionMissing, release

    try:
        found = release(model)
    except RegistryError as error:
        if isinstance(error, VersionMissing) and not deployed:  # known nowhere: a slip of the fingers
            raise
        return f"not known: {error}", ""
    return f"{model}/{found.version} {found.digest[:12]} in {found.stage.value}", found.digest
