"""The Lambda handler understands each kind of event that AWS sends, tells CloudWatch, and ends early when it must."""

from __future__ import annotations

import base64
import gzip
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from onnx import TensorProto, helper, save_model

from serving.runtime.errors import BundleBroken
from serving.runtime.manifest import sha256

from .small import LambdaFront, bundle_of, weights

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


def test_a_header_that_is_null_is_none(front: LambdaFront) -> None:
    event = {**GATEWAY_2, "headers": {"content-type": None, "accept": None, "content-encoding": None}}
    assert front.module.handler(event, None)["statusCode"] == 200


def test_a_load_balancer_that_sends_lists_of_headers_gets_lists_of_headers(front: LambdaFront) -> None:
    event = {"requestContext": {"elb": {"targetGroupArn": "arn"}}, "httpMethod": "POST", "path": "/", "body": TEXT,
             "isBase64Encoded": False, "multiValueHeaders": {"content-type": ["application/json"]}}
    said = front.module.handler(event, None)
    assert said["statusCode"] == 200
    assert said["multiValueHeaders"]["Content-Type"] == ["application/json"]
    assert "headers" not in said


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> LambdaFront:
    """A model that answers each row of 4 numbers with 1,000 of them."""
    folder = tmp_path_factory.mktemp("wide")
    bundle_of("rows", folder / "bundle")
    told = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "W"], ["probabilities"])], "g", [told("x", TensorProto.FLOAT, ["rows", 4])],
        [told("probabilities", TensorProto.FLOAT, ["rows", 1000])], [weights("W", 4, 1000)])
    save_model(helper.make_model(graph, ir_version=9, opset_imports=[helper.make_opsetid("", 18)]),
               folder / "bundle" / "model.onnx")
    manifest = json.loads((folder / "bundle" / "manifest.json").read_bytes())
    next(f for f in manifest["files"] if f["path"] == "model.onnx")["sha256"] = sha256(folder / "bundle" / "model.onnx")
    (folder / "bundle" / "manifest.json").write_text(json.dumps(manifest))
    return LambdaFront(folder)


@pytest.mark.parametrize("accept", ["application/json", "text/csv", "application/x-npy"])
def test_an_answer_that_lambda_would_not_give_back_is_refused_with_what_to_do(accept: str, wide: LambdaFront) -> None:
    for rows, status in ((4, 200), (2000, 413)):
        event = {**GATEWAY_2, "headers": {"content-type": "application/json", "accept": accept},
                 "body": json.dumps({"instances": [[1, 2, 3, 4]] * rows})}
        said = wide.module.handler(event, None)
        assert said["statusCode"] == status
        assert len(json.dumps(said)) < 6 * 1024 * 1024
    assert "Next: ask for fewer rows at once" in said["body"]


def test_a_direct_answer_that_lambda_would_not_give_back_is_refused_as_well(wide: LambdaFront) -> None:
    assert len(wide.module.handler({"instances": [[1, 2, 3, 4]] * 4}, None)["predictions"]) == 4
    said = wide.module.handler({"instances": [[1, 2, 3, 4]] * 2000}, None)
    assert (said["status"], "fewer rows" in said["error"]) == (413, True)


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
