"""What stands around the versions of a function and is part of none: concurrency, the URL, who may call it, the log.

A version keeps its code and configuration for good; these are changed in place. So a rollback leaves them as they are:
they belong to what slipway.yaml says, not to a release. Environments are made ready for a version, not for the alias:
Lambda gives an alias that shares its requests none. Pure.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from ...aws import Grant, UrlState
from ...aws.surroundings import URL_ACTIONS
from ...config import LambdaSettings
from ...plan import Step
from ...proof import Finding

SID = "slipway-url-"


@dataclass(frozen=True, slots=True)
class Around:
    """How shall it be around a function?

    Attributes:
        reserved: requests at once; None reserves none.
        provisioned: environments of the version in service that stand ready.
        url: ``iam`` or ``none``.
        callers: accounts or ARNs beside the own account that may call by the URL.
        retention: days; None leaves the log as it is.
    """

    reserved: int | None = None
    provisioned: int = 0
    url: str = "none"
    callers: tuple[str, ...] = ()
    retention: int | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """How is it? ``provisioned`` holds a version, or an alias, and its number of environments."""

    reserved: int | None = None
    provisioned: tuple[tuple[str, int], ...] = ()
    url: UrlState | None = None
    grants: tuple[Grant, ...] = ()
    retention: int | None = None


@dataclass(frozen=True, slots=True)
class Reserve(Step):
    """Reserve so many requests at once for the function, or none."""

    function: str
    was: int | None
    count: int | None

    def __str__(self) -> str:
        return f"reserve     {_none(self.was)} -> {_none(self.count)} requests at once for {self.function}"


@dataclass(frozen=True, slots=True)
class Provision(Step):
    """Have environments of the version ready before anybody is sent there; ``version`` is None while it has none."""

    function: str
    version: str | None
    was: int
    count: int

    def __str__(self) -> str:
        which = self.version or "(the new version)"
        return f"provision   {self.was} -> {self.count} environments of {self.function}:{which}"


@dataclass(frozen=True, slots=True)
class Unprovision(Step):
    """Let no environment of what no longer serves stand ready, and cost."""

    function: str
    version: str
    was: int

    def __str__(self) -> str:
        return f"provision   {self.was} -> no environments of {self.function}:{self.version}"


@dataclass(frozen=True, slots=True)
class Allow(Step):
    """Let somebody call by the alias's URL."""

    function: str
    alias: str
    grant: Grant

    def __str__(self) -> str:
        return f"allow       {self.grant.principal} {self.grant.action} on {self.function}:{self.alias}, by its URL"


@dataclass(frozen=True, slots=True)
class Forbid(Step):
    """Let somebody call by the alias's URL no longer."""

    function: str
    alias: str
    grant: Grant

    def __str__(self) -> str:
        return f"forbid      {self.grant.principal} {self.grant.action} on {self.function}:{self.alias}"


@dataclass(frozen=True, slots=True)
class OpenUrl(Step):
    """Give the alias an HTTPS address that takes signed requests only."""

    function: str
    alias: str
    was: str

    def __str__(self) -> str:
        return f"url         of {self.function}:{self.alias}: {self.was} -> AWS_IAM"


@dataclass(frozen=True, slots=True)
class CloseUrl(Step):
    """Take the alias's address away."""

    function: str
    alias: str
    was: str

    def __str__(self) -> str:
        return f"url         of {self.function}:{self.alias}: {self.was} -> none"


@dataclass(frozen=True, slots=True)
class Retain(Step):
    """Keep the log for so many days."""

    group: str
    was: int | None
    days: int

    def __str__(self) -> str:
        return f"retain      {self.group} {self.was or 'for ever'} -> {self.days} days"


AroundStep = Reserve | Provision | Unprovision | Allow | Forbid | OpenUrl | CloseUrl | Retain


def wanted(options: LambdaSettings) -> Around:
    """What do the settings want around a function?"""
    return Around(options.reserved, options.provisioned, options.url, tuple(sorted(options.url_callers)),
                  options.log_retention)


def log_group(function: str) -> str:
    """Where does the function write its log?"""
    return f"/aws/lambda/{function}"


