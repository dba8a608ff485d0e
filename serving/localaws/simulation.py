"""IAM's SimulatePrincipalPolicy, which moto does not have: a user's or a role's own policies, by moto's evaluation.

As on AWS a resource's own policy, the organisation's and a session's are not known here.
"""

from __future__ import annotations

from moto.iam.access_control import PermissionResult
from moto.iam.models import Role, User, iam_backends

from serving.localaws import permits
from serving.localaws.account import ACCOUNT, PARTITION
from serving.localaws.errors import AwsError
from serving.localaws.protocol import Call, Members, Service

_DECISIONS = {
    PermissionResult.PERMITTED: "allowed",
    PermissionResult.DENIED: "explicitDeny",
    PermissionResult.NEUTRAL: "implicitDeny",
}


def service() -> Service:
    """IAM, as far as it is not moto's."""
    return Service("iam", {"SimulatePrincipalPolicy": simulate})


def simulate(call: Call) -> Members:
    """SimulatePrincipalPolicy, in one page."""
    params = call.params
    policies = _documents(params["PolicySourceArn"])
    context = {entry["ContextKeyName"]: entry["ContextKeyValues"][0] for entry in params.get("ContextEntries") or ()}
    results = [
        {
            "EvalActionName": action,
            "EvalResourceName": resource,
            "EvalDecision": _DECISIONS[permits.decision(policies, action, resource, context)],
            "MatchedStatements": [],
            "MissingContextValues": [],
        }
        for action in params["ActionNames"]
        for resource in params.get("ResourceArns") or ["*"]
    ]
    return {"EvaluationResults": results, "IsTruncated": False}


def _documents(arn: str) -> list[str]:
    backend = iam_backends[ACCOUNT][PARTITION]
    holders: list[User | Role] = [*backend.users.values(), *backend.get_roles()]
    found = next((one for one in holders if one.arn == arn), None)
    if found is None:
        raise AwsError("NoSuchEntity", f"The entity with ARN {arn} cannot be found.", status=404)
    return permits.documents(found)
