"""IAM and STS: who is asking, and what its own policies say it may."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from ..errors import AwsFailed
from .session import client, mapped


class Identity:
    """The caller, as AWS knows it. Asked once."""

    @property
    def account(self) -> str:
        """To which account does it belong?"""
        return str(self._said["Account"])

    @property
    def arn(self) -> str:
        """What is its ARN?"""
        return str(self._said["Arn"])

    @property
    def principal(self) -> str:
        """Whose policies hold for it? The user, or the role that was assumed; empty for an account's root."""
        kind, _, rest = self.arn.rsplit(":", 1)[1].partition("/")
        base = f"arn:{self.arn.split(':')[1]}:iam::{self.account}"
        if kind == "assumed-role":
            return f"{base}:role/{rest.split('/')[0]}"
        return self.arn if kind == "user" and ":iam::" in self.arn else ""

    def denied(
        self, actions: Sequence[str], resources: Sequence[str], context: Mapping[str, Sequence[str]]
    ) -> list[str]:
        """Which of these actions on these resources do the caller's policies not allow?

        Args:
            actions, resources: as policies name them.
            context: keys of conditions, with the values that they would have.

        Raises:
            AwsFailed: the caller may not ask, or has no policies of its own.
        """
        if not self.principal:
            raise AwsFailed(f"{self.arn} has no policies of its own")
        entries = [{"ContextKeyName": name, "ContextKeyValues": list(values),
                    "ContextKeyType": "boolean" if set(values) <= {"true", "false"} else "stringList"}
                   for name, values in context.items()]
        with mapped(f"iam:SimulatePrincipalPolicy {self.principal}"):
            pages = self._iam.get_paginator("simulate_principal_policy").paginate(
                PolicySourceArn=self.principal, ActionNames=list(actions), ResourceArns=list(resources),
                ContextEntries=entries)
            return [one["EvalActionName"] for page in pages for one in page["EvaluationResults"]
                    if one["EvalDecision"] != "allowed"]

    def require_role(self, role: str) -> None:
        """Is there such a role? Given by its name or its ARN.

        Raises:
            AwsMissing: there is none.
        """
        with mapped(f"iam:GetRole {role}"):
            self._iam.get_role(RoleName=role.rsplit("/", 1)[-1])

    @cached_property
    def _said(self) -> dict[str, Any]:
        with mapped("sts:GetCallerIdentity"):
            said: dict[str, Any] = client("sts").get_caller_identity()
            return said

    @cached_property
    def _iam(self) -> Any:
        return client("iam")
