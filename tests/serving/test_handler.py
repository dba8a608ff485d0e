"""The Lambda handler understands each kind of event that AWS sends, tells CloudWatch, and ends early when it must."""

from __future__ import annotations

import base64
import gzip
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from serving.runtime.errors import BundleBroken

from .small import LambdaFront, bundle_of

ROWS = {"instances": [[1, 2, 3, 4], [4, 3, 2, 1]]}
TEXT = json.dumps(ROWS)
PACKED = base64.b64encode(gzip.compress(TEXT.encode())).decode()
GATEWAY_1 = {"resource": "/", "path": "/", "httpMethod": "POST", "requestContext": {"stage": "prod"},
             "headers": {"Content-Type": "application/json"}, "isBase64Encoded": False, "body": TEXT}
GATEWAY_2 = {"version": "2.0", "routeKey": "POST /", "rawPath": "/", "isBase64Encoded": False, "body": TEXT,
             "headers": {"content-type": "application/json"}, "requestContext": {"http": {"method": "POST"}}}
EVENTS: dict[str, dict[str, Any]] = {
    "API Gateway, v1": GATEWAY_1,
    "API Gateway, v1, headers by the list": {**GATEWAY_1, "headers": None, "multiValueHeaders": {
        "Content-Type": ["text/html", "application/json"]}},
    "API Gateway, v1, gzip": {**GATEWAY_1, "isBase64Encoded": True, "body": PACKED, "headers": {
        "Content-Type": "application/json", "Content-Encoding": "gzip"}},
    "API Gateway, v2": GATEWAY_2,
    "a function URL": {**GATEWAY_2, "isBase64Encoded": True, "body": base64.b64encode(TEXT.encode()).decode(),
                       "requestContext": {"domainName": "x.lambda-url.eu-west-1.on.aws", "http": {"method": "POST"}}},
}


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> LambdaFront:
    folder = tmp_path_factory.mktemp("function")
    bundle_of("rows", folder / "bundle")
    return LambdaFront(folder)


@pytest.mark.parametrize("name", EVENTS)
def test_each_kind_of_event_is_answered_as_a_direct_call_is(name: str, front: LambdaFront) -> None:
    direct = front.module.handler(ROWS, None)
    assert len(direct["predictions"]) == 2
    said = front.module.handler(EVENTS[name], None)
    assert said["statusCode"] == 200, said
    assert said["headers"] == {"Content-Type": "application/json", "X-Model": "rows/3", "X-Model-Digest": "d" * 64}
    assert json.loads(said["body"]) == direct


@pytest.mark.parametrize("event", [{"httpMethod": "GET", "requestContext": {}},
                                   {"version": "2.0", "requestContext": {"http": {"method": "GET"}}}])
def test_a_get_says_what_the_model_takes(event: dict[str, Any], front: LambdaFront) -> None:
    said = json.loads(front.module.handler(event, None)["body"])
    assert said["inputs"] == [{"name": "x", "type": "float32", "shape": [None, 4]}]


def test_each_call_leaves_one_line_that_cloudwatch_reads_as_metrics(
        front: LambdaFront, capsys: pytest.CaptureFixture[str]) -> None:
    front.module.handler(ROWS, type("Context", (), {"aws_request_id": "a-1"})())
    front.module.handler({"instances": [[1]]}, None)
    good, bad = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    directive = good["_aws"]["CloudWatchMetrics"][0]
    assert directive["Namespace"] == "Slipway"
    for told in (*(one["Name"] for one in directive["Metrics"]), *directive["Dimensions"][0]):
        assert told in good
    assert (good["Rows"], good["Refused"], good["function_request_id"], good["level"]) == (2, 0, "a-1", "INFO")
    assert (bad["Rows"], bad["Refused"], bad["status"], bad["Faults"]) == (0, 1, 422, 0)


def test_a_wrong_bundle_ends_the_start_by_name(front: LambdaFront, tmp_path: Path) -> None:
    bundle_of("rows", tmp_path / "bundle")
    (tmp_path / "bundle" / "model.onnx").write_bytes(b"")
    with pytest.raises(BundleBroken, match=r"rows/3 was altered: model.onnx was changed"):
        LambdaFront(tmp_path)
    shutil.rmtree(tmp_path / "bundle")
    with pytest.raises(BundleBroken, match=r"no manifest.json"):
        LambdaFront(tmp_path)
