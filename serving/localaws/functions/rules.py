"""What Lambda refuses of a function's settings beyond what its service model says, in Lambda's own words.

Sources: Lambda developer guide (quotas, VPC, dead-letter queues, X-Ray), and its refusals as they are quoted in public
issue trackers, read 2026-11. Whether the execution role may do what a setting needs is asked of moto's policies.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from serving.localaws import account
from serving.localaws.functions.catalog import Function, invalid
from serving.localaws.functions.limits import (
    ACCOUNT_CONCURRENCY,
    MOST_MEMORY,
    MOST_SECONDS,
    MOST_STORAGE,
    UNRESERVED_CONCURRENCY,
)

# What the role must be allowed for Lambda to take a setting, and how Lambda calls the service.
_DEAD_LETTERS = {"sqs": ("sqs:SendMessage", "SendMessage on SQS"), "sns": ("sns:Publish", "Publish on SNS")}


def check(settings: Mapping[str, Any], region: str) -> None:
    """Refuse what Lambda refuses.

    Raises:
        AwsError: It does.
    """
    _at_most("timeout", settings.get("Timeout"), MOST_SECONDS)
    _at_most("memorySize", settings.get("MemorySize"), MOST_MEMORY)
    _at_most("ephemeralStorage.size", (settings.get("EphemeralStorage") or {}).get("Size"), MOST_STORAGE)
    role = str(settings["Role"])
    _check_vpc(role, settings.get("VpcConfig") or {}, region)
    _check_dead_letters(role, (settings.get("DeadLetterConfig") or {}).get("TargetArn", ""))
    if (settings.get("TracingConfig") or {}).get("Mode") == "Active":
        _require(role, "xray:PutTraceSegments", "*", "PutTraceSegments on XRAY")


def normal(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings as Lambda keeps them: what was given empty to be taken away is not there."""
    kept = dict(settings)
    if not (kept.get("DeadLetterConfig") or {}).get("TargetArn"):
        kept.pop("DeadLetterConfig", None)
    vpc = kept.get("VpcConfig") or {}
    if not vpc.get("SubnetIds") and not vpc.get("SecurityGroupIds"):
        kept.pop("VpcConfig", None)
    return kept


def check_reserved(function: Function, others: Sequence[Function], count: int) -> None:
    """May so many requests be reserved for the function?

    Raises:
        AwsError: The account would be left too few, or fewer than stand ready.
    """
    left = ACCOUNT_CONCURRENCY - sum(other.reserved or 0 for other in others if other is not function) - count
    if left < UNRESERVED_CONCURRENCY:
        raise invalid(
            "Specified ReservedConcurrentExecutions for function decreases account's UnreservedConcurrentExecution "
            f"below its minimum value of [{UNRESERVED_CONCURRENCY}]."
        )
    if count < sum(function.provisioned.values()):
        raise invalid(
            f"ReservedConcurrentExecutions  {count} should not be lower than function's total provisioned "
            f"concurrency [{sum(function.provisioned.values())}]."
        )


def check_provisioned(function: Function, qualifier: str, count: int) -> None:
    """May so many environments of a version, or alias, stand ready?

    Raises:
        AwsError: No.
    """
    alias = function.aliases.get(qualifier)
    if alias and alias.weights:
        raise invalid("Alias with weights can not be used with Provisioned Concurrency")
    if alias and alias.version in function.provisioned:
        raise invalid("Alias can't be used for Provisioned Concurrency configuration on an already Provisioned version")
    pointing = [one.name for one in function.aliases.values() if one.version == qualifier]
    if any(name in function.provisioned for name in pointing):
        raise invalid(
            "Version is pointed by a Provisioned Concurrency alias, and can't be configured for Provisioned Concurrency"
        )
    total = sum(n for other, n in function.provisioned.items() if other != qualifier) + count
    if function.reserved is not None and total > function.reserved:
        raise invalid(
            "Requested Provisioned Concurrency should not be greater than the reservedConcurrentExecution for function"
        )


def _at_most(name: str, value: int | None, most: int) -> None:
    if value is not None and value > most:
        raise invalid(
            f"1 validation error detected: Value '{value}' at '{name}' failed to satisfy constraint: Member must have "
            f"value less than or equal to {most}"
        )


def _check_vpc(role: str, vpc: Mapping[str, Any], region: str) -> None:
    subnets, groups = vpc.get("SubnetIds") or [], vpc.get("SecurityGroupIds") or []
    if not subnets and not groups:
        return
    if not subnets or not groups:
        raise invalid("SubnetIds and SecurityIds must coexist or be both empty list.")
    _require(role, "ec2:CreateNetworkInterface", "*", "CreateNetworkInterface on EC2")
    from moto.ec2.models import ec2_backends  # takes a second, which no other start of the local AWS shall wait

    network = ec2_backends[account.ACCOUNT][region]
    known = {name for zone in network.subnets.values() for name in zone}
    for name in subnets:
        if name not in known:
            raise invalid(
                "Error occurred while DescribeSubnets. EC2 Error Code: InvalidSubnetID.NotFound. EC2 Error Message: "
                f"The subnet ID '{name}' does not exist"
            )
    for name in groups:
        if network.get_security_group_from_id(name) is None:
            raise invalid(
                "Error occurred while DescribeSecurityGroups. EC2 Error Code: InvalidGroup.NotFound. EC2 Error "
                f"Message: The security group '{name}' does not exist"
            )


def _check_dead_letters(role: str, target: str) -> None:
    if not target:
        return
    action, words = _DEAD_LETTERS.get(target.split(":")[2], ("", ""))
    if not action:
        raise invalid(f"The provided target for DeadLetterConfig is not valid: {target}")
    _require(role, action, target, words)


def _require(role: str, action: str, resource: str, words: str) -> None:
    if not account.role_may(role, action, resource):
        raise invalid(f"The provided execution role does not have permissions to call {words}")
