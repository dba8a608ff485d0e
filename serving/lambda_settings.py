"""What may be configured about a Lambda function beside its size: network, variables, what stands around it. Pure.

Limits are in `limits`; the days that a log can be kept are CloudWatch Logs' (API reference, PutRetentionPolicy, read
2026-11).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from .limits import SECURITY_GROUPS, SUBNETS, VARIABLES

# Days that CloudWatch Logs can keep events for.
Retention = Literal[1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288,
                    3653]
Subnet = Annotated[str, Field(pattern=r"^subnet-[0-9a-z]+$")]
SecurityGroup = Annotated[str, Field(pattern=r"^sg-[0-9a-zA-Z]+$")]
DeadLetter = Annotated[str, Field(pattern=r"^arn:aws[a-z-]*:(sqs|sns):[a-z0-9-]+:\d{12}:.+$")]
Caller = Annotated[str, Field(pattern=r"^(\d{12}|arn:aws[a-z-]*:iam::\d{12}:.+)$")]

_NAME = re.compile(r"[a-zA-Z][a-zA-Z0-9_]+")
# Lambda sets these itself and refuses them ("Defined runtime environment variables").
_LAMBDAS = frozenset({
    "AWS_DEFAULT_REGION", "AWS_REGION", "AWS_EXECUTION_ENV", "AWS_ACCESS_KEY", "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "LAMBDA_TASK_ROOT", "LAMBDA_RUNTIME_DIR"})
# With these other code would run than the one that was approved.
_LOADERS = frozenset({"AWS_LAMBDA_EXEC_WRAPPER", "LD_PRELOAD", "LD_LIBRARY_PATH", "LD_AUDIT", "PATH"})
_OURS = re.compile(r"SLIPWAY_(?!MAX_BODY$|MAX_ROWS$)\w*")
_SECRET_NAME = re.compile(r"(?i)secret|passw|token|credential|api_?key|private_?key|access_?key")
_SECRET_VALUE = re.compile(r"\b(AKIA|ASIA)[0-9A-Z]{16}\b|-----BEGIN|\bgh[pousr]_\w{20}|\bxox[abp]-|\beyJ[\w-]+\.eyJ"
                           r"|://[^/\s:@]+:[^/\s@]+@")


class VpcSettings(BaseModel):
    """In which subnets, behind which security groups, does the function run? It reaches the internet by a NAT only."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    subnets: tuple[Subnet, ...] = Field(min_length=SUBNETS.least, max_length=SUBNETS.most)
    security_groups: tuple[SecurityGroup, ...] = Field(min_length=SECURITY_GROUPS.least,
                                                       max_length=SECURITY_GROUPS.most)


def checked(environment: Mapping[str, str]) -> Mapping[str, str]:
    """May a function have these variables? Values are never repeated: one of them may be a secret.

    Raises:
        ValueError: no; every reason is named.
    """
    if faults := [*(f for name, value in environment.items() if (f := _fault(name, value))), *_too_many(environment)]:
        raise ValueError("; ".join(faults))
    return environment


def _fault(name: str, value: str) -> str:
    if not _NAME.fullmatch(name):
        return f"{name!r} is no variable's name: letters, digits and _, at least two, a letter first"
    if name in _LAMBDAS or (name.startswith("AWS_LAMBDA_") and name not in _LOADERS):
        return f"{name} is set by Lambda itself. Next: leave it out"
    if name in _LOADERS or name.startswith("PYTHON"):
        return f"{name} decides which code runs, and only what was approved may. Next: leave it out"
    if _OURS.fullmatch(name):
        return f"{name} is read by nobody on Lambda; of ours are SLIPWAY_MAX_BODY and SLIPWAY_MAX_ROWS"
    if _SECRET_NAME.search(name) or _SECRET_VALUE.search(value):
        return (f"{name} looks like a secret, and whoever may look at the function, or at the deployment's journal, "
                "reads it. Next: keep it in AWS Secrets Manager and give the function its ARN")
    return ""


def _too_many(environment: Mapping[str, str]) -> list[str]:
    size = sum(len(name.encode()) + len(value.encode()) for name, value in environment.items())
    return [f"{size} bytes of names and values; Lambda takes {VARIABLES.most}"] if size > VARIABLES.most else []
