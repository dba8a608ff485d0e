"""Throttles, errors and lost answers on demand, and a record of the calls that came: for tests of what uses AWS.

POST   /_slipway/faults   {"kind": "lost", "service": "lambda", "operation": "UpdateAlias", "times": 1}
PUT    /_slipway/faults   the same, instead of those that were asked for before
GET    /_slipway/calls    [{"service": "lambda", "operation": "UpdateAlias", "status": 200,
                           "path": "/2015-03-31/functions/f/aliases/a", "body": {"FunctionVersion": "2"}}, ...]
GET    /_slipway/held     the calls whose callers wait because a fault says so
DELETE /_slipway/faults, DELETE /_slipway/calls   forget them

Who waits because of a fault waits no longer once it was forgotten or another one put instead.
"""

from __future__ import annotations

import contextlib
import io
import json
import random
import select
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field, fields, replace
from difflib import get_close_matches
from enum import Enum
from pathlib import Path
from types import UnionType
from typing import Any

from moto.core.request import Request
from moto.core.utils import get_service_model
from werkzeug.wrappers import Response

from serving.localaws.calls import Called, known_services, refuse
from serving.localaws.errors import AwsError, LocalAwsError

_KEPT_CALLS = 100_000
_KEPT_BYTES = 1 << 16  # of a call's body
_LOOK_SECONDS = 0.05
_THROTTLES = {
    "lambda": ("TooManyRequestsException", 429),
    "s3": ("SlowDown", 503),
    "sagemaker": ("ThrottlingException", 400),
    "sagemaker-runtime": ("ThrottlingException", 400),
}
_ERRORS = {"s3": "InternalError", "lambda": "ServiceException"}


class Kind(Enum):
    """What goes wrong?"""

    THROTTLE = "throttle"  # refused, nothing done
    DENIED = "denied"  # 403: the caller may not, nothing done
    ERROR = "error"  # 500, nothing done
    LOST = "lost"  # done, and the connection closed without an answer
    DELAY = "delay"  # done, later
    LATE = "late"  # done at once, answered later
    HOLD = "hold"  # done later, and never if the caller hangs up before: as if it had not been sent


