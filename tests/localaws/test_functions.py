"""Functions run as on AWS: the real runtime client, in processes of their own, behind versions and aliases."""

from __future__ import annotations

import base64
import json
import os
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.localaws.conftest import ROLE, Clients, Maker, zipped
from tests.localaws.test_process_life import alive, gone

WHO = """
import os
COUNT = 0
def handler(event, context):
    global COUNT
    COUNT += 1
    return {"pid": os.getpid(), "count": COUNT, "version": os.environ["AWS_LAMBDA_FUNCTION_VERSION"],
            "arn": context.invoked_function_arn, "left": context.get_remaining_time_in_millis()}
"""
SLOW = """
import os, time
def handler(event, context):
    time.sleep(event["seconds"])
    return os.getpid()
"""


def call(lambdas: Any, name: str, event: Any = None, **options: Any) -> tuple[Any, dict[str, Any]]:
    """The function's answer, and the response it came in."""
    response = lambdas.invoke(FunctionName=name, Payload=json.dumps(event if event is not None else {}), **options)
    return json.loads(response["Payload"].read()), response


def refusal(make: Callable[..., Any], **params: Any) -> tuple[str, str, int]:
    """The code, message and status with which a call is refused."""
    with pytest.raises(ClientError) as caught:
        make(**params)
    answer = caught.value.response
    return answer["Error"]["Code"], answer["Error"]["Message"], answer["ResponseMetadata"]["HTTPStatusCode"]


def test_an_event_comes_back_from_a_process_of_its_own(lambdas: Any, make_function: Maker) -> None:
    answer, response = call(lambdas, make_function(WHO))
    assert answer["pid"] != os.getpid()
    assert response["ExecutedVersion"] == "$LATEST"
    assert "FunctionError" not in response
    assert 0 < answer["left"] <= 10_000


def test_a_warm_process_is_used_again(lambdas: Any, make_function: Maker) -> None:
    name = make_function(WHO)
    first, second = call(lambdas, name)[0], call(lambdas, name)[0]
    assert second["pid"] == first["pid"]
    assert second["count"] == 2


def test_concurrent_events_run_in_processes_of_their_own(lambdas: Any, make_function: Maker) -> None:
    name = make_function(SLOW)
    with ThreadPoolExecutor(3) as pool:
        pids = list(pool.map(lambda _: call(lambdas, name, {"seconds": 0.5})[0], range(3)))
    assert len(set(pids)) == 3


def test_environment_variables_reach_the_function(lambdas: Any, make_function: Maker) -> None:
    source = "import os\ndef handler(e, c):\n    return [os.environ['RELEASE'], os.environ['AWS_REGION']]\n"
    name = make_function(source, Environment={"Variables": {"RELEASE": "7"}})
    assert call(lambdas, name)[0] == ["7", "us-east-1"]


def test_a_function_sees_its_own_files_and_not_what_is_installed_here(lambdas: Any, make_function: Maker) -> None:
    source = """
import importlib.util
def handler(event, context):
    return [name for name in ("numpy", "click", "boto3", "awslambdaric") if importlib.util.find_spec(name)]
"""
    assert call(lambdas, make_function(source))[0] == ["boto3", "awslambdaric"]


def test_the_log_has_start_end_and_report_lines(lambdas: Any, make_function: Maker, client: Clients) -> None:
    name = make_function("def handler(e, c):\n    print('said this')\n    return 1\n")
    _, response = call(lambdas, name, LogType="Tail")
    tail = base64.b64decode(response["LogResult"]).decode()
    for part in (
        "START RequestId: ",
        "said this",
        "END RequestId: ",
        "REPORT RequestId: ",
        "Max Memory Used: ",
        "Init Duration: ",
    ):
        assert part in tail
    logs, group = client("logs"), f"/aws/lambda/{name}"
    messages = [event["message"] for event in logs.filter_log_events(logGroupName=group)["events"]]
    assert "said this" in messages
    assert any(message.startswith("REPORT ") for message in messages)


