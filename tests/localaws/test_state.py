"""With a state folder, what was deployed is there again after a restart, and after a kill."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from serving.localaws import LocalAwsError, running
from tests.localaws.conftest import BUCKET, ROLE, SERVER, client_for, zipped
from tests.localaws.hosting import Hosting

USE = (
    "import os, part\ndef handler(event, context):\n    return [part.NAME, os.environ['AWS_LAMBDA_FUNCTION_VERSION']]\n"
)
IMAGE_OPTIONS = ("--image", f"test-server={{python}} {SERVER} {{port}} {{model_dir}}")


def deploy(lambdas: Any, runtime: str) -> dict[str, Any]:
    """A function with a layer, two versions and an alias between them; the alias."""
    layer = lambdas.publish_layer_version(
        LayerName="l", Content={"ZipFile": zipped({"python/part.py": "NAME = 'kept'\n"})}, CompatibleRuntimes=[runtime]
    )
    lambdas.create_function(
        FunctionName="f", Runtime=runtime, Role=ROLE, Handler="main.handler", Layers=[layer["LayerVersionArn"]],
        Code={"ZipFile": zipped({"main.py": USE})}, Tags={"release": "images/3"},
    )  # fmt: skip
    lambdas.publish_version(FunctionName="f")
    lambdas.update_function_configuration(FunctionName="f", MemorySize=256)
    lambdas.publish_version(FunctionName="f")
    lambdas.create_function_url_config(FunctionName="f", AuthType="AWS_IAM")
    lambdas.put_function_event_invoke_config(FunctionName="f", MaximumRetryAttempts=0)
    routing = {"AdditionalVersionWeights": {"2": 0.25}}
    alias: dict[str, Any] = lambdas.create_alias(
        FunctionName="f", Name="live", FunctionVersion="1", RoutingConfig=routing
    )
    return alias


def told(environment: dict[str, str]) -> list[Any]:
    """Everything that must be the same after a restart."""
    lambdas, s3 = client_for(environment, "lambda"), client_for(environment, "s3")
    function = lambdas.get_function(FunctionName="f", Qualifier="1")
    url = lambdas.get_function_url_config(FunctionName="f")
    answers = [
        function["Configuration"],
        function["Tags"],
        lambdas.get_alias(FunctionName="f", Name="live"),
        lambdas.list_layer_versions(LayerName="l")["LayerVersions"],
        lambdas.get_function_event_invoke_config(FunctionName="f"),
        url["AuthType"],
        s3.list_object_versions(Bucket=BUCKET),
        s3.head_object(Bucket=BUCKET, Key="a", ChecksumMode="ENABLED"),
        s3.get_object_tagging(Bucket=BUCKET, Key="a")["TagSet"],
    ]
    for answer in answers:
        if isinstance(answer, dict):
            answer.pop("ResponseMetadata", None)
    return answers


def test_what_was_deployed_is_there_after_a_restart(tmp_path: Path, runtime: str) -> None:
    with running("--state", str(tmp_path)) as environment:
        s3, lambdas = client_for(environment, "s3"), client_for(environment, "lambda")
        first = s3.put_object(Bucket=BUCKET, Key="a", Body=b"1")["VersionId"]
        s3.put_object(
            Bucket=BUCKET, Key="a", Body=b"22", ChecksumAlgorithm="SHA256", Tagging="by=ann", Metadata={"k": "v"}
        )
        s3.put_object(Bucket=BUCKET, Key="gone", Body=b"3")
        s3.delete_object(Bucket=BUCKET, Key="gone")
        deploy(lambdas, runtime)
        before = told(environment)
    with running("--state", str(tmp_path)) as environment:
        assert told(environment) == before
        s3, lambdas = client_for(environment, "s3"), client_for(environment, "lambda")
        assert s3.get_object(Bucket=BUCKET, Key="a", VersionId=first)["Body"].read() == b"1"
        with pytest.raises(ClientError, match="NoSuchKey"):
            s3.get_object(Bucket=BUCKET, Key="gone")
        answer = json.loads(lambdas.invoke(FunctionName="f", Qualifier="2")["Payload"].read())
        assert answer == ["kept", "2"]
        assert lambdas.publish_version(FunctionName="f")["Version"] == "2"


def test_an_endpoint_serves_again_after_a_restart(tmp_path: Path) -> None:
    arguments = ("--state", str(tmp_path), *IMAGE_OPTIONS)
    with running(*arguments) as environment:
        hosting = Hosting(lambda service: client_for(environment, service))
        name = hosting.endpoint(hosting.config(hosting.variant("kept")))
        change = [{"VariantName": "main", "DesiredInstanceCount": 2}]
        hosting.sagemaker.update_endpoint_weights_and_capacities(EndpointName=name, DesiredWeightsAndCapacities=change)
        hosting.settled(name)
    with running(*arguments) as environment:
        hosting = Hosting(lambda service: client_for(environment, service))
        found = hosting.settled(name)
        assert found["EndpointStatus"] == "InService"
        assert found["ProductionVariants"][0]["CurrentInstanceCount"] == 2
        assert hosting.ask(name)["answer"] == "kept"


def test_a_kill_loses_at_most_the_last_second(tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "serving.localaws", "--port", "0", "--json", "--state", str(tmp_path)]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    environment = json.loads(process.stdout.readline())["environment"]
    client_for(environment, "s3").put_object(Bucket=BUCKET, Key="a", Body=b"kept")
    time.sleep(2.5)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    with running("--state", str(tmp_path)) as environment:
        assert client_for(environment, "s3").get_object(Bucket=BUCKET, Key="a")["Body"].read() == b"kept"


def test_a_state_that_could_not_be_written_for_a_while_is_written_after_that(tmp_path: Path) -> None:
    (tmp_path / "account.part").mkdir()  # where the next state would be written: fails as a full disk does
    with running("--state", str(tmp_path)) as environment:
        client_for(environment, "s3").put_object(Bucket=BUCKET, Key="a", Body=b"kept")
        time.sleep(2.5)
        assert not (tmp_path / "account.json").exists()
        (tmp_path / "account.part").rmdir()
        until = time.monotonic() + 60
        while not (tmp_path / "account.json").exists():
            assert time.monotonic() < until
            time.sleep(0.1)


def test_a_state_that_cannot_be_read_is_told_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "account.json").write_text('{"schema": 99}')
    with pytest.raises(LocalAwsError, match="schema 99, wanted 1"), running("--state", str(tmp_path)):
        pass
    assert (tmp_path / "account.json").read_text() == '{"schema": 99}'


def test_two_local_awss_do_not_share_a_folder(tmp_path: Path) -> None:
    with (
        running("--state", str(tmp_path)),
        pytest.raises(LocalAwsError, match="another local AWS keeps its account"),
        running("--state", str(tmp_path)),
    ):
        pass


def test_keys_roles_policies_settings_and_alarms_are_there_after_a_restart(tmp_path: Path) -> None:
    statement = {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    trust = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}

    def told(environment: dict[str, str]) -> list[Any]:
        iam, s3, kms = (client_for(environment, service) for service in ("iam", "s3", "kms"))
        (alarm,) = client_for(environment, "cloudwatch").describe_alarms()["MetricAlarms"]
        alarm.pop("AlarmConfigurationUpdatedTimestamp")
        return [
            iam.get_role_policy(RoleName="made", PolicyName="own")["PolicyDocument"],
            iam.list_attached_role_policies(RoleName="made")["AttachedPolicies"],
            iam.get_role(RoleName="made")["Role"]["AssumeRolePolicyDocument"],
            s3.get_bucket_policy(Bucket=BUCKET)["Policy"],
            s3.get_bucket_encryption(Bucket=BUCKET)["ServerSideEncryptionConfiguration"],
            s3.get_public_access_block(Bucket=BUCKET)["PublicAccessBlockConfiguration"],
            kms.describe_key(KeyId="alias/mine")["KeyMetadata"],
            kms.decrypt(CiphertextBlob=(tmp_path / "sealed").read_bytes())["Plaintext"],
            alarm,
        ]

    with running("--state", str(tmp_path / "state")) as environment:
        iam, s3, kms = (client_for(environment, service) for service in ("iam", "s3", "kms"))
        iam.create_role(RoleName="made", AssumeRolePolicyDocument=json.dumps({"Statement": [trust]}))
        iam.put_role_policy(RoleName="made", PolicyName="own", PolicyDocument=policy)
        arn = iam.create_policy(PolicyName="shared", PolicyDocument=policy)["Policy"]["Arn"]
        iam.attach_role_policy(RoleName="made", PolicyArn=arn)
        s3.put_bucket_policy(Bucket=BUCKET, Policy=policy)
        key = kms.create_key()["KeyMetadata"]["KeyId"]
        kms.create_alias(AliasName="alias/mine", TargetKeyId=key)
        (tmp_path / "sealed").write_bytes(kms.encrypt(KeyId=key, Plaintext=b"said")["CiphertextBlob"])
        client_for(environment, "cloudwatch").put_metric_alarm(
            AlarmName="a", Namespace="n", MetricName="m", ComparisonOperator="GreaterThanThreshold", Period=60,
            EvaluationPeriods=1, Threshold=1.0, Statistic="Sum", Dimensions=[{"Name": "d", "Value": "v"}],
            TreatMissingData="ignore",
        )  # fmt: skip
        before = told(environment)
    with running("--state", str(tmp_path / "state")) as environment:
        assert told(environment) == before
