"""HTTP/1.1 on asyncio: one protocol object for each connection, parsed by httptools, answered in order."""

from __future__ import annotations

import json
import logging
import time
from collections import deque
from typing import Any, NamedTuple

import httptools

from ..errors import RuntimeFault
from ..exchange import JSON, Request, Response
from .app import App

_log = logging.getLogger(__name__)

HEAD = 32 * 1024  # bytes of a request's first line and headers, of what stands before a chunk, or of trailers
LINGER = 1.0  # seconds
HELD = 64  # bodies of the largest size, that may be under way in a worker at once
PIPELINED = 64  # requests of one connection that may wait for their answers
WANTED = {b"content-type": "kind", b"accept": "accept", b"content-encoding": "encoding"}


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
        self._fed = 0  # bytes of the request that is read now
        self._paused = False  # the client does not read
        self._full = False  # too many requests wait
        self._deaf = False  # nothing that comes is read any more
        self._done = False  # nothing is written any more
        self._piece = b""  # that began with the request which is read now
        self._seen: Seen | None = None
        self._size = 0
        self.on_message_begin()
        self._reading = False

    @property
    def waits(self) -> bool:
        """Is an answer still owed?"""
        return bool(self._slots)

    def reads_since(self) -> float:
        """When did the request begin that is not whole yet? Never, where there is none."""
        return self._began if self._reading else float("inf")

    def close(self) -> None:
        """Close, once what was written has left."""
        self._done = self._deaf = True
        self._transport.close()

    def abort(self) -> None:
        """Close at once: the client does not read what was written."""
        self._done = self._deaf = True
        self.app.connections.discard(self)
        self._transport.abort()

    def connection_made(self, transport: Any) -> None:
        """Begin: the client is there."""
        self._transport = transport
        self._parser = httptools.HttpRequestParser(self)
        self.app.connections.add(self)
        if len(self.app.connections) > self.app.most:
            self.app.make_room()

    def connection_lost(self, error: Exception | None) -> None:
        """End: the client is gone."""
        self.app.connections.discard(self)
        self._slots.clear()
        self._drop_body()
        self._done = self._deaf = True

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
        if not self._full:
            self._transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        """Read on."""
        if self._deaf:
            return
        self.last = time.monotonic()
        seen = self._seen
        if seen and len(data) == seen.size and data.startswith(seen.head):
            self._answer(Request(data[len(seen.head):], seen.kind, seen.accept, seen.encoding), self._slot())
            return
        self._seen, self._piece = None, b"" if self._reading else data
        self._fed += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._stay(data[upgrade.args[0]:])
        except httptools.HttpParserError:
            self._refuse(400, "the request is not HTTP/1.1")
        # httptools keeps a header or a trailer that has no end yet: count what it was fed since the request began.
        if self._fed - self._size > HEAD and self._reading:
            self._refuse(431, "the headers are too long")

    def _stay(self, rest: bytes) -> None:
        """Read on a request that offers another protocol as if it did not (RFC 9110, 7.8); Java's client does so.

        httptools leaves the body of such a request unread.
        """
        method, found = self._parser.get_method(), self._found
        if method == b"CONNECT":
            self._refuse(400, "no other protocol is spoken here")
        if self._deaf:
            return
        head = [b"%b %b HTTP/1.1" % (method, self._url)]
        head += [b"%b: %b" % (name, found[kept].encode("latin1")) for name, kept in WANTED.items() if kept in found]
        if self._length is not None:
            head.append(b"Content-Length: %d" % self._length)
        elif self._chunked:
            head.append(b"Transfer-Encoding: chunked")
        self._fed -= len(rest)
        self._parser = httptools.HttpRequestParser(self)
        self._parser.feed_data(b"\r\n".join(head) + b"\r\n\r\n")
        if rest:
            self.data_received(rest)

    def on_message_begin(self) -> None:
        """Begin one request."""
        self._url = b""
        self._found: dict[str, str] = {}
        self._length: int | None = None
        self._chunked = self._expects = False
        self._reading = self._reading_head = True
        self._body: bytes | bytearray = b""
        self._began = self.last

    def on_url(self, url: bytes) -> None:
        """Read the address."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Read one header; what comes after the body, a trailer, changes nothing."""
        if not self._reading_head:
            return
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
        if self._deaf:
            return
        if (self._length or 0) > limit:
            self._refuse(413, f"the body has {self._length} bytes; at most {limit} are taken")
        elif self._parser.get_method() == b"POST" and self._length is None and not self._chunked:
            self._refuse(411, "the request says no Content-Length")
        elif self._expects and not self._slots:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        """Read a part of the body."""
        if self._deaf:
            return
        self._size += len(body)
        self.app.held += len(body)
        if self._size > self.app.body:
            self._refuse(413, f"the body has more than {self.app.body} bytes; at most {self.app.body} are taken")
        elif self.app.held > HELD * self.app.body:
            self._refuse(503, "too many bodies are being sent at once; try again later")
        elif not self._body:
            self._body = body  # as nearly always, the whole of it
        else:  # one piece of memory, however small the pieces that come
            self._body = self._body if isinstance(self._body, bytearray) else bytearray(self._body)
            self._body += body

    def on_chunk_header(self) -> None:
        """Count anew what stands before the next chunk."""
        self._fed = self._size

    def on_message_complete(self) -> None:
        """Answer the request, now or when its turn comes."""
        if self._deaf or self._parser.should_upgrade():
            return
        self._reading, self._fed = False, 0
        method = self._parser.get_method()
        slot = self._slot(close=not self._parser.should_keep_alive(), head_only=method == b"HEAD")
        path = self._url.partition(b"?")[0]
        if path[:1] != b"/":
            path = _without_host(path)
        if path in self.app.answers and method == b"POST":
            get = self._found.get
            asked = Request(bytes(self._body), get("kind", ""), get("accept", ""), get("encoding", ""))
            if not slot.close:
                self._remember(asked)
            self._piece = b""
            self._drop_body()
            self._answer(asked, slot)
        else:
            self._drop_body()
            self._answer(None, slot, method, path)

    def _drop_body(self) -> None:
        self.app.held -= self._size
        self._size, self._body = 0, b""

    def _remember(self, asked: Request) -> None:
        """Keep the head of a request that came alone and whole: most clients send the same one again and again."""
        head = self._piece[: len(self._piece) - self._size]
        if self._length == self._size and not self._expects and head.find(b"\r\n\r\n") == len(head) - 4:
            self._seen = Seen(head, len(self._piece), asked.kind, asked.accept, asked.encoding)

    def _slot(self, *, close: bool = False, head_only: bool = False) -> Slot:
        slot = Slot(self, close=close, head_only=head_only)
        self._slots.append(slot)
        if len(self._slots) > PIPELINED and not self._full:
            self._full = True
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
            if self._full and len(self._slots) <= PIPELINED:
                self._full = False
                if not self._paused:
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
        self._done = self._deaf = True
        self._slots.clear()
        if self._transport.can_write_eof():
            self._transport.write_eof()
        self.app.loop.call_later(LINGER, self._transport.close)

    def _refuse(self, status: int, message: str) -> None:
        """Answer once and hang up: what follows on this connection cannot be trusted."""
        if self._deaf:
            return
        self._deaf = True
        self._drop_body()
        slot = Slot(self, close=True, head_only=False)
        self._slots.append(slot)
        slot.reply(_said(status, message))


def _without_host(url: bytes) -> bytes:
    """`/ping` of `http://host/ping`, as a proxy is asked and every server must understand (RFC 9112, 3.2.2)."""
    _, found, rest = url.partition(b"://")
    return b"/" + rest.partition(b"/")[2] if found else url


def _said(status: int, message: str) -> Response:
    return Response(status, JSON, json.dumps({"error": message}).encode())
