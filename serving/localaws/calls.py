"""Which of AWS's calls is a request, and how is it refused in its own protocol?"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import io
from dataclasses import dataclass
from pathlib import Path

from moto.core.model import OperationModel
from moto.core.request import Request, determine_request_protocol
from moto.core.routing import get_service_router
from moto.core.serialize import get_serializer_class
from moto.core.utils import get_service_model
from werkzeug.exceptions import NotFound
from werkzeug.wrappers import Response

from serving.localaws.errors import AwsError

# Signing names that stand for another service model, or for several.
_MODELS = {"sagemaker": ("sagemaker", "sagemaker-runtime"), "monitoring": ("cloudwatch",)}


@dataclass(frozen=True, slots=True)
class Called:
    """What a request is for: botocore's name of the service, and the operation where there is one."""

    service: str
    operation: OperationModel | None

    @property
    def name(self) -> str:
        """The operation's name, or nothing."""
        return str(self.operation.name) if self.operation is not None else ""


def identify(name: str, request: Request) -> Called:
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


def again(request: Request) -> Request:
    """The same request with its body unread once more, after `identify` has looked at it."""
    body = request.environ["wsgi.input"]
    if not isinstance(body, io.BytesIO):
        return request
    return Request({**request.environ, "wsgi.input": io.BytesIO(body.getvalue())})


def _match(name: str, request: Request) -> Called:
    for service in _MODELS.get(name, (name,)):
        if service not in known_services():
            continue
        with contextlib.suppress(NotFound, NotImplementedError, LookupError, ValueError):
            return Called(service, get_service_router(service).match(request)[0])
    return Called(name, None)


@functools.cache
def known_services() -> frozenset[str]:
    """The services that botocore has a model of."""
    spec = importlib.util.find_spec("botocore")
    folders = [Path(place) / "data" for place in (spec.submodule_search_locations or ())] if spec else []
    return frozenset(path.name for folder in folders for path in folder.iterdir())


def refuse(called: Called, request: Request, error: AwsError) -> Response:
    """An error as this call's protocol writes it; as JSON when nobody knows which call it is."""
    if called.operation is None:
        body = f'{{"__type":"{error.code}","message":"{error.message}"}}'
        return Response(body, error.status, {"X-Amzn-ErrorType": error.code, "Content-Type": "application/json"})
    protocol = determine_request_protocol(get_service_model(called.service), request.content_type)
    written = get_serializer_class(called.service, protocol)(called.operation).serialize(error)
    return Response(written["body"], error.status, dict(written["headers"]))
