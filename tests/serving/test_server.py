"""The container server: its protocol, its limits, its end, and the places whose variables it follows."""

from __future__ import annotations

import asyncio
import io
import json
import os
import re
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, save_model

from serving.runtime.block import Block
from serving.runtime.core import Predictor
from serving.runtime.errors import BundleBroken
from serving.runtime.exchange import Exchange, Request
from serving.runtime.manifest import sha256
from serving.runtime.server.app import App
from serving.runtime.server.batching import Batcher, measure
from serving.runtime.server.http import Connection
from serving.runtime.server.quick import QuickJson
from serving.runtime.server.settings import Settings
from serving.runtime.server.tally import SharedCounts, Tally

from .small import EXAMPLES, ServerFront, bundle_of, constant, server

BODY = b'{"instances": [[1, 2, 3, 4]]}'


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bundle_of("rows", tmp_path_factory.mktemp("rows") / "bundle")


@pytest.fixture(scope="module")
def front(folder: Path) -> Iterator[ServerFront]:
    with server(folder) as (front, _):
        yield front


def talk(port: int, data: bytes, *, wait: float = 5.0) -> bytes:
    """Write bytes, and read until the server hangs up or says no more for a moment."""
    with socket.create_connection(("127.0.0.1", port), timeout=wait) as line:
        line.sendall(data)
        said = b""
        line.settimeout(1.0)
        try:
            while part := line.recv(65536):
                said += part
        except TimeoutError:
            pass
        return said


def test_ping_is_healthy_and_names_the_model(front: ServerFront) -> None:
    reply = front.request("GET", "/ping")
    assert reply.status == 200
    assert reply.headers["x-model"] == "rows/3"


@pytest.mark.parametrize(("method", "path", "status"), [
    ("GET", "/invocations", 405), ("POST", "/ping", 405), ("GET", "/nothing", 404), ("HEAD", "/ping", 200),
    ("GET", "/../../etc/passwd", 404), ("GET", "/openapi.json", 200), ("GET", "/", 200)])
def test_each_path_has_its_method(method: str, path: str, status: int, front: ServerFront) -> None:
    assert front.request(method, path, b"" if method == "POST" else None).status == status


def test_a_request_without_a_length_is_told_so(front: ServerFront) -> None:
    assert talk(front.port, b"POST /invocations HTTP/1.1\r\nHost: x\r\n\r\n").startswith(b"HTTP/1.1 411 ")


