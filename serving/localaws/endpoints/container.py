"""One instance of a variant: a process that answers /ping and /invocations."""

from __future__ import annotations

import http.client
import os
import socket
import threading
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from serving.localaws import account
from serving.localaws.endpoints.limits import INVOCATION_SECONDS
from serving.localaws.processes import Nursery

_PING_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Reply:
    """What a container said; header names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Place:
    """What a container needs from the machine, and where its log goes."""

    nursery: Nursery
    region: str
    log_group: str
    log_stream: str


class Container:
    """A running container. ``stopped`` says so once it was told to end."""

    def __init__(self, argv: Sequence[str], port: int, environment: Mapping[str, str], place: Place) -> None:
        self._port = port
        self._place = place
        self._process = place.nursery.spawn(argv, env=environment, cwd=Path("/"))
        threading.Thread(target=self._pump, daemon=True).start()

    def _pump(self) -> None:
        assert self._process.stdout is not None  # noqa: S101 - the nursery was asked for a pipe
        place = self._place
        for raw in self._process.stdout:
            line = raw.decode("utf-8", "replace").rstrip("\n")
            account.write_log(place.region, place.log_group, place.log_stream, [line])
        self._process.stdout.close()

    def wait_healthy(self, seconds: float, variant: str) -> str:
        """Wait for /ping; returns why it is not healthy, or nothing."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            code = self._process.poll()
            if code is not None:
                return f"The primary container for production variant {variant} exited with code {code}."
            if self._pings():
                return ""
            time.sleep(_PING_SECONDS)
        return (
            f"The primary container for production variant {variant} did not pass the ping health check. "
            "Please check CloudWatch logs for this endpoint."
        )

    def _pings(self) -> bool:
        try:
            return self.request("GET", "/ping", timeout=2).status == 200
        except (OSError, http.client.HTTPException):
            return False

    def invoke(self, body: bytes, headers: Mapping[str, str], seconds: float = INVOCATION_SECONDS) -> Reply:
        """POST /invocations; an answer that never comes is a reply with status 0."""
        try:
            return self.request("POST", "/invocations", body, headers, timeout=seconds)
        except TimeoutError:
            text = (
                "Your invocation timed out while waiting for a response from container primary. Review the latency "
                "metrics for each container in Amazon CloudWatch, resolve the issue, and try again."
            )
            return Reply(0, {}, text.encode())
        except (OSError, http.client.HTTPException) as error:
            return Reply(500, {}, f"the container could not be reached: {error}".encode())

    def request(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None, *, timeout: float
    ) -> Reply:
        """One HTTP request to the container."""
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=timeout)
        try:
            connection.request(method, path, body, dict(headers or {}))
            answer = connection.getresponse()
            return Reply(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
        finally:
            connection.close()

    def kill(self) -> None:
        """End it and all it started."""
        self._place.nursery.kill(self._process)


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def variables(port: int, model_dir: Path, given: Mapping[str, str], region: str) -> dict[str, str]:
    """A container's environment: SageMaker's own variables, then those of the model."""
    return {
        "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
        "HOME": "/tmp",  # noqa: S108 - as in the images
        "LANG": "C.UTF-8",
        "AWS_REGION": region,
        "AWS_DEFAULT_REGION": region,
        "SAGEMAKER_BIND_TO_PORT": str(port),
        "SM_MODEL_DIR": str(model_dir),
        "SLIPWAY_HOST": "127.0.0.1",  # in an image it listens to everybody; here nobody else is to reach it
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUNBUFFERED": "1",
        **given,
    }


def instance_id() -> str:
    """An id as EC2 gives one."""
    return f"i-{uuid.uuid4().hex[:17]}"