def test_with_the_log_format_json_every_line_is_a_record(lambdas: Any, make_function: Maker) -> None:
    name = make_function(
        "import logging\ndef handler(e, c):\n    logging.getLogger().warning('said this')\n    return 1 / e\n",
        LoggingConfig={"LogFormat": "JSON"})

    def told(event: int) -> list[dict[str, Any]]:
        _, response = call(lambdas, name, event, LogType="Tail")
        return [json.loads(line) for line in base64.b64decode(response["LogResult"]).decode().splitlines()]

    first, second = told(1), told(0)
    assert [one.get("type") or one["message"] for one in first] == [
        "platform.initStart", "platform.start", "said this", "platform.report"]
    reports = [told[-1]["record"] for told in (first, second)]
    assert [one["status"] for one in reports] == ["success", "error"]
    assert [sorted(one["metrics"]) for one in reports] == [
        ["billedDurationMs", "durationMs", "initDurationMs", "maxMemoryUsedMB", "memorySizeMB"],
        ["billedDurationMs", "durationMs", "maxMemoryUsedMB", "memorySizeMB"]]
    assert reports[0]["requestId"] == first[1]["record"]["requestId"] == first[2]["requestId"]


def test_an_exception_is_a_function_error_and_the_process_lives_on(lambdas: Any, make_function: Maker) -> None:
    name = make_function(
        "import os\ndef handler(e, c):\n    if e: raise ValueError('no good')\n    return os.getpid()\n"
    )
    before, _ = call(lambdas, name)
    answer, response = call(lambdas, name, {"bad": 1})
    assert response["StatusCode"] == 200
    assert response["FunctionError"] == "Unhandled"
    assert (answer["errorType"], answer["errorMessage"]) == ("ValueError", "no good")
    assert call(lambdas, name)[0] == before


def test_a_handler_that_cannot_be_imported_is_an_init_error(lambdas: Any, make_function: Maker) -> None:
    answer, response = call(lambdas, make_function("import nowhere_to_be_found\n"), LogType="Tail")
    assert response["FunctionError"] == "Unhandled"
    assert answer["errorType"] == "Runtime.ImportModuleError"
    assert "nowhere_to_be_found" in answer["errorMessage"]
    assert "nowhere_to_be_found" in base64.b64decode(response["LogResult"]).decode()


def test_a_process_that_exits_is_an_error_and_the_next_event_gets_a_new_one(lambdas: Any, make_function: Maker) -> None:
    name = make_function("import os\ndef handler(e, c):\n    if e: os._exit(3)\n    return 'well'\n")
    answer, response = call(lambdas, name, {"die": 1})
    assert response["FunctionError"] == "Unhandled"
    assert answer["errorType"] == "Runtime.ExitError"
    assert "exit status 3" in answer["errorMessage"]
    assert call(lambdas, name)[0] == "well"


def test_a_function_is_stopped_at_its_timeout(lambdas: Any, make_function: Maker) -> None:
    name = make_function(SLOW, Timeout=1)
    started = time.monotonic()
    answer, response = call(lambdas, name, {"seconds": 30}, LogType="Tail")
    assert time.monotonic() - started < 5
    assert response["FunctionError"] == "Unhandled"
    assert "Task timed out after 1.00 seconds" in answer["errorMessage"]
    assert "Task timed out after 1.00 seconds" in base64.b64decode(response["LogResult"]).decode()
    assert isinstance(call(lambdas, name, {"seconds": 0})[0], int)


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="memory is read from /proc")  # noqa: PTH110
def test_a_function_is_stopped_at_its_memory_limit(lambdas: Any, make_function: Maker) -> None:
    source = (
        "import time\ndef handler(e, c):\n    held = bytearray(250_000_000)\n    time.sleep(9)\n    return len(held)\n"
    )
    answer, response = call(lambdas, make_function(source, MemorySize=128))
    assert response["FunctionError"] == "Unhandled"
    assert answer["errorType"] == "Runtime.ExitError"
    assert "signal: killed" in answer["errorMessage"]


def test_an_answer_over_six_megabytes_is_an_error(lambdas: Any, make_function: Maker) -> None:
    answer, response = call(lambdas, make_function("def handler(e, c):\n    return 'x' * 6_300_000\n"))
    assert response["FunctionError"] == "Unhandled"
    assert answer["errorType"] == "Function.ResponseSizeTooLarge"


