"""Endpoints run their model in a process per instance, and answer as SageMaker's do."""

from __future__ import annotations

import base64
import json
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.localaws.conftest import BUCKET, Clients
from tests.localaws.hosting import IMAGE, ROLE, Hosting, unique
from tests.localaws.test_process_life import alive, gone

CAPTURE = {
    "EnableCapture": True,
    "InitialSamplingPercentage": 100,
    "CaptureOptions": [{"CaptureMode": "Input"}, {"CaptureMode": "Output"}],
    "CaptureContentTypeHeader": {"JsonContentTypes": ["application/json"]},
}


@pytest.fixture
def hosting(client: Clients) -> Iterator[Hosting]:
    """SageMaker, whose endpoints are gone after the test."""
    made = Hosting(client)
    yield made
    for endpoint in made.sagemaker.list_endpoints()["Endpoints"]:
        made.sagemaker.delete_endpoint(EndpointName=endpoint["EndpointName"])


def refusal(make: Callable[..., Any], **params: Any) -> str:
    """The words with which a call is refused."""
    with pytest.raises(ClientError) as caught:
        make(**params)
    error = caught.value.response["Error"]
    return f"{error['Code']}: {error['Message']}"


def test_an_endpoint_comes_into_service_and_answers(hosting: Hosting) -> None:
    name = unique("endpoint")
    config = hosting.config(hosting.variant("one"))
    hosting.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=config)
    assert hosting.describe(name)["EndpointStatus"] == "Creating"
    hosting.sagemaker.get_waiter("endpoint_in_service").wait(
        EndpointName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 20}
    )
    answer = hosting.ask(name, CustomAttributes="trace=1")
    assert (answer["answer"], answer["variant"]) == ("one", "main")
    assert answer["response"]["ContentType"] == "application/json"
    assert answer["response"]["CustomAttributes"] == "trace=1"
    variant = hosting.describe(name)["ProductionVariants"][0]
    assert (variant["CurrentInstanceCount"], variant["CurrentWeight"]) == (1, 1.0)
    assert variant["DeployedImages"][0]["SpecifiedImage"] == IMAGE


def test_there_is_one_process_per_instance(hosting: Hosting) -> None:
    name = hosting.endpoint(hosting.config(hosting.variant("one", InitialInstanceCount=2)))
    assert len({hosting.ask(name)["pid"] for _ in range(6)}) == 2


def test_variants_share_the_traffic_and_can_be_named(hosting: Hosting) -> None:
    variants = [hosting.variant("a", VariantName="a", InitialVariantWeight=3), hosting.variant("b", VariantName="b")]
    name = hosting.endpoint(hosting.config(*variants))
    seen = Counter(hosting.ask(name)["answer"] for _ in range(200))
    assert 110 < seen["a"] < 185  # 150 expected; outside once in 10^7
    assert hosting.ask(name, TargetVariant="b")["answer"] == "b"
    assert "ValidationError" in refusal(hosting.ask, name=name, TargetVariant="c")


def test_weights_and_counts_can_be_changed(hosting: Hosting) -> None:
    variants = [hosting.variant("a", VariantName="a"), hosting.variant("b", VariantName="b", InitialVariantWeight=0)]
    name = hosting.endpoint(hosting.config(*variants))
    assert {hosting.ask(name)["answer"] for _ in range(10)} == {"a"}
    changes = [
        {"VariantName": "a", "DesiredWeight": 0},
        {"VariantName": "b", "DesiredWeight": 1, "DesiredInstanceCount": 2},
    ]
    hosting.sagemaker.update_endpoint_weights_and_capacities(EndpointName=name, DesiredWeightsAndCapacities=changes)
    found = {variant["VariantName"]: variant for variant in hosting.settled(name)["ProductionVariants"]}
    assert found["b"]["CurrentInstanceCount"] == 2
    assert found["a"]["CurrentWeight"] == 0
    answers = [hosting.ask(name) for _ in range(6)]
    assert {answer["answer"] for answer in answers} == {"b"}
    assert len({answer["pid"] for answer in answers}) == 2


