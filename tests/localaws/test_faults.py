"""Throttles, errors and lost answers on demand, and a record of what was called."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, ConnectionClosedError, ReadTimeoutError

from serving.localaws import LocalAwsError, running
from tests.localaws.conftest import BUCKET, Clients, Maker, client_for

Control = Callable[..., Any]


@pytest.fixture
def control(aws: dict[str, str]) -> Iterator[Control]:
    """Talks to the local AWS's own paths; faults and calls are forgotten before and after."""

    def send(method: str, what: str, body: Any = None) -> Any:
        data = json.dumps(body).encode() if body is not None else None
        request = Request(f"{aws['AWS_ENDPOINT_URL']}/_slipway/{what}", data, method=method)  # noqa: S310 - our own
        with urlopen(request) as response:  # noqa: S310 - our own
            return json.loads(response.read())

    for what in ("faults", "calls"):
        send("DELETE", what)
    yield send
    for what in ("faults", "calls"):
        send("DELETE", what)


CALLS: list[tuple[str, str, dict[str, Any], str]] = [
    ("lambda", "list_functions", {}, "TooManyRequestsException"),
    ("s3", "list_buckets", {}, "SlowDown"),
    ("sagemaker", "list_models", {}, "ThrottlingException"),
    ("iam", "list_roles", {}, "Throttling"),
    ("logs", "describe_log_groups", {}, "Throttling"),
]


@pytest.mark.parametrize(("service", "method", "params", "code"), CALLS)
def test_a_call_is_throttled_as_often_as_asked(
    control: Control, client: Clients, service: str, method: str, params: dict[str, Any], code: str
) -> None:
    control("POST", "faults", {"kind": "throttle", "service": service, "times": 2})
    for _ in range(2):
        with pytest.raises(ClientError) as caught:
            getattr(client(service), method)(**params)
        assert caught.value.response["Error"]["Code"] == code
    getattr(client(service), method)(**params)


def test_a_lost_answer_means_done_and_not_known(control: Control, s3: Any) -> None:
    control("POST", "faults", {"kind": "lost", "service": "s3", "operation": "PutObject"})
    with pytest.raises(ConnectionClosedError):
        s3.put_object(Bucket=BUCKET, Key="faults/lost", Body=b"done")
    assert s3.get_object(Bucket=BUCKET, Key="faults/lost")["Body"].read() == b"done"


def test_an_error_means_not_done(control: Control, lambdas: Any, make_function: Maker) -> None:
    name = make_function()
    control("POST", "faults", {"kind": "error", "operation": "PublishVersion", "skip": 1})
    assert lambdas.publish_version(FunctionName=name)["Version"] == "1"
    lambdas.update_function_configuration(FunctionName=name, MemorySize=256)
    with pytest.raises(ClientError) as caught:
        lambdas.publish_version(FunctionName=name)
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 500
    assert len(lambdas.list_versions_by_function(FunctionName=name)["Versions"]) == 2


def test_a_delayed_call_is_answered_later(control: Control, client: Clients) -> None:
    control("POST", "faults", {"kind": "delay", "service": "sts", "seconds": 0.5})
    started = time.monotonic()
    client("sts").get_caller_identity()
    assert time.monotonic() - started >= 0.5


def test_a_late_answer_is_a_time_out_of_what_was_done_at_once(control: Control, aws: dict[str, str], s3: Any) -> None:
    impatient = boto3.client(
        "s3", endpoint_url=aws["AWS_ENDPOINT_URL"], aws_access_key_id="local", aws_secret_access_key="local",
        config=Config(retries={"total_max_attempts": 1}, read_timeout=0.5))  # fmt: skip
    control("POST", "faults", {"kind": "late", "service": "s3", "operation": "PutObject", "seconds": 60})
    with pytest.raises(ReadTimeoutError):
        impatient.put_object(Bucket=BUCKET, Key="faults/late", Body=b"done")
    assert s3.get_object(Bucket=BUCKET, Key="faults/late")["Body"].read() == b"done"
    until(lambda: control("GET", "held") == [])


PUTS = """
import sys, boto3
boto3.client("s3").put_object(Bucket=sys.argv[1], Key="faults/held", Body=b"x" * 20_000_000)
"""


