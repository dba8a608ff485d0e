"""One local AWS for all these tests, and clients of it; who else plays AWS is in players.py."""

from __future__ import annotations

import io
import uuid
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from serving.localaws import running
from tests.localaws.clients import client_for
from tests.localaws.players import account, peer

__all__ = ["account", "client_for", "peer"]

Clients = Callable[[str], Any]
BUCKET = "slipway-123456789012-us-east-1"
ROLE = "arn:aws:iam::123456789012:role/slipway-exec-lambda"
SERVER = Path(__file__).with_name("server.py")
ECHO = "def handler(event, context):\n    return event\n"


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
