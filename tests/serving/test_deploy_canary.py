"""A canary on the local AWS: a good version takes over, a bad one is sent back, an interrupted one is finished."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import numpy as np
import pytest

from serving import Aws, Bundle, Settings, build
from serving.config import CanarySettings
from serving.errors import CanaryFailed
from serving.execution import execute
from serving.golden import read_golden
from serving.journal import Kind
from serving.localaws import running
from serving.targets.lambda_.canary import Canary
from serving.targets.lambda_.execution import LambdaHands
from serving.targets.lambda_.steps import Shift
from serving.targets.lambda_.target import LambdaTarget
from serving.traffic import Verdict

from .conftest import release_of
from .test_deploy import environment

NAME, ALIAS, BUCKET = "slipway-images", "production", "slipway-123456789012-us-east-1"
CANARY = CanarySettings(shares=(0.2, 0.5, 1.0), least=20, patience=1)
PROBES = [{"instances": [row.tolist()]} for row in np.random.default_rng(4).uniform(0, 16, (60, 6, 6, 1))]


@pytest.fixture(scope="module")
def bundles(network_files: Path, slow_files: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Bundle]:
    """Five versions: the first; one that hardly differs, names other labels, overflows; one that takes long."""
    import keras

    home, made = tmp_path_factory.mktemp("canary"), {}
    changes: dict[str, Callable[[Any], Any]] = {
        "first": lambda weights: weights, "near": lambda weights: weights * 1.0001,
        "far": lambda weights: np.roll(weights, 1, axis=-1) if weights.shape[-1] == 3 else weights,
        "brittle": lambda weights: weights * 1e6 if weights.shape[-1] == 3 else weights}
    for name, change in changes.items():
        files = Path(shutil.copytree(network_files, home / name))
        network = keras.saving.load_model(files / "data" / "model.keras")
        network.set_weights([change(weights) for weights in network.get_weights()])
        network.save(files / "data" / "model.keras")
        rows = read_golden(files / "golden.npz").inputs["image"]
        arrays: dict[str, Any] = {"in.image": rows, "out.probabilities": network.predict({"image": rows}, verbose=0)}
        np.savez(files / "golden.npz", **arrays)
        made[name] = build(release_of(files), files, home / f"{name}-bundle")
    made["slow"] = build(release_of(slow_files), slow_files, home / "slow-bundle")
    return made


@pytest.fixture
def aws(bundles: dict[str, Bundle], tmp_path: Path) -> Iterator[Aws]:
    """A new local AWS with the first version in service."""
    with running() as variables, environment(**variables):
        deploy(Aws(), bundles["first"], tmp_path / "first")
        yield Aws()


def deploy(aws: Aws, bundle: Bundle, scratch: Path, *, probes: list[Any] | None = None,
           canary: CanarySettings | None = None, sleep: Callable[[float], None] = lambda seconds: None,
           **options: Any) -> list[str]:
    """Deploy a bundle; the kinds of the steps. The clock goes on while it sleeps, and nobody waits for it."""
    settings = Settings.model_validate({"lambda": {"canary": canary, **options}})
    began, slept = datetime.now(UTC), [0.0]

    def sleeps(seconds: float) -> None:
        slept[0] += seconds if "linear" in options else 0
        sleep(seconds)

    plan = LambdaTarget(aws, settings).plan(bundle, scratch, lambda line: None)
    chosen = settings.lambda_
    watcher = Canary(chosen.takeover or CanarySettings(), probes or (), sleep=sleeps, alarms=chosen.alarms,
                     now=lambda: (began if "linear" in options else datetime.now(UTC)) + timedelta(seconds=slept[0]))
    golden = read_golden(bundle.folder / "golden.npz")
    execute(plan, aws, LambdaHands(aws, golden, watcher), lambda step, seconds: None)
    return [f"{step.share:.0%}" if isinstance(step, Shift) else type(step).__name__ for step in plan.steps]


def asked_by_callers(seconds: float) -> None:
    """What others ask while the canary waits, two at a time."""
    client = boto3.client("lambda")
    bodies = [json.dumps(request).encode() for request in PROBES]
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda body: client.invoke(FunctionName=NAME, Qualifier=ALIAS, Payload=body), bodies))


def served(aws: Aws) -> tuple[str, tuple[tuple[str, float], ...]]:
    alias = aws.functions.alias(NAME, ALIAS)
    assert alias is not None
    return alias.version, alias.shares


def test_a_version_that_does_as_well_takes_over_by_its_shares(
    aws: Aws, bundles: dict[str, Bundle], tmp_path: Path
) -> None:
    steps = deploy(aws, bundles["near"], tmp_path / "near", probes=PROBES, canary=CANARY)
    assert steps[-5:] == ["AskGolden", "20%", "50%", "PointAlias", "Done"]
    assert served(aws) == ("2", ())


def test_a_version_that_names_other_labels_is_sent_back_with_the_numbers(
    aws: Aws, bundles: dict[str, Bundle], tmp_path: Path
) -> None:
    with pytest.raises(CanaryFailed, match=r"sent back at 20%.*disagreement: \d+ of 30 requests.*Version 1 has all"):
        deploy(aws, bundles["far"], tmp_path / "far", probes=PROBES, canary=CANARY)
    assert served(aws) == ("1", ())
    last = LambdaTarget(aws, Settings()).logbook("images").read()[-1]
    assert (last.kind, "disagreement" in last.reason) == (Kind.FAILED, True)


def test_a_version_that_fails_requests_is_sent_back(aws: Aws, bundles: dict[str, Bundle], tmp_path: Path) -> None:
    overflowing = [{"instances": [[[[3e38]] * 6] * 6]}] * 60  # no finite answer: the model's fault, not the caller's
    with pytest.raises(CanaryFailed, match=r"errors: 30 of 30 requests"):
        deploy(aws, bundles["brittle"], tmp_path / "brittle", probes=overflowing, canary=CANARY)
    assert served(aws) == ("1", ())


def test_the_callers_own_requests_count_when_there_are_no_probes(
    aws: Aws, bundles: dict[str, Bundle], tmp_path: Path
) -> None:
    since = datetime.now(UTC)
    patient = CANARY.model_copy(update={"patience": 60, "shares": (0.5, 1.0)})
    deploy(aws, bundles["near"], tmp_path / "near", canary=patient, sleep=asked_by_callers)
    requests, failed = aws.metrics.answered(NAME, ALIAS, "2", since)
    assert (requests >= 20, failed) == (True, 0)
    assert served(aws) == ("2", ())


def test_a_version_that_takes_longer_is_sent_back_with_both_times(
    aws: Aws, bundles: dict[str, Bundle], tmp_path: Path
) -> None:
    said = r"sent back at 20%.*: latency: \d+ of \d+ requests over 1.25 times .* \(median \d+.\d ms \(old \d+.\d\)"
    with pytest.raises(CanaryFailed, match=said) as refused:
        deploy(aws, bundles["slow"], tmp_path / "slow", probes=PROBES, canary=CANARY)
    assert served(aws) == ("1", ())
    verdicts = {one.test: one.verdict for one in refused.value.judged}
    assert (verdicts["latency"], verdicts["errors"], verdicts["disagreement"]) == (
        Verdict.BROKEN, Verdict.WITHIN, Verdict.WITHIN)
    latency = next(one for one in refused.value.judged if one.test == "latency")
    assert re.search(r"median [\d.]+ ms \(old [\d.]+\), p95", latency.seen)


@pytest.mark.parametrize("log_format", ["Text", "JSON"])
def test_callers_who_wait_longer_send_a_version_back_without_any_probe(
    aws: Aws, bundles: dict[str, Bundle], tmp_path: Path, log_format: str
) -> None:
    boto3.client("lambda").update_function_configuration(FunctionName=NAME, LoggingConfig={"LogFormat": log_format})
    patient = CANARY.model_copy(update={"patience": 60, "shares": (0.5, 1.0)})
    slow = r"latency: \d+ of \d+ requests over 1.25 times.*\d cold starts? of the new one left out"
    with pytest.raises(CanaryFailed, match=slow):
        deploy(aws, bundles["slow"], tmp_path / "slow", canary=patient, sleep=asked_by_callers)
    assert served(aws) == ("1", ())


LINEAR: dict[str, Any] = {"linear": {"size": 25, "wait": 60}}
LIMITS = CanarySettings(least=20, patience=1)


def test_a_linear_shift_stays_at_each_share_for_its_time(
    aws: Aws, bundles: dict[str, Bundle], tmp_path: Path
) -> None:
    looks: list[tuple[str, float]] = []

    def look(seconds: float) -> None:
        looks.append((str(served(aws)[1]), seconds))

    steps = deploy(aws, bundles["near"], tmp_path / "near", probes=PROBES, canary=LIMITS, sleep=look, **LINEAR)
    assert steps[-6:] == ["AskGolden", "25%", "50%", "75%", "PointAlias", "Done"]
    shares = {share: sum(seconds for other, seconds in looks if other == share) for share, _ in looks}
    assert shares == {"(('2', 0.25),)": 60, "(('2', 0.5),)": 60, "(('2', 0.75),)": 60}
    assert served(aws) == ("2", ())


def test_a_linear_shift_is_judged_as_a_canary_is(aws: Aws, bundles: dict[str, Bundle], tmp_path: Path) -> None:
    with pytest.raises(CanaryFailed, match=r"sent back at 25%.*disagreement"):
        deploy(aws, bundles["far"], tmp_path / "far", probes=PROBES, canary=LIMITS, **LINEAR)
    assert served(aws) == ("1", ())


def test_a_killed_linear_shift_is_finished_by_the_next_run(
    aws: Aws, bundles: dict[str, Bundle], tmp_path: Path
) -> None:
    class Killed(BaseException):
        pass

    def killed(seconds: float) -> None:
        if served(aws)[1] == (("2", 0.5),):
            raise Killed

    with pytest.raises(Killed):
        deploy(aws, bundles["near"], tmp_path / "near", probes=PROBES, canary=LIMITS, sleep=killed, **LINEAR)
    assert served(aws) == ("1", (("2", 0.5),))
    deploy(aws, bundles["near"], tmp_path / "again", probes=PROBES, canary=LIMITS, **LINEAR)
    assert served(aws) == ("2", ())
    assert [state.version for state in aws.functions.versions(NAME)] == ["1", "2"], "nothing is published twice"


def test_an_alarm_that_begins_to_fire_sends_the_version_back(
    aws: Aws, bundles: dict[str, Bundle], tmp_path: Path
) -> None:
    cloudwatch = boto3.client("cloudwatch")
    cloudwatch.put_metric_alarm(
        AlarmName="watched", Namespace="Any", MetricName="Bad", Statistic="Sum", Period=60, EvaluationPeriods=1,
        Threshold=1, ComparisonOperator="GreaterThanThreshold", TreatMissingData="ignore")

    def fire(seconds: float) -> None:
        cloudwatch.set_alarm_state(AlarmName="watched", StateValue="ALARM", StateReason="a test")

    with pytest.raises(CanaryFailed, match=r"the alarm watched is firing\. Version 1 has all"):
        deploy(aws, bundles["near"], tmp_path / "near", probes=PROBES, canary=LIMITS, sleep=fire, alarms=["watched"],
               **LINEAR)
    assert served(aws) == ("1", ())


def test_too_little_traffic_is_not_a_pass(aws: Aws, bundles: dict[str, Bundle], tmp_path: Path) -> None:
    with pytest.raises(CanaryFailed, match="only 5 of 20 requests came in 0 s"):
        impatient = CANARY.model_copy(update={"patience": 0.1})
        deploy(aws, bundles["near"], tmp_path / "near", probes=PROBES[:10], canary=impatient)
    assert served(aws) == ("1", ())


def test_an_interrupted_canary_is_seen_and_finished_or_undone(
    aws: Aws, bundles: dict[str, Bundle], tmp_path: Path
) -> None:
    class Killed(BaseException):
        pass

    def killed(seconds: float) -> None:
        raise Killed

    patient = CANARY.model_copy(update={"patience": 60})
    with pytest.raises(Killed):
        deploy(aws, bundles["near"], tmp_path / "near", probes=PROBES[:10], canary=patient, sleep=killed)
    assert served(aws) == ("1", (("2", 0.2),))
    target = LambdaTarget(aws, Settings())
    findings = target.in_service("images", thoroughly=True).findings
    alias = next(finding for finding in findings if finding.what == "alias")
    assert (alias.right, alias.found) == (False, "20% to version 2; wanted all to 1")
    shutil.rmtree(tmp_path / "near")
    deploy(aws, bundles["near"], tmp_path / "near", probes=PROBES, canary=CANARY)
    assert served(aws) == ("2", ())
    back = target.plan_back("images", None)
    execute(back.plan, aws, target.hands(back.golden), lambda step, seconds: None)
    assert served(aws) == ("1", ())
