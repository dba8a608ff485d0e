"""Which alarms watch what serves, in a stack of CloudFormation? Pure.

Metrics, their namespaces, dimensions, units and statistics are AWS's, of these pages as read 2026-11:

- functions: docs.aws.amazon.com/lambda/latest/dg/monitoring-metrics-types.html
- endpoints and their instances: docs.aws.amazon.com/sagemaker/latest/dg/monitoring-cloudwatch.html. ModelLatency and
  OverheadLatency are microseconds, and only the first has percentiles; CPUUtilization is the sum over the cores, 100
  percent each; memory and disk are percent of the instance.
- serverless endpoints: .../sagemaker/latest/dg/serverless-endpoints-monitoring.html: neither processor nor disk.
- asynchronous ones: .../sagemaker/latest/dg/async-inference-monitor.html: no OverheadLatency, and
  ApproximateBacklogSizePerInstance by EndpointName alone.
- percentiles of few requests: .../AmazonCloudWatch/latest/monitoring/percentiles-with-low-samples.html

Alarms of endpoints have names, for ``sagemaker.alarms`` of slipway.yaml names those that bring a release back.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..sagemaker_settings import SageMakerSettings
from .account import Names

VARIANT = "production"  # serving.targets.sagemaker.names has it, and a test holds both equal
ENDPOINT = re.compile(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}")  # what SageMaker takes for a name
LAMBDA, SAGEMAKER, INSTANCES = "AWS/Lambda", "AWS/SageMaker", "/aws/sagemaker/Endpoints"
# What somebody who makes the stack may say otherwise; thresholds of times, which only who knows the model can know.
PARAMETERS = {
    "LatencyP90": (500_000, "Microseconds of the model that a tenth of the requests may take longer than"),
    "LatencyP99": (1_000_000, "Microseconds of the model that a hundredth of the requests may take longer than"),
    "OverheadLatency": (500_000, "Microseconds that SageMaker may add to a request, on average"),
}
BUSY, FULL = 90, 85  # percent of processor or memory, and of the disk
REFUSED = 0.5  # of the requests: a caller who is wrong now and then is nobody's alarm
WAITING, TIMES = 10, 3  # requests that wait for each instance; so many times what autoscaling aims at, where it does
# Of how many minutes in how many: at once for what hurts callers, later for what comes and goes.
SOON, LASTING = (3, 2), (5, 5)


@dataclass(frozen=True, slots=True)
class Alarm:
    """When is somebody told?

    Attributes:
        minutes: how many are looked at, and in how many of them the threshold must be exceeded.
        ignore_few: whether a percentile of too few requests to have one says nothing.
    """

    description: str
    namespace: str
    metric: str
    dimensions: tuple[tuple[str, str], ...]
    statistic: str = "Sum"
    threshold: Any = 0
    minutes: tuple[int, int] = SOON
    name: str = ""
    ignore_few: bool = False

    def to_dict(self) -> dict[str, Any]:
        """The same as a resource of CloudFormation."""
        percentile = self.statistic.startswith("p")
        return _resource({
            **({"AlarmName": self.name} if self.name else {}), "AlarmDescription": self.description,
            "Namespace": self.namespace, "MetricName": self.metric,
            "Dimensions": [{"Name": name, "Value": value} for name, value in self.dimensions],
            "ExtendedStatistic" if percentile else "Statistic": self.statistic, "Period": 60,
            **({"EvaluateLowSampleCountPercentile": "ignore"} if self.ignore_few else {}),
        }, self.threshold, self.minutes)


def _resource(said: dict[str, Any], threshold: Any, minutes: tuple[int, int]) -> dict[str, Any]:
    topic = {"Fn::If": ["HasTopic", [{"Ref": "AlarmTopic"}], {"Ref": "AWS::NoValue"}]}
    return {"Type": "AWS::CloudWatch::Alarm", "Properties": {
        **said, "EvaluationPeriods": minutes[0], "DatapointsToAlarm": minutes[1], "Threshold": threshold,
        "ComparisonOperator": "GreaterThanThreshold", "TreatMissingData": "notBreaching", "AlarmActions": topic}}


def alarms(names: Names, models: Sequence[str], targets: Sequence[str]) -> dict[str, Any]:
    """Which alarms are in the stack? Of each model; without any, one for each target, over the whole account."""
    if not models:
        return {**({"FunctionsFail": Alarm("any function of the account fails", LAMBDA, "Errors", ()).to_dict()}
                   if "lambda" in targets else {}),
                **({"EndpointsFail": _any_endpoint()} if "sagemaker" in targets else {})}
    made: dict[str, Alarm] = {}
    for number, model in enumerate(models, start=1):
        own = f"{names.settings.prefix}-{model}"
        if "lambda" in targets:
            made |= {f"{kind}{number}": one for kind, one in _function(own).items()}
        if "sagemaker" in targets and ENDPOINT.fullmatch(own):  # a model of another name serves on Lambda alone
            made |= {f"Endpoint{kind}{number}": one for kind, one in endpoint(own, names.settings.sagemaker).items()}
    return {name: one.to_dict() for name, one in made.items()}


def _function(function: str) -> dict[str, Alarm]:
    alias = (("FunctionName", function), ("Resource", f"{function}:production"))
    return {"Fails": Alarm(f"{function} fails", LAMBDA, "Errors", alias),
            "Throttled": Alarm(f"{function} is throttled", LAMBDA, "Throttles", alias[:1])}


def endpoint(name: str, chosen: SageMakerSettings) -> dict[str, Alarm]:
    """Which alarms has an endpoint of this name under this configuration?"""
    variant = (("EndpointName", name), ("VariantName", VARIANT))
    made = {
        "Fails": Alarm(f"{name} fails", SAGEMAKER, "Invocation5XXErrors", variant, name=f"{name}-5xx"),
        "Refuses": Alarm(f"{name} refuses most requests", SAGEMAKER, "Invocation4XXErrors", variant, "Average",
                         REFUSED, LASTING, f"{name}-4xx"),
        "Slow": Alarm(f"a tenth of the requests to {name} takes long", SAGEMAKER, "ModelLatency", variant, "p90",
                      {"Ref": "LatencyP90"}, name=f"{name}-p90"),
        "SlowTail": Alarm(f"a hundredth of the requests to {name} takes long", SAGEMAKER, "ModelLatency", variant,
                          "p99", {"Ref": "LatencyP99"}, name=f"{name}-p99", ignore_few=True),
        "Overhead": Alarm(f"SageMaker takes long around {name}", SAGEMAKER, "OverheadLatency", variant, "Average",
                          {"Ref": "OverheadLatency"}, LASTING, f"{name}-overhead"),
        "Memory": Alarm(f"{name} has little memory left", INSTANCES, "MemoryUtilization", variant, "Average", BUSY,
                        LASTING, f"{name}-memory"),
    }
    if chosen.asynchronous:
        del made["Overhead"]
        made["Backlog"] = Alarm(f"requests wait for {name}", SAGEMAKER, "ApproximateBacklogSizePerInstance",
                                variant[:1], "Average", _waiting(chosen), LASTING, f"{name}-backlog")
    if not chosen.serverless:
        made["Disk"] = Alarm(f"{name} has little disk left", INSTANCES, "DiskUtilization", variant, "Average", FULL,
                             LASTING, f"{name}-disk")
        if found := cores(chosen.instance_type):
            made["Cpu"] = Alarm(f"{name} is busy", INSTANCES, "CPUUtilization", variant, "Average", BUSY * found,
                                LASTING, f"{name}-cpu")
    return made


def bringing_back(name: str) -> tuple[str, ...]:
    """Which of them may bring a release back while requests move: those that its own requests decide?"""
    return f"{name}-5xx", f"{name}-p90", f"{name}-p99"


def _waiting(chosen: SageMakerSettings) -> float:
    scaling = chosen.autoscaling
    return TIMES * scaling.backlog if scaling and scaling.backlog else WAITING


def cores(instance_type: str) -> int:
    """How many has an instance of this type, by the way AWS names sizes? 0 where the name does not tell.

    large has 2, xlarge 4, and Nxlarge N times 4, of all types that SageMaker hosts on but for the largest of older
    families, which have a few more: https://aws.amazon.com/ec2/instance-types, read 2026-11.
    """
    found = re.fullmatch(r"ml\.[a-z0-9-]+\.(?:(large)|(\d*)xlarge)", instance_type)
    if found is None:
        return 0
    return 2 if found[1] else 4 * int(found[2] or 1)


def _any_endpoint() -> dict[str, Any]:
    """SageMaker counts by endpoint and variant only, so that the sum over all is a query.

    https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/cloudwatch-metrics-insights-alarms.html
    """
    query = 'SELECT SUM(Invocation5XXErrors) FROM SCHEMA("AWS/SageMaker", EndpointName, VariantName)'
    return _resource({"AlarmDescription": "any endpoint of the account fails",
                      "Metrics": [{"Id": "all", "Expression": query, "Period": 60, "ReturnData": True}]}, 0, SOON)