def grants(around: Around) -> tuple[Grant, ...]:
    """Which statements must the alias's policy hold for its URL?"""
    return tuple(sorted((Grant(_sid(caller, action), action, caller, by_url=True)
                         for caller in around.callers for action in URL_ACTIONS), key=lambda grant: grant.sid))


def first(function: str, around: Around, found: Found) -> list[Step]:
    """What comes before the new version is made ready: more room for it, and its log."""
    steps: list[Step] = []
    if around.retention is not None and around.retention != found.retention:
        steps.append(Retain(log_group(function), found.retention, around.retention))
    if around.reserved != found.reserved and _has_room(around, found):
        steps.append(Reserve(function, found.reserved, around.reserved))
    return steps


def ready(function: str, version: str | None, around: Around, found: Found) -> list[Step]:
    """What comes before the new version is sent its first request, once it has answered rightly."""
    held = dict(found.provisioned).get(version or "", 0)
    return [Provision(function, version, held, around.provisioned)] if around.provisioned > held else []


def last(function: str, alias: str, version: str | None, around: Around, found: Found) -> list[Step]:
    """What comes once the version serves: the old one's environments go, the URL and who may call it."""
    steps: list[Step] = [Unprovision(function, other, count) for other, count in found.provisioned
                         if other != version or not around.provisioned]
    held = dict(found.provisioned).get(version or "", 0)
    if 0 < around.provisioned < held:
        steps.append(Provision(function, version, held, around.provisioned))
    if around.reserved != found.reserved and not _has_room(around, found):
        steps.append(Reserve(function, found.reserved, around.reserved))
    return steps + _url(function, alias, around, found)


def findings(around: Around, found: Found, version: str) -> list[Finding]:
    """Is it around the function as it was left? Each difference is a finding of its own."""
    provisioned = {version: around.provisioned} if around.provisioned else {}
    auth = found.url.auth if found.url else "none"
    said = [
        _same("reserved concurrency", _none(found.reserved), _none(around.reserved)),
        _same("provisioned", _counted(dict(found.provisioned)), _counted(provisioned)),
        _same("url", auth, "AWS_IAM" if around.url == "iam" else "none"),
        _same("url callers", _named(_by_url(found.grants)), _named(grants(around))),
    ]
    if around.retention is not None:
        said.append(_same("log retention", _days(found.retention), _days(around.retention)))
    return said


def _url(function: str, alias: str, around: Around, found: Found) -> list[Step]:
    allowed, held = grants(around), _by_url(found.grants)
    auth = found.url.auth if found.url else "none"
    steps: list[Step] = []
    if around.url == "none" and found.url:
        steps.append(CloseUrl(function, alias, auth))
    steps += [Forbid(function, alias, grant) for grant in held if grant not in allowed]
    steps += [Allow(function, alias, grant) for grant in allowed if grant not in held]
    if around.url == "iam" and auth != "AWS_IAM":
        steps.append(OpenUrl(function, alias, auth))
    return steps


def _by_url(held: Sequence[Grant]) -> tuple[Grant, ...]:
    """Ours, and what others allowed by the URL; how the alias may be called otherwise is their business."""
    return tuple(one for one in held if one.by_url or one.action == URL_ACTIONS[0] or one.sid.startswith(SID))


def _has_room(around: Around, found: Found) -> bool:
    """May it be set before old environments are gone? Lambda reserves no less than what stands ready."""
    return around.reserved is None or around.reserved >= sum(n for _, n in found.provisioned) + around.provisioned


def _sid(caller: str, action: str) -> str:
    return f"{SID}{hashlib.sha256(caller.encode()).hexdigest()[:12]}-{URL_ACTIONS.index(action)}"


def _same(what: str, found: str, right: str) -> Finding:
    return Finding(what, found == right, found if found == right else f"{found}; wanted {right}")


def _none(count: int | None) -> str:
    return "no" if count is None else str(count)


def _days(days: int | None) -> str:
    return f"{days} days" if days else "for ever"


def _counted(provisioned: dict[str, int]) -> str:
    return ", ".join(f"{n} environments of version {v}" for v, n in sorted(provisioned.items())) or "none"


def _named(held: Sequence[Grant]) -> str:
    return ", ".join(dict.fromkeys(f"{one.principal} {one.action.removeprefix('lambda:')}" for one in held)) or "none"
