"""What stands against a deployment is told all at once, with what to do next, before anything changes."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from serving import Aws, Bundle, Settings, build, limits, package, preflight
from serving.aws import EndpointState
from serving.errors import PreflightFailed
from serving.iam import Account, policy
from serving.localaws import running
from serving.plan import Plan
from serving.target import Target
from serving.targets import open_target
from serving.targets.lambda_ import preflight as on_lambda
from serving.targets.sagemaker import preflight as on_sagemaker

from . import recorded
from .conftest import release_of
from .test_deploy import environment

ROOT = Path(__file__).parent.parent.parent
IMAGE = "123456789012.dkr.ecr.us-east-1.amazonaws.com/slipway-server:0.1"
ACCOUNT = Account("123456789012", "us-east-1")


@pytest.fixture(scope="module")
def bundle(network_files: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return build(release_of(network_files), network_files, tmp_path_factory.mktemp("preflight") / "bundle")


@pytest.fixture(scope="module")
def local_aws(bundle: Bundle) -> Iterator[None]:
    with running() as variables, environment(**variables):
        alarm("loud", "ALARM", "breaching")
        alarm("silent", "OK", "notBreaching")
        yield


def alarm(name: str, state: str, missing: str) -> None:
    cloudwatch = boto3.client("cloudwatch")
    cloudwatch.put_metric_alarm(
        AlarmName=name, Namespace="Any", MetricName=name, Statistic="Sum", Period=60, EvaluationPeriods=1,
        Threshold=1, ComparisonOperator="GreaterThanThreshold", TreatMissingData=missing)
    cloudwatch.set_alarm_state(AlarmName=name, StateValue=state, StateReason="a test")


def target(name: str, **said: Any) -> Target:
    settings = Settings.model_validate(said)
    return open_target(name, Aws.of(settings), settings)


def plan(where: Target, bundle: Bundle, home: Path) -> Plan:
    scratch = home / "scratch"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    return where.plan(bundle, scratch, lambda line: None)


def refused(where: Target, bundle: Bundle, home: Path) -> str:
    """Why is it refused? Nothing that may have changed anything reached AWS."""
    boto3.DEFAULT_SESSION = None
    before = len(recorded.calls())
    with pytest.raises(PreflightFailed) as caught:
        plan(where, bundle, home)
    came = recorded.calls()[before:]
    assert came, "the calls are recorded"
    assert [call for call in came if call.changes] == []
    assert "Next: " in str(caught.value)
    return str(caught.value)


@pytest.fixture
def denied(local_aws: None) -> Iterator[Any]:
    """Make a call be refused to whoever asks, from now on and until the test is over."""
    recorded.forget()

    def deny(service: str, operation: str) -> None:
        recorded.door("POST", "faults", {"kind": "denied", "service": service, "operation": operation, "times": 0})

    yield deny
    recorded.forget()


def test_what_stands_not_against_it_is_told_and_by_what_it_costs(
    local_aws: None, bundle: Bundle, tmp_path: Path
) -> None:
    said = plan(target("lambda", **{"lambda": {"provisioned": 2, "storage": 1024}}), bundle, tmp_path)
    assert said.facts[0] == "1024 MB on x86_64, by the millisecond, at most 30 s a request"
    assert said.facts[1:] == ("1024 MB of /tmp, of which 512 are free",
                              "2 environments stand ready, by the hour; twice as many while a new version takes over")
    told = {check.what: check.found for check in said.checks}
    assert told["permissions to read"] == "10 of 10 reads allowed"
    assert "not known" in told["permissions to change"], "the account's own root has no policies"
    assert told["unpacked size without the layer"].endswith(" of 262 MB")
    served = plan(target("sagemaker", sagemaker={"image": IMAGE, "autoscaling": {"most": 3, "invocations": 9}}),
                  bundle, tmp_path)
    assert served.facts == ("1 to 3 x ml.m7i.large, by the hour",)
    assert on_sagemaker.facts(Settings.model_validate({"sagemaker": {"serverless": {}}}).sagemaker) == (
        "serverless, 2048 MB, by the millisecond of a request",)


@pytest.mark.parametrize(("name", "service", "operation", "action"), [
    ("lambda", "s3", "ListObjectsV2", "s3:ListBucket"),
    ("lambda", "s3", "HeadObject", "s3:GetObject"),
    ("lambda", "lambda", "GetFunctionConfiguration", "lambda:GetFunctionConfiguration"),
    ("lambda", "lambda", "GetAlias", "lambda:GetAlias"),
    ("lambda", "lambda", "ListVersionsByFunction", "lambda:ListVersionsByFunction"),
    ("lambda", "lambda", "ListLayerVersions", "lambda:ListLayerVersions"),
    ("lambda", "lambda", "GetFunctionConcurrency", "lambda:GetFunctionConcurrency"),
    ("lambda", "lambda", "ListProvisionedConcurrencyConfigs", "lambda:ListProvisionedConcurrencyConfigs"),
    ("lambda", "lambda", "GetFunctionUrlConfig", "lambda:GetFunctionUrlConfig"),
    ("lambda", "lambda", "GetPolicy", "lambda:GetPolicy"),
    ("lambda", "cloudwatch", "GetMetricStatistics", "cloudwatch:GetMetricStatistics"),
    ("lambda", "cloudwatch", "DescribeAlarms", "cloudwatch:DescribeAlarms"),
    ("lambda", "logs", "DescribeLogGroups", "logs:DescribeLogGroups"),
    ("sagemaker", "s3", "ListObjectsV2", "s3:ListBucket"),
    ("sagemaker", "sagemaker", "DescribeEndpoint", "sagemaker:DescribeEndpoint"),
    ("sagemaker", "sagemaker", "DescribeEndpointConfig", "sagemaker:DescribeEndpointConfig"),
    ("sagemaker", "sagemaker", "DescribeModel", "sagemaker:DescribeModel"),
    ("sagemaker", "cloudwatch", "DescribeAlarms", "cloudwatch:DescribeAlarms"),
    ("sagemaker", "cloudwatch", "GetMetricStatistics", "cloudwatch:GetMetricStatistics"),
    ("sagemaker", "application-autoscaling", "DescribeScalableTargets",
     "application-autoscaling:DescribeScalableTargets"),
])
def test_what_may_not_be_read_is_named(
    denied: Any, bundle: Bundle, tmp_path: Path, name: str, service: str, operation: str, action: str
) -> None:
    denied(service, operation)
    where = target(name, **{"lambda": {"alarms": ["silent"], "canary": {}, "log_retention": 7},
                            "sagemaker": {"image": IMAGE, "alarms": ["silent"], "shadow": {}}})
    said = refused(where, bundle, tmp_path)
    assert f"{action} is refused. Next: slipway iam --target {name} --role deployer" in said


def test_every_problem_is_told_at_once(denied: Any, bundle: Bundle, tmp_path: Path) -> None:
    denied("lambda", "GetPolicy")
    denied("lambda", "GetAlias")
    said = refused(target("lambda", **{"lambda": {"alarms": ["loud", "none"]}}), bundle, tmp_path)
    assert said.startswith("nothing was changed, for 4 things stand against it:")
    assert len(re.findall("Next: ", said)) == 4


def test_a_caller_whose_policies_lack_an_action_is_told_which(
    local_aws: None, bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    iam = boto3.client("iam")
    iam.create_user(UserName="ann")
    for role in ("publisher", "deployer"):
        document = policy(role, "lambda", Settings(), ACCOUNT).to_dict()
        for statement in document["Statement"]:
            statement["Action"] = [one for one in statement["Action"] if one != "lambda:UpdateAlias"]
        iam.put_user_policy(UserName="ann", PolicyName=role, PolicyDocument=json.dumps(document))
    key = iam.create_access_key(UserName="ann")["AccessKey"]
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", key["AccessKeyId"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", key["SecretAccessKey"])
    said = refused(target("lambda"), bundle, tmp_path)
    assert said.count("is not allowed to") == 1
    assert "lambda:UpdateAlias is not allowed to arn:aws:iam::123456789012:user/ann" in said
    monkeypatch.undo()
    boto3.DEFAULT_SESSION = None


@pytest.mark.parametrize(("name", "settings", "words"), [
    ("lambda", {"alarms": ["loud"]}, "loud is firing already"),
    ("lambda", {"alarms": ["none"]}, "no alarm is called none"),
    ("lambda", {"role": "nobody"}, "there is no role nobody"),
    ("lambda", {"reserved": 950}, "50 requests at once are left to the account's other functions"),
    ("sagemaker", {"role": "nobody"}, "there is no role nobody"),
    ("sagemaker", {"instance_type": "ml.c7g.large"}, "ml.c7g.large has an arm64 processor"),
])
def test_what_aws_would_refuse_later_is_refused_now(
    local_aws: None, bundle: Bundle, tmp_path: Path, name: str, settings: dict[str, Any], words: str
) -> None:
    assert words in refused(target(name, **{name: settings}), bundle, tmp_path)


def test_a_bucket_that_is_not_there_is_named(local_aws: None, bundle: Bundle, tmp_path: Path) -> None:
    for name in ("lambda", "sagemaker"):
        assert "slipway iam --cloudformation" in refused(target(name, bucket="nobodys"), bundle, tmp_path)


def test_a_name_that_aws_does_not_take_is_named(local_aws: None, bundle: Bundle, tmp_path: Path) -> None:
    named = Bundle(bundle.folder, bundle.manifest._replace(name="my images"))
    for name in ("lambda", "sagemaker"):
        with pytest.raises(PreflightFailed, match=r"my images.*Next: "):
            plan(target(name), named, tmp_path)


def test_code_that_does_not_fit_beside_its_layer_is_refused(bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "large").mkdir()
    with (tmp_path / "large" / "model").open("wb") as file:
        file.truncate(limits.UNZIPPED.most - 1)
    code, layer = package.write_zip(tmp_path / "large", tmp_path / "code.zip"), tmp_path / "layer.zip"
    (tmp_path / "small").mkdir()
    (tmp_path / "small" / "lib").write_bytes(b"xx")
    package.write_zip(tmp_path / "small", layer)
    check = on_lambda.unpacked(code, lambda: layer, "a smaller one")
    assert check.problem.startswith("262.1 of 262 MB; code and layers of a function, unpacked may have no more (https:")
    assert check.problem.endswith("Next: a smaller one")


def test_a_model_larger_than_its_memory_is_refused() -> None:
    assert preflight.loads(600_000_000, 512, "lambda.memory").problem.endswith("Next: a larger lambda.memory")
    assert not preflight.loads(500_000_000, 512, "lambda.memory").problem


def test_variants_of_other_names_and_a_change_to_serverless_are_refused(local_aws: None) -> None:
    there = EndpointState("slipway-m", "old", "InService", "", (("blue", 1.0),), serverless=True)
    chosen = Settings.model_validate({"sagemaker": {"alarms": ["loud", "silent"]}}).sagemaker
    said = [check.problem for check in on_sagemaker.takes(Aws(), chosen, there, "new")]
    assert [one.split(",")[0].split(";")[0] for one in said] == [
        "slipway-m is serverless", "slipway-m has the variants blue", "loud is firing already"]
    assert on_sagemaker.takes(Aws(), chosen, there, "old") == []


def test_the_docs_list_every_limit_with_its_source() -> None:
    page = (ROOT / "docs" / "deploying.md").read_text(encoding="utf-8")
    rows = [f"| {one.what} | {str(one).strip()} | [AWS]({one.source}) |" for one in limits.TABLE]
    assert [row for row in rows if row not in page] == []


def test_a_machine_that_sagemaker_does_not_have_is_named_with_the_nearest(
    local_aws: None, bundle: Bundle, tmp_path: Path
) -> None:
    recorded.forget()
    said = refused(target("sagemaker", sagemaker={"image": IMAGE, "instance_type": "ml.m7i.lrge"}), bundle, tmp_path)
    assert "SageMaker's API has no ml.m7i.lrge" in said and "the nearest is ml.m7i.large" in said


def test_a_key_that_is_not_there_or_goes_is_named_and_one_that_nobody_may_look_at_is_not_known(
    denied: Any, bundle: Bundle, tmp_path: Path
) -> None:
    kms = boto3.client("kms")
    good, going = (kms.create_key()["KeyMetadata"]["KeyId"] for _ in range(2))
    kms.schedule_key_deletion(KeyId=going)
    recorded.forget()
    wrong = target("sagemaker", kms_key="alias/none", sagemaker={"image": IMAGE, "kms": going})
    said = refused(wrong, bundle, tmp_path)
    assert "kms_key: there is no KMS key alias/none" in said
    assert f"sagemaker.kms: the KMS key {going} is PendingDeletion" in said
    where = target("sagemaker", sagemaker={"image": IMAGE, "kms": good})
    assert f"key: {good}: Enabled" in map(str, plan(where, bundle, tmp_path).checks)
    denied("kms", "DescribeKey")
    boto3.DEFAULT_SESSION = None
    assert "not known whether it can be used" in " ".join(map(str, plan(where, bundle, tmp_path).checks))


def test_what_a_shadow_and_answers_in_s3_cost_is_told() -> None:
    def told(**said: Any) -> tuple[str, ...]:
        return on_sagemaker.facts(Settings.model_validate({"sagemaker": said}).sagemaker)

    assert told(shadow={"instances": 2})[1].startswith("2 more while a new release is tried")
    later = {"asynchronous": {}, "autoscaling": {"least": 0, "most": 4, "backlog": 5}}
    assert told(**later) == ("0 to 4 x ml.m7i.large, by the hour", "every request and answer kept in S3")
