"""Lambda: what stands around a function's versions and is part of none: concurrency, the alias's URL, who may call."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ..errors import AwsConflict, AwsFailed, AwsMissing
from .session import client, mapped

# Provisioned concurrency becomes ready within minutes (Lambda developer guide, read 2026-11).
PATIENCE, LOOK_EVERY = 15 * 60.0, 2.0
URL_ACTIONS = ("lambda:InvokeFunctionUrl", "lambda:InvokeFunction")  # since 2025-10 a URL's caller needs both


@dataclass(frozen=True, slots=True)
class UrlState:
    """What is the URL of an alias? ``auth`` is ``AWS_IAM`` or ``NONE``."""

    url: str
    auth: str


@dataclass(frozen=True, slots=True)
class Grant:
    """Whom does an alias's own policy let do what? ``by_url`` says that it holds for calls by its URL only."""

    sid: str
    action: str
    principal: str
    by_url: bool


class Surroundings:
    """Lambda's settings around versions, as this project uses them."""

    def reserved(self, function: str) -> int | None:
        """How many requests at once are reserved for this function? None when none are, or it is not there."""
        with contextlib.suppress(AwsMissing), mapped(f"lambda:GetFunctionConcurrency {function}"):
            found = self._lambda.get_function_concurrency(FunctionName=function).get("ReservedConcurrentExecutions")
            return None if found is None else int(found)
        return None

    def reserve(self, function: str, count: int | None) -> None:
        """Reserve as many requests at once, or none."""
        if count is None:
            with mapped(f"lambda:DeleteFunctionConcurrency {function}"):
                self._lambda.delete_function_concurrency(FunctionName=function)
            return
        with mapped(f"lambda:PutFunctionConcurrency {function}"):
            self._lambda.put_function_concurrency(FunctionName=function, ReservedConcurrentExecutions=count)

    def unreserved(self) -> int:
        """How many requests at once has the account left that no function reserved?"""
        with mapped("lambda:GetAccountSettings"):
            return int(self._lambda.get_account_settings()["AccountLimit"]["UnreservedConcurrentExecutions"])

    def provisioned(self, function: str) -> dict[str, int]:
        """Of which versions, and aliases, do how many environments stand ready?"""
        with contextlib.suppress(AwsMissing), mapped(f"lambda:ListProvisionedConcurrencyConfigs {function}"):
            pages = self._lambda.get_paginator("list_provisioned_concurrency_configs").paginate(FunctionName=function)
            return {one["FunctionArn"].rsplit(":", 1)[1]: int(one["RequestedProvisionedConcurrentExecutions"])
                    for page in pages for one in page["ProvisionedConcurrencyConfigs"]}
        return {}

    def provision(self, function: str, version: str, count: int, sleep: Callable[[float], None] = time.sleep) -> None:
        """Have environments of a version ready, and wait until they are.

        Raises:
            AwsFailed: Lambda could not, or it took longer than 15 minutes.
        """
        which = {"FunctionName": function, "Qualifier": version}
        with mapped(f"lambda:PutProvisionedConcurrencyConfig {function}:{version}"):
            now = self._lambda.put_provisioned_concurrency_config(**which, ProvisionedConcurrentExecutions=count)
        ends = time.monotonic() + PATIENCE
        while now["Status"] == "IN_PROGRESS" and time.monotonic() < ends:
            sleep(LOOK_EVERY)
            with mapped(f"lambda:GetProvisionedConcurrencyConfig {function}:{version}"):
                now = self._lambda.get_provisioned_concurrency_config(**which)
        if now["Status"] != "READY":
            raise AwsFailed(f"{function}:{version}: its {count} environments are not ready but {now['Status']}: "
                            f"{now.get('StatusReason', 'no reason is given')}. Next: run the deploy again")

    def unprovision(self, function: str, qualifier: str) -> None:
        """Let no environment of a version, or alias, stand ready; nothing happens when none does."""
        with contextlib.suppress(AwsMissing), mapped(f"lambda:DeleteProvisionedConcurrencyConfig {function}"):
            self._lambda.delete_provisioned_concurrency_config(FunctionName=function, Qualifier=qualifier)

    def url(self, function: str, alias: str) -> UrlState | None:
        """What is the alias's URL? None when it has none."""
        with contextlib.suppress(AwsMissing), mapped(f"lambda:GetFunctionUrlConfig {function}:{alias}"):
            found = self._lambda.get_function_url_config(FunctionName=function, Qualifier=alias)
            return UrlState(found["FunctionUrl"], found["AuthType"])
        return None

    def open_url(self, function: str, alias: str) -> None:
        """Give the alias a URL for signed requests, or let the one that it has take no others."""
        chosen = {"FunctionName": function, "Qualifier": alias, "AuthType": "AWS_IAM"}
        try:
            with mapped(f"lambda:CreateFunctionUrlConfig {function}:{alias}"):
                self._lambda.create_function_url_config(**chosen)
        except AwsConflict:
            with mapped(f"lambda:UpdateFunctionUrlConfig {function}:{alias}"):
                self._lambda.update_function_url_config(**chosen)

    def close_url(self, function: str, alias: str) -> None:
        """Take the alias's URL away; one that is gone already is no fault."""
        with contextlib.suppress(AwsMissing), mapped(f"lambda:DeleteFunctionUrlConfig {function}:{alias}"):
            self._lambda.delete_function_url_config(FunctionName=function, Qualifier=alias)

    def grants(self, function: str, alias: str) -> tuple[Grant, ...]:
        """Whom does the alias's own policy let in?"""
        with contextlib.suppress(AwsMissing), mapped(f"lambda:GetPolicy {function}:{alias}"):
            policy = json.loads(self._lambda.get_policy(FunctionName=function, Qualifier=alias)["Policy"])
            return tuple(sorted((_grant(one) for one in policy["Statement"]), key=lambda grant: grant.sid))
        return ()

    def allow(self, function: str, alias: str, grant: Grant) -> None:
        """Let somebody call by the alias's URL; already let in is no fault."""
        narrowed: dict[str, Any] = ({"FunctionUrlAuthType": "AWS_IAM"} if grant.action == URL_ACTIONS[0]
                                    else {"InvokedViaFunctionUrl": True})
        with contextlib.suppress(AwsConflict), mapped(f"lambda:AddPermission {function}:{alias}"):
            self._lambda.add_permission(FunctionName=function, Qualifier=alias, StatementId=grant.sid,
                                        Action=grant.action, Principal=grant.principal, **narrowed)

    def forbid(self, function: str, alias: str, sid: str) -> None:
        """Take a statement out of the alias's policy; one that is gone already is no fault."""
        with contextlib.suppress(AwsMissing), mapped(f"lambda:RemovePermission {function}:{alias}"):
            self._lambda.remove_permission(FunctionName=function, Qualifier=alias, StatementId=sid)

    @cached_property
    def _lambda(self) -> Any:
        return client("lambda")


def _grant(statement: Mapping[str, Any]) -> Grant:
    principal = statement.get("Principal") or ""
    if isinstance(principal, dict):
        principal = next(iter(principal.values()), "")
    conditions = {name.lower() for held in (statement.get("Condition") or {}).values() for name in held}
    by_url = bool(conditions & {"lambda:functionurlauthtype", "lambda:invokedviafunctionurl"})
    return Grant(statement.get("Sid", ""), str(statement.get("Action", "")), _account(str(principal)), by_url)


def _account(principal: str) -> str:
    """AWS shows a whole account as its root's ARN."""
    return principal.split(":")[4] if principal.endswith(":root") and principal.startswith("arn:") else principal
