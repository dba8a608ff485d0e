"""Application Auto Scaling, as far as SageMaker's variants need it."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ..errors import AwsMissing
from .session import client, mapped

POLICY, BACKLOG_POLICY, WAKE_POLICY = "slipway-invocations", "slipway-backlog", "slipway-wake"
_METRIC, _BACKLOG = "SageMakerVariantInvocationsPerInstance", "ApproximateBacklogSizePerInstance"
# Nobody waits for an instance that is not there, so that the backlog of each says nothing: this metric does
# (SageMaker developer guide, "Autoscale an asynchronous endpoint", read 2026-11).
_WAITING = "HasBacklogWithoutCapacity"


@dataclass(frozen=True, slots=True)
class ScalingState:
    """Between how many instances does a variant scale?

    Attributes:
        invocations: requests a minute that each shall have; 0 where it is the backlog that counts.
        backlog: requests that wait for each, at an asynchronous endpoint. With none as the least, whoever waits for
            the first instance wakes it.
    """

    least: int
    most: int
    invocations: float = 0.0
    backlog: float = 0.0

    def __str__(self) -> str:
        each = f"{self.backlog:g} waiting for each" if self.backlog else f"{self.invocations:g} requests a minute each"
        return f"{self.least} to {self.most} instances, {each}"


class Scaling:
    """Application Auto Scaling as this project uses it: a policy for each variant, and one more that wakes it."""

    def scaling(self, endpoint: str, variant: str) -> ScalingState | None:
        """How does this variant scale? None when it does not. By other policies than ours it has 0 of either."""
        where = _where(endpoint, variant)
        with mapped(f"application-autoscaling:DescribeScalableTargets {where['ResourceId']}"):
            found = self._autoscaling.describe_scalable_targets(
                ServiceNamespace=where["ServiceNamespace"], ResourceIds=[where["ResourceId"]],
                ScalableDimension=where["ScalableDimension"])["ScalableTargets"]
            policies = self._autoscaling.describe_scaling_policies(**where)["ScalingPolicies"] if found else []
        if not found:
            return None
        least, most = int(found[0]["MinCapacity"]), int(found[0]["MaxCapacity"])
        return ScalingState(least, most, *_targets({policy["PolicyName"]: policy for policy in policies}, least))

    def scale(self, endpoint: str, variant: str, wanted: ScalingState) -> None:
        """Let a variant scale so, from now on.

        What it scaled by goes first. What is looked at to see whether it is done, the policy that tracks, comes last.
        """
        where = _where(endpoint, variant)
        if self.scaling(endpoint, variant) is not None:
            self.unscale(endpoint, variant)
        with mapped(f"application-autoscaling:RegisterScalableTarget {where['ResourceId']}"):
            self._autoscaling.register_scalable_target(**where, MinCapacity=wanted.least, MaxCapacity=wanted.most)
        if not wanted.least:
            self._wake(where, endpoint)
        metric: dict[str, Any] = {"PredefinedMetricSpecification": {"PredefinedMetricType": _METRIC}}
        if wanted.backlog:
            metric = {"CustomizedMetricSpecification": {
                "MetricName": _BACKLOG, "Namespace": "AWS/SageMaker", "Statistic": "Average",
                "Dimensions": [{"Name": "EndpointName", "Value": endpoint}]}}
        self._put(where, BACKLOG_POLICY if wanted.backlog else POLICY, "TargetTrackingScaling",
                  TargetTrackingScalingPolicyConfiguration={
                      "TargetValue": wanted.backlog or wanted.invocations, **metric})

    def _wake(self, where: dict[str, str], endpoint: str) -> None:
        """Start the first instance for whoever waits where there is none."""
        policy = self._put(where, WAKE_POLICY, "StepScaling", StepScalingPolicyConfiguration={
            "AdjustmentType": "ChangeInCapacity", "MetricAggregationType": "Average", "Cooldown": 300,
            "StepAdjustments": [{"MetricIntervalLowerBound": 0.0, "ScalingAdjustment": 1}]})
        with mapped(f"cloudwatch:PutMetricAlarm {alarm_name(endpoint)}"):
            self._cloudwatch.put_metric_alarm(
                AlarmName=alarm_name(endpoint), AlarmActions=[policy], Namespace="AWS/SageMaker", MetricName=_WAITING,
                Dimensions=[{"Name": "EndpointName", "Value": endpoint}], Statistic="Average", Period=60,
                EvaluationPeriods=2, DatapointsToAlarm=2, Threshold=1.0, TreatMissingData="missing",
                ComparisonOperator="GreaterThanOrEqualToThreshold")

    def _put(self, where: dict[str, str], name: str, kind: str, **policy: Any) -> str:
        with mapped(f"application-autoscaling:PutScalingPolicy {where['ResourceId']}"):
            made = self._autoscaling.put_scaling_policy(**where, PolicyName=name, PolicyType=kind, **policy)
            return str(made["PolicyARN"])

    def unscale(self, endpoint: str, variant: str) -> None:
        """Let a variant keep the instances that it has; its policies go as well, and the alarm that wakes it."""
        where = _where(endpoint, variant)
        with contextlib.suppress(AwsMissing), mapped(f"cloudwatch:DeleteAlarms {alarm_name(endpoint)}"):
            self._cloudwatch.delete_alarms(AlarmNames=[alarm_name(endpoint)])
        with mapped(f"application-autoscaling:DeregisterScalableTarget {where['ResourceId']}"):
            self._autoscaling.deregister_scalable_target(**where)

    @cached_property
    def _autoscaling(self) -> Any:
        return client("application-autoscaling")

    @cached_property
    def _cloudwatch(self) -> Any:
        return client("cloudwatch")


def alarm_name(endpoint: str) -> str:
    """Which alarm wakes an endpoint that has no instance?"""
    return f"{endpoint}-wake"


def _targets(policies: dict[str, dict[str, Any]], least: int) -> tuple[float, float]:
    """For how many invocations and how much of a backlog, if these are our policies and no others?"""
    tracked = {name: p.get("TargetTrackingScalingPolicyConfiguration") or {} for name, p in policies.items()}
    if set(policies) == {POLICY}:
        metric = tracked[POLICY].get("PredefinedMetricSpecification") or {}
        return (float(tracked[POLICY]["TargetValue"]), 0.0) if metric.get("PredefinedMetricType") == _METRIC else (0, 0)
    if set(policies) == {BACKLOG_POLICY, *([] if least else [WAKE_POLICY])}:
        metric = tracked[BACKLOG_POLICY].get("CustomizedMetricSpecification") or {}
        return (0.0, float(tracked[BACKLOG_POLICY]["TargetValue"])) if metric.get("MetricName") == _BACKLOG else (0, 0)
    return 0.0, 0.0


def _where(endpoint: str, variant: str) -> dict[str, str]:
    return {"ServiceNamespace": "sagemaker", "ResourceId": f"endpoint/{endpoint}/variant/{variant}",
            "ScalableDimension": "sagemaker:variant:DesiredInstanceCount"}
