"""Throttles, errors and lost answers on demand, and a record of the calls that came: for tests of what uses AWS.

POST   /_slipway/faults   {"kind": "lost", "service": "lambda", "operation": "UpdateAlias", "times": 1}
GET    /_slipway/calls    [{"service": "lambda", "operation": "UpdateAlias", "status": 200}, ...]
DELETE /_slipway/faults, DELETE /_slipway/calls   forget them
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import io
import json
import random
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field, fields
from enum import Enum
from pathlib import Path
from typing import Any

from moto.core.model import OperationModel
from moto.core.request import Request, determine_request_protocol
from moto.core.routing import get_service_router
from moto.core.serialize import get_serializer_class
from moto.core.utils import get_service_model
from werkzeug.exceptions import NotFound
from werkzeug.wrappers import Response

from serving.local.errors import AwsError

_KEPT_CALLS = 100_000
# Signing names that stand for another service model, or for several.
_MODELS = {"sagemaker": ("sagemaker", "sagemaker-runtime"), "monitoring": ("cloudwatch",)}
_THROTTLES = {
    "lambda": ("TooManyRequestsException", 429),
    "s3": ("SlowDown", 503),
    "sagemaker": ("ThrottlingException", 400),
    "sagemaker-runtime": ("ThrottlingException", 400),
}


class Kind(Enum):
    """What goes wrong?"""

    THROTTLE = "throttle"  # refused, nothing done
    ERROR = "error"  # 500, nothing done
    LOST = "lost"  # done, and the connection closed without an answer
    DELAY = "delay"  # done, later


@dataclass(slots=True)
class Fault:
    """Something that goes wrong for some calls.

    Attributes:
        kind: What.
        service: botocore's name of the service; empty for every one.
        operation: AWS's name of the operation; empty for every one.
        times: How often; it is over then.
        skip: So many matching calls go well first.
        probability: For each call that matches.
        seconds: How long, for a delay.
    """

    kind: Kind
    service: str = ""
    operation: str = ""
    times: int = 1
    skip: int = 0
    probability: float = 1.0
    seconds: float = 1.0

    @classmethod
    def parse(cls, text: dict[str, Any]) -> Fault:
        """Read it from JSON.

        Raises:
            ValueError: A key is unknown or the kind is.
        """
        known = {item.name for item in fields(cls)}
        unknown = sorted(set(text) - known)
        if unknown:
            raise ValueError(f"unknown key {unknown[0]}; known are {', '.join(sorted(known))}")
        return cls(**{**text, "kind": Kind(text.get("kind"))})


@dataclass(frozen=True, slots=True)
class Seen:
    """A call that came, and how it was answered; status 0 for an answer that was lost."""

    service: str
    operation: str
    status: int


Answer = Callable[..., Iterable[bytes]]


@dataclass(slots=True)
class Faults:
    """Stands in front of everything: notes each call, and makes go wrong what was asked for."""

    draw: Callable[[], float] = random.random
    _faults: list[Fault] = field(default_factory=list)
    _calls: deque[Seen] = field(default_factory=lambda: deque(maxlen=_KEPT_CALLS))
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def control(self, request: Request) -> Response:
        """Answer /_slipway/faults and /_slipway/calls."""
        held: Any = self._faults if request.path.endswith("/faults") else self._calls
        if request.method == "DELETE":
            held.clear()
        elif request.method == "POST" and held is self._faults:
            try:
                given = json.loads(request.get_data())
                added = [Fault.parse(item) for item in (given if isinstance(given, list) else [given])]
            except (ValueError, TypeError) as error:
                return Response(f"{error}\n", 400)
            held.extend(added)
        shown = [{**asdict(item), **({"kind": item.kind.value} if isinstance(item, Fault) else {})} for item in held]
        return Response(json.dumps(shown), content_type="application/json")

    def answer(
        self, name: str, request: Request, inner: Answer, environ: dict[str, Any], start: Any
    ) -> Iterable[bytes]:
        """Pass a call on to what answers it, unless a fault says otherwise."""
        service, operation = identify(name, request)
        fault = self._due(service, operation.name if operation else "")
        if fault is not None and fault.kind is Kind.DELAY:
            time.sleep(fault.seconds)
        if fault is not None and operation is not None and fault.kind in (Kind.THROTTLE, Kind.ERROR):
            refusal = _refusal(service, operation, request, fault.kind)
            self._note(service, operation, refusal.status_code)
            return refusal(environ, start)
        status: list[int] = []

        def noted(line: str, headers: Any, exc_info: Any = None) -> Any:
            status.append(int(line.split(" ", 1)[0]))
            return start(line, headers, exc_info)

        body = inner(environ, noted if fault is None or fault.kind is Kind.DELAY else _swallow(status))
        if fault is not None and fault.kind is Kind.LOST:
            b"".join(body)
            self._note(service, operation, 0)
            _hang_up(environ)
            start("200 OK", [])
            return []
        self._note(service, operation, status[0] if status else 0)
        return body

    def _due(self, service: str, operation: str) -> Fault | None:
        with self._lock:
            for fault in self._faults:
                if fault.service not in ("", service) or fault.operation not in ("", operation):
                    continue
                if fault.skip > 0:
                    fault.skip -= 1
                    continue
                if self.draw() >= fault.probability:
                    continue
                fault.times -= 1
                if fault.times <= 0:
                    self._faults.remove(fault)
                return fault
        return None

    def _note(self, service: str, operation: OperationModel | None, status: int) -> None:
        if operation is not None:
            self._calls.append(Seen(service, operation.name, status))


def identify(name: str, request: Request) -> tuple[str, OperationModel | None]:
    """Which service and operation is a request for? ``name`` is the one it was signed for."""
    environ = request.environ
    if (request.content_type or "").startswith("application/x-www-form-urlencoded"):
        # Routing a query-protocol call reads its body; whoever answers it has to find it there again.
        body = request.get_data(cache=False)
        environ["wsgi.input"] = io.BytesIO(body)
        found = _match(name, Request(environ))
        environ["wsgi.input"] = io.BytesIO(body)
        return found
    return _match(name, request)


def _match(name: str, request: Request) -> tuple[str, OperationModel | None]:
    for service in _MODELS.get(name, (name,)):
        if service not in _known_services():
            continue
        with contextlib.suppress(NotFound, NotImplementedError, LookupError, ValueError):
            return service, get_service_router(service).match(request)[0]
    return name, None


@functools.cache
def _known_services() -> frozenset[str]:
    """The services that botocore has a model of."""
    spec = importlib.util.find_spec("botocore")
    folders = [Path(place) / "data" for place in (spec.submodule_search_locations or ())] if spec else []
    return frozenset(path.name for folder in folders for path in folder.iterdir())


def _refusal(service: str, operation: OperationModel, request: Request, kind: Kind) -> Response:
    if kind is Kind.THROTTLE:
        code, status = _THROTTLES.get(service, ("Throttling", 400))
        error = AwsError(code, "Rate exceeded", status=status)
    else:
        code = "InternalError" if service == "s3" else "ServiceException" if service == "lambda" else "InternalFailure"
        error = AwsError(code, "An error was asked for.", status=500)
    model = get_service_model(service)
    protocol = determine_request_protocol(model, request.content_type)
    written = get_serializer_class(service, protocol)(operation).serialize(error)
    return Response(written["body"], error.status, dict(written["headers"]))


def _swallow(status: list[int]) -> Callable[..., Any]:
    def start(line: str, headers: Any, exc_info: Any = None) -> Any:
        status.append(int(line.split(" ", 1)[0]))
        return lambda data: None

    return start


def _hang_up(environ: dict[str, Any]) -> None:
    connection: socket.socket | None = environ.get("werkzeug.socket")
    if connection is not None:
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)
