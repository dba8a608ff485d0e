"""Small bundles made by hand, and the two fronts that serve them: no framework, so that they start at once."""

from __future__ import annotations

import base64
import hashlib
import http.client
import importlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from onnx import TensorProto, helper, numpy_helper, save_model

from serving.golden import write_golden
from serving.runtime.manifest import FileEntry, Manifest, Parity, Tensor
from serving.runtime.text import Tokeniser

FLOAT, INT, TEXT = TensorProto.FLOAT, TensorProto.INT64, TensorProto.STRING
WORDS = Tokeniser(("good", "bad"), 4)


def weights(name: str, *shape: int) -> Any:
    return numpy_helper.from_array(np.random.default_rng(len(name)).normal(size=shape).astype(np.float32), name)


def constant(name: str, values: Any) -> Any:
    return numpy_helper.from_array(np.asarray(values), name)


def graph_of(kind: str) -> tuple[list[Any], list[Any], list[Any]]:
    """Nodes, inputs and constants of a small model."""
    node, info = helper.make_node, helper.make_tensor_value_info
    soft = node("Softmax", ["raw"], ["probabilities"], axis=1)
    if kind == "rows":
        return [node("MatMul", ["x", "W"], ["raw"]), soft], [info("x", FLOAT, ["batch", 4])], [weights("W", 4, 2)]
    if kind in ("logs", "roots"):
        operator = {"logs": "Log", "roots": "Sqrt"}[kind]
        logs = [node(operator, ["x"], ["y"]), node("MatMul", ["y", "W"], ["probabilities"])]
        return logs, [info("x", FLOAT, ["batch", 4])], [weights("W", 4, 2)]
    if kind == "pixels":
        flat = [node("Reshape", ["image", "flat"], ["f"]), node("MatMul", ["f", "W"], ["raw"]), soft]
        return flat, [info("image", FLOAT, ["batch", 8, 8, 1])], [weights("W", 64, 2), constant("flat", [-1, 64])]
    if kind == "words":
        read = [node("Gather", ["E", "text"], ["e"]), node("ReduceMean", ["e", "one"], ["raw"], keepdims=0), soft]
        return read, [info("text", INT, ["batch", 4])], [weights("E", 4, 2), constant("one", [1])]
    table = [node("LabelEncoder", ["city"], ["code"], domain="ai.onnx.ml", keys_strings=["Paris", "Rome"],
                  values_int64s=[1, 2], default_int64=0), node("Gather", ["E", "code"], ["c"]),
             node("IsNaN", ["age"], ["none"]), node("Where", ["none", "zero", "age"], ["a"]),
             node("Gather", ["U", "user"], ["u"]), node("Reshape", ["a", "column"], ["a1"]),
             node("Add", ["c", "u"], ["cu"]), node("Add", ["cu", "a1"], ["raw"]), soft]
    return table, [info("age", FLOAT, ["batch"]), info("city", TEXT, ["batch"]), info("user", INT, ["batch"])], [
        weights("E", 3, 2), weights("U", 5, 2), constant("zero", np.float32(0)), constant("column", [-1, 1])]


SIGNATURES = {
    "rows": (Tensor("x", "float32", (None, 4), (-1.0, 1.0)),),
    "logs": (Tensor("x", "float32", (None, 4), (0.5, 1.0)),),
    "roots": (Tensor("x", "float32", (None, 4), (-1.0, 1.0)),),  # fails among the numbers that it is said to know
    "pixels": (Tensor("image", "float32", (None, 8, 8, 1), (0.0, 16.0)),),
    "words": (Tensor("text", "string", (None,), missing=True),),
    "table": (Tensor("age", "float32", (None,), (0.0, 90.0), missing=True),
              Tensor("city", "string", (None,), missing=True, known=("Paris", "Rome")),
              Tensor("user", "int64", (None,), (0.0, 4.0), bounds=(0, 4))),
}
EXAMPLES: dict[str, dict[str, Any]] = {
    "rows": {"x": np.ones((2, 4), np.float32)}, "logs": {"x": np.ones((2, 4), np.float32)},
    "roots": {"x": np.ones((2, 4), np.float32)},
    "pixels": {"image": np.ones((2, 8, 8, 1), np.float32)}, "words": {"text": np.array(["good", "bad"], object)},
    "table": {"age": np.array([30, 40], np.float32), "city": np.array(["Rome", "Paris"], object),
              "user": np.array([1, 2])}}


