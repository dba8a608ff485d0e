"""A new release tried as a shadow on SageMaker: on copies of the requests, whose answers nobody gets. Emulated."""

from __future__ import annotations

import json
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import chdir, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import numpy as np
import pytest

from serving import Aws, Bundle, Settings, build
from serving.aws import Endpoints, Scaling, Storage
from serving.config import parse
from serving.errors import CanaryFailed, ConfigurationInvalid, Refused, Stopped
from serving.execution import execute
from serving.golden import read_golden
from serving.iam import policy
from serving.journal import Kind
from serving.localaws import running
from serving.plan import DeleteObjects
from serving.sagemaker_settings import ShadowSettings
from serving.targets.sagemaker import leftovers, names
from serving.targets.sagemaker.execution import SageMakerHands, settled
from serving.targets.sagemaker.steps import Watch
from serving.targets.sagemaker.target import SageMakerTarget
from serving.targets.sagemaker.watching import Watching, exchanges
from serving.traffic import Count, Verdict
from tests.iam.needing import ACCOUNT, Recorded, refused

from . import recorded
from .conftest import release_of
from .mortal import CHANGING, MortalAws
from .recorded import Killed
from .test_deploy import environment
from .test_deploy_proof import by_hand
from .test_prune import release
from .test_sagemaker_proof import bundle, deploy, in_order, made, settings_of

__all__ = ["bundle"]  # a fixture
SHADOW = {"share": 1.0, "least": 30, "patience": 60, "slow_ms": 30_000}  # nobody takes so long
ENDPOINT = "tried-images"
SECONDS, SLOW_IMAGE = 0.6, "123456789012.dkr.ecr.us-east-1.amazonaws.com/slow-server:0.1"
EVERY = os.environ.get("SLIPWAY_KILL") == "all"


@pytest.fixture(scope="module", autouse=True)
def local_aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """With an image more than others have: our server, slow."""
    slow = f"slow-server={{python}} {Path(__file__).with_name('slow_server.py')} {SECONDS}"
    with (chdir(tmp_path_factory.mktemp("here")), running("--image", slow) as variables, environment(**variables)):
        yield


