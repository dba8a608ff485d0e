"""Updating an endpoint is blue/green: the new fleet serves only when it may, and the old one comes back when not."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest

from tests.localaws.conftest import Clients
from tests.localaws.hosting import Hosting, unique
from tests.localaws.test_endpoints import hosting, refusal  # noqa: F401 - the fixture
from tests.localaws.test_process_life import gone

Settings = dict[str, Any]


def guarded(kind: str = "CANARY", wait: int = 100, percent: int = 30, alarm: str | None = None) -> Settings:
    """A DeploymentConfig; the local AWS of these tests divides its seconds by 100."""
    member = {"CANARY": "CanarySize", "LINEAR": "LinearStepSize"}.get(kind)
    routing: Settings = {"Type": kind, "WaitIntervalInSeconds": wait}
    if member:
        routing[member] = {"Type": "CAPACITY_PERCENT", "Value": percent}
    settings: Settings = {
        "BlueGreenUpdatePolicy": {"TrafficRoutingConfiguration": routing, "MaximumExecutionTimeoutInSeconds": 14_400}
    }
    if alarm:
        settings["AutoRollbackConfiguration"] = {"Alarms": [{"AlarmName": alarm}]}
    return settings


def update(hosting: Hosting, name: str, config: str, settings: Settings | None = None, **options: Any) -> None:  # noqa: F811
    """UpdateEndpoint."""
    guard = {"DeploymentConfig": settings} if settings else {}
    hosting.sagemaker.update_endpoint(EndpointName=name, EndpointConfigName=config, **guard, **options)


@contextmanager
def traffic(hosting: Hosting, name: str) -> Iterator[Counter[str]]:  # noqa: F811
    """Requests all the while; counts the answers, and errors under their own name."""
    seen: Counter[str] = Counter()
    stop = threading.Event()

    def run() -> None:
        while not stop.is_set():
            try:
                seen[hosting.ask(name)["answer"]] += 1
            except Exception as error:  # noqa: BLE001 - whatever it is, it is counted and shown
                seen[type(error).__name__] += 1

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield seen
    finally:
        stop.set()
        thread.join()


def test_an_update_moves_all_traffic_and_loses_no_request(hosting: Hosting) -> None:  # noqa: F811
    old = hosting.config(hosting.variant("old"))
    name = hosting.endpoint(old)
    pid = hosting.ask(name)["pid"]
    new = hosting.config(hosting.variant("new"))
    with traffic(hosting, name) as seen, ThreadPoolExecutor(1) as pool:
        slow = pool.submit(hosting.ask, name, {"sleep": 2})
        time.sleep(0.2)
        update(hosting, name, new)
        assert hosting.describe(name)["EndpointStatus"] == "Updating"
        found = hosting.settled(name)
        assert not slow.done()
        assert slow.result()["answer"] == "old"
    assert (found["EndpointStatus"], found["EndpointConfigName"]) == ("InService", new)
    assert hosting.ask(name)["answer"] == "new"
    assert set(seen) <= {"old", "new"}
    assert gone([pid])


def test_a_canary_takes_its_share_first(hosting: Hosting) -> None:  # noqa: F811
    name = hosting.endpoint(hosting.config(hosting.variant("old")))
    new = hosting.config(hosting.variant("new"))
    update(hosting, name, new, guarded(wait=150))
    pending = hosting.until(
        lambda: hosting.describe(name).get("PendingDeploymentSummary"),
        lambda found: bool(found) and found["ProductionVariants"][0]["VariantStatus"][0]["Status"] == "Baking",
    )
    assert pending["EndpointConfigName"] == new
    seen = Counter(hosting.ask(name)["answer"] for _ in range(100))
    assert 8 < seen["new"] < 58  # 30 expected; outside once in 10^7
    found = hosting.settled(name)
    assert found["EndpointConfigName"] == new
    assert "PendingDeploymentSummary" not in found
    assert hosting.ask(name)["answer"] == "new"


def test_an_alarm_brings_the_old_fleet_back(hosting: Hosting, client: Clients) -> None:  # noqa: F811
    old, alarm, cloudwatch = hosting.config(hosting.variant("old")), unique("alarm"), client("cloudwatch")
    cloudwatch.put_metric_alarm(
        AlarmName=alarm, Namespace="Any", MetricName="Bad", Statistic="Sum", Period=60, EvaluationPeriods=1,
        Threshold=1, ComparisonOperator="GreaterThanOrEqualToThreshold",
    )  # fmt: skip
    name = hosting.endpoint(old)
    with traffic(hosting, name) as seen:
        update(hosting, name, hosting.config(hosting.variant("new")), guarded(wait=2000, percent=50, alarm=alarm))
        hosting.until(lambda: seen["new"], lambda count: count > 0)
        cloudwatch.set_alarm_state(AlarmName=alarm, StateValue="ALARM", StateReason="by hand")
        found = hosting.settled(name)
    assert (found["EndpointStatus"], found["EndpointConfigName"]) == ("InService", old)
    assert alarm in found["FailureReason"]
    assert {hosting.ask(name)["answer"] for _ in range(10)} == {"old"}
    assert set(seen) <= {"old", "new"}


def test_an_alarm_state_that_was_set_by_hand_stays_for_a_while(client: Clients) -> None:
    cloudwatch, alarm = client("cloudwatch"), unique("alarm")
    cloudwatch.put_metric_alarm(
        AlarmName=alarm, Namespace="Any", MetricName="Bad", Statistic="Sum", Period=60, EvaluationPeriods=1,
        Threshold=1, ComparisonOperator="GreaterThanOrEqualToThreshold",
    )  # fmt: skip
    cloudwatch.set_alarm_state(AlarmName=alarm, StateValue="ALARM", StateReason="by hand")
    time.sleep(1.5)  # the evaluation comes round twice a second
    assert cloudwatch.describe_alarms(AlarmNames=[alarm])["MetricAlarms"][0]["StateValue"] == "ALARM"


def test_an_alarm_on_the_models_own_errors_brings_the_old_fleet_back(hosting: Hosting, client: Clients) -> None:  # noqa: F811
    old, alarm = hosting.config(hosting.variant("old")), unique("alarm")
    name = hosting.endpoint(old)
    dimensions = [{"Name": "EndpointName", "Value": name}, {"Name": "VariantName", "Value": "main"}]
    client("cloudwatch").put_metric_alarm(
        AlarmName=alarm, Namespace="AWS/SageMaker", MetricName="Invocation5XXErrors", Statistic="Sum", Period=60,
        EvaluationPeriods=1, Threshold=3, ComparisonOperator="GreaterThanOrEqualToThreshold", Dimensions=dimensions,
        TreatMissingData="notBreaching",
    )  # fmt: skip
    update(hosting, name, hosting.config(hosting.variant("new")), guarded(wait=1500, alarm=alarm))
    for _ in range(3):
        refusal(hosting.ask, name=name, event={"fail": 503})
    assert hosting.settled(name)["EndpointConfigName"] == old


def test_a_new_container_that_crashes_leaves_the_old_one_serving(hosting: Hosting) -> None:  # noqa: F811
    old = hosting.config(hosting.variant("old"))
    name = hosting.endpoint(old)
    update(hosting, name, hosting.config(hosting.variant("crash")))
    found = hosting.settled(name)
    assert (found["EndpointStatus"], found["EndpointConfigName"]) == ("InService", old)
    assert "exited with code 1" in found["FailureReason"]
    assert hosting.ask(name)["answer"] == "old"


def test_an_endpoint_deleted_during_an_update_leaves_no_process(hosting: Hosting, aws: dict[str, str]) -> None:  # noqa: F811
    name = hosting.endpoint(hosting.config(hosting.variant("old")))
    pids = [hosting.ask(name)["pid"]]
    update(hosting, name, hosting.config(hosting.variant("new")), guarded(wait=3000, percent=50))
    answers = hosting.until(
        lambda: {answer["answer"]: answer["pid"] for answer in (hosting.ask(name) for _ in range(20))},
        lambda found: len(found) == 2,
    )
    hosting.sagemaker.delete_endpoint(EndpointName=name)
    assert gone([*pids, *answers.values()])


def test_an_endpoint_deleted_while_it_starts_leaves_no_process(hosting: Hosting) -> None:  # noqa: F811
    name = unique("endpoint")
    config = hosting.config(hosting.variant("slow"))
    hosting.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=config)
    pids: list[int] = hosting.until(lambda: children_with("slow"), bool)
    hosting.sagemaker.delete_endpoint(EndpointName=name)
    assert gone(pids, seconds=2)  # it would have been healthy after three


def children_with(answer: str) -> list[int]:
    """Processes of test servers whose model answers so."""
    from pathlib import Path

    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().decode().split("\0")
        except OSError:
            continue
        if any(word.endswith("localaws/server.py") for word in words):
            model = next((Path(word) for word in words if "/models/" in word), None)
            if model is not None and (model / "answer.txt").read_text() == answer:
                found.append(int(folder.name))
    return found


def test_a_second_update_waits_for_the_first(hosting: Hosting) -> None:  # noqa: F811
    name = hosting.endpoint(hosting.config(hosting.variant("old")))
    new = hosting.config(hosting.variant("new"))
    update(hosting, name, new, guarded(wait=100))
    assert "Cannot update in-progress endpoint" in refusal(
        hosting.sagemaker.update_endpoint, EndpointName=name, EndpointConfigName=new
    )
    hosting.settled(name)


def test_counts_and_weights_can_be_kept(hosting: Hosting) -> None:  # noqa: F811
    name = hosting.endpoint(hosting.config(hosting.variant("old")))
    change = [{"VariantName": "main", "DesiredInstanceCount": 2, "DesiredWeight": 5}]
    hosting.sagemaker.update_endpoint_weights_and_capacities(EndpointName=name, DesiredWeightsAndCapacities=change)
    hosting.settled(name)
    new = hosting.config(hosting.variant("new"))
    excluded = [{"VariantPropertyType": "DesiredWeight"}]
    update(hosting, name, new, RetainAllVariantProperties=True, ExcludeRetainedVariantProperties=excluded)
    variant = hosting.settled(name)["ProductionVariants"][0]
    assert (variant["CurrentInstanceCount"], variant["CurrentWeight"]) == (2, 1)
    update(hosting, name, new, RetainAllVariantProperties=False)
    assert hosting.settled(name)["ProductionVariants"][0]["CurrentInstanceCount"] == 1


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (guarded(percent=60), "CanarySize may be at most 50 percent"),
        (guarded("LINEAR", percent=5), "LinearStepSize must be 10 to 50 percent"),
        (guarded("LINEAR", percent=10, wait=3600), "less than the 36000 s"),
        (guarded(wait=3601), "waitIntervalInSeconds"),
    ],
)
def test_guardrails_outside_the_limits_are_refused(hosting: Hosting, settings: Settings, words: str) -> None:  # noqa: F811
    config = hosting.config(hosting.variant("old"))
    name = hosting.endpoint(config)
    make = hosting.sagemaker.update_endpoint
    assert words in refusal(make, EndpointName=name, EndpointConfigName=config, DeploymentConfig=settings)


def test_guardrails_between_different_variant_names_are_refused(hosting: Hosting) -> None:  # noqa: F811
    name = hosting.endpoint(hosting.config(hosting.variant("old")))
    other = hosting.config(hosting.variant("new", VariantName="other"))
    make = hosting.sagemaker.update_endpoint
    refused = refusal(make, EndpointName=name, EndpointConfigName=other, DeploymentConfig=guarded())
    assert "same variant names" in refused


def test_a_linear_shift_goes_up_in_steps(hosting: Hosting) -> None:  # noqa: F811
    name = hosting.endpoint(hosting.config(hosting.variant("old")))
    new = hosting.config(hosting.variant("new"))
    started = time.monotonic()
    update(hosting, name, new, guarded("LINEAR", percent=50, wait=50))
    assert hosting.settled(name)["EndpointConfigName"] == new
    assert time.monotonic() - started >= 1.0