def bundle_of(kind: str, into: Path) -> Path:
    """Write a whole bundle of a small model."""
    nodes, inputs, constants = graph_of(kind)
    answer = helper.make_tensor_value_info("probabilities", FLOAT, ["batch", 2])
    model = helper.make_model(helper.make_graph(nodes, "g", inputs, [answer], constants), ir_version=9, opset_imports=[
        helper.make_opsetid("", 18), helper.make_opsetid("ai.onnx.ml", 3)])
    into.mkdir(parents=True)
    save_model(model, into / "model.onnx")
    write_golden(into / "golden.npz", EXAMPLES[kind], {"probabilities": np.zeros((2, 2), np.float32)})
    if kind == "words":
        (into / "text.json").write_text(json.dumps({"text": WORDS.to_dict()}))
    files = tuple(FileEntry(p.name, hashlib.sha256(p.read_bytes()).hexdigest(), p.stat().st_size)
                  for p in sorted(into.iterdir()))
    manifest = Manifest(
        name=kind, version=3, run_id="r", digest="d" * 64, task=kind, kind="classification", labels=("no", "yes"),
        inputs=SIGNATURES[kind], outputs=(Tensor("probabilities", "float32", (None, 2)),), source={"format": "onnx"},
        parity=Parity(2, 2, 0.0, 1e-4), files=files)
    (into / "manifest.json").write_bytes(manifest.to_bytes())
    return into


@dataclass(frozen=True)
class Reply:
    """What a front answered."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Front(Protocol):
    """Something that takes an HTTP request's parts and answers."""

    def ask(self, body: bytes, **headers: str) -> Reply: ...


class LambdaFront:
    """The Lambda handler, asked as a function URL would ask it."""

    def __init__(self, folder: Path) -> None:
        os.environ["LAMBDA_TASK_ROOT"] = str(folder)
        sys.modules.pop("serving.runtime.lambda_handler", None)
        self.module = importlib.import_module("serving.runtime.lambda_handler")

    def ask(self, body: bytes, **headers: str) -> Reply:
        named = {k.replace("_", "-"): v for k, v in headers.items()}
        event = {"version": "2.0", "requestContext": {"http": {"method": "POST"}}, "headers": named,
                 "body": base64.b64encode(body).decode(), "isBase64Encoded": True}
        said = self.module.handler(event, None)
        raw = base64.b64decode(said["body"]) if said["isBase64Encoded"] else said["body"].encode()
        return Reply(said["statusCode"], {k.lower(): v for k, v in said["headers"].items()}, raw)


class ServerFront:
    """The container server, in a process of its own."""

    def __init__(self, port: int) -> None:
        self.port = port

    def ask(self, body: bytes, **headers: str) -> Reply:
        return self.request("POST", "/invocations", body, {k.replace("_", "-"): v for k, v in headers.items()})

    def request(self, method: str, path: str, body: bytes | None = None, headers: Any = None) -> Reply:
        """Any request at all, on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request(method, path, body, headers or {})
            said = connection.getresponse()
            return Reply(said.status, {k.lower(): v for k, v in said.getheaders()}, said.read())
        finally:
            connection.close()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def server(bundle: Path, **environ: str) -> Iterator[tuple[ServerFront, subprocess.Popen[bytes]]]:
    """A server of this bundle, stopped at the end."""
    port = free_port()
    env = {**os.environ, "SLIPWAY_BUNDLE": str(bundle), "PORT": str(port), "SLIPWAY_HOST": "127.0.0.1",
           "SLIPWAY_WORKERS": "1", **environ}
    process = subprocess.Popen([sys.executable, "-m", "serving.runtime.server"], env=env, stderr=subprocess.PIPE)
    try:
        assert process.stderr is not None
        said = process.stderr.readline()
        assert b"serving on port" in said, said
        yield ServerFront(port), process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)