@pytest.fixture(scope="module")
def other_bundle(network_files: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Another network, which prefers what the first one likes least; its own golden requests it answers rightly."""
    import keras

    files = Path(shutil.copytree(network_files, tmp_path_factory.mktemp("other") / "files"))
    network = keras.saving.load_model(files / "data" / "model.keras")
    network.layers[-1].set_weights([-weights for weights in network.layers[-1].get_weights()])
    network.save(files / "data" / "model.keras")
    rows = read_golden(files / "golden.npz").inputs["image"]
    answers = network.predict({"image": rows}, verbose=0)
    np.savez(files / "golden.npz", **{"in.image": rows, "out.probabilities": answers})
    return build(release_of(files), files, files.parent / "bundle")


@contextmanager
def asked(
    endpoint: str, rows: Any, then: Callable[[], None] = lambda: time.sleep(0.03)
) -> Iterator[set[int]]:
    """Somebody asks the endpoint all the time; the versions that answered."""
    versions, done = set[int](), threading.Event()

    def ask() -> None:
        aws, turn = Aws(), 0
        while not done.is_set():
            turn += 1
            body = json.dumps({"instances": [rows[turn % len(rows)].tolist()]}).encode()
            versions.add(json.loads(aws.endpoints.invoke(endpoint, body))["model"]["version"])
            then()

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    try:
        yield versions
    finally:
        done.set()
        thread.join(20)


def try_out(bundle: Bundle, scratch: Path, settings: Settings, aws: Aws | None = None) -> list[str]:
    """Deploy with a clock that does not wait long; the steps that were done."""
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    aws, said = aws or Aws(), list[str]()
    target = SageMakerTarget(aws, settings)
    plan = target.plan(bundle, scratch, lambda line: None)
    golden = read_golden(bundle.folder / "golden.npz")
    hands = SageMakerHands(aws, golden, lambda seconds: time.sleep(min(seconds, 0.1)))
    execute(plan, aws, hands, lambda step, seconds: said.append(str(step).split()[0]))
    return said


@pytest.fixture(scope="module")
def settings() -> Settings:
    return settings_of("tried", shadow=SHADOW, capture={"share": 0.5})


@pytest.fixture(scope="module")
def rows(bundle: Bundle) -> Any:
    return read_golden(bundle.folder / "golden.npz").inputs["image"]


@pytest.fixture(scope="module")
def serving(settings: Settings, bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Version 1 serves; there was nothing to try it beside."""
    home = tmp_path_factory.mktemp("serving")
    said = try_out(release(bundle, 1, home / "first"), home / "scratch", settings)
    assert "watch" not in said
    yield
    by_hand("sagemaker", "delete_endpoint", EndpointName=ENDPOINT)


def config_in_service() -> str:
    now = Aws().endpoints.endpoint(ENDPOINT)
    assert now is not None and now.status == "InService"
    return now.config


def test_one_that_answers_otherwise_is_taken_away_and_never_answered_anybody(
    settings: Settings, serving: None, other_bundle: Bundle, rows: Any, tmp_path: Path
) -> None:
    before = config_in_service()
    with asked(ENDPOINT, rows) as versions, pytest.raises(CanaryFailed, match="disagreement: ") as told:
        try_out(release(other_bundle, 2, tmp_path / "second"), tmp_path / "scratch", settings)
    assert f"the shadow of {ENDPOINT} was taken away" in str(told.value)
    assert f"{ENDPOINT} serves {before} again" in str(told.value)
    assert [one.test for one in told.value.judged] == ["errors", "latency", "disagreement", "score shift", "score bias"]
    assert (versions, config_in_service()) == ({1}, before)
    assert not any(names.is_trial_of(ENDPOINT, name) for name in Aws().endpoints.configs("-shadow"))
    target = SageMakerTarget(Aws(), settings)
    assert target.logbook("images").read()[-1].kind is Kind.FAILED
    assert all(finding.right for finding in target.in_service("images", thoroughly=True).findings)


def test_one_that_nobody_asks_anything_is_taken_away_when_patience_ends(
    settings: Settings, serving: None, bundle: Bundle, tmp_path: Path
) -> None:
    hasty = settings_of("tried", shadow={**SHADOW, "patience": 1}, capture={"share": 0.5})
    with pytest.raises(Refused, match=r"only 0 of 30 requests.* came in 1 s"):
        try_out(release(bundle, 2, tmp_path / "second"), tmp_path / "scratch", hasty)


def test_one_that_takes_longer_is_taken_away_by_how_many_were_slow(
    settings: Settings, serving: None, bundle: Bundle, rows: Any, tmp_path: Path
) -> None:
    tried = settings_of("tried", image=SLOW_IMAGE, capture={"share": 0.5},
                        shadow={**SHADOW, "patience": 600, "slow_ms": 1000 * SECONDS / 2, "latency_ratio": 1.5})
    said = r"latency: \d+ of \d+ requests over 300 ms \(the new release's over 450\) are the new release's"
    with (asked(ENDPOINT, rows, ShadowAnswers(ENDPOINT, datetime.now(UTC)).awaited),
          pytest.raises(CanaryFailed, match=said) as told):
        try_out(release(bundle, 2, tmp_path / "second"), tmp_path / "scratch", tried)
    verdicts = {one.test: one.verdict for one in told.value.judged}
    assert verdicts.pop("latency") is Verdict.BROKEN
    assert Verdict.BROKEN not in verdicts.values()


@dataclass
class ShadowAnswers:
    """Whoever waits for the shadow's answer before asking again never has it refuse a request for want of time."""

    endpoint: str
    since: datetime
    seen: int = 0

    def awaited(self) -> None:
        """Until it has answered once more; for a moment only where it got no copy, as before and after its trial."""
        ends = time.monotonic() + 5
        while time.monotonic() < ends:
            now = Aws().endpoints.endpoint(self.endpoint)
            if now is None or not names.is_trial_of(self.endpoint, now.config):
                break
            if (count := Aws().metrics.variant(self.endpoint, names.SHADOW, self.since)[0]) > self.seen:
                self.seen = count
                break
            time.sleep(0.05)


def test_cloudwatch_tells_how_many_took_longer_and_what_came_before_is_not_counted(local_aws: Any) -> None:
    """Of the minute in which a trial begins CloudWatch also counts what came earlier in it."""
    now = datetime.now(UTC).replace(second=30, microsecond=0)

    def took(variant: str, *milliseconds: float, minutes: int = 0) -> None:
        boto3.client("cloudwatch").put_metric_data(Namespace="AWS/SageMaker", MetricData=[
            {"MetricName": "ModelLatency", "Value": one * 1000, "Timestamp": now - timedelta(minutes=minutes),
             "Dimensions": [{"Name": "EndpointName", "Value": "told"}, {"Name": "VariantName", "Value": variant}]}
            for one in milliseconds])

    took("production", 1, 10, 11, 500, minutes=1)
    took("production", 10, 10.5)
    took("shadow", *[13] * 7, 12.5)
    metrics, since = Aws().metrics, now - timedelta(minutes=1)
    assert metrics.slower("told", "production", 10, since) == (6, 3)
    assert metrics.slower("told", "production", 10, now) == (2, 1)
    assert metrics.slower("told", "shadow", 12.5, since) == (8, 7)
    assert metrics.slower("nobody", "shadow", 12.5, since) == (0, 0)

    limits = ShadowSettings(slow_ms=10, share=0.5, least=1)
    watching = Watching(Watch("told", "config", "back", "tried-releases", limits))
    before = watching._slow(Aws(), since)
    took("production", 2, 11)
    took("shadow", 12.5, 12.6, 40)
    seen = watching._slow(Aws(), since).since(before).count
    assert (before.count, seen) == (Count(10, 7, 8), Count(3, 2, 3))
    (limit,) = [limit for limit in limits.limits() if limit.question == "latency"]
    assert limit.rate == pytest.approx(1 / 3), "half of the requests are copied, so a third of the slow ones are copies"


def test_what_was_captured_of_trials_that_ended_long_ago_is_pruned(local_aws: None) -> None:
    bucket, trial = settings_of("old").bucket or "", names.trial_name("old-images", [1])
    old = [f"shadow/{trial}/old-images/{variant}/2020/01/02/03/a.jsonl" for variant in ("production", "shadow")]
    stay = [f"shadow/{trial}/old-images/shadow/{datetime.now(UTC):%Y/%m/%d}/03/a.jsonl", "shadow/by-hand",
            f"shadow/{trial}/old-images-too/shadow/2020/01/02/03/a.jsonl",
            f"shadow/{trial}/old-images/note", "shadow/old-images-mine/old-images/shadow/2020/01/02/03/a.jsonl",
            "releases/images/old-images/shadow/2020/01/02/03/a.jsonl"]
    for key in (*old, *stay):
        by_hand("s3", "put_object", Bucket=bucket, Key=key, Body=b"{}")
    steps = leftovers.find(Aws(), "old-images", bucket, [], keep=1, before=date(2020, 1, 3))
    assert steps == [DeleteObjects(bucket, f"shadow/{trial}", tuple(old))]
    assert leftovers.find(Aws(), "old-images", bucket, [], keep=1, before=date(2020, 1, 2)) == []


def test_a_plan_says_where_times_are_not_judged() -> None:
    step = Watch("told", "config", "back", "bucket", ShadowSettings())
    assert "times are not judged: no slow_ms" in str(step)
    assert "latency" not in [limit.question for limit in step.limits.limits()]
    assert "not judged" not in str(replace(step, limits=ShadowSettings(slow_ms=50)))


@dataclass(frozen=True)
class TakenOver:
    """A trial that ended well: the release, its steps, and what was asked of AWS meanwhile."""

    release: Bundle
    steps: list[str]
    calls: list[Recorded]


@pytest.fixture(scope="module")
def taken_over(
    settings: Settings, serving: None, bundle: Bundle, rows: Any, tmp_path_factory: pytest.TempPathFactory
) -> TakenOver:
    home = tmp_path_factory.mktemp("taken-over")
    second = release(bundle, 2, home / "second")
    recorded.forget()
    with asked(ENDPOINT, rows):
        said = try_out(second, home / "scratch", settings)
    calls = [Recorded(("publisher", "deployer"), "sagemaker", **call) for call in recorded.told()]
    return TakenOver(second, said, calls)


def test_one_that_answers_alike_takes_over_and_only_then_answers(
    settings: Settings, taken_over: TakenOver, tmp_path: Path
) -> None:
    hosting = [step for step in taken_over.steps if step not in ("upload", "note")]
    assert hosting[-6:] == ["create", "update", "watch", "update", "ask", "delete"]
    assert in_order(settings)
    assert not any(names.is_trial_of(ENDPOINT, name) for name in Aws().endpoints.configs("-shadow"))
    assert deploy(taken_over.release, tmp_path / "again", settings) == 0
    for key in Aws().storage.keys("tried-releases", "shadow/")[::4]:
        said = json.loads(Aws().storage.read("tried-releases", key))["captureData"]["endpointOutput"]["data"]
        assert (json.loads(said)["model"]["version"] == 1) == (key.split("/")[3] == "production")


def test_the_policies_allow_every_call_of_it(settings: Settings, taken_over: TakenOver) -> None:
    held = {(role, "sagemaker"): policy(role, "sagemaker", settings, ACCOUNT).statements
            for role in ("publisher", "deployer")}
    calls = [call for call in taken_over.calls if call.service in ("sagemaker", "cloudwatch", "s3")
             and "Invoke" not in call.operation]
    assert {"CreateEndpointConfig", "DeleteEndpointConfig", "GetMetricStatistics"} < {one.operation for one in calls}
    assert [call for call in refused(calls, held) if "kms:" not in call] == []  # the key's alias has another prefix
    for sid in ("WatchShadows", "ReadWhatShadowsAnswered", "EndTrials"):
        left = {**held, ("deployer", "sagemaker"): [one for one in held["deployer", "sagemaker"] if one.sid != sid]}
        assert [call for call in refused(calls, left) if "kms:" not in call], sid


def test_killed_after_any_call_from_the_trial_on_the_next_run_goes_on_and_leaves_nothing_over(
    bundle: Bundle, rows: Any, tmp_path: Path
) -> None:
    settings = settings_of("ends", shadow=SHADOW)
    try_out(release(bundle, 1, tmp_path / "1"), tmp_path / "scratch", settings)
    counted = MortalAws()
    with asked("ends-images", rows):
        try_out(release(bundle, 2, tmp_path / "2"), tmp_path / "scratch", settings, counted)
        assert counted.made.count("update_endpoint") == 2
        first = counted.made.index("create_config") + 2  # the configuration of the trial; before it all is as ever
        chosen = range(first, len(counted.made) + 1)
        for version, number in enumerate(chosen if EVERY else list(chosen)[1:3], start=3):
            wanted = release(bundle, version, tmp_path / str(version))
            with pytest.raises(Killed):
                try_out(wanted, tmp_path / "scratch", settings, MortalAws(number))
            try_out(wanted, tmp_path / "scratch", settings)
            assert deploy(wanted, tmp_path / "again", settings) == 0
            assert in_order(settings)
            assert made("ends") == (version, version), "no configuration of a trial is left"
    by_hand("sagemaker", "delete_endpoint", EndpointName="ends-images")


def test_a_trial_that_is_stopped_is_taken_away_and_the_next_run_tries_again(
    settings: Settings, serving: None, bundle: Bundle, rows: Any, tmp_path: Path
) -> None:
    before, eighth = config_in_service(), release(bundle, 8, tmp_path / "eighth")
    target = SageMakerTarget(Aws(), settings)

    class Stopping(SageMakerHands):
        def _watch(self, step: Any) -> None:
            raise KeyboardInterrupt  # as Ctrl-C does

    (tmp_path / "stopped").mkdir()
    plan = target.plan(eighth, tmp_path / "stopped", lambda line: None)
    with pytest.raises(Stopped, match=f"SageMaker takes the shadow away from {ENDPOINT}, which goes on with {before}"):
        execute(plan, Aws(), Stopping(Aws(), read_golden(bundle.folder / "golden.npz")), lambda step, seconds: None)
    settled(Aws(), ENDPOINT)
    assert config_in_service() == before
    with asked(ENDPOINT, rows):
        said = try_out(eighth, tmp_path / "scratch", settings)
    assert [step for step in said if step != "note"] == ["update", "watch", "update", "ask", "delete"]
    assert in_order(settings)
    assert not any(names.is_trial_of(ENDPOINT, name) for name in Aws().endpoints.configs("-shadow"))


def test_a_trial_that_was_cut_off_is_given_up_by_a_rollback_to_what_serves_and_pruned(
    settings: Settings, serving: None, bundle: Bundle, tmp_path: Path
) -> None:
    target, scratch = SageMakerTarget(Aws(), settings), tmp_path / "scratch"
    before = config_in_service()

    class Dying(SageMakerHands):
        def _watch(self, step: Any) -> None:
            raise Killed

    scratch.mkdir()
    plan = target.plan(release(bundle, 9, tmp_path / "ninth"), scratch, lambda line: None)
    with pytest.raises(Killed):
        execute(plan, Aws(), Dying(Aws(), read_golden(bundle.folder / "golden.npz")), lambda step, seconds: None)
    trial = config_in_service()
    assert names.is_trial_of(ENDPOINT, trial)
    assert [one.what for one in target.in_service("images", thoroughly=False).findings if not one.right]
    back = target.plan_back("images", 8)
    execute(back.plan, Aws(), target.hands(back.golden), lambda step, seconds: None)
    assert (config_in_service(), in_order(settings)) == (before, True)
    journal = target.logbook("images").read()
    assert f"delete      configuration {trial}" in map(str, target.leftovers({"images": journal}, 2)["images"])


@pytest.mark.parametrize(("sagemaker", "reason"), [
    ("{shadow: {}, serverless: {}}", "SageMaker has no shadow beside an endpoint that is serverless"),
    ("{shadow: {}, asynchronous: {}}", "SageMaker has no shadow beside an endpoint that is asynchronous"),
    ("{shadow: {}, instance_type: ml.inf1.xlarge}", "that is on ml.inf1.xlarge"),
    ("{shadow: {share: 1.5}}", "sagemaker.shadow.share: found 1.5, wanted at most 1"),
    ("{shadow: {least_requests: 5}}", "unknown key sagemaker.shadow.least_requests; the nearest is least"),
])
def test_where_sagemaker_has_no_shadow_none_can_be_configured(sagemaker: str, reason: str) -> None:
    with pytest.raises(ConfigurationInvalid, match=reason):
        parse(f"sagemaker: {sagemaker}", name="slipway.yaml")


def test_names_of_trials_are_no_other_configurations() -> None:
    for endpoint in ("slipway-images", "slipway-images-shadow", "s-" + "a" * 61):
        trial, plain = names.trial_name(endpoint, [1]), names.named_by_content(endpoint, [1])
        assert len(trial) <= names.LONGEST
        assert names.is_trial_of(endpoint, trial) and not names.is_trial_of(endpoint, plain)
    assert not names.is_trial_of("slipway-images", names.trial_name("slipway-images-shadow", [1]))
    assert not names.is_trial_of("slipway-images", names.named_by_content("slipway-images-shadow", [1]))


def test_only_json_is_compared_and_a_refusal_is_no_prediction() -> None:
    def line(said: str, encoding: str = "JSON") -> str:
        return json.dumps({"captureData": {"endpointInput": {"encoding": encoding, "data": "{}"},
                                           "endpointOutput": {"encoding": encoding, "data": said}}})

    found = list(exchanges("\n".join([line('{"predictions": [[1.0]]}'), line('{"error": "no"}'),
                                      line("e30=", "BASE64")]).encode()))
    assert [one.predictions is None for one in found] == [False, True]
    assert len({one.request for one in found}) == 1


def test_every_call_of_ours_that_changes_aws_is_counted() -> None:
    reading = {"config", "configs", "endpoint", "invoke", "invoke_later", "keys", "model", "models", "object", "page",
               "read", "read_unchanging", "scaling", "sha256", "fetch", "unfinished"}
    public = {name for service in (Storage, Endpoints, Scaling) for name in vars(service) if not name.startswith("_")}
    assert public == reading | CHANGING
