"""A release that a rollback took back: it comes again when a person says so, and never by itself.

The registry goes on saying that it stands in Production, and whatever deploys what stands there (CI, `slipway watch`, a
deploy that is run once more) would undo the rollback. What was taken back, when and by whom is in the journal.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from . import journal
from .errors import Refused
from .journal import Entry

if TYPE_CHECKING:
    from registry import Release


@dataclass(frozen=True, slots=True)
class TakenBack:
    """Which release was taken back, when, by whom, and which took its place?

    Attributes:
        release, instead: as in `images/3`.
        comes_again: the command that brings it into service all the same.
        unfinished: the command that ends a rollback which was cut off; empty where it ended.
    """

    release: str
    at: datetime
    who: str
    instead: str
    comes_again: str
    unfinished: str = ""

    def __str__(self) -> str:
        said = f"{self.release} was taken back on {self.at:%Y-%m-%d %H:%M:%S} UTC by {self.who}, for {self.instead}"
        return said + (", which was cut off" if self.unfinished else "")

    @property
    def stays(self) -> str:
        """By which command is it left as the rollback wanted it?"""
        if self.unfinished:
            return f"{self.unfinished} to finish that"
        return f"slipway promote {self.instead} --to Production to stay with it"


Consent = Callable[[TakenBack], None]  # raises Refused where there is none


def taken_back(release: Release, entries: Sequence[Entry[Any]], target: str) -> TakenBack | None:
    """Was this release taken back from the target whose journal this is, and not put into Production anew since?

    Whoever put it there after the rollback began knew, or could know, and meant it.
    """
    found = journal.taken_back(entries, release.version, release.digest, release.moved_at)
    if found is None or (release.moved_at is not None and release.moved_at > found.at):
        return None
    model, cut_off = release.model, journal.is_open(entries) and journal.begun(entries) is found
    return TakenBack(
        release=f"{model}/{release.version}", at=found.at, who=found.who, instead=f"{model}/{found.shipped.version}",
        comes_again=f"slipway deploy {model} --target {target} --again",
        unfinished=journal.finishes(entries, target) if cut_off else "")


def refuse(found: TakenBack) -> None:
    """Say no, where there is nobody to ask.

    Raises:
        Refused: always.
    """
    raise Refused(f"{found}; a deploy would undo that. Next: {found.stays}, or {found.comes_again} to undo it")
