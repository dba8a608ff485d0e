"""One local AWS for all these tests, and plain boto3 clients that only know its variables."""

from __future__ import annotations

import io
import uuid
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config

from serving.localaws import running
from serving.localaws.protocol import violations

Clients = Callable[[str], Any]
BUCKET = "slipway-123456789012-us-east-1"
ROLE = "arn:aws:iam::123456789012:role/slipway-exec-lambda"
SERVER = Path(__file__).with_name("server.py")
ECHO = "def handler(event, context):\n    return event\n"


def client_for(environment: dict[str, str], service: str, *, checked: bool = True) -> Any:
    """A client as a user's would be, but with no retries: a refusal is to be seen at once."""
    made = boto3.client(
        service,
        endpoint_url=environment["AWS_ENDPOINT_URL"],
        aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
        region_name=environment["AWS_REGION"],
        config=Config(retries={"total_max_attempts": 1}, read_timeout=60, max_pool_connections=50),
    )
    if checked and service in ("lambda", "sagemaker"):
        made.meta.events.register("after-call.*.*", _as_modelled)
    return made


def _as_modelled(model: Any, http_response: Any, parsed: dict[str, Any], **_: Any) -> None:
    """Every answer of our own services has what AWS's service model requires, and no value that it does not know."""
    if http_response.status_code < 300 and model.output_shape is not None:
        answer = {name: value for name, value in parsed.items() if not hasattr(value, "read")}
        problems = [problem.text for problem in violations(model.output_shape, answer)]
        assert problems == [], f"{model.name} answered {answer}"


@pytest.fixture(scope="session")
def aws() -> Iterator[dict[str, str]]:
    """The variables of a local AWS that runs for the whole session."""
    command = f"{{python}} {SERVER} {{port}} {{model_dir}}"
    with running("--speed", "100", "--image", f"test-server={command}") as environment:
        yield environment


@pytest.fixture(scope="session")
def client(aws: dict[str, str]) -> Clients:
    """Makes one client per service."""
    made: dict[str, Any] = {}

    def get(service: str) -> Any:
        if service not in made:
            made[service] = client_for(aws, service)
        return made[service]

    return get


@pytest.fixture(scope="session")
def lambdas(client: Clients) -> Any:
    """The Lambda client."""
    return client("lambda")


@pytest.fixture(scope="session")
def s3(client: Clients) -> Any:
    """The S3 client."""
    return client("s3")


@pytest.fixture(scope="session")
def runtime() -> str:
    """A runtime that this machine offers, found as a deployer finds it."""
    import sys

    return f"python3.{sys.version_info.minor}"


def zipped(files: dict[str, str | bytes]) -> bytes:
    """A zip of these files."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return out.getvalue()


Maker = Callable[..., str]


@pytest.fixture
def make_function(lambdas: Any, runtime: str) -> Iterator[Maker]:
    """Creates a function from its source text and returns its name; deleted after the test."""
    names: list[str] = []

    def make(source: str = ECHO, **settings: Any) -> str:
        name = f"f-{uuid.uuid4().hex[:12]}"
        defaults = {"Runtime": runtime, "Role": ROLE, "Handler": "main.handler", "Timeout": 10}
        code = {"ZipFile": zipped({"main.py": source})}
        lambdas.create_function(FunctionName=name, **{**defaults, "Code": code, **settings})
        names.append(name)
        return name

    yield make
    for name in names:
        lambdas.delete_function(FunctionName=name)
