"""AWS's own limits that a release or its configuration can run into: one table, with where each is written. Pure.

What settings refuse, what a preflight compares with, and what docs/deploying.md lists comes from here. All were read in
2026-11; quotas that AWS raises for an account on request are not among them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

LAMBDA = "https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html"
LAMBDA_API = "https://docs.aws.amazon.com/lambda/latest/api/API_CreateFunction.html"
SERVERLESS = "https://docs.aws.amazon.com/sagemaker/latest/dg/serverless-endpoints.html"
GUARDRAILS = "https://docs.aws.amazon.com/sagemaker/latest/dg/deployment-guardrails.html"


@dataclass(frozen=True, slots=True)
class Limit:
    """What may be how large at most (and at least), in which unit, and who says so?"""

    what: str
    most: int
    unit: str
    source: str
    least: int = 0

    def __str__(self) -> str:
        return f"{self.most:,} {self.unit}" if not self.least else f"{self.least:,} to {self.most:,} {self.unit}"


UNZIPPED: Final = Limit("code and layers of a function, unpacked", 262_144_000, "bytes", LAMBDA)
MEMORY: Final = Limit("memory of a function", 10_240, "MB", LAMBDA, least=128)
SECONDS: Final = Limit("time-out of a function", 900, "s", LAMBDA, least=1)
STORAGE: Final = Limit("scratch space of a function", 10_240, "MB", LAMBDA, least=512)
VARIABLES: Final = Limit("variables of a function, names and values", 4_096, "bytes", LAMBDA)
SUBNETS: Final = Limit("subnets of a function", 16, "", LAMBDA_API, least=1)
SECURITY_GROUPS: Final = Limit("security groups of a function", 5, "", LAMBDA_API, least=1)
UNRESERVED: Final = Limit("requests at once left to an account's functions without a reservation", 100, "", LAMBDA)
SERVERLESS_MEMORY: Final = Limit("memory of a serverless endpoint", 6_144, "MB", SERVERLESS, least=1_024)
SERVERLESS_REQUESTS: Final = Limit("requests at once of a serverless endpoint", 200, "", SERVERLESS, least=1)
FIRST_SHARE: Final = Limit("first part of a canary on SageMaker", 50, "%", GUARDRAILS, least=1)
BAKING: Final = Limit("wait after each part on SageMaker", 3_600, "s", GUARDRAILS)
ALARMS: Final = Limit("alarms that watch an update on SageMaker", 10, "", GUARDRAILS, least=1)

TABLE: Final = (UNZIPPED, MEMORY, SECONDS, STORAGE, VARIABLES, SUBNETS, SECURITY_GROUPS, UNRESERVED, SERVERLESS_MEMORY,
                SERVERLESS_REQUESTS, FIRST_SHARE, BAKING, ALARMS)
