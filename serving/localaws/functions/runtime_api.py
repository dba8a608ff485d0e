"""The Runtime API (2018-06-01) that one execution environment's ``awslambdaric`` talks to.

https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html
"""

from __future__ import annotations

import json
import queue
import sys
import threading
import time
import uuid
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from serving.localaws.functions.limits import ANSWER_BYTES


@dataclass(frozen=True, slots=True)
class Invocation:
    """One event on its way to a function. ``deadline`` is in seconds since the epoch."""

    request_id: str
    payload: bytes
    function_arn: str
    deadline: float
    client_context: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a function said to one event."""

    body: bytes
    failed: bool


class RuntimeApi:
    """One environment's endpoint: hands out events, takes answers."""

    def __init__(self) -> None:
        self.ready = threading.Event()
        self.init_error: bytes | None = None
        self._inbox: queue.Queue[Invocation | None] = queue.Queue()
        self._answers: queue.Queue[Answer | None] = queue.Queue()
        self._current = ""
        self._server = _Server(self)
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def address(self) -> str:
        """Where ``awslambdaric`` finds it: host:port."""
        return f"127.0.0.1:{self._server.server_port}"

    def send(self, invocation: Invocation) -> None:
        """Hand an event to the function; its answer comes through `answer`."""
        self._current = invocation.request_id
        self._inbox.put(invocation)

    def answer(self, timeout: float) -> Answer | None:
        """The function's answer, or None when its process has ended.

        Raises:
            TimeoutError: There is none yet.
        """
        try:
            return self._answers.get(timeout=timeout)
        except queue.Empty:
            raise TimeoutError from None

    def process_ended(self) -> None:
        """Wake whoever waits for this environment: nothing more will come from it."""
        self.ready.set()
        self._answers.put(None)

    def close(self) -> None:
        """Stop serving; a waiting ``awslambdaric`` is let go."""
        self._inbox.put(None)
        self._server.shutdown()
        self._server.server_close()

    def next_event(self) -> Invocation | None:
        """Wait for the next event (for the request handler)."""
        self.ready.set()
        return self._inbox.get()

    def take(self, request_id: str, answer: Answer) -> bool:
        """Accept an answer if it is to the event being worked on (for the request handler)."""
        if request_id != self._current:
            return False
        self._current = ""
        self._answers.put(answer)
        return True


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, api: RuntimeApi) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.api = api

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A process that was killed hangs up in the middle; anything else is a defect and is told."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # An answer must leave in one segment: split writes cost two delayed ACKs of 40 ms each.
    wbufsize = -1
    disable_nagle_algorithm = True
    server: _Server

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: the function's log is what counts."""

    def do_GET(self) -> None:
        """Answer .../runtime/invocation/next."""
        if not self.path.endswith("/runtime/invocation/next"):
            return self._send(404)
        event = self.server.api.next_event()
        if event is None:
            return self._send(410)
        headers = {
            "Content-Type": "application/json",
            "Lambda-Runtime-Aws-Request-Id": event.request_id,
            "Lambda-Runtime-Deadline-Ms": str(int(event.deadline * 1000)),
            "Lambda-Runtime-Invoked-Function-Arn": event.function_arn,
            "Lambda-Runtime-Trace-Id": f"Root=1-{int(time.time()):08x}-{uuid.uuid4().hex[:24]};Sampled=0",
        }
        if event.client_context:
            headers["Lambda-Runtime-Client-Context"] = event.client_context
        return self._send(200, event.payload, headers)

    def do_POST(self) -> None:
        """Take .../init/error, .../invocation/ID/response and .../invocation/ID/error."""
        api, body = self.server.api, self._body()
        if self.path.endswith("/runtime/init/error"):
            api.init_error = body
            api.ready.set()
            return self._send(202, b'{"status":"OK"}')
        request_id, kind = self.path.split("/")[-2:]
        too_large = kind == "response" and len(body) > ANSWER_BYTES
        answer = Answer(_too_large(), failed=True) if too_large else Answer(body, failed=kind == "error")
        if not api.take(request_id, answer):
            return self._send(400, b'{"errorType":"InvalidRequestID","errorMessage":"Invalid request ID"}')
        return self._send(413 if too_large else 202, b'{"status":"OK"}')

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _send(self, status: int, body: bytes = b"", headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _too_large() -> bytes:
    message = f"Response payload size exceeded maximum allowed payload size ({ANSWER_BYTES} bytes)."
    return json.dumps({"errorMessage": message, "errorType": "Function.ResponseSizeTooLarge"}).encode()
