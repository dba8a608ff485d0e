"""Do IAM policies allow an action? Identity policies alone, by moto's matching, statement by statement."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from moto.iam.access_control import IAMPolicyStatement, PermissionResult
from moto.iam.models import Role, User


def documents(holder: User | Role) -> list[str]:
    """The policies of a user or role: its own ones and the attached."""
    attached = (version for one in holder.managed_policies.values() for version in one.versions if version.is_default)
    return [*holder.policies.values(), *(version.document for version in attached)]


def decision(
    policies: Iterable[str], action: str, resource: str, context: Mapping[str, str] | None = None
) -> PermissionResult:
    """What do these policies say to an action on a resource?

    A statement whose conditions do not hold says nothing; moto 5.2.5 takes an Allow like that for a Deny.
    """
    said = set()
    for document in policies:
        held = json.loads(document)["Statement"]
        for statement in held if isinstance(held, list) else [held]:
            found = _said(statement, action, resource, context)
            said.add(found)
    for decisive in (PermissionResult.DENIED, PermissionResult.PERMITTED):
        if decisive in said:
            return decisive
    return PermissionResult.NEUTRAL


def _said(
    statement: Mapping[str, Any], action: str, resource: str, context: Mapping[str, str] | None
) -> PermissionResult:
    judged = IAMPolicyStatement(statement).is_action_permitted(
        action, resource, incoming_condition_values=dict(context or {})
    )
    allows = statement["Effect"] == "Allow"
    return PermissionResult.NEUTRAL if allows and judged is PermissionResult.DENIED else judged
