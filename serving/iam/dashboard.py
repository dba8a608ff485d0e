"""What does the stack's dashboard show? Pure; metrics and their sources as in `alarms`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .account import Names
from .alarms import INSTANCES, LAMBDA, SAGEMAKER


@dataclass(frozen=True, slots=True)
class Graph:
    """One picture: a metric of everything of ours, found by the dimensions that it has."""

    title: str
    metric: str
    statistic: str
    namespace: str = SAGEMAKER
    dimensions: tuple[str, ...] = ("EndpointName", "VariantName")

    def expression(self, words: str) -> str:
        """CloudWatch's search for it. Names with other than letters and digits need quotes there, but for AWS's own."""
        namespace = self.namespace if self.namespace.startswith("AWS/") else f'"{self.namespace}"'
        schema = ",".join((namespace, *self.dimensions))
        return (f"SEARCH('{{{schema}}} MetricName=\"{self.metric}\" {self.dimensions[0]}=({words})', "
                f"'{self.statistic}', 60)")


FUNCTIONS = tuple(Graph(title, metric, statistic, LAMBDA, ("FunctionName",)) for title, metric, statistic in (
    ("Requests", "Invocations", "Sum"), ("Errors", "Errors", "Sum"), ("Throttles", "Throttles", "Sum"),
    ("Milliseconds, 95th percentile", "Duration", "p95")))
ENDPOINTS = (
    Graph("Endpoints: requests", "Invocations", "Sum"),
    Graph("Endpoints: errors of the model (5XX)", "Invocation5XXErrors", "Sum"),
    Graph("Endpoints: requests refused (4XX)", "Invocation4XXErrors", "Sum"),
    Graph("Endpoints: microseconds of the model, 90th percentile", "ModelLatency", "p90"),
    Graph("Endpoints: microseconds of the model, 99th percentile", "ModelLatency", "p99"),
    Graph("Endpoints: microseconds of SageMaker, average", "OverheadLatency", "Average"),
    Graph("Endpoints: processor, percent of one core", "CPUUtilization", "Average", INSTANCES),
    Graph("Endpoints: memory, percent", "MemoryUtilization", "Average", INSTANCES),
    Graph("Endpoints: disk, percent", "DiskUtilization", "Average", INSTANCES),
)
WAITING = Graph("Endpoints: requests that wait for each instance", "ApproximateBacklogSizePerInstance", "Average",
                dimensions=("EndpointName",))


def dashboard(names: Names, targets: Sequence[str]) -> dict[str, Any]:
    """Which pictures, two beside one another, for the targets of the stack?"""
    graphs = [*(FUNCTIONS if "lambda" in targets else ()), *(ENDPOINTS if "sagemaker" in targets else ()),
              *((WAITING,) if "sagemaker" in targets and names.settings.sagemaker.asynchronous else ())]
    widgets = [_widget(names, number, graph) for number, graph in enumerate(graphs)]
    return {"Type": "AWS::CloudWatch::Dashboard", "Properties": {
        "DashboardName": names.settings.prefix, "DashboardBody": {"Fn::Sub": json.dumps({"widgets": widgets})}}}


def _widget(names: Names, number: int, graph: Graph) -> dict[str, Any]:
    words = names.settings.prefix.replace("-", " ")  # SEARCH finds whole words; quoted, it would want the whole name
    return {"type": "metric", "width": 12, "height": 6, "x": 12 * (number % 2), "y": 6 * (number // 2),
            "properties": {"title": graph.title, "region": names.account.region, "period": 60, "view": "timeSeries",
                           "metrics": [[{"expression": graph.expression(words), "id": f"e{number}"}]]}}
