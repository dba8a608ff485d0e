"""What functions, versions, aliases and layers are there? The state behind Lambda's control plane, by region."""

from __future__ import annotations

import re
import threading
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from serving.localaws.account import ACCOUNT
from serving.localaws.errors import AwsError
from serving.localaws.functions.revision import LATEST, LayerVersion, Revision

_NAME = re.compile(
    r"(?:arn:aws:lambda:(?P<region>[a-z0-9-]+):)?(?:(?P<account>\d{12}):)?(?:function:)?"
    r"(?P<name>[A-Za-z0-9_-]+)(?::(?P<qualifier>\$LATEST|[A-Za-z0-9_-]+))?"
)


@dataclass(frozen=True, slots=True)
class Alias:
    """A name that points to a version, and perhaps sends a share of the traffic to another."""

    name: str
    arn: str
    version: str
    description: str = ""
    weights: tuple[tuple[str, float], ...] = ()
    revision_id: str = field(default_factory=lambda: str(uuid.uuid4()))

    def changed(self, **changes: Any) -> Alias:
        """The alias after an update, with a revision id of its own."""
        return replace(self, revision_id=str(uuid.uuid4()), **changes)


@dataclass(slots=True)
class Function:
    """One function with all its versions and aliases.

    ``extras`` holds settings that Lambda keeps per qualifier in AWS's shapes: URLs, policies, event destinations.
    """

    latest: Revision
    versions: dict[str, Revision] = field(default_factory=dict)
    aliases: dict[str, Alias] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    reserved: int | None = None
    published: int = 0
    provisioned: dict[str, int] = field(default_factory=dict)
    extras: dict[tuple[str, str], Any] = field(default_factory=dict)

    def resolve(self, qualifier: str | None) -> Revision:
        """The revision a qualifier means; an alias means its main version.

        Raises:
            AwsError: There is no such version or alias.
        """
        if qualifier in (None, LATEST):
            return self.latest
        alias = self.aliases.get(str(qualifier))
        version = alias.version if alias else str(qualifier)
        found = self.latest if version == LATEST else self.versions.get(version)
        if found is None:
            raise not_found(f"Function not found: {self.latest.arn}:{qualifier}")
        return found


@dataclass(frozen=True, slots=True)
class Name:
    """A function's name and qualifier, whichever of the four ways they were written in."""

    name: str
    qualifier: str | None

    @classmethod
    def parse(cls, text: str, qualifier: str | None = None) -> Name:
        """Read name, name:qualifier, account:function:name or a whole ARN.

        Raises:
            AwsError: It is none of them, or names two different qualifiers.
        """
        found = _NAME.fullmatch(text)
        if found is None:
            raise AwsError("ValidationException", f"{text} is no function name")
        inner = found["qualifier"]
        if inner and qualifier and inner != qualifier:
            message = (
                f"The derived qualifier from the function name does not match the specified qualifier: {qualifier}"
            )
            raise invalid(message)
        return cls(found["name"], qualifier or inner)


class Catalog:
    """One region's functions and layers."""

    def __init__(self, region: str) -> None:
        self.region = region
        self.lock = threading.RLock()
        self.functions: dict[str, Function] = {}
        self.layers: dict[str, dict[int, LayerVersion]] = {}
        self.layers_published: dict[str, int] = {}

    def arn(self, name: str) -> str:
        """A function's ARN, without a version."""
        return f"arn:aws:lambda:{self.region}:{ACCOUNT}:function:{name}"

    def layer_arn(self, name: str) -> str:
        """A layer's ARN, without a version."""
        return f"arn:aws:lambda:{self.region}:{ACCOUNT}:layer:{name}"

    def function(self, name: Name) -> Function:
        """The function with this name.

        Raises:
            AwsError: There is none.
        """
        found = self.functions.get(name.name)
        if found is None:
            suffix = f":{name.qualifier}" if name.qualifier else ""
            raise not_found(f"Function not found: {self.arn(name.name)}{suffix}")
        return found

    def layer_version(self, arn: str) -> LayerVersion:
        """The layer version with this ARN.

        Raises:
            AwsError: There is none.
        """
        for versions in self.layers.values():
            for layer in versions.values():
                if layer.arn == arn:
                    return layer
        raise invalid(f"Layer version {arn} does not exist.")

    def revisions(self) -> Iterator[Revision]:
        """Every function's $LATEST, by name."""
        for name in sorted(self.functions):
            yield self.functions[name].latest


def not_found(message: str) -> AwsError:
    """Lambda's answer for something that is not there."""
    return AwsError("ResourceNotFoundException", message, status=404, fields={"Type": "User"})


def invalid(message: str) -> AwsError:
    """Lambda's answer for a parameter that it will not take."""
    return AwsError("InvalidParameterValueException", message, fields={"Type": "User"})


def conflict(message: str) -> AwsError:
    """Lambda's answer for something that exists already, or is being changed."""
    return AwsError("ResourceConflictException", message, status=409, fields={"Type": "User"})


def check_revision(given: str | None, current: str, call: str) -> None:
    """Refuse a change that was planned on an older state than the current one.

    Raises:
        AwsError: Somebody else changed it in the meantime (412).
    """
    if given is not None and given != current:
        message = (
            "The Revision Id provided does not match the latest Revision Id. "
            f"Call the {call} API to retrieve the latest Revision Id"
        )
        raise AwsError("PreconditionFailedException", message, status=412, fields={"Type": "User"})