def test_a_payload_over_six_megabytes_is_refused(lambdas: Any, make_function: Maker) -> None:
    name = make_function()
    code, message, status = refusal(lambdas.invoke, FunctionName=name, Payload=b'"' + b"x" * 6_300_000 + b'"')
    assert (code, status) == ("RequestTooLargeException", 413)
    assert "6291456" in message


def test_versions_are_frozen_and_answer_for_themselves(lambdas: Any, make_function: Maker) -> None:
    name = make_function("def handler(e, c):\n    return 'one'\n")
    assert lambdas.publish_version(FunctionName=name)["Version"] == "1"
    lambdas.update_function_code(
        FunctionName=name, ZipFile=zipped({"main.py": "def handler(e, c):\n    return 'two'\n"})
    )
    assert lambdas.publish_version(FunctionName=name)["Version"] == "2"
    assert [call(lambdas, name, Qualifier=version)[0] for version in ("1", "2")] == ["one", "two"]
    assert call(lambdas, f"{name}:1")[1]["ExecutedVersion"] == "1"
    arn = lambdas.get_function(FunctionName=name, Qualifier="1")["Configuration"]["FunctionArn"]
    assert arn.endswith(f":{name}:1")
    assert call(lambdas, arn)[0] == "one"


def test_publishing_without_a_change_gives_the_same_version(lambdas: Any, make_function: Maker) -> None:
    name = make_function()
    assert [lambdas.publish_version(FunctionName=name)["Version"] for _ in range(2)] == ["1", "1"]
    lambdas.update_function_configuration(FunctionName=name, MemorySize=256)
    assert lambdas.publish_version(FunctionName=name)["Version"] == "2"
    assert lambdas.get_function_configuration(FunctionName=name, Qualifier="1")["MemorySize"] == 128


def test_an_alias_shares_its_traffic_by_its_weights(lambdas: Any, make_function: Maker) -> None:
    name = make_function(WHO)
    lambdas.publish_version(FunctionName=name)
    lambdas.update_function_configuration(FunctionName=name, MemorySize=256)
    lambdas.publish_version(FunctionName=name)
    routing = {"AdditionalVersionWeights": {"2": 0.4}}
    lambdas.create_alias(FunctionName=name, Name="live", FunctionVersion="1", RoutingConfig=routing)
    seen = Counter(call(lambdas, name, Qualifier="live")[1]["ExecutedVersion"] for _ in range(200))
    assert 45 < seen["2"] < 115  # 80 expected; outside once in 10^6
    lambdas.update_alias(
        FunctionName=name, Name="live", FunctionVersion="2", RoutingConfig={"AdditionalVersionWeights": {}}
    )
    answer, response = call(lambdas, f"{name}:live")
    assert response["ExecutedVersion"] == answer["version"] == "2"
    assert answer["arn"].endswith(f":{name}:live")


def test_a_qualifier_that_does_not_exist_is_refused(lambdas: Any, make_function: Maker) -> None:
    name = make_function()
    code, message, status = refusal(lambdas.invoke, FunctionName=name, Qualifier="9")
    assert (code, status) == ("ResourceNotFoundException", 404)
    assert message.endswith(f"function:{name}:9")


def test_weights_to_latest_or_to_a_missing_version_are_refused(lambdas: Any, make_function: Maker) -> None:
    name = make_function()
    lambdas.publish_version(FunctionName=name)
    for main, other in (("$LATEST", "1"), ("1", "5"), ("1", "1")):
        routing = {"AdditionalVersionWeights": {other: 0.1}}
        refused = refusal(
            lambdas.create_alias, FunctionName=name, Name="a", FunctionVersion=main, RoutingConfig=routing
        )
        assert refused[0] == "InvalidParameterValueException"