def test_who_is_killed_while_its_call_is_held_never_made_it(control: Control, aws: dict[str, str], s3: Any) -> None:
    control("POST", "faults", {"kind": "hold", "service": "s3", "operation": "PutObject", "seconds": 60})
    with subprocess.Popen([sys.executable, "-c", PUTS, BUCKET], env={**os.environ, **aws}) as process:
        until(lambda: [call["operation"] for call in control("GET", "held")] == ["PutObject"])
        process.kill()
    until(lambda: control("GET", "held") == [])
    with pytest.raises(ClientError, match="NoSuchKey"):
        s3.get_object(Bucket=BUCKET, Key="faults/held")


def test_what_is_held_is_done_when_the_faults_are_forgotten(control: Control, aws: dict[str, str], s3: Any) -> None:
    control("POST", "faults", {"kind": "hold", "service": "s3", "operation": "PutObject", "seconds": 60})
    with subprocess.Popen([sys.executable, "-c", PUTS, BUCKET], env={**os.environ, **aws}) as process:
        until(lambda: control("GET", "held") != [])
        control("DELETE", "faults")
        assert process.wait(30) == 0
    assert s3.head_object(Bucket=BUCKET, Key="faults/held")["ContentLength"] == 20_000_000


def test_another_fault_instead_lets_go_who_is_held_and_meets_the_next_call(
    control: Control, aws: dict[str, str], s3: Any
) -> None:
    control("POST", "faults", {"kind": "hold", "service": "s3", "operation": "PutObject", "seconds": 60})
    with subprocess.Popen([sys.executable, "-c", PUTS, BUCKET], env={**os.environ, **aws}) as process:
        until(lambda: control("GET", "held") != [])
        control("PUT", "faults", {"kind": "error", "service": "s3", "operation": "ListBuckets"})
        assert process.wait(30) == 0
    with pytest.raises(ClientError, match="InternalError"):
        s3.list_buckets()


def until(so: Callable[[], bool]) -> None:
    """Wait until something is so."""
    ends = time.monotonic() + 60
    while not so():
        assert time.monotonic() < ends
        time.sleep(0.02)


def test_an_unknown_key_is_refused(control: Control) -> None:
    from urllib.error import HTTPError

    with pytest.raises(HTTPError) as caught:
        control("POST", "faults", {"kind": "lost", "opration": "PutObject"})
    assert b"unknown key opration" in caught.value.read()


def test_the_calls_that_came_are_told_in_order(control: Control, client: Clients, s3: Any, lambdas: Any) -> None:
    s3.put_object(Bucket=BUCKET, Key="faults/seen", Body=b"")
    client("sts").get_caller_identity()
    with pytest.raises(ClientError):
        lambdas.get_function(FunctionName="never-made")
    client("sagemaker").list_endpoints()
    assert [(call["service"], call["operation"], call["status"]) for call in control("GET", "calls")] == [
        ("s3", "PutObject", 200),
        ("sts", "GetCallerIdentity", 200),
        ("lambda", "GetFunction", 404),
        ("sagemaker", "ListEndpoints", 200),
    ]


def test_faults_can_be_asked_for_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "faults.yaml"
    file.write_text("faults:\n- {kind: throttle, service: lambda, times: 0}\n- {kind: error, service: sts}\n")
    with running("--faults", str(file)) as environment:
        for _ in range(3):
            with pytest.raises(ClientError, match="Rate exceeded"):
                client_for(environment, "lambda").list_functions()
        client_for(environment, "s3").list_buckets()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("faults: [{kind: throttle, service: lamda}]", "unknown service lamda; the nearest is lambda"),
        ("faults: [{kind: lost, service: s3, operation: PutObjekt}]", "PutObjekt; the nearest is PutObject"),
        ("faults: [{kind: lost, times: often}]", "times: found 'often', wanted a number"),
        ("fault: []", "wanted one key `faults`"),
    ],
)
def test_a_file_that_is_not_understood_stops_it_from_starting(text: str, said: str, tmp_path: Path) -> None:
    file = tmp_path / "faults.yaml"
    file.write_text(text)
    with pytest.raises(LocalAwsError, match=said), running("--faults", str(file)):
        pass
