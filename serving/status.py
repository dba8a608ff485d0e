"""Registry, journal and AWS side by side, and what differs between them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from .again import taken_back
from .at_once import at_once
from .aws import Aws
from .config import Settings
from .errors import NotDeployed
from .journal import PRUNE, ROLLBACK, Entry, Kind, Shipped, begun, finishes, held_by, may_be_alive
from .logbook import bucket_of, deployed_in
from .names import DEPLOYMENTS
from .plan import short
from .target import InService, Target

if TYPE_CHECKING:
    from registry import Release

Open = Callable[[str], Target]


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
    return deployed_in(aws, bucket_of(aws, settings), under)


def all_of(
    deployed: Mapping[str, Sequence[str]], open_target: Open, looked: Callable[[], None] = lambda: None
) -> list[Status]:
    """How do these models stand? Several are asked at a time; ``looked`` is called after each, from several threads."""
    return at_once(lambda model: status_of(model, deployed[model], open_target), deployed, looked)


def status_of(model: str, targets: Sequence[str], open_target: Open) -> Status:
    """How does one model stand? Reads only, and goes on when the registry does not answer.

    Raises:
        VersionMissing: no place knows a model of this name.
    """
    with ThreadPoolExecutor(1 + len(targets), "slipway-status") as pool:
        asked = pool.submit(_registry, model, bool(targets))
        found = [pool.submit(_service, model, open_target(name)) for name in targets]
        registry, released = asked.result()
        standings = tuple(_standing(model, released, one.result()) for one in found)
    if standings:
        return Status(model, registry, standings, tuple(line for one in standings for line in one.drift))
    if released is None:
        return Status(model, registry, (), ())
    waiting = f"Production is {released.digest[:12]}, nothing is in service. Next: slipway deploy {model}"
    return Status(model, registry, (), (waiting,))


def _service(model: str, target: Target) -> tuple[str, Sequence[Entry[Any]], InService | NotDeployed]:
    """A target's name, its journal, and what serves there or why nothing does."""
    entries = target.logbook(model).history()
    try:
        return target.name, entries, target.in_service(model, thoroughly=False, entries=entries)
    except NotDeployed as error:
        return target.name, entries, error


def _standing(
    model: str, released: Release | None, seen: tuple[str, Sequence[Entry[Any]], InService | NotDeployed]
) -> Standing:
    name, entries, service = seen
    last = entries[-1]
    journal = (f"{model}/{last.shipped.version} {last.shipped.digest[:12]} {last.kind.value} "
               f"{last.at:%Y-%m-%d %H:%M:%S} UTC by {last.who}")
    drift = [] if last.kind is Kind.DONE else [_unfinished(name, entries)]
    if isinstance(service, NotDeployed):
        return Standing(name, journal, str(service), tuple(drift))
    if released and released.digest != service.entry.shipped.digest:
        drift.append(_other(name, released, service.entry.shipped, entries))
    drift += [f"{finding.what}: {finding.found}" for finding in service.findings if not finding.right]
    return Standing(name, journal, short(service.place), tuple(drift), service.url)


def _other(target: str, released: Release, serves: Shipped, entries: Sequence[Entry[Any]]) -> str:
    """What is said where another release serves than stands in Production: newer, or one that was taken back?"""
    standing = f"Production is {released.digest[:12]}"
    if found := taken_back(released, entries, target):
        return f"{standing}: {found}. Next: {found.stays}, or {found.comes_again} to undo it"
    return (f"{standing}, in service is {serves.digest[:12]}. "
            f"Next: slipway deploy {serves.model} --target {target}")


def _unfinished(target: str, entries: Sequence[Entry[Any]]) -> str:
    last, first = entries[-1], begun(entries)
    what = first.reason if first.reason in (PRUNE, ROLLBACK) else "deployment"
    if last.kind is Kind.FAILED:
        return f"the last {what} failed: {last.reason}"
    if held_by(entries, datetime.now(UTC), may_be_alive):
        doing = {PRUNE: "pruning", ROLLBACK: "going back"}.get(first.reason, "deploying")
        return f"{last.who} on {last.host} is {doing} since {first.at:%Y-%m-%d %H:%M:%S} UTC"
    how = last.reason if last.kind is Kind.STOPPED else "interrupted"
    return f"the last {what} was {how}. Next: {finishes(entries, target)} finishes it"


def _registry(model: str, deployed: bool) -> tuple[str, Release | None]:
    from registry import RegistryError, VersionMissing, release

    try:
        found = release(model)
    except RegistryError as error:
        if isinstance(error, VersionMissing) and not deployed:  # known nowhere: a slip of the fingers
            raise
        return f"not known: {error}", None
    return f"{model}/{found.version} {found.digest[:12]} in {found.stage.value}", found
