"""What the connections of a worker share: who is asked, what stands above each answer, and who has to make room."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING

from ..exchange import JSON, Exchange, Response
from .batching import Batcher
from .settings import Settings
from .tally import Tally

if TYPE_CHECKING:
    from .http import Connection

PLAIN = "text/plain; version=0.0.4; charset=utf-8"


@dataclass
class App:
    """What every connection of a worker shares.

    Attributes:
        pages: path -> content type and bytes of what is served as it is.
        heads: what stands above a body, up to its length; one for each kind of answer that was given.
        connections: those that are open.
        draining: whether the server is about to stop.
        most: connections; past it, whoever is the longest without a whole request is hung up on.
        held: bytes of the bodies that are not whole yet.
    """

    exchange: Exchange
    batcher: Batcher
    tally: Tally
    settings: Settings
    pages: dict[str, tuple[str, bytes]]
    connections: set[Connection] = field(default_factory=set)
    heads: dict[tuple[int, str, bool, bytes], bytes] = field(default_factory=dict)
    draining: bool = False
    most: int = 1 << 30
    held: int = 0

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

    def make_room(self) -> None:
        """Hang up on whoever asks nothing for the longest time: file descriptors are few, and others want to ask."""
        waiting = [c for c in self.connections if not c.waits]
        since = {c: min(c.last, c.reads_since()) for c in waiting}
        for connection in sorted(waiting, key=since.__getitem__)[: 1 + self.most // 32]:
            connection.abort()

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
