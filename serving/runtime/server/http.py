"""HTTP/1.1 on asyncio: one protocol object for each connection, parsed by httptools, answered in order."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections import deque
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, NamedTuple

import httptools

from ..errors import RuntimeFault
from ..exchange import JSON, Exchange, Request, Response
from .batching import Batcher
from .settings import Settings
from .tally import Tally

_log = logging.getLogger(__name__)

HEAD = 32 * 1024  # bytes of a request's first line and headers
LINGER = 1.0  # seconds
PIPELINED = 64  # requests of one connection that may wait for their answers
WANTED = {b"content-type": "kind", b"accept": "accept", b"content-encoding": "encoding"}
HTML, PLAIN = "text/html; charset=utf-8", "text/plain; version=0.0.4; charset=utf-8"


@dataclass
class App:
    """What every connection of a worker shares.

    Attributes:
        pages: path -> content type and bytes of what is served as it is.
        heads: what stands above a body, up to its length; one for each kind of answer that was given.
        connections: those that are open.
        draining: whether the server is about to stop.
    """

    exchange: Exchange
    batcher: Batcher
    tally: Tally
    settings: Settings
    pages: dict[str, tuple[str, bytes]]
    connections: set[Connection] = field(default_factory=set)
    heads: dict[tuple[int, str, bool, bytes], bytes] = field(default_factory=dict)
    draining: bool = False

    def __post_init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.answers = {b"/invocations", self.settings.answers.encode()}
        self.body = self.exchange.predictor.limits.body
        manifest = self.exchange.predictor.manifest
        name = f"{manifest.name}/{manifest.version}".encode("latin1", "replace")
        self.identity = b"X-Model: %b\r\nX-Model-Digest: %b\r\n" % (name, manifest.digest.encode())

    def head(self, response: Response, *, close: bool, allow: bytes = b"") -> bytes:
        """What are the first line and the headers of this response?"""
        asked = (response.status, response.kind, close, allow)
        head = self.heads.get(asked)
        if head is None:
            head = self.heads[asked] = self._head(*asked)
        return b"%b%d\r\n\r\n" % (head, len(response.body))

    def _head(self, status: int, kind: str, close: bool, allow: bytes) -> bytes:
        extra = b"Retry-After: 1\r\n" if status == 503 else b""
        extra += b"Allow: %b\r\n" % allow if allow else b""
        return b"HTTP/1.1 %d %b\r\nContent-Type: %b\r\n%b%b%bContent-Length: " % (
            status, HTTPStatus(status).phrase.encode(), kind.encode(), self.identity, extra,
            b"Connection: close\r\n" if close else b"")

    def static(self, path: str) -> Response | None:
        """What is served under this path, besides predictions?"""
        if path in ("/ping", "/health", "/healthz", self.settings.health):
            return Response(200, JSON, b'{"status":"healthy"}')
        if path == "/metrics":
            return Response(200, PLAIN, self.tally.text(self.exchange.predictor.manifest))
        if path in self.pages:
            kind, body = self.pages[path]
            return Response(200, kind, body)
        return None


class Slot:
    """The place of one answer among those of its connection."""

    __slots__ = ("allow", "close", "connection", "data", "head_only", "started")

    def __init__(self, connection: Connection, *, close: bool, head_only: bool) -> None:
        self.connection = connection
        self.close = close
        self.head_only = head_only
        self.data = b""
        self.allow = b"GET"  # what this path would be read by, said where another method was tried
        self.started = time.perf_counter()

    def reply(self, response: Response) -> None:
        """Give the answer; it leaves when those before it have left."""
        app = self.connection.app
        close = self.close or app.draining
        self.close = close
        allow = self.allow if response.status == 405 else b""
        self.data = app.head(response, close=close, allow=allow) + (b"" if self.head_only else response.body)
        app.tally.answered(response.status, time.perf_counter() - self.started)
        self.connection.flush()


class Seen(NamedTuple):
    """A request that came in one piece: whatever begins with the same bytes and is as long means the same.

    Attributes:
        head: its bytes down to the empty line.
        size: how many bytes it had with its body.
        kind, accept, encoding: what its headers said.
    """

    head: bytes
    size: int
    kind: str
    accept: str
    encoding: str


class Connection:
    """One client; an asyncio.Protocol in all but its base class.

    Args:
        app: what all connections share.
    """

    def __init__(self, app: App) -> None:
        self.app = app
        self.last = time.monotonic()
        self._slots: deque[Slot] = deque()
        self._transport: Any = None
        self._parser: Any = None
        self._head = 0
        self._paused = False
        self._done = False
        self._piece = b""  # that began with the request which is read now
        self._seen: Seen | None = None
        self.on_message_begin()
        self._reading = False

    @property
    def waits(self) -> bool:
        """Is an answer still owed?"""
        return bool(self._slots)

    def close(self) -> None:
        """Close, once what was written has left."""
        self._done = True
        self._transport.close()

    def connection_made(self, transport: Any) -> None:
        """Begin: the client is there."""
        self._transport = transport
        self._parser = httptools.HttpRequestParser(self)
        self.app.connections.add(self)

    def connection_lost(self, error: Exception | None) -> None:
        """End: the client is gone."""
        self.app.connections.discard(self)
        self._slots.clear()
        self._done = True

    def eof_received(self) -> bool:
        """Will we answer a client that writes no more? Yes, what it has asked."""
        return bool(self._slots) and not self._done

    def pause_writing(self) -> None:
        """Read no more while the client does not read."""
        self._paused = True
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        """The client reads again."""
        self._paused = False
        self._transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        """Read on."""
        if self._done:
            return
        self.last = time.monotonic()
        seen = self._seen
        if seen and len(data) == seen.size and data.startswith(seen.head):
            self._answer(Request(data[len(seen.head):], seen.kind, seen.accept, seen.encoding), self._slot())
            return
        self._seen, self._piece = None, b"" if self._reading else data
        try:
            self._parser.feed_data(data)
            # httptools keeps a header that has no end yet: count what it was fed since the request began.
            self._head = self._head + len(data) if self._reading_head else 0
            if self._head > HEAD:
                self._refuse(431, "the headers are too long")
        except httptools.HttpParserUpgrade:
            self._refuse(400, "no other protocol is spoken here")
        except httptools.HttpParserError:
            if not self._done:
                self._refuse(400, "the request is not HTTP/1.1")

    def on_message_begin(self) -> None:
        """Begin one request."""
        self._url = b""
        self._found: dict[str, str] = {}
        self._length: int | None = None
        self._chunked = self._expects = False
        self._reading = self._reading_head = True
        self._body: list[bytes] = []
        self._size = 0

    def on_url(self, url: bytes) -> None:
        """Read the address."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Read one header."""
        lower = name.lower()
        if lower in WANTED:
            self._found[WANTED[lower]] = value.decode("latin1")
        elif lower == b"content-length":
            self._length = int(value) if value.isdigit() else 1 << 62
        elif lower == b"transfer-encoding":
            self._chunked = True
        elif lower == b"expect":
            self._expects = value.lower() == b"100-continue"

    def on_headers_complete(self) -> None:
        """Decide whether the body is worth reading."""
        self._reading_head = False
        limit = self.app.body
        if (self._length or 0) > limit:
            self._refuse(413, f"the body has {self._length} bytes; at most {limit} are taken")
        elif self._parser.get_method() == b"POST" and self._length is None and not self._chunked:
            self._refuse(411, "the request says no Content-Length")
        elif self._expects and not self._slots:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        """Read a part of the body."""
        self._size += len(body)
        limit = self.app.body
        if self._size > limit:
            if not self._done:
                self._refuse(413, f"the body has more than {limit} bytes; at most {limit} are taken")
            return
        self._body.append(body)

    def on_message_complete(self) -> None:
        """Answer the request, now or when its turn comes."""
        if self._done:
            return
        self._reading = False
        method = self._parser.get_method()
        slot = self._slot(close=not self._parser.should_keep_alive(), head_only=method == b"HEAD")
        path = self._url.partition(b"?")[0]
        if path in self.app.answers and method == b"POST":
            body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
            get = self._found.get
            asked = Request(body, get("kind", ""), get("accept", ""), get("encoding", ""))
            if not slot.close:
                self._remember(asked)
            self._piece = b""
            self._answer(asked, slot)
        else:
            self._answer(None, slot, method, path)

    def _remember(self, asked: Request) -> None:
        """Keep the head of a request that came alone and whole: most clients send the same one again and again."""
        head = self._piece[: len(self._piece) - self._size]
        if self._length == self._size and not self._expects and head.find(b"\r\n\r\n") == len(head) - 4:
            self._seen = Seen(head, len(self._piece), asked.kind, asked.accept, asked.encoding)

    def _slot(self, *, close: bool = False, head_only: bool = False) -> Slot:
        slot = Slot(self, close=close, head_only=head_only)
        self._slots.append(slot)
        if len(self._slots) > PIPELINED:
            self._transport.pause_reading()
        return slot

    def _answer(self, asked: Request | None, slot: Slot, method: bytes = b"POST", path: bytes = b"") -> None:
        """Have the model answer, when its turn comes; at once, where it is not the model that is asked."""
        app = self.app
        try:
            if asked is None:
                slot.reply(self._other(method, path, slot))
            else:
                app.batcher.submit(app.exchange.read(asked), slot.reply)
        except RuntimeFault as fault:
            slot.reply(app.exchange.refuse(fault) if fault.status != 503 else _said(503, str(fault)))
        except Exception:  # noqa: BLE001 - the outermost frame: the client is told, the worker lives on
            _log.exception("a request could not be answered")
            slot.reply(_said(500, "the server failed at this request; its log says why"))

    def flush(self) -> None:
        """Write the answers that are ready and whose turn it is."""
        if self._done:
            return
        slots = self._slots
        if len(slots) == 1 and not slots[0].close:  # as nearly always
            if slots[0].data:
                self._transport.write(slots.popleft().data)
            return
        parts = []
        while self._slots and self._slots[0].data:
            slot = self._slots.popleft()
            parts.append(slot.data)
            if slot.close:
                self._transport.write(b"".join(parts))
                self._hang_up()
                return
        if parts:
            self._transport.write(parts[0] if len(parts) == 1 else b"".join(parts))
            if not self._paused and len(self._slots) == PIPELINED:
                self._transport.resume_reading()

    def _other(self, method: bytes, path: bytes, slot: Slot) -> Response:
        """What is answered to anything but a prediction?"""
        if path in self.app.answers:
            slot.allow = b"POST"
            return _said(405, "predictions are asked for by POST")
        found = self.app.static(path.decode("latin1"))
        if found is None:
            return _said(404, "there is nothing here; predictions are asked for by POST /invocations")
        return found if method in (b"GET", b"HEAD") else _said(405, "this is read by GET")

    def _hang_up(self) -> None:
        """Close; a client that still sends is listened to for a moment, or it would never read our answer."""
        self._done = True
        if self._transport.can_write_eof():
            self._transport.write_eof()
        self.app.loop.call_later(LINGER, self._transport.close)

    def _refuse(self, status: int, message: str) -> None:
        """Answer and hang up: what follows on this connection cannot be trusted."""
        slot = Slot(self, close=True, head_only=False)
        self._slots.append(slot)
        slot.reply(_said(status, message))
        self._done = self._done or not self._slots


def _said(status: int, message: str) -> Response:
    return Response(status, JSON, json.dumps({"error": message}).encode())
