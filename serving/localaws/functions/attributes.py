"""What hangs on a function or a qualifier of it: tags, concurrency, permissions, URLs."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from serving.localaws.functions import rules
from serving.localaws.functions.catalog import Function, Name, conflict, invalid, not_found
from serving.localaws.functions.control import FunctionControl
from serving.localaws.functions.host import FunctionHost
from serving.localaws.functions.limits import ACCOUNT_CONCURRENCY, UNZIPPED_BYTES
from serving.localaws.functions.revision import LATEST
from serving.localaws.protocol import Call, Members, Operation

_URL, _POLICY, _EVENTS = "url", "policy", "events"


class AttributeControl:
    """Keeps a function's attributes."""

    def __init__(self, functions: FunctionControl, host: FunctionHost, *, port: int) -> None:
        self._functions = functions
        self._host = host
        self._port = port

    def operations(self) -> Mapping[str, Operation]:
        """Lambda's names of what is done here."""
        return {
            "PutFunctionConcurrency": self.put_concurrency,
            "GetFunctionConcurrency": self.get_concurrency,
            "DeleteFunctionConcurrency": self.delete_concurrency,
            "PutProvisionedConcurrencyConfig": self.put_provisioned,
            "GetProvisionedConcurrencyConfig": self.get_provisioned,
            "ListProvisionedConcurrencyConfigs": self.list_provisioned,
            "DeleteProvisionedConcurrencyConfig": self.delete_provisioned,
            "AddPermission": self.add_permission,
            "RemovePermission": self.remove_permission,
            "GetPolicy": self.get_policy,
            "TagResource": self.tag,
            "UntagResource": self.untag,
            "ListTags": self.list_tags,
            "CreateFunctionUrlConfig": self.create_url,
            "GetFunctionUrlConfig": self.get_url,
            "UpdateFunctionUrlConfig": self.update_url,
            "DeleteFunctionUrlConfig": self.delete_url,
            "PutFunctionEventInvokeConfig": self.put_events,
            "UpdateFunctionEventInvokeConfig": self.put_events,
            "GetFunctionEventInvokeConfig": self.get_events,
            "DeleteFunctionEventInvokeConfig": self.delete_events,
            "GetAccountSettings": self.account_settings,
        }

    def _find(self, call: Call) -> tuple[Function, str]:
        """The function and the qualifier that a request is about."""
        name = Name.parse(call.params["FunctionName"], call.params.get("Qualifier"))
        function = self._functions.catalog(call.region).function(name)
        function.resolve(name.qualifier)
        return function, name.qualifier or ""

    def put_concurrency(self, call: Call) -> Members:
        """PutFunctionConcurrency: 0 stops the function."""
        function, _ = self._find(call)
        count = int(call.params["ReservedConcurrentExecutions"])
        rules.check_reserved(function, list(self._functions.catalog(call.region).functions.values()), count)
        function.reserved = count
        return {"ReservedConcurrentExecutions": function.reserved}

    def get_concurrency(self, call: Call) -> Members:
        """GetFunctionConcurrency."""
        function, _ = self._find(call)
        return {} if function.reserved is None else {"ReservedConcurrentExecutions": function.reserved}

    def delete_concurrency(self, call: Call) -> Members:
        """DeleteFunctionConcurrency."""
        function, _ = self._find(call)
        function.reserved = None
        return {}

    def put_provisioned(self, call: Call) -> Members:
        """PutProvisionedConcurrencyConfig: so many processes are started and initialised."""
        function, qualifier = self._find(call)
        if qualifier in ("", LATEST):
            raise invalid("Provisioned Concurrency Configs cannot be applied to unpublished function versions.")
        count = int(call.params["ProvisionedConcurrentExecutions"])
        rules.check_provisioned(function, qualifier, count)
        function.provisioned[qualifier] = count
        self._host.warm(function.resolve(qualifier), count)
        return self._provisioned(count)

    @staticmethod
    def _provisioned(count: int) -> Members:
        return {
            "RequestedProvisionedConcurrentExecutions": count,
            "AvailableProvisionedConcurrentExecutions": count,
            "AllocatedProvisionedConcurrentExecutions": count,
            "Status": "READY",
            "LastModified": datetime.now(UTC).isoformat(timespec="milliseconds"),
        }

    def get_provisioned(self, call: Call) -> Members:
        """GetProvisionedConcurrencyConfig."""
        function, qualifier = self._find(call)
        if qualifier not in function.provisioned:
            error = not_found("No Provisioned Concurrency Config found for this function")
            error.code = "ProvisionedConcurrencyConfigNotFoundException"
            raise error
        return self._provisioned(function.provisioned[qualifier])

    def list_provisioned(self, call: Call) -> Members:
        """ListProvisionedConcurrencyConfigs, in one page."""
        function, _ = self._find(call)
        found = [{"FunctionArn": f"{function.latest.arn}:{qualifier}", **self._provisioned(count)}
                 for qualifier, count in function.provisioned.items()]  # fmt: skip
        return {"ProvisionedConcurrencyConfigs": found}

    def delete_provisioned(self, call: Call) -> Members:
        """DeleteProvisionedConcurrencyConfig."""
        function, qualifier = self._find(call)
        function.provisioned.pop(qualifier, None)
        return {}

    def add_permission(self, call: Call) -> Members:
        """AddPermission: kept and shown; nothing here is evaluated against it."""
        function, qualifier = self._find(call)
        params, statements = call.params, function.extras.setdefault((_POLICY, qualifier), {})
        if params["StatementId"] in statements:
            raise conflict(
                f"The statement id ({params['StatementId']}) provided already exists. Please provide a new "
                "statement id, or remove the existing statement."
            )
        statement = _statement(params, function.latest.arn + (f":{qualifier}" if qualifier else ""))
        statements[params["StatementId"]] = statement
        return {"Statement": json.dumps(statement)}

    def remove_permission(self, call: Call) -> Members:
        """RemovePermission."""
        function, qualifier = self._find(call)
        statements = function.extras.get((_POLICY, qualifier), {})
        if statements.pop(call.params["StatementId"], None) is None:
            raise not_found("No policy is associated with the given resource.")
        return {}

    def get_policy(self, call: Call) -> Members:
        """GetPolicy."""
        function, qualifier = self._find(call)
        statements = function.extras.get((_POLICY, qualifier))
        if not statements:
            raise not_found("The resource you requested does not exist.")
        policy = json.dumps({"Version": "2012-10-17", "Id": "default", "Statement": list(statements.values())})
        return {"Policy": policy, "RevisionId": str(uuid.UUID(hashlib.sha256(policy.encode()).hexdigest()[:32]))}

    def _by_arn(self, call: Call) -> Function:
        return self._functions.catalog(call.region).function(Name.parse(call.params["Resource"]))

    def tag(self, call: Call) -> Members:
        """TagResource."""
        self._by_arn(call).tags.update(call.params["Tags"])
        return {}

    def untag(self, call: Call) -> Members:
        """UntagResource."""
        tags = self._by_arn(call).tags
        for key in call.params["TagKeys"]:
            tags.pop(key, None)
        return {}

    def list_tags(self, call: Call) -> Members:
        """ListTags."""
        return {"Tags": dict(self._by_arn(call).tags)}

    def create_url(self, call: Call) -> Members:
        """CreateFunctionUrlConfig: for $LATEST or an alias."""
        function, qualifier = self._find(call)
        if (_URL, qualifier) in function.extras:
            raise conflict(
                f"Failed to create function url config for [functionArn = {function.latest.arn}]. "
                "Error message:  FunctionUrlConfig exists for this Lambda function"
            )
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        arn = function.latest.arn + (f":{qualifier}" if qualifier else "")
        label = hashlib.sha256(arn.encode()).hexdigest()[:32]
        made = function.extras[(_URL, qualifier)] = {
            "FunctionUrl": f"http://{label}.lambda-url.{call.region}.localhost:{self._port}/",
            "FunctionArn": arn,
            "CreationTime": now,
            **_url_settings(call.params),
        }
        return made

    def _url(self, call: Call) -> tuple[Function, str, Members]:
        function, qualifier = self._find(call)
        found = function.extras.get((_URL, qualifier))
        if found is None:
            raise not_found("The resource you requested does not exist.")
        return function, qualifier, found

    def get_url(self, call: Call) -> Members:
        """GetFunctionUrlConfig."""
        return self._url(call)[2]

    def update_url(self, call: Call) -> Members:
        """UpdateFunctionUrlConfig."""
        function, qualifier, found = self._url(call)
        changed = function.extras[(_URL, qualifier)] = {**found, **_url_settings({**found, **call.params})}
        return changed

    def delete_url(self, call: Call) -> Members:
        """DeleteFunctionUrlConfig."""
        function, qualifier, _ = self._url(call)
        del function.extras[(_URL, qualifier)]
        return {}

    def url_named(self, region: str, label: str) -> tuple[Name, Mapping[str, Any]] | None:
        """The function and the configuration of the URL whose host starts with this label."""
        for name, function in self._functions.catalog(region).functions.items():
            for (kind, qualifier), settings in function.extras.items():
                if kind == _URL and settings["FunctionUrl"].startswith(f"http://{label}."):
                    return Name(name, qualifier or None), settings
        return None

    def put_events(self, call: Call) -> Members:
        """PutFunctionEventInvokeConfig and UpdateFunctionEventInvokeConfig: kept and shown."""
        function, qualifier = self._find(call)
        kept = ("MaximumRetryAttempts", "MaximumEventAgeInSeconds", "DestinationConfig")
        before = function.extras.get((_EVENTS, qualifier), {}) if call.operation.startswith("Update") else {}
        made = function.extras[(_EVENTS, qualifier)] = {
            **before,
            "FunctionArn": f"{function.latest.arn}:{qualifier or LATEST}",
            "LastModified": datetime.now(UTC),
            **{name: call.params[name] for name in kept if name in call.params},
        }
        return made

    def get_events(self, call: Call) -> Members:
        """GetFunctionEventInvokeConfig."""
        function, qualifier = self._find(call)
        found: Members | None = function.extras.get((_EVENTS, qualifier))
        if found is None:
            raise not_found(
                f"The function {function.latest.arn}:{qualifier or LATEST} doesn't have an EventInvokeConfig"
            )
        return found

    def delete_events(self, call: Call) -> Members:
        """DeleteFunctionEventInvokeConfig."""
        function, qualifier = self._find(call)
        function.extras.pop((_EVENTS, qualifier), None)
        return {}

    def account_settings(self, call: Call) -> Members:
        """GetAccountSettings."""
        functions = self._functions.catalog(call.region).functions
        limits = {
            "TotalCodeSize": 80_530_636_800,
            "CodeSizeUnzipped": UNZIPPED_BYTES,
            "CodeSizeZipped": 52_428_800,
            "ConcurrentExecutions": ACCOUNT_CONCURRENCY,
            "UnreservedConcurrentExecutions": ACCOUNT_CONCURRENCY - sum(f.reserved or 0 for f in functions.values()),
        }
        used = sum(function.latest.package.size for function in functions.values())
        return {"AccountLimit": limits, "AccountUsage": {"TotalCodeSize": used, "FunctionCount": len(functions)}}


