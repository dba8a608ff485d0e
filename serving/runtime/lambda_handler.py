"""The Lambda function: direct invocations, and HTTP events of function URLs and API Gateway (v1 and v2)."""

from __future__ import annotations

import base64
import binascii
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from .core import Predictor
from .errors import BadRequest, RuntimeFault
from .exchange import JSON, NPY, Exchange, Kept, Request, Response
from .limits import Limits

NAMESPACE = "Slipway"
# Bytes of an answer to a synchronous call, less what frames it; past it Lambda itself answers that the function failed
# (https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html, read in 2026-11).
MOST = 6 * 1024 * 1024 - 2048


def handler(event: Any, context: object) -> dict[str, Any]:
    """What is the answer to one event?

    A direct invocation gives the answer itself, or ``{"error": ..., "status": ...}``; an HTTP event gives a
    response with a status code, headers and a body. Every call leaves one line on stdout, a structured log that
    CloudWatch also reads as metrics (Embedded Metric Format).
    """
    started = time.perf_counter()
    rows, unknown = _counted["rows"], _counted["unknown"]
    http = isinstance(event, dict) and "requestContext" in event
    answer = _http(event) if http else _direct(event)
    status = answer["statusCode"] if http else answer.get("status", 200)
    _log(context, status, (time.perf_counter() - started) * 1e3, _counted["rows"] - rows,
         _counted["unknown"] - unknown)
    return answer


def _direct(event: Any) -> dict[str, Any]:
    try:
        answer = _predictor.answer(event)
        if _may_be_large(answer):
            _refuse_large(len(json.dumps(answer, ensure_ascii=False).encode()))
    except RuntimeFault as fault:
        _exchange.refuse(fault)
        return {"error": str(fault), "status": fault.status}
    _counted["rows"] += _rows(answer["predictions"])
    _counted["unknown"] += len(answer.get("unknown", ()))
    return answer


def _rows(predictions: Any) -> int:
    return len(next(iter(predictions.values())) if isinstance(predictions, dict) else predictions)


def _may_be_large(answer: dict[str, Any]) -> bool:
    """Is it worth the time to count its bytes? A number takes 25 at most, an unknown row's words some 1,400."""
    said, numbers = answer["predictions"], 0
    for part in said.values() if isinstance(said, dict) else (said,):
        count = 1
        while isinstance(part, list):
            count *= len(part)
            part = part[0] if part else None
        numbers += count * (len(part) if isinstance(part, str) else 1)
    return 25 * numbers + 64 * len(answer.get("labels", ())) + 1400 * len(answer.get("unknown", ())) > MOST


def _refuse_large(size: int) -> None:
    if size > MOST:
        raise BadRequest(f"the answer has {size} bytes; Lambda gives back at most {MOST}. Next: ask for fewer rows at "
                         "once", status=413)


def _http(event: dict[str, Any]) -> dict[str, Any]:
    headers = _headers(event)
    if _method(event) == "GET":
        said = Response(200, JSON, json.dumps(_described()).encode())
    else:
        try:
            said = _exchange.respond(Request(_body(event), headers.get("content-type", ""), headers.get("accept", ""),
                                             headers.get("content-encoding", "")))
            if 2 * len(said.body) > MOST:
                _refuse_large(_sent(said))
        except RuntimeFault as fault:
            said = _exchange.refuse(fault)
    answer = _answered(said)
    if "multiValueHeaders" in event and "headers" not in event:  # a load balancer that is set so reads no others
        answer["multiValueHeaders"] = {name: [value] for name, value in answer.pop("headers").items()}
    return answer


def _sent(response: Response) -> int:
    """How many bytes does this body have as text in JSON?"""
    if response.kind == NPY:
        return -(-len(response.body) // 3) * 4
    return len(response.body) + sum(map(response.body.count, (b'"', b"\\", b"\n")))


def _method(event: dict[str, Any]) -> str:
    context = event["requestContext"]
    http = context.get("http") if isinstance(context, dict) else None
    return str(event.get("httpMethod") or (http.get("method") if isinstance(http, dict) else "") or "POST")


def _headers(event: dict[str, Any]) -> dict[str, str]:
    found = event.get("headers")
    if not isinstance(found, dict):
        many = event.get("multiValueHeaders")
        found = {k: v[-1] for k, v in many.items() if isinstance(v, list) and v} if isinstance(many, dict) else {}
    return {str(k).lower(): str(v) for k, v in found.items() if v is not None}


def _body(event: dict[str, Any]) -> bytes:
    body = event.get("body")
    if body is None:
        return b""
    if not isinstance(body, str):
        raise BadRequest("the event's body is no text")
    if not event.get("isBase64Encoded"):
        try:
            return body.encode()
        except UnicodeEncodeError:
            raise BadRequest("the body holds half a surrogate pair") from None
    try:
        return base64.b64decode(body, validate=True)
    except (ValueError, binascii.Error):
        raise BadRequest("the body says it is base64 and is not") from None


def _answered(response: Response) -> dict[str, Any]:
    served = _predictor.manifest
    headers = {"Content-Type": response.kind, "X-Model": f"{served.name}/{served.version}",
               "X-Model-Digest": served.digest}
    if response.kind == NPY:
        return {"statusCode": response.status, "headers": headers, "isBase64Encoded": True,
                "body": base64.b64encode(response.body).decode("ascii")}
    return {"statusCode": response.status, "headers": headers, "isBase64Encoded": False,
            "body": response.body.decode()}


def _described() -> dict[str, Any]:
    served = _predictor.manifest
    return {"model": {"name": served.name, "version": served.version, "digest": served.digest},
            "inputs": [{"name": t.name, "type": t.dtype, "shape": list(t.shape)} for t in served.inputs]}


def _log(context: object, status: int, milliseconds: float, rows: int, unknown: int) -> None:
    # Written by hand around what never changes: json.dumps of the whole line took a fifth of a warm call.
    level = "INFO" if status < 500 else "ERROR"
    request_id = getattr(context, "aws_request_id", "")
    sys.stdout.write(
        f'{{"_aws": {{"Timestamp": {int(time.time() * 1000)}, "CloudWatchMetrics": {_METRICS}}}, "level": "{level}", '
        f'{_WHO}, "status": {status}, "function_request_id": "{request_id}", "Latency": {milliseconds:.3f}, '
        f'"Rows": {rows}, "Unknown": {unknown}, "Requests": 1, "Refused": {int(400 <= status < 500)}, '
        f'"Faults": {int(status >= 500)}}}\n')


_METRICS = json.dumps( [{"Namespace": NAMESPACE, "Dimensions": [["Model", "Version"]], "Metrics": [
    {"Name": "Latency", "Unit": "Milliseconds"},
    *({"Name": name, "Unit": "Count"} for name in ("Rows", "Unknown", "Requests", "Refused", "Faults"))]}])

# Loaded at start, so that a broken bundle is an init error and no request pays for loading.
_predictor = Predictor(Path(os.environ["LAMBDA_TASK_ROOT"]) / "bundle", limits=Limits.of(os.environ))
_WHO = json.dumps({"message": "answered", "service": _predictor.manifest.name, "Model": _predictor.manifest.name,
                   "Version": str(_predictor.manifest.version), "digest": _predictor.manifest.digest})[1:-1]
_kept = Kept()
_counted = _kept.counted
_exchange = Exchange(_predictor, counts=_kept)
