"""The Lambda function: direct invocations, and HTTP events of function URLs and API Gateway."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path
from typing import Any

from . import codec
from .core import Predictor
from .errors import BadRequest, RuntimeFault

# Loaded at start, so that a broken bundle is an init error and no request pays for loading.
_predictor = Predictor(Path(os.environ["LAMBDA_TASK_ROOT"]) / "bundle")


def handler(event: Any, context: object) -> dict[str, Any]:
    """What is the answer to one event?

    A direct invocation gives the answer itself, or ``{"error": ..., "status": ...}``; an HTTP event gives a
    response with a status code, headers and a JSON body.
    """
    del context
    if isinstance(event, dict) and "requestContext" in event:
        return _http(event)
    try:
        return _predictor.answer(event)
    except RuntimeFault as fault:
        return {"error": str(fault), "status": fault.status}


def _http(event: dict[str, Any]) -> dict[str, Any]:
    try:
        return _response(200, _predictor.answer(codec.parse_json(_body(event))))
    except RuntimeFault as fault:
        return _response(fault.status, {"error": str(fault)})


def _body(event: dict[str, Any]) -> bytes:
    body = event.get("body") or ""
    if not event.get("isBase64Encoded"):
        return str(body).encode()
    try:
        return base64.b64decode(body, validate=True)
    except ValueError:
        raise BadRequest("the body says it is base64 and is not") from None


def _response(status: int, answer: dict[str, Any]) -> dict[str, Any]:
    served = _predictor.manifest
    headers = {"Content-Type": "application/json", "X-Model": f"{served.name}/{served.version}",
               "X-Model-Digest": served.digest}
    return {"statusCode": status, "headers": headers, "body": json.dumps(answer)}
