"""A connection that knows the last request's head answers whatever comes as one that parses everything."""

from __future__ import annotations

import asyncio
import io
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.runtime.core import Predictor
from serving.runtime.exchange import Exchange
from serving.runtime.server.app import App
from serving.runtime.server.batching import Batcher, Pace
from serving.runtime.server.http import Connection
from serving.runtime.server.quick import QuickJson
from serving.runtime.server.settings import Settings
from serving.runtime.server.tally import SharedCounts, Tally

from .small import bundle_of


def npy_of(*rows: list[float]) -> bytes:
    packed = io.BytesIO()
    np.save(packed, np.asarray(rows, np.float32))
    return packed.getvalue()


HEADS = (b"Content-Type: application/json\r\n", b"Content-Type: application/x-npy\r\n",
         b"Content-Type: application/x-npy\r\nAccept: application/x-npy\r\n", b"Content-Type: text/csv\r\n",
         b"Content-Encoding: gzip\r\n", b"Expect: 100-continue\r\n")
BODIES = (b'{"instances": [[1, 2, 3, 4]]}', b'{"instances": [[9, 2, 3, 4]]}', b'{"instances": [[1, 2, 3]]}   ',
          b"1,2,3,4\r\n\r\n", npy_of([1, 2, 3, 4]), npy_of([9, 2, 3, 4]), npy_of([9, 2, float("nan"), 4]),
          npy_of([1, 2], [3, 4]), npy_of([1, 2, 3, 4], [5, 6, 7, 8]),
          npy_of([1, 2, 3, 4])[:-1], b"POST /invocations HTTP/1.1\r\nHost: x\r\n\r\n", b"")


def request(head: bytes, body: bytes, line: bytes = b"POST /invocations") -> bytes:
    return b"%b HTTP/1.1\r\nHost: x\r\n%bContent-Length: %d\r\n\r\n%b" % (line, head, len(body), body)


def chunked(body: bytes) -> bytes:
    parts = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
    return b"POST /invocations HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n%b0\r\n\r\n" % parts


OTHERS = [b"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n", request(b"", BODIES[0], b"PUT /invocations"),
          request(HEADS[1], BODIES[4], b"POST /elsewhere"), b"\r\n" + request(HEADS[1], BODIES[5]),
          *map(chunked, BODIES)]
ALIKE = st.builds(lambda head, bodies: [request(head, body) for body in bodies], st.sampled_from(HEADS),
                  st.lists(st.sampled_from(BODIES), min_size=1, max_size=5))
STREAMS = st.lists(st.one_of(ALIKE, ALIKE, st.sampled_from(OTHERS).map(lambda one: [one])), min_size=1,
                   max_size=4).map(lambda some: [one for many in some for one in many])


class Line:
    """What a connection writes to."""

    def __init__(self) -> None:
        self.said = b""

    def write(self, data: bytes) -> None:
        self.said += data

    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...
    def close(self) -> None: ...
    def write_eof(self) -> None: ...

    def can_write_eof(self) -> bool:
        return True


class Forgetful(Connection):
    """A connection that parses every request."""

    def _remember(self, asked: Any) -> None:
        pass


class ForgetfulExchange(Exchange):
    """An exchange that reads every npy head."""

    def _remember(self, *asked: Any) -> None:
        pass


@pytest.fixture(scope="module")
def predictor(tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    return Predictor(bundle_of("rows", tmp_path_factory.mktemp("rows") / "bundle"))


def answered(predictor: Predictor, pieces: list[bytes], kind: type[Connection] = Connection,
             reads: type[Exchange] = Exchange, pages: dict[str, tuple[str, bytes]] | None = None) -> bytes:
    """What a connection of this kind says to these pieces, one each turn of the event loop."""
    async def said() -> bytes:
        tally = Tally(1)
        exchange = reads(predictor, QuickJson(predictor.manifest), counts=SharedCounts(tally))
        app = App(exchange, Batcher(exchange, Pace(1e-6, 1e-6, True), 1.0, tally), tally, Settings.of({}), pages or {})
        line, connection = Line(), kind(app)
        connection.connection_made(line)
        for piece in pieces:
            connection.data_received(piece)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        return line.said

    return asyncio.run(said())


def cut(data: bytes, places: list[int]) -> Iterator[bytes]:
    start = 0
    for end in sorted({p % (len(data) + 1) for p in places} | {len(data)}):
        if end > start:
            yield data[start:end]
            start = end


@settings(max_examples=200, deadline=None)
@given(stream=STREAMS, whole=st.booleans(), places=st.lists(st.integers(0, 4000), max_size=6))
def test_a_head_that_is_known_changes_no_answer(predictor: Predictor, stream: list[bytes], whole: bool,
                                                places: list[int]) -> None:
    pieces = stream if whole else list(cut(b"".join(stream), places))
    assert answered(predictor, pieces) == answered(predictor, pieces, Forgetful, ForgetfulExchange)


@settings(max_examples=200, deadline=None)
@given(body=st.sampled_from(BODIES), place=st.integers(1, 150),
       order=st.lists(st.sampled_from(["whole", "start", "end", "pair", "mixed"]), min_size=2, max_size=6))
def test_pieces_that_are_no_request_are_never_taken_for_one(predictor: Predictor, body: bytes, place: int,
                                                            order: list[str]) -> None:
    one = request(HEADS[1], body)
    parts = {"whole": one, "start": one[:place], "end": one[place:] or b"\r", "pair": one + one,
             "mixed": one + OTHERS[0]}
    pieces = [parts[name] for name in order]
    assert answered(predictor, pieces) == answered(predictor, pieces, Forgetful, ForgetfulExchange)


def test_a_repeated_request_is_not_parsed_again(predictor: Predictor) -> None:
    parsed = []

    class Listening(Connection):
        def on_url(self, url: bytes) -> None:
            parsed.append(url)
            super().on_url(url)

    said = answered(predictor, [request(HEADS[1], body) for body in BODIES[4:6] * 3], Listening)
    assert said.count(b"HTTP/1.1 200 OK") == 6
    assert parsed == [b"/invocations"]


def test_a_page_that_cannot_be_given_is_a_500_and_the_next_request_is_answered(predictor: Predictor) -> None:
    class Faulty(dict[str, tuple[str, bytes]]):
        def __contains__(self, path: object) -> bool:
            raise ZeroDivisionError

    asked = [b"GET /page HTTP/1.1\r\nHost: x\r\n\r\n", b"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n"]
    said = answered(predictor, asked, pages=Faulty(one=("text/plain", b"")))
    assert re.findall(rb"HTTP/1\.1 (\d+)", said) == [b"500", b"200"]