def test_a_stale_revision_id_is_refused(lambdas: Any, make_function: Maker) -> None:
    name = make_function()
    stale = lambdas.get_function_configuration(FunctionName=name)["RevisionId"]
    code = zipped({"main.py": "def handler(e, c): return 2\n"})
    lambdas.update_function_code(FunctionName=name, ZipFile=code, RevisionId=stale)
    lambdas.publish_version(FunctionName=name)
    alias = lambdas.create_alias(FunctionName=name, Name="live", FunctionVersion="1")
    lambdas.update_alias(FunctionName=name, Name="live", Description="moved", RevisionId=alias["RevisionId"])
    attempts: list[tuple[Callable[..., Any], dict[str, Any]]] = [
        (lambdas.update_function_code, {"ZipFile": code, "RevisionId": stale}),
        (lambdas.update_function_configuration, {"MemorySize": 512, "RevisionId": stale}),
        (lambdas.publish_version, {"RevisionId": stale}),
        (lambdas.update_alias, {"Name": "live", "FunctionVersion": "1", "RevisionId": alias["RevisionId"]}),
    ]
    for attempt, params in attempts:
        refused = refusal(attempt, FunctionName=name, **params)
        assert (refused[0], refused[2]) == ("PreconditionFailedException", 412)


def test_a_wrong_code_hash_is_not_published(lambdas: Any, make_function: Maker) -> None:
    name = make_function()
    right = lambdas.get_function_configuration(FunctionName=name)["CodeSha256"]
    wrong = base64.b64encode(bytes(32)).decode()
    assert refusal(lambdas.publish_version, FunctionName=name, CodeSha256=wrong)[0] == "InvalidParameterValueException"
    assert lambdas.publish_version(FunctionName=name, CodeSha256=right)["CodeSha256"] == right


def test_the_waiters_of_boto3_are_satisfied(lambdas: Any, make_function: Maker) -> None:
    name = make_function()
    lambdas.get_waiter("function_active_v2").wait(FunctionName=name)
    lambdas.update_function_configuration(FunctionName=name, MemorySize=192)
    lambdas.get_waiter("function_updated_v2").wait(FunctionName=name)
    version = lambdas.publish_version(FunctionName=name)["Version"]
    lambdas.get_waiter("published_version_active").wait(FunctionName=name, Qualifier=version)
    found = lambdas.get_function_configuration(FunctionName=name, Qualifier=version)
    assert (found["State"], found["LastUpdateStatus"]) == ("Active", "Successful")


def test_a_runtime_without_an_interpreter_is_refused_with_those_on_offer(
    lambdas: Any, runtime: str, make_function: Maker
) -> None:
    name = make_function()
    missing = "python3.9"
    attempts: list[tuple[Callable[..., Any], dict[str, Any]]] = [
        (make_function, {"Runtime": missing}),
        (lambdas.update_function_configuration, {"FunctionName": name, "Runtime": missing}),
        (lambdas.list_layer_versions, {"LayerName": "any", "CompatibleRuntime": missing}),
        (lambdas.list_layers, {"CompatibleRuntime": missing}),
        (
            lambdas.publish_layer_version,
            {"LayerName": "any", "Content": {"ZipFile": zipped({"a": ""})}, "CompatibleRuntimes": [missing]},
        ),
    ]
    for attempt, params in attempts:
        code, message, status = refusal(attempt, **params)
        assert (code, status) == ("InvalidParameterValueException", 400)
        assert message.startswith(f"Value {missing} at '")
        assert runtime in message[message.index("[") + 1 : message.index("]")].split(", ")


def test_code_that_is_not_in_s3_is_refused(make_function: Maker) -> None:
    for bucket, code in (("slipway-123456789012-us-east-1", "NoSuchKey"), ("no-such-bucket-here", "NoSuchBucket")):
        refused = refusal(make_function, Code={"S3Bucket": bucket, "S3Key": "not/there.zip"})
        assert refused[0] == "InvalidParameterValueException"
        assert f"S3 Error Code: {code}." in refused[1]


