"""One port, all of AWS that is needed: our Lambda and SageMaker in front, moto for the rest."""

from __future__ import annotations

import errno
import json
import logging
import re
import socket
import subprocess
import tempfile
import threading
import traceback
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from moto.core.request import Request
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import make_server
from werkzeug.wrappers import Response

from serving.localaws import account, moto_edges, seeds, simulation
from serving.localaws.account import ACCOUNT
from serving.localaws.alarms import Watcher
from serving.localaws.calls import again, identify, refuse
from serving.localaws.endpoints import EndpointService
from serving.localaws.endpoints.images import Recipe
from serving.localaws.errors import AwsError, LocalAwsError
from serving.localaws.faults import Fault, Faults
from serving.localaws.functions import FunctionService
from serving.localaws.interpreters import Interpreter, find_interpreters
from serving.localaws.keeper import Keeper
from serving.localaws.options import Options
from serving.localaws.premises import Premises
from serving.localaws.processes import Nursery
from serving.localaws.protocol import Service
from serving.localaws.sandbox import Sandbox
from serving.localaws.signatures import verify

_SCOPE = re.compile(r"Credential=[^/]+/\d{8}/(?P<region>[a-z0-9-]+)/(?P<service>[a-z0-9-]+)/aws4_request")
_LAMBDA_PATH = re.compile(r"/20\d\d-\d\d-\d\d/(functions|layers|tags|account-settings|event-source-mappings)\b")
_PACKAGES = "/_slipway/packages/"
_INVENTORY = "/_slipway/inventory"
_WAITING = 128  # connections that nobody has accepted yet, as werkzeug has it
_FAULTS = ("/_slipway/faults", "/_slipway/calls", "/_slipway/held")

Environ = dict[str, Any]
StartResponse = Callable[..., Any]


