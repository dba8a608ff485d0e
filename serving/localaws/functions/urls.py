"""Function URLs: a plain HTTP request becomes an event of payload format 2.0, the answer a response.

https://docs.aws.amazon.com/lambda/latest/dg/urls-invocation.html
"""

from __future__ import annotations

import base64
import json
import re
import time
import uuid
from datetime import UTC, datetime
from typing import Any

from moto.core.request import Request
from werkzeug.wrappers import Response

from serving.localaws import account
from serving.localaws.errors import AwsError
from serving.localaws.functions.attributes import AttributeControl
from serving.localaws.functions.invoke import Invoker
from serving.localaws.signatures import verify

_HOST = re.compile(r"(?P<label>[0-9a-f]{32})\.lambda-url\.(?P<region>[a-z0-9-]+)\.")
_TEXT = ("text/", "application/json", "application/xml", "application/javascript")


class FunctionUrls:
    """Answers requests to ``http://LABEL.lambda-url.REGION.localhost:PORT/``."""

    def __init__(self, attributes: AttributeControl, invoker: Invoker) -> None:
        self._attributes = attributes
        self._invoker = invoker

    def handles(self, request: Request) -> bool:
        """Is this request for a function's URL?"""
        return _HOST.match(request.host) is not None

    def answer(self, request: Request) -> Response:
        """Run the function for this request. AWS_IAM wants it signed with a secret that the account knows."""
        match = _HOST.match(request.host)
        assert match is not None  # noqa: S101 - `handles` was asked before
        found = self._attributes.url_named(match["region"], match["label"])
        if found is None:
            return _message(403, "Forbidden")
        if found[1]["AuthType"] == "AWS_IAM" and (refusal := verify(request, account.secret_of, datetime.now(UTC))):
            unsigned = "Authorization" not in request.headers
            return _message(403, "Forbidden" if unsigned else refusal.message)
        try:
            route = self._invoker.route(match["region"], found[0])
            outcome = self._invoker.run(route, json.dumps(event(request)).encode())
        except AwsError as error:
            return _message(error.status if error.status != 400 else 502, error.message)
        answer = _message(502, "Internal Server Error") if outcome.failed else response(outcome.body)
        answer.headers["X-Amzn-RequestId"] = str(uuid.uuid4())
        return answer


def event(request: Request) -> dict[str, Any]:
    """The event that a request becomes."""
    raw, path = request.get_data(), request.path
    text = not raw or (request.content_type or "").startswith(_TEXT)
    headers = {name.lower(): value for name, value in request.headers.items()}
    source = {
        "method": request.method,
        "path": path,
        "protocol": "HTTP/1.1",
        "sourceIp": request.remote_addr,
        "userAgent": headers.get("user-agent", ""),
    }
    made: dict[str, Any] = {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": request.query_string.decode(),
        "headers": headers,
        "requestContext": {
            "accountId": "anonymous",
            "apiId": request.host.split(".")[0],
            "domainName": request.host,
            "http": source,
            "requestId": str(uuid.uuid4()),
            "routeKey": "$default",
            "stage": "$default",
            "timeEpoch": int(time.time() * 1000),
        },
        "isBase64Encoded": not text,
    }
    if request.args:
        made["queryStringParameters"] = {name: ",".join(request.args.getlist(name)) for name in request.args}
    if raw:
        made["body"] = raw.decode() if text else base64.b64encode(raw).decode()
    return made


def response(body: bytes) -> Response:
    """The response that a function's answer becomes: anything without statusCode is a 200 with that body."""
    answer = json.loads(body)
    if not (isinstance(answer, dict) and "statusCode" in answer):
        text = answer if isinstance(answer, str) else json.dumps(answer)
        return Response(text, 200, content_type="application/json")
    content = str(answer.get("body") or "")
    data = base64.b64decode(content) if answer.get("isBase64Encoded") else content.encode()
    headers = {str(name): str(value) for name, value in (answer.get("headers") or {}).items()}
    made = Response(data, int(answer["statusCode"]), headers)
    for cookie in answer.get("cookies") or []:
        made.headers.add("Set-Cookie", cookie)
    return made


def _message(status: int, text: str) -> Response:
    return Response(json.dumps({"Message": text}), status, content_type="application/json")