def test_code_comes_from_s3_at_the_version_asked_for(lambdas: Any, s3: Any, make_function: Maker) -> None:
    bucket, key = "slipway-123456789012-us-east-1", "releases/code.zip"
    first = s3.put_object(Bucket=bucket, Key=key, Body=zipped({"main.py": "def handler(e, c):\n    return 1\n"}))
    s3.put_object(Bucket=bucket, Key=key, Body=zipped({"main.py": "def handler(e, c):\n    return 2\n"}))
    name = make_function(Code={"S3Bucket": bucket, "S3Key": key, "S3ObjectVersion": first["VersionId"]})
    assert call(lambdas, name)[0] == 1
    lambdas.update_function_code(FunctionName=name, S3Bucket=bucket, S3Key=key)
    assert call(lambdas, name)[0] == 2


def test_a_role_that_lambda_cannot_assume_is_refused(make_function: Maker) -> None:
    for role in (ROLE.replace("lambda", "sagemaker"), ROLE + "-missing"):
        assert "cannot be assumed by Lambda" in refusal(make_function, Role=role)[1]


def test_values_outside_the_service_model_are_refused(make_function: Maker) -> None:
    code, message, _ = refusal(make_function, MemorySize=99_000)
    assert code == "ValidationException"
    assert "Value '99000' at 'memorySize' failed to satisfy constraint" in message


def test_a_second_function_of_the_same_name_is_refused(lambdas: Any, make_function: Maker, runtime: str) -> None:
    name, code = make_function(), {"ZipFile": zipped({"main.py": ""})}
    refused = refusal(lambdas.create_function, FunctionName=name, Runtime=runtime, Role=ROLE, Handler="m.h", Code=code)
    assert (refused[0], refused[2]) == ("ResourceConflictException", 409)


def test_deleting_a_function_ends_its_processes(lambdas: Any, make_function: Maker, runtime: str) -> None:
    name = "to-be-deleted"
    code = {"ZipFile": zipped({"main.py": WHO})}
    lambdas.create_function(FunctionName=name, Runtime=runtime, Role=ROLE, Handler="main.handler", Code=code)
    pid = call(lambdas, name)[0]["pid"]
    assert alive(pid)
    lambdas.delete_function(FunctionName=name)
    assert gone([pid])
    assert refusal(lambdas.invoke, FunctionName=name)[0] == "ResourceNotFoundException"


def test_reserved_concurrency_throttles(lambdas: Any, make_function: Maker) -> None:
    name = make_function()
    lambdas.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
    code, _, status = refusal(lambdas.invoke, FunctionName=name)
    assert (code, status) == ("TooManyRequestsException", 429)
    lambdas.delete_function_concurrency(FunctionName=name)
    assert call(lambdas, name, [1])[0] == [1]


def test_an_asynchronous_event_is_run_and_its_answer_only_logged(
    lambdas: Any, make_function: Maker, client: Clients
) -> None:
    name = make_function("def handler(e, c):\n    print('ran', e['n'])\n")
    assert lambdas.invoke(FunctionName=name, InvocationType="Event", Payload=b'{"n": 5}')["StatusCode"] == 202
    logs, deadline = client("logs"), time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            messages = [e["message"] for e in logs.filter_log_events(logGroupName=f"/aws/lambda/{name}")["events"]]
        except ClientError:
            messages = []
        if "ran 5" in messages:
            return
        time.sleep(0.05)
    pytest.fail("the event was not run within 10 s")


def test_invocations_and_errors_are_counted_by_alias_and_version(
    lambdas: Any, make_function: Maker, client: Clients
) -> None:
    name = make_function("def handler(e, c):\n    return 1 / e['by']\n")
    lambdas.publish_version(FunctionName=name)
    lambdas.create_alias(FunctionName=name, Name="live", FunctionVersion="1")
    for by in (1, 0):
        call(lambdas, name, {"by": by}, Qualifier="live")
    dimensions = {"FunctionName": name, "Resource": f"{name}:live", "ExecutedVersion": "1"}
    found = client("cloudwatch").get_metric_statistics(
        Namespace="AWS/Lambda", MetricName="Errors", Statistics=["Sum", "SampleCount"], Period=3600,
        StartTime=time.time() - 3600, EndTime=time.time() + 60,
        Dimensions=[{"Name": key, "Value": value} for key, value in dimensions.items()],
    )["Datapoints"]  # fmt: skip
    assert sum(point["Sum"] for point in found) == 1
    assert sum(point["SampleCount"] for point in found) == 2