class LocalAws:
    """The account on this machine: started here, gone when closed."""

    def __init__(self, options: Options) -> None:
        moto_edges.install()
        faults = Fault.parse_file(options.faults) if options.faults else []
        recipes = [Recipe.parse(text) for text in options.image]
        self._moto = DomainDispatcherApplication(create_backend_app)
        self._server = _bind(options.port, self)
        self._scratch = tempfile.TemporaryDirectory(prefix="slipway-local-") if options.state is None else None
        self.state = Path(self._scratch.name) if self._scratch else _made(options.state)
        self.interpreters = _interpreters()
        sandbox = Sandbox.find() if options.sandbox else Sandbox()
        self._nursery = Nursery(Path(self._scratch.name) if self._scratch else None)
        premises = Premises(self.state, self.port, self._nursery, sandbox, self.interpreters)
        self.functions = FunctionService(premises, settle_seconds=options.settle_seconds)
        self._endpoints = EndpointService(premises, recipes=recipes, speed=options.speed)
        self._watcher = Watcher()
        self._auth = options.auth
        self._faults = Faults()
        self._faults.expect(faults)
        hosting = (self._endpoints.service, self._endpoints.runtime)
        self._services: Mapping[str, Sequence[Service]] = {
            "lambda": (self.functions.service,),
            "sagemaker": hosting,
            "iam": (simulation.service(),),
        }
        self._keeper = Keeper(self.state, self.functions, self._endpoints) if options.state else None
        if self._keeper:
            self._keeper.load()
        seeds.seed()

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self._server.port)

    @property
    def endpoint(self) -> str:
        """What AWS_ENDPOINT_URL must be."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        """The variables with which any AWS client finds it."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": "local",
            "AWS_SECRET_ACCESS_KEY": "local",
            "AWS_REGION": seeds.REGION,
            "AWS_DEFAULT_REGION": seeds.REGION,
        }

    def foreground(self, argv: Sequence[str], environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
        """Start the command that the user wants run: with this terminal, and not outliving this process."""
        return self._nursery.foreground(argv, environment)

    def start(self) -> None:
        """Begin to answer."""
        logging.getLogger("werkzeug").setLevel(logging.WARNING)
        # Services refuse with codes that their models do not list: AWS's common ones.
        warnings.filterwarnings("ignore", message=".*does not match an error shape")
        if self._keeper:
            self._keeper.start()
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def close(self) -> None:
        """End every process, stop answering, remove the temporary folder."""
        self._watcher.stop()
        if self._keeper:
            self._keeper.stop()
        self._nursery.close()
        self.functions.close()
        self._server.shutdown()
        self._server.server_close()
        if self._keeper:
            self._keeper.release()  # last: who waits for the folder waits for the processes too
        if self._scratch is not None:
            self._scratch.cleanup()

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request (WSGI)."""
        request = Request(environ)
        if self.functions.urls.handles(request):
            return self.functions.urls.answer(request)(environ, start_response)
        if request.path.startswith(_PACKAGES):
            return self._package(request.path.removeprefix(_PACKAGES))(environ, start_response)
        if request.path == _INVENTORY:
            return Response(json.dumps(self._inventory()), content_type="application/json")(environ, start_response)
        if request.path in _FAULTS:
            return self._faults.control(request)(environ, start_response)
        region, name = _addressee(request)
        called = identify(name, request)
        if self._auth and (denied := verify(Request(environ), account.secret_of, datetime.now(UTC))):
            return refuse(called, request, denied)(environ, start_response)
        try:
            return self._faults.answer(called, request, self._played(region, name, request), environ, start_response)
        except NotImplementedError as gap:
            error = AwsError("NotImplemented", f"Neither slipway local nor moto plays this: {gap}", status=501)
        except Exception:  # noqa: BLE001 - the outermost frame: a defect here is told, and answered as AWS answers its own
            traceback.print_exc()
            error = AwsError("InternalFailure", "slipway local failed; its stderr says where", status=500)
        return refuse(called, request, error)(environ, start_response)

    def _played(self, region: str, name: str, request: Request) -> Callable[..., Iterable[bytes]]:
        """What answers this request: one of our services, or moto."""
        for service in self._services.get(name, ()):
            if service.handles(again(request)):
                return lambda environ, start: service.answer(again(request), region, ACCOUNT)(environ, start)
        if name == "s3" and (stranger := moto_edges.stranger(request)):
            return refuse(identify("s3", request), request, stranger)
        return _unplayed(request) if name == "lambda" else self._moto

    def _inventory(self) -> dict[str, int]:
        return {
            "buckets": account.count_buckets(),
            "functions": self.functions.count(),
            "endpoints": self._endpoints.count(),
            "processes": self._nursery.count(),
        }

    def _package(self, sha256: str) -> Response:
        content = self.functions.packages.archive(sha256)
        return Response(status=404) if content is None else Response(content, content_type="application/zip")


class _RequestHandler(MotoRequestHandler):
    disable_nagle_algorithm = True  # headers and body leave apart: the body would wait for the ACK of the headers

    def log(self, type: str, message: str, *args: Any) -> None:
        """Requests are not logged: the client knows what it sent."""


def _bind(port: int, app: LocalAws) -> Any:
    # Werkzeug, where it binds by itself, prints what is wrong and ends the process.
    with socket.socket() as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind(("127.0.0.1", port))
            listening.listen(_WAITING)
        except OSError as error:
            why = "is taken" if error.errno == errno.EADDRINUSE else f"cannot be used: {error.strerror}"
            raise LocalAwsError(
                f"port {port} of 127.0.0.1 {why}. Next: stop what listens there (is it another local AWS?), or choose "
                "another by --port; --port 0 takes a free one"
            ) from error
        return make_server(
            "127.0.0.1", port, app, threaded=True, request_handler=_RequestHandler, fd=listening.fileno()
        )


def _made(state: Path | None) -> Path:
    assert state is not None  # noqa: S101 - the caller has seen to it
    state.mkdir(parents=True, exist_ok=True)
    return state.resolve()


def _interpreters() -> dict[str, Interpreter]:
    found = find_interpreters()
    if not found:
        raise LocalAwsError(
            "no Python here can run Lambda functions: none of python3.11 to python3.13 imports awslambdaric. "
            "Next: pip install 'slipway[local]'"
        )
    return found


def _addressee(request: Request) -> tuple[str, str]:
    """Region and service that a request was signed for; an unsigned one is known by its path."""
    signed = _SCOPE.search(request.headers.get("Authorization", "")) or _SCOPE.search(request.query_string.decode())
    if signed:
        return signed["region"], signed["service"]
    return seeds.REGION, "lambda" if _LAMBDA_PATH.match(request.path) else "s3"


def _unplayed(request: Request) -> Response:
    body = f'{{"Type":"User","Message":"slipway local does not play {request.method} {request.path}"}}'
    return Response(body, 501, {"X-Amzn-ErrorType": "NotImplementedException", "Content-Type": "application/json"})