def test_a_large_body_is_refused_before_it_is_read(front: ServerFront) -> None:
    said = talk(front.port, b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n")
    assert said.startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize("data", [b"\x16\x03\x01\x02", b"GET / HTTP/9.9\r\n\r\n",
                                  b"POST /invocations HTTP/1.1\r\nHost: x\r\n"
                                  b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello"])
def test_what_is_no_http_is_a_400(data: bytes, front: ServerFront) -> None:
    assert talk(front.port, data).startswith(b"HTTP/1.1 400 ")


def test_endless_headers_are_cut_short(front: ServerFront) -> None:
    assert b" 431 " in talk(front.port, b"GET /ping HTTP/1.1\r\nX: " + b"a" * 70_000)[:20]


def test_chunks_are_put_together(front: ServerFront) -> None:
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (BODY[:7], BODY[7:])) + b"0\r\n\r\n"
    said = talk(front.port, b"POST /invocations HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
                            b"Transfer-Encoding: chunked\r\n\r\n" + chunks)
    assert said.startswith(b"HTTP/1.1 200 ")


def test_a_client_that_asks_first_is_told_to_go_on(front: ServerFront) -> None:
    said = talk(front.port, b"POST /invocations HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: "
                            b"%d\r\n\r\n" % len(BODY))
    assert said == b"HTTP/1.1 100 Continue\r\n\r\n"


def test_pipelined_requests_are_answered_in_their_order(front: ServerFront) -> None:
    ask = b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b" % (len(BODY), BODY)
    said = talk(front.port, ask + b"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n" + ask + b"GET /no HTTP/1.1\r\n"
                            b"Host: x\r\nConnection: close\r\n\r\n")
    assert re.findall(rb"HTTP/1.1 (\d+)", said) == [
        b"200", b"200", b"200", b"404"]
    assert said.index(b"predictions") < said.index(b"healthy") < said.index(b"there is nothing")


def test_metrics_count_what_was_answered_and_refused(folder: Path) -> None:
    with server(folder) as (front, _):
        front.ask(BODY, content_type="application/json")
        front.ask(b"{", content_type="application/json")
        said = front.request("GET", "/metrics").body.decode()
    assert 'slipway_requests_total{model="rows",version="3",status="2xx"} 1' in said
    assert 'slipway_requests_total{model="rows",version="3",status="4xx"} 1' in said
    assert 'slipway_rows_total{model="rows",version="3"} 1' in said
    assert 'slipway_request_seconds_count{model="rows",version="3"} 2' in said


def test_many_requests_leave_no_more_memory_in_use(folder: Path) -> None:
    """5,000 of them; `SLIPWAY_LONG=100000 pytest tests/serving/test_server.py` asks more."""
    packed = io.BytesIO()
    np.save(packed, np.ones((512, 4), np.float32))  # an answer that is not given back would show
    bodies = ((BODY, "application/json"), (packed.getvalue(), "application/x-npy"), (b"{", "application/json"))
    asks = b"".join(b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Type: %b\r\nContent-Length: %d\r\n\r\n%b" % (
        kind.encode(), len(body), body) for body, kind in bodies)
    turns = int(os.environ.get("SLIPWAY_LONG", "5000")) // 30
    with server(folder) as (front, process), socket.create_connection(("127.0.0.1", front.port)) as line:
        def ask() -> int:
            line.sendall(asks * 10)
            said = b""
            while said.count(b"HTTP/1.1 ") < 30 or not said.endswith(b"}"):
                said += line.recv(1 << 16)
            return int(Path(f"/proc/{process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

        seen = [ask() for _ in range(turns)]
    assert seen[-1] - seen[turns // 5] < 2_000_000


def test_many_at_once_get_their_own_answers(front: ServerFront, folder: Path) -> None:
    predictor = Predictor(folder)
    faults: list[str] = []

    def ask(seed: int) -> None:
        for turn in range(20):
            row = np.random.default_rng(seed * 100 + turn).normal(size=(1, 4)).astype(np.float32)
            said = front.ask(json.dumps({"instances": row.tolist()}).encode(), content_type="application/json").json
            wanted = predictor.predict({"x": row})["probabilities"]
            if not np.allclose(said["predictions"], wanted, atol=1e-6):
                faults.append(f"{seed}/{turn}")

    threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []


def test_a_queue_that_would_wait_too_long_is_answered_503(folder: Path) -> None:
    with server(folder, SLIPWAY_MAX_WAIT_MS="1", SLIPWAY_MAX_ROWS="8192") as (front, _):
        rows = json.dumps({"instances": [[1, 2, 3, 4]] * 8000}).encode()
        ask = b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b" % (len(rows), rows)
        said = talk(front.port, ask * 12)
        assert b"HTTP/1.1 503 " in said
        assert b"Retry-After: 1" in said
        assert front.ask(BODY, content_type="application/json").status == 200


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_stop_answers_what_was_asked_and_ends_with_zero(workers: str, folder: Path) -> None:
    with server(folder, SLIPWAY_WORKERS=workers) as (front, process):
        with socket.create_connection(("127.0.0.1", front.port)) as line:
            line.sendall(b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(BODY))
            time.sleep(0.2)
            line.sendall(BODY)
            process.send_signal(signal.SIGTERM)
            assert line.recv(65536).startswith(b"HTTP/1.1 200 ")
        assert process.wait(10) == 0
        with pytest.raises(OSError, match="refused"):
            socket.create_connection(("127.0.0.1", front.port), timeout=1)


@pytest.mark.parametrize(("environ", "port", "answers", "health"), [
    ({"SAGEMAKER_BIND_TO_PORT": "9001", "PORT": "1"}, 9001, "/invocations", "/ping"),
    ({"AIP_HTTP_PORT": "9002", "AIP_PREDICT_ROUTE": "/predict", "AIP_HEALTH_ROUTE": "/alive"}, 9002, "/predict",
     "/alive"),
    ({"PORT": "9003"}, 9003, "/invocations", "/ping"), ({}, 8080, "/invocations", "/ping")])
def test_each_places_variables_are_followed(environ: dict[str, str], port: int, answers: str, health: str) -> None:
    settings = Settings.of(environ)
    assert (settings.port, settings.answers, settings.health) == (port, answers, health)


def test_vertex_ai_is_answered_at_its_own_routes_and_sends_parameters_along(folder: Path) -> None:
    with server(folder, AIP_PREDICT_ROUTE="/v1/predict", AIP_HEALTH_ROUTE="/v1/alive") as (front, _):
        assert front.request("GET", "/v1/alive").status == 200
        body = json.dumps({"instances": [[1, 2, 3, 4]], "parameters": {"confidence": 0.5}}).encode()
        reply = front.request("POST", "/v1/predict", body, {"content-type": "application/json"})
        assert reply.status == 200, reply.body
        assert reply.json["predictions"] == front.ask(BODY, content_type="application/json").json["predictions"]


def test_workers_share_the_models_memory(tmp_path: Path) -> None:
    folder, size = bundle_of("rows", tmp_path / "bundle"), 6_000_000
    node, told = helper.make_node, helper.make_tensor_value_info
    nodes = [node("ReduceL1", ["x", "last"], ["far"], keepdims=0), node("Cast", ["far"], ["row"], to=TensorProto.INT64),
             node("Gather", ["E", "row"], ["probabilities"])]
    table = constant("E", np.full((size, 2), 0.5, np.float32))
    save_model(helper.make_model(helper.make_graph(
        nodes, "g", [told("x", TensorProto.FLOAT, ["rows", 4])],
        [told("probabilities", TensorProto.FLOAT, ["rows", 2])], [table, constant("last", [1])]),
        ir_version=9, opset_imports=[helper.make_opsetid("", 18)]), folder / "model.onnx")
    manifest = json.loads((folder / "manifest.json").read_bytes())
    entry = next(f for f in manifest["files"] if f["path"] == "model.onnx")
    entry["sha256"] = sha256(folder / "model.onnx")
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with server(folder, SLIPWAY_WORKERS="2") as (front, process):
        for _ in range(20):
            assert front.ask(BODY, content_type="application/json").status == 200
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        assert len(children) == 2
        for child in children:
            said = Path(f"/proc/{child}/smaps_rollup").read_text()
            own = sum(int(kb) for kb in re.findall(r"^Private_\w+:\s+(\d+) kB", said, re.M)) * 1024
            assert own < size * 8 / 2, said


def test_a_variable_that_is_no_number_is_named() -> None:
    with pytest.raises(BundleBroken, match="PORT is 'http'; wanted a positive whole number"):
        Settings.of({"PORT": "http"})


def test_requests_are_joined_only_where_they_gain_and_agree(folder: Path) -> None:
    pace = measure(Predictor(folder), {"x": Block.of(EXAMPLES["rows"]["x"])})
    assert pace.together
    assert pace.row < pace.one


def test_a_fault_that_nobody_foresaw_is_told_to_the_client_and_the_next_request_is_answered(folder: Path) -> None:
    class Faulty(Exchange):
        def read(self, request: Request) -> Any:
            if request.body == b"boom":
                raise ZeroDivisionError
            return super().read(request)

    async def asked() -> list[bytes]:
        tally = Tally(1)
        predictor, settings = Predictor(folder), Settings.of({})
        exchange = Faulty(predictor, QuickJson(predictor.manifest), counts=SharedCounts(tally))
        pace = measure(predictor, {"x": Block.of(EXAMPLES["rows"]["x"])})
        app = App(exchange, Batcher(exchange, pace, settings.wait, tally), tally, settings, {})
        loop = asyncio.get_running_loop()
        listening = await loop.create_server(
            lambda: Connection(app), "127.0.0.1", 0)  # type: ignore[arg-type, return-value]  # as in run.py
        reader, writer = await asyncio.open_connection(*listening.sockets[0].getsockname())
        heads = []
        for body in (b"boom", BODY):
            writer.write(b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                         b"Content-Length: %d\r\n\r\n%b" % (len(body), body))
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
            await reader.readexactly(int(re.findall(rb"(?i)content-length: (\d+)", head)[0]))
            heads.append(head.split(b"\r\n")[0])
        writer.close()
        listening.close()
        return heads

    assert asyncio.run(asked()) == [b"HTTP/1.1 500 Internal Server Error", b"HTTP/1.1 200 OK"]
