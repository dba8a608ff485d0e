"""Application Auto Scaling, as far as SageMaker's variants need it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from .session import client, mapped

POLICY = "slipway-invocations"
_METRIC = "SageMakerVariantInvocationsPerInstance"


@dataclass(frozen=True, slots=True)
class ScalingState:
    """Between how many instances does a variant scale, and for how many requests a minute of each?"""

    least: int
    most: int
    invocations: float


class Scaling:
    """Application Auto Scaling as this project uses it: one policy for each variant."""

    def scaling(self, endpoint: str, variant: str) -> ScalingState | None:
        """How does this variant scale? None when it does not. Another policy than ours has ``invocations`` 0."""
        where = _where(endpoint, variant)
        with mapped(f"application-autoscaling:DescribeScalableTargets {where['ResourceId']}"):
            found = self._autoscaling.describe_scalable_targets(
                ServiceNamespace=where["ServiceNamespace"], ResourceIds=[where["ResourceId"]],
                ScalableDimension=where["ScalableDimension"])["ScalableTargets"]
            policies = self._autoscaling.describe_scaling_policies(**where)["ScalingPolicies"] if found else []
        if not found:
            return None
        tracked = [p.get("TargetTrackingScalingPolicyConfiguration") or {} for p in policies]
        ours = [t for t in tracked if (t.get("PredefinedMetricSpecification") or {}).get(
            "PredefinedMetricType") == _METRIC]
        target = float(ours[0]["TargetValue"]) if len(policies) == len(ours) == 1 else 0.0
        return ScalingState(int(found[0]["MinCapacity"]), int(found[0]["MaxCapacity"]), target)

    def scale(self, endpoint: str, variant: str, wanted: ScalingState) -> None:
        """Let a variant scale so, from now on."""
        where = _where(endpoint, variant)
        with mapped(f"application-autoscaling:RegisterScalableTarget {where['ResourceId']}"):
            self._autoscaling.register_scalable_target(**where, MinCapacity=wanted.least, MaxCapacity=wanted.most)
        with mapped(f"application-autoscaling:PutScalingPolicy {where['ResourceId']}"):
            self._autoscaling.put_scaling_policy(
                **where, PolicyName=POLICY, PolicyType="TargetTrackingScaling",
                TargetTrackingScalingPolicyConfiguration={
                    "TargetValue": wanted.invocations,
                    "PredefinedMetricSpecification": {"PredefinedMetricType": _METRIC}})

    def unscale(self, endpoint: str, variant: str) -> None:
        """Let a variant keep the instances that it has; its policies go as well."""
        where = _where(endpoint, variant)
        with mapped(f"application-autoscaling:DeregisterScalableTarget {where['ResourceId']}"):
            self._autoscaling.deregister_scalable_target(**where)

    @cached_property
    def _autoscaling(self) -> Any:
        return client("application-autoscaling")


def _where(endpoint: str, variant: str) -> dict[str, str]:
    return {"ServiceNamespace": "sagemaker", "ResourceId": f"endpoint/{endpoint}/variant/{variant}",
            "ScalableDimension": "sagemaker:variant:DesiredInstanceCount"}
