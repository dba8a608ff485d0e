"""Asynchronous endpoints put their answers, and what went wrong, to S3; shadows stand where AWS lets them."""

from __future__ import annotations

import itertools
import json
from functools import partial
from typing import Any

import pytest

from tests.localaws.conftest import BUCKET
from tests.localaws.hosting import Hosting, unique
from tests.localaws.test_endpoints import hosting, refusal

__all__ = ["hosting"]  # a fixture
OUTPUT = {"S3OutputPath": f"s3://{BUCKET}/async/out", "S3FailurePath": f"s3://{BUCKET}/async/bad"}


def later(hosting: Hosting, at_once: int = 4) -> str:
    """An asynchronous endpoint; its name."""
    pace = {"MaxConcurrentInvocationsPerInstance": at_once}
    return hosting.endpoint(hosting.config(
        hosting.variant("one"), AsyncInferenceConfig={"OutputConfig": OUTPUT, "ClientConfig": pace}))


def fetched(hosting: Hosting, location: str) -> bytes:
    """What is put there, once it is."""
    bucket, _, key = location.removeprefix("s3://").partition("/")
    s3 = hosting.client("s3")

    def look() -> bytes:
        there = s3.list_objects_v2(Bucket=bucket, Prefix=key).get("Contents")
        body: bytes = s3.get_object(Bucket=bucket, Key=key)["Body"].read() if there else b""
        return body

    answer: bytes = hosting.until(look, bool)
    return answer


def test_an_asynchronous_answer_or_failure_is_put_to_s3(hosting: Hosting, s3: Any) -> None:
    ask = partial(hosting.client("sagemaker-runtime").invoke_endpoint_async, EndpointName=later(hosting),
                  InputLocation=f"s3://{BUCKET}/async/in.json", ContentType="application/json")
    s3.put_object(Bucket=BUCKET, Key="async/in.json", Body=b"{}")
    said = ask(InferenceId="mine")
    assert (said["InferenceId"], said["ResponseMetadata"]["HTTPStatusCode"]) == ("mine", 202)
    assert said["OutputLocation"].startswith(f"s3://{BUCKET}/async/out/")
    assert json.loads(fetched(hosting, said["OutputLocation"]))["answer"] == "one"
    s3.put_object(Bucket=BUCKET, Key="async/in.json", Body=b'{"fail": 500}')
    said = ask()
    assert said["FailureLocation"].startswith(f"s3://{BUCKET}/async/bad/")
    assert fetched(hosting, said["FailureLocation"]) == b"as asked"


def test_a_request_may_come_with_the_call_and_its_answer_go_to_a_name_of_ones_own(
    hosting: Hosting,
) -> None:
    said = hosting.client("sagemaker-runtime").invoke_endpoint_async(
        EndpointName=later(hosting), Body=b"{}", ContentType="application/json", S3OutputPathExtension="today",
        Filename="mine.json")
    assert said["OutputLocation"] == f"s3://{BUCKET}/async/out/today/mine.json"
    assert json.loads(fetched(hosting, said["OutputLocation"]))["answer"] == "one"


def test_no_more_are_answered_at_once_than_the_configuration_says(hosting: Hosting) -> None:
    ask = partial(hosting.client("sagemaker-runtime").invoke_endpoint_async, EndpointName=later(hosting, at_once=1),
                  Body=b'{"sleep": 0.2}', ContentType="application/json")
    answers = [json.loads(fetched(hosting, said["OutputLocation"])) for said in [ask() for _ in range(3)]]
    times = sorted(tuple(answer["times"]) for answer in answers)
    assert all(earlier[1] <= later[0] for earlier, later in itertools.pairwise(times))


def test_an_endpoint_answers_at_once_or_later_and_does_not_change_that(
    hosting: Hosting, s3: Any
) -> None:
    name, at_once = later(hosting), hosting.config(hosting.variant("one"))
    assert "Use InvokeEndpointAsync" in refusal(partial(hosting.ask, name))
    update = hosting.sagemaker.update_endpoint
    assert "cannot be added to or removed" in refusal(update, EndpointName=name, EndpointConfigName=at_once)
    ask = hosting.client("sagemaker-runtime").invoke_endpoint_async
    where = {"EndpointName": hosting.endpoint(at_once), "InputLocation": f"s3://{BUCKET}/async/in.json"}
    assert "is not an asynchronous endpoint" in refusal(ask, **where)
    assert "InputLocation or Body is required" in refusal(ask, EndpointName=name)
    nowhere = f"s3://{BUCKET}/{unique('none')}"
    assert "cannot be read" in refusal(ask, EndpointName=name, InputLocation=nowhere)


@pytest.mark.parametrize(("names", "later_too", "reason"), [
    ((("one",), ("a", "b")), False, "Only one ProductionVariant and one ShadowProductionVariant"),
    ((("one", "two"), ("a",)), False, "Only one ProductionVariant and one ShadowProductionVariant"),
    ((("one",), ("a",)), True, "ShadowProductionVariants is not supported for asynchronous endpoints"),
])
def test_a_shadow_stands_beside_one_variant_that_answers_at_once(
    hosting: Hosting, names: tuple[tuple[str, ...], ...], later_too: bool, reason: str
) -> None:
    production, shadows = ([hosting.variant("x", VariantName=name) for name in each] for each in names)
    extra = {"AsyncInferenceConfig": {"OutputConfig": OUTPUT}} if later_too else {}
    assert reason in refusal(
        hosting.sagemaker.create_endpoint_config, EndpointConfigName=unique("config"), ProductionVariants=production,
        ShadowProductionVariants=shadows, **extra)