@dataclass(slots=True)
class Fault:
    """Something that goes wrong for some calls.

    Attributes:
        kind: What.
        service: botocore's name of the service; empty for every one.
        operation: AWS's name of the operation; empty for every one.
        times: How often; it is over then. 0 for as long as it is there.
        skip: So many matching calls go well first.
        probability: For each call that matches.
        seconds: How long a caller waits, where one does; LATE and HOLD end when it hangs up.
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
        made = cls(**{**text, "kind": Kind(text.get("kind"))})
        for name, kind in _NUMBERS.items():
            if not isinstance(getattr(made, name), kind) or isinstance(getattr(made, name), bool):
                raise ValueError(f"{name}: found {getattr(made, name)!r}, wanted a number")
        _require_known(made.service, made.operation)
        return made

    @classmethod
    def parse_file(cls, file: Path) -> list[Fault]:
        """Read a YAML file with a list ``faults``.

        Raises:
            LocalAwsError: It has none, or one of them is not understood.
        """
        import yaml

        try:
            held = yaml.safe_load(file.read_text(encoding="utf-8"))
            if not isinstance(held, dict) or set(held) != {"faults"} or not isinstance(held["faults"], list):
                raise ValueError("wanted one key `faults` with a list")
            return [cls.parse(item) for item in held["faults"]]
        except (OSError, ValueError, TypeError, yaml.YAMLError) as error:
            raise LocalAwsError(f"{file}: {error}") from error


_NUMBERS: dict[str, type | UnionType] = {"times": int, "skip": int, "probability": int | float, "seconds": int | float}


def _require_known(service: str, operation: str) -> None:
    """A fault that names what AWS does not have would never happen, and the test that rests on it would be green."""
    if service and service not in known_services():
        raise ValueError(f"unknown service {service}{_nearest(service, known_services())}")
    if service and operation:
        operations = get_service_model(service).operation_names
        if operation not in operations:
            raise ValueError(f"{service} has no operation {operation}{_nearest(operation, operations)}")


def _nearest(word: str, known: Iterable[str]) -> str:
    near = get_close_matches(word, list(known), n=1)
    return f"; the nearest is {near[0]}" if near else ""


@dataclass(frozen=True, slots=True)
class Seen:
    """A call that came, and how it was answered; status 0 for an answer that was lost.

    Attributes:
        path: With its query.
        body: What JSON said; empty for other bodies, large ones, and those that are a payload, not parameters.
    """

    service: str
    operation: str
    status: int
    path: str = ""
    body: dict[str, Any] = field(default_factory=dict)


Answer = Callable[..., Iterable[bytes]]


@dataclass(slots=True)
class Faults:
    """Stands in front of everything: notes each call, and makes go wrong what was asked for."""

    draw: Callable[[], float] = random.random
    _faults: list[Fault] = field(default_factory=list)
    _calls: deque[Seen] = field(default_factory=lambda: deque(maxlen=_KEPT_CALLS))
    _held: list[Seen] = field(default_factory=list)
    _forgotten: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def expect(self, faults: Iterable[Fault], *, instead: bool = False) -> None:
        """Make these go wrong from now on; ``instead`` of what was expected before."""
        with self._lock:
            if instead:
                self._faults.clear()
            self._faults.extend(faults)
            self._forgotten += instead

    def control(self, request: Request) -> Response:
        """Answer /_slipway/faults, /_slipway/calls and /_slipway/held."""
        held: Any = {"faults": self._faults, "held": self._held}.get(request.path.rpartition("/")[2], self._calls)
        if held is self._held:
            return Response(json.dumps([asdict(item) for item in held]), content_type="application/json")
        if request.method == "DELETE" and held is self._faults:
            self.expect((), instead=True)
        elif request.method == "DELETE":
            held.clear()
        elif request.method in ("POST", "PUT") and held is self._faults:
            try:
                given = json.loads(request.get_data())
                added = [Fault.parse(item) for item in (given if isinstance(given, list) else [given])]
            except (ValueError, TypeError) as error:
                return Response(f"{error}\n", 400)
            self.expect(added, instead=request.method == "PUT")
        shown = [{**asdict(item), **({"kind": item.kind.value} if isinstance(item, Fault) else {})} for item in held]
        return Response(json.dumps(shown), content_type="application/json")

    def answer(
        self, called: Called, request: Request, inner: Answer, environ: dict[str, Any], start: Any
    ) -> Iterable[bytes]:
        """Pass a call on to what answers it, unless a fault says otherwise."""
        said = _body(called, request)  # before whoever answers reads it
        asked = Seen(called.service, called.name, 0, request.full_path.removesuffix("?"), said)
        fault = self._due(called.service, called.name)
        if fault is not None and fault.kind is Kind.DELAY:
            time.sleep(fault.seconds)
        if fault is not None and fault.kind is Kind.HOLD:
            _raw(environ)  # a caller that has more to say than fits in between cannot be heard to hang up
            if not self._wait(asked, environ, fault.seconds):
                start("200 OK", [])  # nobody is there to read it
                return []
        if fault is not None and fault.kind in (Kind.THROTTLE, Kind.DENIED, Kind.ERROR):
            refusal = refuse(called, request, _error(called.service, fault.kind))
            self._note(replace(asked, status=refusal.status_code))
            return refusal(environ, start)
        lost = fault is not None and fault.kind is Kind.LOST
        status: list[int] = []

        def noted(line: str, headers: Any, exc_info: Any = None) -> Any:
            status.append(int(line.split(" ", 1)[0]))
            return (lambda data: None) if lost else start(line, headers, exc_info)

        body = inner(environ, noted)
        self._note(replace(asked, status=0 if lost or not status else status[0]))
        if lost:
            b"".join(body)
            _hang_up(environ)
            start("200 OK", [])
            return []
        if fault is not None and fault.kind is Kind.LATE:
            body = [b"".join(body)]
            self._wait(asked, environ, fault.seconds)
        return body

    def _wait(self, asked: Seen, environ: dict[str, Any], seconds: float) -> bool:
        """Let the caller wait; False when it hung up before the time was over."""
        self._held.append(asked)
        try:
            ends, faults = time.monotonic() + seconds, self._forgotten
            while time.monotonic() < ends and self._forgotten == faults:
                if _hangs_up(environ, min(_LOOK_SECONDS, seconds)):
                    return False
            return True
        finally:
            self._held.remove(asked)

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
                if fault.times > 0:
                    fault.times -= 1
                    if fault.times == 0:
                        self._faults.remove(fault)
                return fault
        return None

    def _note(self, call: Seen) -> None:
        if call.operation:
            self._calls.append(call)


def _body(called: Called, request: Request) -> dict[str, Any]:
    """The parameters that a call's JSON names; they can be read again afterwards."""
    shape = called.operation.input_shape if called.operation is not None else None
    if shape is None or shape.serialization.get("payload") or not 0 < (request.content_length or 0) <= _KEPT_BYTES:
        return {}
    try:
        said = json.loads(_raw(request.environ))
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}


def _raw(environ: dict[str, Any]) -> bytes:
    """A request's body, which can be read again afterwards."""
    raw = Request(environ).get_data(cache=False)  # a request of its own: this one's stream stays unread
    environ["wsgi.input"] = io.BytesIO(raw)
    return raw


def _error(service: str, kind: Kind) -> AwsError:
    if kind is Kind.THROTTLE:
        code, status = _THROTTLES.get(service, ("Throttling", 400))
        return AwsError(code, "Rate exceeded", status=status)
    if kind is Kind.DENIED:
        code = "AccessDenied" if service in ("s3", "iam", "sts", "cloudwatch") else "AccessDeniedException"
        return AwsError(code, "User is not authorized to perform this: a fault that was asked for.", status=403)
    return AwsError(_ERRORS.get(service, "InternalFailure"), "An error was asked for.", status=500)


def _hangs_up(environ: dict[str, Any], seconds: float) -> bool:
    """Does the caller hang up within this time? Told apart from bytes that it sent and nobody has read yet."""
    connection: socket.socket | None = environ.get("werkzeug.socket")
    gone = getattr(select, "POLLRDHUP", 0)
    if connection is None or not gone:  # not Linux: nobody can tell
        time.sleep(seconds)
        return False
    looking = select.poll()
    looking.register(connection, gone)
    return bool(looking.poll(seconds * 1000))


def _hang_up(environ: dict[str, Any]) -> None:
    connection: socket.socket | None = environ.get("werkzeug.socket")
    if connection is not None:
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)
