"""What every place where a release may serve can be asked; the places themselves are in targets/."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from .bundle import Bundle
from .execution import Hands
from .golden import Golden
from .journal import Entry, Shipped
from .logbook import Logbook
from .plan import Plan, Step
from .proof import Finding

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class WayBack:
    """How does an earlier release come back: by which plan, judged by which requests, recorded by which entry?"""

    plan: Plan
    golden: Golden
    entry: Entry[Shipped]


@dataclass(frozen=True, slots=True)
class InService:
    """What serves now?

    Attributes:
        place: as AWS names it.
        entry: the journal's word for it.
        findings: what was looked at.
        url: where anybody with a signature reaches it by HTTPS; empty without such an address.
    """

    place: str
    entry: Entry[Shipped]
    findings: tuple[Finding, ...]
    url: str = ""


class Target(Protocol):
    """A place where releases serve. Only `Hands` change anything there."""

    @property
    def name(self) -> str:
        """What is it called in commands and journals?"""

    def place(self, model: str) -> str:
        """Under which name does this model serve there?"""

    def logbook(self, model: str) -> Logbook[Any]:
        """Where is noted what was deployed there?"""

    def plan(self, bundle: Bundle, scratch: Path, say: Say) -> Plan:
        """By which steps does this bundle come into service? Reads AWS, changes nothing.

        Raises:
            Refused: somebody else is deploying this model, or S3 holds other bytes under this release's keys.
        """

    def plan_back(self, model: str, version: int | None) -> WayBack:
        """By which steps does an earlier release come back? Asks AWS and S3 alone: the registry may be gone.

        Raises:
            NotDeployed: nothing is in service.
            Refused: there is no way back, somebody else is deploying, or what lies there is not what was shipped.
        """

    def hands(self, golden: Golden, probes: Sequence[Any] = ()) -> Hands:
        """Who runs its plans? ``probes`` are requests that a canary asks of both versions, each once."""

    def in_service(self, model: str, *, thoroughly: bool, entries: Sequence[Entry[Any]] | None = None) -> InService:
        """What serves, and is it what was shipped? ``thoroughly`` fetches and hashes the bytes, and asks it.

        ``entries`` are the journal, for who has it at hand.

        Raises:
            NotDeployed: nothing is in service.
        """

    def bundle_in_service(self, model: str, into: Path) -> Path:
        """Where, in this empty folder, is a copy of the bundle that serves, as AWS holds it?

        Raises:
            NotDeployed: nothing is in service.
        """

    def invoke(self, model: str, payload: bytes) -> bytes:
        """What does the version in service answer to this JSON?

        Raises:
            NotDeployed: nothing serves this model.
        """


@runtime_checkable
class Prunable(Target, Protocol):
    """A place that can say what is left over there. Of one that can't, everything is kept."""

    def needs(self, shipped: Any) -> tuple[str, ...]:
        """How do the S3 keys start under which lies what this deployment needs? Takes what its journal keeps."""

    def leftovers(self, journals: Mapping[str, Sequence[Entry[Any]]], keep: int) -> dict[str, list[Step]]:
        """By which steps of its own goes what nobody needs anymore, for each model? Reads AWS, changes nothing.

        Args:
            journals: of the models that may be pruned together; none of them has a deployment open.
            keep: how many releases of each must be able to serve; see `journal.kept`.
        """
