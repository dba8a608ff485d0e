"""IAM's own words: a statement, a policy of several, and their JSON. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Condition:
    """What must be so beside action and resource? As in ``StringEquals``, ``iam:PassedToService``, its values."""

    operator: str
    key: str
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Statement:
    """Which actions are allowed on which resources, and under which conditions?

    Attributes:
        sid: a name for people, letters and digits only.
    """

    sid: str
    actions: tuple[str, ...]
    resources: tuple[str, ...]
    conditions: tuple[Condition, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """How does IAM write it?"""
        said: dict[str, Any] = {"Sid": self.sid, "Effect": "Allow", "Action": list(self.actions),
                                "Resource": list(self.resources)}
        if self.conditions:
            said["Condition"] = _grouped(self.conditions)
        return said


@dataclass(frozen=True, slots=True)
class Policy:
    """What one role may do."""

    statements: tuple[Statement, ...]

    def to_dict(self) -> dict[str, Any]:
        """How does IAM write it?"""
        return {"Version": "2012-10-17", "Statement": [one.to_dict() for one in self.statements]}


def _grouped(conditions: tuple[Condition, ...]) -> dict[str, dict[str, list[str]]]:
    found: dict[str, dict[str, list[str]]] = {}
    for one in conditions:
        found.setdefault(one.operator, {})[one.key] = list(one.values)
    return found