def test_a_container_that_does_not_start_fails_the_endpoint(hosting: Hosting) -> None:
    name = unique("endpoint")
    config = hosting.config(hosting.variant("crash"))
    hosting.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=config)
    found = hosting.settled(name)
    assert found["EndpointStatus"] == "Failed"
    assert "exited with code 1" in found["FailureReason"]
    assert "not found" in refusal(hosting.ask, name=name)


def test_an_image_that_nobody_plays_says_what_to_do(hosting: Hosting) -> None:
    name, model = unique("endpoint"), hosting.model({"a": ""}, image="someone/else:1")
    config = hosting.config(hosting.variant("", ModelName=model))
    hosting.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=config)
    assert "--image" in hosting.settled(name)["FailureReason"]


def test_the_models_own_errors_come_as_model_errors(hosting: Hosting) -> None:
    name = hosting.endpoint(hosting.config(hosting.variant("one")))
    for status, side in ((400, "client"), (500, "server")):
        with pytest.raises(ClientError) as caught:
            hosting.ask(name, {"fail": status})
        answer = caught.value.response
        assert answer["Error"]["Code"] == "ModelError"
        assert answer["ResponseMetadata"]["HTTPStatusCode"] == 424
        assert (answer["OriginalStatusCode"], answer["OriginalMessage"]) == (status, "as asked")
        assert f"Received {side} error ({status})" in answer["Error"]["Message"]
    assert hosting.ask(name)["answer"] == "one"


def test_what_the_container_prints_is_in_the_log(hosting: Hosting, client: Clients) -> None:
    name = hosting.endpoint(hosting.config(hosting.variant("loud")))
    group = f"/aws/sagemaker/Endpoints/{name}"
    events = hosting.until(lambda: client("logs").filter_log_events(logGroupName=group)["events"], bool)
    assert events[0]["message"] == "serving loud"
    assert events[0]["logStreamName"].startswith("main/i-")


def test_requests_are_counted(hosting: Hosting, client: Clients) -> None:
    name = hosting.endpoint(hosting.config(hosting.variant("one")))
    hosting.ask(name)
    refusal(hosting.ask, name=name, event={"fail": 500})
    dimensions = [{"Name": "EndpointName", "Value": name}, {"Name": "VariantName", "Value": "main"}]
    found = client("cloudwatch").get_metric_statistics(
        Namespace="AWS/SageMaker", MetricName="Invocation5XXErrors", Statistics=["Sum", "SampleCount"], Period=3600,
        StartTime=time.time() - 3600, EndTime=time.time() + 60, Dimensions=dimensions,
    )["Datapoints"]  # fmt: skip
    assert [(point["Sum"], point["SampleCount"]) for point in found] == [(1, 2)]


def captured(s3: Any, prefix: str) -> list[dict[str, Any]]:
    """All lines of capture files under a prefix."""
    found = s3.list_objects_v2(Bucket=BUCKET, Prefix=prefix).get("Contents", [])
    texts = (s3.get_object(Bucket=BUCKET, Key=item["Key"])["Body"].read().decode() for item in found)
    return [json.loads(line) for text in texts for line in text.splitlines()]


def test_requests_and_answers_are_captured(hosting: Hosting, s3: Any) -> None:
    prefix = unique("capture")
    settings = {**CAPTURE, "DestinationS3Uri": f"s3://{BUCKET}/{prefix}"}
    name = hosting.endpoint(hosting.config(hosting.variant("one"), DataCaptureConfig=settings))
    hosting.ask(name, {"x": 1}, InferenceId="request-7")
    hosting.ask(name, ContentType="application/x-other")
    lines = captured(s3, f"{prefix}/{name}/main/{time.strftime('%Y/%m/%d', time.gmtime())}")
    by_kind = {line["captureData"]["endpointInput"]["observedContentType"]: line for line in lines}
    first = by_kind["application/json"]
    assert json.loads(first["captureData"]["endpointInput"]["data"]) == {"x": 1}
    assert json.loads(first["captureData"]["endpointOutput"]["data"])["answer"] == "one"
    assert first["captureData"]["endpointInput"]["encoding"] == "JSON"
    assert first["eventMetadata"]["inferenceId"] == "request-7"
    other = by_kind["application/x-other"]["captureData"]["endpointInput"]
    assert (other["encoding"], base64.b64decode(other["data"])) == ("BASE64", b"{}")


