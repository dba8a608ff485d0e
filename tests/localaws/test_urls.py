"""A function's URL turns a plain HTTP request into an event and the answer into a response."""

from __future__ import annotations

import http.client
import json
from typing import Any
from urllib.parse import urlsplit

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

from tests.localaws.conftest import Maker


def fetch(
    url: str, body: bytes = b"", headers: dict[str, str] | None = None, *, path: str = "/"
) -> http.client.HTTPResponse:
    """POST to the URL; its host name needs no DNS, the Host header says it."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection("127.0.0.1", parts.port or 80)
    connection.request("POST", path, body, {"Host": parts.netloc, **(headers or {})})
    return connection.getresponse()


def signed(url: str, body: bytes = b"", *, by: str = "local") -> dict[str, str]:
    """The headers of a POST to the URL, as any client of AWS signs it."""
    request = AWSRequest("POST", url, data=body, headers={"Host": urlsplit(url).netloc})
    SigV4Auth(Credentials("local", by), "lambda", "us-east-1").add_auth(request)
    return dict(request.headers.items())


def make_url(lambdas: Any, name: str, auth: str = "NONE", **options: Any) -> str:
    """A URL for a function."""
    url: str = lambdas.create_function_url_config(FunctionName=name, AuthType=auth, **options)["FunctionUrl"]
    return url


def test_a_request_becomes_an_event_of_format_two(lambdas: Any, make_function: Maker) -> None:
    url = make_url(lambdas, make_function())
    answer = fetch(url, b'{"x": 1}', {"Content-Type": "application/json", "X-Own": "y"}, path="/a/b?q=1&q=2")
    event = json.loads(answer.read())
    assert (event["version"], event["rawPath"], event["rawQueryString"]) == ("2.0", "/a/b", "q=1&q=2")
    assert event["requestContext"]["http"]["method"] == "POST"
    assert event["headers"]["x-own"] == "y"
    assert (event["body"], event["isBase64Encoded"]) == ('{"x": 1}', False)
    assert event["queryStringParameters"] == {"q": "1,2"}


def test_bytes_travel_as_base64_in_both_directions(lambdas: Any, make_function: Maker) -> None:
    source = (
        "def handler(e, c):\n"
        "    kept = {name: e[name] for name in ('isBase64Encoded', 'body')}\n"
        "    return {'statusCode': 201, 'headers': {'X-Own': 'z'}, **kept}\n"
    )
    answer = fetch(make_url(lambdas, make_function(source)), b"\xff\x00", {"Content-Type": "application/x-npy"})
    assert (answer.status, answer.headers["X-Own"], answer.read()) == (201, "z", b"\xff\x00")


def test_a_function_that_fails_is_a_bad_gateway(lambdas: Any, make_function: Maker) -> None:
    assert fetch(make_url(lambdas, make_function("def handler(e, c):\n    return 1 / 0\n"))).status == 502


def test_iam_wants_a_signature(lambdas: Any, make_function: Maker) -> None:
    url = make_url(lambdas, make_function(), "AWS_IAM")
    assert fetch(url).status == 403
    assert fetch(url, headers=signed(url)).status == 200
    assert fetch(url, headers=signed(url, by="wrong")).status == 403
    assert fetch(url, b"other", headers=signed(url)).status == 403


def test_a_url_of_an_alias_goes_where_the_alias_points(lambdas: Any, make_function: Maker) -> None:
    name = make_function("import os\ndef handler(e, c):\n    return os.environ['AWS_LAMBDA_FUNCTION_VERSION']\n")
    lambdas.publish_version(FunctionName=name)
    lambdas.create_alias(FunctionName=name, Name="live", FunctionVersion="1")
    url = make_url(lambdas, name, Qualifier="live")
    assert fetch(url).read() == b"1"
    lambdas.delete_function_url_config(FunctionName=name, Qualifier="live")
    assert fetch(url).status == 403
    with pytest.raises(ClientError, match="ResourceNotFoundException"):
        lambdas.get_function_url_config(FunctionName=name, Qualifier="live")


def test_a_url_is_made_once_and_for_an_alias_only(lambdas: Any, make_function: Maker) -> None:
    name = make_function()
    lambdas.publish_version(FunctionName=name)
    make_url(lambdas, name)
    with pytest.raises(ClientError, match="ResourceConflictException"):
        make_url(lambdas, name)
    with pytest.raises(ClientError, match="ValidationException"):
        make_url(lambdas, name, Qualifier="1")
