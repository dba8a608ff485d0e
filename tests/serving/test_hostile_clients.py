"""Clients that mean harm, or have bad luck: each is answered or hung up on, and whoever comes beside them is served."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from serving.runtime.block import Block, Blocks
from serving.runtime.core import Predictor
from serving.runtime.exchange import Asked, Exchange, Response
from serving.runtime.server.app import App
from serving.runtime.server.batching import Batcher, measure
from serving.runtime.server.http import Connection
from serving.runtime.server.run import _sweep
from serving.runtime.server.settings import Settings
from serving.runtime.server.tally import SharedCounts, Tally
from serving.runtime.server.workers import DEATHS

from .small import EXAMPLES, ServerFront, server
from .test_server import folder, front

__all__ = ["folder", "front"]  # fixtures

BODY = b'{"instances": [[1, 2, 3, 4]]}'
POST = b"POST /invocations HTTP/1.1\r\nHost: x\r\n"
SIZED = b"Content-Length: %d\r\n" % len(BODY)
CHUNKED = b"Transfer-Encoding: chunked\r\n"
CHUNK = b"%x\r\n%b\r\n" % (len(BODY), BODY)
ASK = POST + SIZED + b"\r\n" + BODY
PING = b"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n"
LAST = b"GET /last HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"  # its 404 shows that all before it is answered
JAVA = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAAAAIAAAAA\r\n"


def statuses(said: bytes) -> list[int]:
    return [int(status) for status in re.findall(rb"HTTP/1.1 (\d+)", said)]


def ask(port: int, data: bytes) -> bytes:
    """Write bytes, and read until the server hangs up."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as line:
        line.sendall(data)
        said = b""
        with suppress(ConnectionResetError):
            while part := line.recv(1 << 16):
                said += part
        return said