def _statement(params: Members, arn: str) -> Members:
    principal = _shown(params["Principal"])
    made: Members = {
        "Sid": params["StatementId"],
        "Effect": "Allow",
        "Principal": principal,
        "Action": params["Action"],
        "Resource": arn,
    }
    conditions = {
        "ArnLike": {"AWS:SourceArn": params.get("SourceArn")},
        "StringEquals": {
            "AWS:SourceAccount": params.get("SourceAccount"),
            "lambda:FunctionUrlAuthType": params.get("FunctionUrlAuthType"),
        },
    }
    if params.get("InvokedViaFunctionUrl"):
        conditions["Bool"] = {"lambda:InvokedViaFunctionUrl": "true"}
    given = {test: {key: value for key, value in keys.items() if value} for test, keys in conditions.items()}
    if any(given.values()):
        made["Condition"] = {test: keys for test, keys in given.items() if keys}
    return made


def _shown(principal: str) -> str | dict[str, str]:
    """As a policy names whom a permission was given to: a service, everybody, a user or role, a whole account."""
    if principal.endswith(".amazonaws.com"):
        return {"Service": principal}
    if principal == "*":
        return principal
    return {"AWS": f"arn:aws:iam::{principal}:root" if principal.isdigit() else principal}


def _url_settings(params: Members) -> Members:
    return {
        "AuthType": params["AuthType"],
        "InvokeMode": params.get("InvokeMode", "BUFFERED"),
        "LastModifiedTime": datetime.now(UTC).isoformat(timespec="milliseconds"),
        **({"Cors": params["Cors"]} if params.get("Cors") else {}),
    }