def test_a_shadow_variant_sees_the_requests_and_answers_nobody(hosting: Hosting, s3: Any) -> None:
    prefix = unique("shadow")
    settings = {**CAPTURE, "DestinationS3Uri": f"s3://{BUCKET}/{prefix}"}
    shadow = hosting.variant("two", VariantName="next")
    config = hosting.config(hosting.variant("one"), ShadowProductionVariants=[shadow], DataCaptureConfig=settings)
    name = hosting.endpoint(config)
    assert {hosting.ask(name)["answer"] for _ in range(5)} == {"one"}
    lines = hosting.until(lambda: captured(s3, f"{prefix}/{name}/next"), lambda found: len(found) == 5)
    assert {json.loads(line["captureData"]["endpointOutput"]["data"])["answer"] for line in lines} == {"two"}
    assert hosting.describe(name)["ShadowProductionVariants"][0]["VariantName"] == "next"


def test_a_serverless_endpoint_throttles_at_its_concurrency(hosting: Hosting) -> None:
    serverless = {"MemorySizeInMB": 1024, "MaxConcurrency": 1}
    variant = {"VariantName": "main", "ModelName": hosting.model({"answer.txt": "one"}), "ServerlessConfig": serverless}
    name = hosting.endpoint(hosting.config(variant))
    found = hosting.describe(name)["ProductionVariants"][0]
    assert found["CurrentServerlessConfig"] == serverless
    with ThreadPoolExecutor(2) as pool:
        slow = pool.submit(hosting.ask, name, {"sleep": 1})
        time.sleep(0.3)
        assert refusal(hosting.ask, name=name).startswith("ThrottlingException")
        assert slow.result()["answer"] == "one"
    assert "ValidationError" in refusal(hosting.ask, name=name, event="x" * 4_200_000)


def test_serverless_takes_one_variant_and_no_capture(hosting: Hosting) -> None:
    variant = {"ModelName": hosting.model({"a": ""}), "ServerlessConfig": {"MemorySizeInMB": 1024, "MaxConcurrency": 1}}
    one, two = {**variant, "VariantName": "a"}, {**variant, "VariantName": "b"}
    make = hosting.sagemaker.create_endpoint_config
    assert "Only one" in refusal(make, EndpointConfigName=unique("c"), ProductionVariants=[one, two])
    capture = {**CAPTURE, "DestinationS3Uri": f"s3://{BUCKET}/x"}
    refused = refusal(make, EndpointConfigName=unique("c"), ProductionVariants=[one], DataCaptureConfig=capture)
    assert "not supported for serverless" in refused


def test_network_isolation_takes_the_credentials_away(hosting: Hosting) -> None:
    keys = []
    for isolated in (False, True):
        model = hosting.model({"answer.txt": "one"}, EnableNetworkIsolation=isolated)
        name = hosting.endpoint(hosting.config(hosting.variant("", ModelName=model)))
        keys.append(hosting.ask(name)["key"])
    assert keys == ["local", None]
    assert hosting.sagemaker.describe_model(ModelName=model)["EnableNetworkIsolation"] is True


def test_model_data_may_be_a_prefix_of_plain_files(hosting: Hosting, s3: Any) -> None:
    prefix = unique("plain")
    s3.put_object(Bucket=BUCKET, Key=f"{prefix}/answer.txt", Body=b"plain")
    s3.put_object(Bucket=BUCKET, Key=f"{prefix}/code/more.txt", Body=b"")
    source = {"S3Uri": f"s3://{BUCKET}/{prefix}/", "S3DataType": "S3Prefix", "CompressionType": "None"}
    name = unique("model")
    container = {"Image": IMAGE, "ModelDataSource": {"S3DataSource": source}}
    hosting.sagemaker.create_model(ModelName=name, ExecutionRoleArn=ROLE, PrimaryContainer=container)
    assert hosting.ask(hosting.endpoint(hosting.config(hosting.variant("", ModelName=name))))["answer"] == "plain"


