"""Somebody's application beside an endpoint: it asks, notices other answers, and has an alarm on how many they are."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import boto3
import numpy as np

NAMESPACE, METRIC = "slipway-tests", "other answers"
AT_ONCE = 10  # requests to a report
SHIFT = 0.3  # of a probability or a rating: another answer
OTHER_ANSWERS = 0.1  # the share above which the alarm fires


def alarm_name(endpoint: str) -> str:
    """What is the alarm on this endpoint's answers called?"""
    return f"{endpoint}-answers"


def make_alarm(endpoint: str) -> str:
    """Its name; it is there afterwards, looked at every ten seconds."""
    boto3.client("cloudwatch").put_metric_alarm(
        AlarmName=alarm_name(endpoint), Namespace=NAMESPACE, MetricName=METRIC, Statistic="Average", Period=10,
        Dimensions=[{"Name": "Endpoint", "Value": endpoint}], EvaluationPeriods=1, Threshold=OTHER_ANSWERS,
        ComparisonOperator="GreaterThanThreshold", TreatMissingData="notBreaching")
    return alarm_name(endpoint)


def differs(said: Any, wont: Any) -> bool:
    """Is this another answer than it used to be?"""
    return bool(np.abs(np.asarray(said) - np.asarray(wont)).max() > SHIFT)


@dataclass(slots=True)
class Caller:
    """Goes on asking an endpoint, and reports to CloudWatch.

    Attributes:
        wont: what each request used to be answered.
        asked: how many answers came.
        failed: what ended it; while releases change, nothing may.
    """

    endpoint: str
    requests: Sequence[bytes]
    wont: Sequence[Any]
    asked: int = 0
    failed: list[Exception] = field(default_factory=list)
    _ended: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Ask until it is ended, or a request fails."""
        try:
            runtime, metrics = boto3.client("sagemaker-runtime"), boto3.client("cloudwatch")
            while not self._ended.is_set():
                others = [self._is_other(runtime, (self.asked + number) % len(self.requests))
                          for number in range(AT_ONCE)]
                self.asked += AT_ONCE
                self._report(metrics, sum(others))
        except Exception as error:  # noqa: BLE001 - whatever it was, the test is told
            self.failed.append(error)

    def end(self) -> None:
        """Ask no more."""
        self._ended.set()

    def _is_other(self, runtime: Any, number: int) -> bool:
        self._ended.wait(0.03)
        said = runtime.invoke_endpoint(EndpointName=self.endpoint, ContentType="application/json",
                                       Body=self.requests[number])
        return differs(json.loads(said["Body"].read())["predictions"][0], self.wont[number])

    def _report(self, metrics: Any, others: int) -> None:
        values = {"SampleCount": AT_ONCE, "Sum": others, "Minimum": int(others == AT_ONCE), "Maximum": int(others > 0)}
        metrics.put_metric_data(Namespace=NAMESPACE, MetricData=[{
            "MetricName": METRIC, "Dimensions": [{"Name": "Endpoint", "Value": self.endpoint}],
            "StatisticValues": values, "StorageResolution": 1}])


@contextmanager
def calling(endpoint: str, requests: Sequence[bytes], wont: Sequence[Any]) -> Iterator[None]:
    """An application that calls meanwhile, every one of whose requests is answered."""
    caller = Caller(endpoint, requests, wont)
    thread = threading.Thread(target=caller.run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        caller.end()
        thread.join(120)
    assert not caller.failed, caller.failed
    assert caller.asked > 0
