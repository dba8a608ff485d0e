"""How does the traffic move from the old fleet to the new one? No I/O happens here.

https://docs.aws.amazon.com/sagemaker/latest/dg/deployment-guardrails-blue-green.html
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from serving.localaws.endpoints.limits import CANARY_PERCENT, LINEAR_PERCENT
from serving.localaws.endpoints.records import Settings, Variant, invalid


@dataclass(frozen=True, slots=True)
class Step:
    """So much of the traffic goes to the new fleet, and is watched for so many seconds."""

    percent: float
    bake_seconds: float


@dataclass(frozen=True, slots=True)
class Rollout:
    """The steps of one update, and what ends it early.

    Attributes:
        termination_seconds: The old fleet is kept so long after the last step, and can still come back.
        alarms: Any of these in ALARM rolls the update back.
        limit_seconds: An update that takes longer is rolled back.
    """

    steps: tuple[Step, ...]
    termination_seconds: float
    alarms: tuple[str, ...]
    limit_seconds: float


ALL_AT_ONCE = Rollout((Step(100.0, 0.0),), 0.0, (), math.inf)


def plan(settings: Settings | None, instances: int) -> Rollout:
    """Read a DeploymentConfig for a new fleet of so many instances.

    Raises:
        AwsError: SageMaker would not take it.
    """
    if not settings:
        return ALL_AT_ONCE
    alarms = tuple(
        alarm["AlarmName"] for alarm in (settings.get("AutoRollbackConfiguration") or {}).get("Alarms") or ()
    )
    if rolling := settings.get("RollingUpdatePolicy"):
        steps = _linear(_percent(rolling["MaximumBatchSize"], instances), float(rolling["WaitIntervalInSeconds"]))
        return Rollout(steps, 0.0, alarms, float(rolling.get("MaximumExecutionTimeoutInSeconds") or math.inf))
    policy: Settings = settings.get("BlueGreenUpdatePolicy") or {}
    if not policy:
        return Rollout(ALL_AT_ONCE.steps, 0.0, alarms, math.inf)
    limit = float(policy.get("MaximumExecutionTimeoutInSeconds") or math.inf)
    termination = float(policy.get("TerminationWaitInSeconds") or 0)
    steps = _steps(policy["TrafficRoutingConfiguration"], instances)
    needed = sum(step.bake_seconds for step in steps) + termination
    if needed > limit:
        raise invalid(
            f"MaximumExecutionTimeoutInSeconds {limit:.0f} is less than the {needed:.0f} s of all wait intervals."
        )
    return Rollout(steps, termination, alarms, limit)


def _steps(routing: Settings, instances: int) -> tuple[Step, ...]:
    wait, kind = float(routing["WaitIntervalInSeconds"]), routing["Type"]
    if kind == "ALL_AT_ONCE":
        return (Step(100.0, wait),)
    member = "CanarySize" if kind == "CANARY" else "LinearStepSize"
    if not routing.get(member):
        raise invalid(f"{member} is required when the traffic routing type is {kind}.")
    percent = _percent(routing[member], instances)
    if kind == "CANARY":
        if percent > CANARY_PERCENT:
            raise invalid(f"CanarySize may be at most {CANARY_PERCENT} percent of the new fleet's capacity.")
        return (Step(percent, wait), Step(100.0, wait))
    if not LINEAR_PERCENT[0] <= percent <= LINEAR_PERCENT[1]:
        raise invalid(f"LinearStepSize must be {LINEAR_PERCENT[0]} to {LINEAR_PERCENT[1]} percent of the new fleet.")
    return _linear(percent, wait)


def _linear(percent: float, wait: float) -> tuple[Step, ...]:
    count = max(1, math.ceil(100 / percent))
    return tuple(Step(min(100.0, percent * number), wait) for number in range(1, count + 1))


def _percent(size: Settings, instances: int) -> float:
    value = float(size["Value"])
    return value if size["Type"] == "CAPACITY_PERCENT" else min(100.0, 100 * value / max(1, instances))


def check_variants(old: tuple[Variant, ...], new: tuple[Variant, ...], settings: Settings | None) -> None:
    """Refuse guardrails between configurations whose variants differ in name.

    Raises:
        AwsError: They do (docs: the same variant names in both configurations).
    """
    if settings and {variant.name for variant in old} != {variant.name for variant in new}:
        raise invalid(
            "Deployment guardrails need the same variant names in the old and the new endpoint configuration: found "
            f"{sorted(v.name for v in new)}, wanted {sorted(v.name for v in old)}."
        )
