"""CloudWatch: what was measured of those who answer."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any

from .session import client, mapped


class Metrics:
    """CloudWatch as this project uses it."""

    def answered(self, function: str, alias: str, version: str, since: datetime) -> tuple[int, int]:
        """How many requests did a version behind an alias answer since then, and how many of them failed?"""
        dimensions = [{"Name": "FunctionName", "Value": function}, {"Name": "Resource", "Value": f"{function}:{alias}"},
                      {"Name": "ExecutedVersion", "Value": version}]
        with mapped(f"cloudwatch:GetMetricStatistics {function}"):
            found = [sum(point["Sum"] for point in self._cloudwatch.get_metric_statistics(
                Namespace="AWS/Lambda", MetricName=metric, Dimensions=dimensions, Statistics=["Sum"], Period=60,
                StartTime=since.replace(second=0, microsecond=0), EndTime=datetime.now(UTC) + timedelta(minutes=1),
            )["Datapoints"]) for metric in ("Invocations", "Errors")]
            return int(found[0]), int(found[1])

    def variant(self, endpoint: str, variant: str, since: datetime) -> tuple[int, int]:
        """How many requests did a variant of an endpoint get since then, and at how many of them did it fail?"""
        dimensions = [{"Name": "EndpointName", "Value": endpoint}, {"Name": "VariantName", "Value": variant}]
        with mapped(f"cloudwatch:GetMetricStatistics {endpoint}"):
            found = [sum(point["Sum"] for point in self._cloudwatch.get_metric_statistics(
                Namespace="AWS/SageMaker", MetricName=metric, Dimensions=dimensions, Statistics=["Sum"], Period=60,
                StartTime=since.replace(second=0, microsecond=0), EndTime=datetime.now(UTC) + timedelta(minutes=1),
            )["Datapoints"]) for metric in ("Invocations", "Invocation5XXErrors")]
            return int(found[0]), int(found[1])

    def slower(self, endpoint: str, variant: str, milliseconds: float, since: datetime) -> tuple[int, int]:
        """How many requests did a variant's model take time for since then, and for how many longer than this?

        CloudWatch tells the percentage at or below a value, PR(:x), of each minute; ModelLatency is microseconds.
        https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/Statistics-definitions.html, read 2026-11;
        GetMetricStatistics has percentiles only.
        """
        metric = {"Namespace": "AWS/SageMaker", "MetricName": "ModelLatency", "Dimensions": [
            {"Name": "EndpointName", "Value": endpoint}, {"Name": "VariantName", "Value": variant}]}
        queries = [{"Id": name, "MetricStat": {"Metric": metric, "Period": 60, "Stat": statistic}}
                   for name, statistic in (("all", "SampleCount"), ("within", f"PR(:{round(milliseconds * 1000)})"))]
        found: dict[str, dict[datetime, float]] = {"all": {}, "within": {}}
        with mapped(f"cloudwatch:GetMetricData {endpoint}"):
            for page in self._cloudwatch.get_paginator("get_metric_data").paginate(
                    MetricDataQueries=queries, StartTime=since.replace(second=0, microsecond=0),
                    EndTime=datetime.now(UTC) + timedelta(minutes=1)):
                for one in page["MetricDataResults"]:
                    found[one["Id"]] |= dict(zip(one["Timestamps"], one["Values"], strict=True))
        # A minute that one of both answers was given without is left to the next look.
        both = [(count, found["within"][at]) for at, count in found["all"].items() if at in found["within"]]
        return (round(sum(count for count, _ in both)),
                sum(round(count * (1 - percent / 100)) for count, percent in both))

    def alarms(self, names: Sequence[str]) -> dict[str, str]:
        """In which state is each of these alarms? Those that are not there are left out."""
        return {one["AlarmName"]: one["StateValue"] for one in self._alarms(names)}

    def rules(self, names: Sequence[str]) -> dict[str, str]:
        """When does each of these alarms fire, for a reader: ``ModelLatency p90 GreaterThanThreshold 50000``?"""
        return {one["AlarmName"]: one.get("AlarmRule") or " ".join(
            [one.get("MetricName", "metric math"), one.get("ExtendedStatistic") or one.get("Statistic", ""),
             one.get("ComparisonOperator", ""), f"{one.get('Threshold', 0):g}"]) for one in self._alarms(names)}

    def _alarms(self, names: Sequence[str]) -> list[Any]:
        with mapped(f"cloudwatch:DescribeAlarms {', '.join(names)}"):
            kinds = ["MetricAlarm", "CompositeAlarm"]
            found = self._cloudwatch.describe_alarms(AlarmNames=list(names), AlarmTypes=kinds)
            return [one for kind in ("MetricAlarms", "CompositeAlarms") for one in found.get(kind, ())]

    @cached_property
    def _cloudwatch(self) -> Any:
        return client("cloudwatch")