def test_aws_prebuilt_images_serve_the_models_own_handler(hosting: Hosting) -> None:
    code = """
import json, os
def model_fn(folder):
    return open(os.path.join(folder, "factor.txt")).read()
def predict_fn(data, model):
    return [float(model) * x for x in data]
"""
    image = "763104351884.dkr.ecr.us-east-1.amazonaws.com/pytorch-inference:2.6-cpu-py312"
    model = hosting.model({"code/inference.py": code, "factor.txt": "3"}, image=image)
    name = hosting.endpoint(hosting.config(hosting.variant("", ModelName=model)))
    response = hosting.client("sagemaker-runtime").invoke_endpoint(
        EndpointName=name, Body="[1, 2]", ContentType="application/json"
    )
    assert json.loads(response["Body"].read()) == [3.0, 6.0]


def test_what_exists_or_is_missing_is_refused(hosting: Hosting) -> None:
    sagemaker = hosting.sagemaker
    model, variant = hosting.model({"answer.txt": "one"}), hosting.variant("one")
    config = hosting.config(variant)
    name = hosting.endpoint(config)
    container = {"Image": IMAGE, "ModelDataUrl": f"s3://{BUCKET}/not/there.tar.gz"}
    known = {"ExecutionRoleArn": ROLE, "PrimaryContainer": {"Image": IMAGE}}
    attempts: list[tuple[Callable[..., Any], dict[str, Any], str]] = [
        (sagemaker.create_model, {"ModelName": model, **known}, "already existing model"),
        (
            sagemaker.create_model,
            {**known, "ModelName": "n", "PrimaryContainer": container},
            "Could not find model data",
        ),
        (sagemaker.create_model, {**known, "ModelName": "n", "ExecutionRoleArn": ROLE + "x"}, "Could not assume role"),
        (sagemaker.create_endpoint_config, {"EndpointConfigName": config, "ProductionVariants": [variant]}, "already"),
        (
            sagemaker.create_endpoint_config,
            {"EndpointConfigName": "n", "ProductionVariants": [{**variant, "ModelName": "nope"}]},
            "Could not find model",
        ),
        (sagemaker.create_endpoint, {"EndpointName": name, "EndpointConfigName": config}, "already existing endpoint"),
        (
            sagemaker.create_endpoint,
            {"EndpointName": "n", "EndpointConfigName": "nope"},
            "Could not find endpoint conf",
        ),
        (sagemaker.describe_endpoint, {"EndpointName": "nope"}, "Could not find endpoint"),
        (sagemaker.delete_endpoint, {"EndpointName": "nope"}, "Could not find endpoint"),
    ]
    for attempt, params, words in attempts:
        assert words in refusal(attempt, **params)


def test_instance_types_are_those_that_sagemaker_knows(hosting: Hosting) -> None:
    hosting.config(hosting.variant("one", InstanceType="ml.c7i.large"))
    variant = hosting.variant("one", InstanceType="ml.x9.huge")
    refused = refusal(hosting.sagemaker.create_endpoint_config, EndpointConfigName="n", ProductionVariants=[variant])
    assert "Value 'ml.x9.huge' at 'productionVariants.1.member.instanceType' failed to satisfy constraint" in refused


def test_deleting_an_endpoint_ends_its_processes(hosting: Hosting) -> None:
    name = hosting.endpoint(hosting.config(hosting.variant("one", InitialInstanceCount=2)))
    pids = list({hosting.ask(name)["pid"] for _ in range(4)})
    assert all(alive(pid) for pid in pids)
    hosting.sagemaker.delete_endpoint(EndpointName=name)
    assert gone(pids)
    assert "not found" in refusal(hosting.ask, name=name)
    assert os.getpid() not in pids