def flood(port: int, start: bytes, unit: bytes, times: int) -> bytes:
    """Write without end, or until the server has enough; what it said."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as line:
        with suppress(ConnectionResetError, BrokenPipeError):
            line.sendall(start)
            for _ in range(times):
                line.sendall(unit)
        with suppress(ConnectionResetError):
            return line.recv(1 << 16)
    return b""


@pytest.mark.parametrize("framing", [
    SIZED + CHUNKED, CHUNKED + SIZED, SIZED + SIZED, b"Content-Length: 29, 29\r\n", b"Content-Length: -1\r\n",
    b"Content-Length: +29\r\n", b"Content-Length: 0x1d\r\n", b"Content-Length: 99999999999999999999999\r\n",
    b"Content-Length : 29\r\n", b"Transfer-Encoding: xchunked\r\n", b"Transfer-Encoding: chunked, identity\r\n",
    SIZED + b"Transfer-Encoding:\r\n chunked\r\n", b"X: a\rContent-Length: 29\r\n", SIZED + b"X: a\0b\r\n"])
def test_a_length_that_can_be_read_in_two_ways_is_refused_and_nothing_behind_it_is_read(
        framing: bytes, front: ServerFront) -> None:
    assert statuses(ask(front.port, POST + framing + b"\r\n" + BODY + PING)) == [400]


@pytest.mark.parametrize("chunks", [b"zz\r\n", b"-1\r\n", b"0x1d\r\n" + BODY, b"fffffffffffffffffffff\r\n",
                                    CHUNK[:-2] + b"XX0\r\n\r\n", b"1d\n" + BODY + b"\n0\n\n"])
def test_a_chunk_that_is_none_is_refused(chunks: bytes, front: ServerFront) -> None:
    assert statuses(ask(front.port, POST + CHUNKED + b"\r\n" + chunks)) == [400]


@pytest.mark.parametrize("start", [POST + CHUNKED + b"\r\n" + CHUNK + b"0\r\nX: ", POST + CHUNKED + b"\r\n1d;",
                                   b"GET /ping HTTP/1.1\r\nX: ", b"GET /"])
def test_what_frames_a_request_has_an_end(start: bytes, front: ServerFront) -> None:
    assert statuses(flood(front.port, start, b"a" * 65536, 100)) == [431]


def test_a_trailer_changes_nothing(front: ServerFront) -> None:
    trailer = b"0\r\nContent-Type: image/png\r\nAccept: image/png\r\n\r\n"
    assert statuses(ask(front.port, POST + CHUNKED + b"\r\n" + CHUNK + trailer + LAST)) == [200, 404]


@pytest.mark.parametrize("request_", [
    b"GET /ping HTTP/1.1\r\nHost: x\r\n" + JAVA + b"\r\n", POST + SIZED + JAVA + b"\r\n" + BODY,
    POST + CHUNKED + JAVA + b"\r\n" + CHUNK + b"0\r\n\r\n"])
def test_an_offer_of_another_protocol_is_left_aside(request_: bytes, front: ServerFront) -> None:
    assert statuses(ask(front.port, request_ + request_ + LAST)) == [200, 200, 404]


def test_no_tunnel_is_opened(front: ServerFront) -> None:
    assert statuses(ask(front.port, b"CONNECT example.com:443 HTTP/1.1\r\nHost: x\r\n\r\n" + PING)) == [400]


def test_a_proxy_may_name_the_host_in_the_first_line(front: ServerFront) -> None:
    asked = ASK.replace(b"/invocations", b"http://model.example:8080/invocations", 1)
    assert statuses(ask(front.port, asked + PING.replace(b"/ping", b"http://x/ping?a=b", 1) + LAST)) == [200, 200, 404]


def test_a_connection_that_asked_much_at_once_is_read_on(front: ServerFront) -> None:
    with socket.create_connection(("127.0.0.1", front.port), timeout=20) as line:
        line.sendall(ASK + PING * 200)  # pings are answered at once, and leave behind the prediction all together
        said = b""
        while said.count(b"healthy") < 200:
            said += line.recv(1 << 16)
        line.sendall(LAST)
        assert line.recv(1 << 16).startswith(b"HTTP/1.1 404 ")


def test_what_is_refused_behind_a_good_request_is_refused_once(front: ServerFront) -> None:
    for bad, status in ((POST + b"Content-Length: 6000000\r\n\r\n" + b"x" * 300_000, 413), (POST + b"\r\n" + ASK, 411),
                        (b"\0\1\r\n\r\n" + ASK, 400)):
        assert statuses(ask(front.port, ASK + bad)) == [200, status]


def test_a_body_in_small_pieces_takes_no_more_memory_than_its_bytes(folder: Path) -> None:
    with server(folder) as (front, process), socket.create_connection(("127.0.0.1", front.port)) as line:
        before = resident(process.pid)
        line.sendall(POST + CHUNKED + b"\r\n")
        for _ in range(16):
            line.sendall(b"2\r\n  \r\n" * 100_000)
        line.sendall(b"0\r\n\r\n")
        assert line.recv(65536).startswith(b"HTTP/1.1 400 ")  # 3.2 MB of nothing
        assert resident(process.pid) - before < 40_000_000


def resident(process: int) -> int:
    return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class Faulty(Exchange):
    """Fails at some answers in a way that nobody foresaw."""

    def write(self, asked: Asked, outputs: Blocks) -> Response:
        if asked.rows == 2:
            raise ZeroDivisionError
        return super().write(asked, outputs)


def beside(folder: Path, act: Callable[[App, int], Awaitable[None]], **options: Any) -> None:
    """Have a server in this process, whose insides can be seen."""
    async def run() -> None:
        tally, predictor, settings = Tally(1), Predictor(folder), replace(Settings.of({}), idle=30.0, slow=60.0)
        exchange = Faulty(predictor, counts=SharedCounts(tally))
        pace = measure(predictor, {"x": Block.of(EXAMPLES["rows"]["x"])})
        app = App(exchange, Batcher(exchange, pace, settings.wait, tally), tally, settings, {}, **options)
        loop = asyncio.get_running_loop()
        listening = await loop.create_server(
            lambda: Connection(app), "127.0.0.1", 0)  # type: ignore[arg-type, return-value]  # as in run.py
        await asyncio.wait_for(act(app, listening.sockets[0].getsockname()[1]), 30)
        listening.close()

    asyncio.run(run())


async def until(true: Callable[[], bool]) -> None:
    while not true():
        await asyncio.sleep(0.01)


def test_an_answer_that_cannot_be_written_holds_up_nobody(folder: Path) -> None:
    async def act(app: App, port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        two = b'{"instances": [[1, 2, 3, 4], [1, 2, 3, 4]]}'
        writer.write(POST + b"Content-Length: %d\r\n\r\n%b" % (len(two), two) + ASK + LAST)
        assert statuses(await reader.read()) == [500, 200, 404]
        assert app.batcher.idle

    beside(folder, act)


def test_where_no_more_connections_fit_the_one_that_asks_nothing_has_to_go(folder: Path) -> None:
    async def act(app: App, port: int) -> None:
        idle, _ = await asyncio.open_connection("127.0.0.1", port)
        await until(lambda: len(app.connections) == 1)
        slow, dripping = await asyncio.open_connection("127.0.0.1", port)
        dripping.write(b"GET /ping HTTP/1.1\r\nX")
        await until(lambda: any(c.reads_since() < float("inf") for c in app.connections))
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        with suppress(ConnectionResetError):
            assert await idle.read() == b""
        dripping.write(b": y")  # that something comes does not make it a request
        await asyncio.open_connection("127.0.0.1", port)
        with suppress(ConnectionResetError):
            assert await slow.read() == b""
        writer.write(ASK + LAST)
        assert statuses(await reader.read()) == [200, 404]

    beside(folder, act, most=2)


def test_whoever_sends_one_request_for_too_long_is_hung_up_on(folder: Path) -> None:
    async def act(app: App, port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(ASK[:-1])
        await until(lambda: any(c.reads_since() < float("inf") for c in app.connections))
        connection, = app.connections
        _sweep(app)
        assert app.connections
        connection._began -= 61  # its last byte came just now
        _sweep(app)
        assert await reader.read() == b""

    beside(folder, act)


def test_whoever_reads_no_answers_is_hung_up_on_as_well(folder: Path) -> None:
    async def act(app: App, port: int) -> None:
        line = socket.socket()
        line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        line.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(line, ("127.0.0.1", port))
        rows = b'{"instances": [' + b",".join([b"[1, 2, 3, 4]"] * 8000) + b"]}"
        sending = asyncio.create_task(loop.sock_sendall(
            line, (POST + b"Content-Length: %d\r\n\r\n%b" % (len(rows), rows)) * 100))
        await until(lambda: any(c._paused for c in app.connections))
        connection, = app.connections
        await until(lambda: not connection.waits)
        connection.last -= 61
        _sweep(app)
        await until(lambda: connection._done and not connection.app.connections)
        sending.cancel()
        line.close()

    beside(folder, act)


def test_bodies_that_never_end_do_not_take_all_memory(folder: Path) -> None:
    async def act(app: App, port: int) -> None:
        app.body = 10_000
        lines = [await asyncio.open_connection("127.0.0.1", port) for _ in range(66)]
        for _, writer in lines:
            writer.write(POST + b"Content-Length: 10000\r\n\r\n" + b" " * 9_999)
        refused = [asyncio.create_task(reader.read()) for reader, _ in lines]
        done, _ = await asyncio.wait(refused, return_when=asyncio.FIRST_COMPLETED)
        assert all(statuses(task.result()) == [503] for task in done)
        for _, writer in lines:
            writer.close()
        await until(lambda: not app.connections)
        assert app.held == 0
        for task in refused:
            task.cancel()

    beside(folder, act)


def children(process: int) -> list[int]:
    return [int(c) for c in Path(f"/proc/{process}/task/{process}/children").read_text().split()]


def wait_for(true: Callable[[], bool]) -> None:
    until = time.monotonic() + 30
    while not true():
        assert time.monotonic() < until
        time.sleep(0.02)


def test_a_worker_that_is_killed_is_replaced_and_the_port_goes_on_answering(folder: Path) -> None:
    with server(folder, SLIPWAY_WORKERS="2") as (front, process):
        wait_for(lambda: len(children(process.pid)) == 2)
        before = children(process.pid)
        os.kill(before[0], signal.SIGKILL)
        for _ in range(20):
            assert front.ask(BODY, content_type="application/json").status == 200
        wait_for(lambda: len(children(process.pid)) == 2 and before[0] not in children(process.pid))
        for _ in range(20):
            assert front.ask(BODY, content_type="application/json").status == 200
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0


def gone(child: int, process: subprocess.Popen[bytes]) -> bool:
    return process.poll() is not None or child not in children(process.pid)


def test_workers_that_die_again_and_again_end_the_server(folder: Path) -> None:
    with server(folder, SLIPWAY_WORKERS="2") as (_, process):
        for _ in range(DEATHS):
            wait_for(lambda: len(children(process.pid)) == 2)
            os.kill(killed := children(process.pid)[0], signal.SIGKILL)
            wait_for(partial(gone, killed, process))
        assert process.wait(20) == 1


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_stop_at_the_first_moment_is_a_clean_one(workers: str, folder: Path) -> None:
    for _ in range(3):
        with server(folder, SLIPWAY_WORKERS=workers) as (_, process):
            process.send_signal(signal.SIGTERM)  # the port was said this instant
            assert process.wait(20) == 0


def test_workers_do_not_outlive_the_process_that_watches_them(folder: Path) -> None:
    with server(folder, SLIPWAY_WORKERS="2") as (front, process):
        wait_for(lambda: len(children(process.pid)) == 2)
        assert front.ask(BODY, content_type="application/json").status == 200
        process.kill()
        process.wait(20)
        wait_for(lambda: refused(front.port))


def refused(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except ConnectionRefusedError:
        return True
    return False
