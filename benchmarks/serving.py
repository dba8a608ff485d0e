"""How many requests a second does the container server answer, beside others with the same ONNX model?

A dense network (64 -> 64 -> 10, or another by --network), one worker each, wrk at concurrency 32, subjects in turns.
Each competitor lives in an environment of its own under ~/.cache/slipway/benchmarks, which this makes once. Batches
of 32 rows in npy are held against onnxruntime alone, in a loop in this process, for networks of several sizes.

    python -m benchmarks.serving [--turns N] [--seconds S] [--only NAME ...] [--network NAME]
"""

from __future__ import annotations

import argparse
import io
import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import dense, record
from benchmarks.dense import WIDTH

SUBJECTS = Path(__file__).with_name("serving_subjects")
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "slipway" / "benchmarks"
PORT = 18200
# Units of each network's hidden layers.
HIDDEN = {"small": (64,), "medium": (128, 128), "wide": (256, 128), "large": (512, 256)}


@dataclass(slots=True)
class Subject:
    """One server: how it is started and asked, and what was seen: requests a second, and p99 in milliseconds."""

    name: str
    command: list[str]
    path: str
    body: Callable[[list[list[float]]], bytes]
    seen: dict[str, list[tuple[float, float]]] = field(default_factory=dict)


@dataclass(slots=True)
class Network:
    """One network served by Slipway, asked in npy, beside onnxruntime alone: batches of 32 a second of each."""

    name: str
    bundle: Path
    served: list[float] = field(default_factory=list)
    alone: list[float] = field(default_factory=list)

    @property
    def share(self) -> float:
        """How much of onnxruntime's own rate is left behind HTTP?"""
        return statistics.median(s / a for s, a in zip(self.served, self.alone, strict=True))


def main() -> None:
    """Measure and print a table."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--turns", type=int, default=3)
    options.add_argument("--seconds", type=int, default=4)
    options.add_argument("--only", nargs="*", default=[])
    options.add_argument("--network", choices=HIDDEN, default="small")
    chosen = options.parse_args()
    if not shutil.which("wrk"):
        raise SystemExit("wrk is not installed; Next: apt-get install wrk")
    with tempfile.TemporaryDirectory(prefix="slipway-bench-") as scratch:
        subjects = prepared(Path(scratch), chosen.only, HIDDEN[chosen.network])
        networks = [Network(name, dense.bundle(Path(scratch) / name, hidden).parent)
                    for name, hidden in HIDDEN.items()]
        for _ in range(chosen.turns):
            for subject in subjects:
                take_turn(subject, Path(scratch), chosen.seconds)
            for network in networks:
                take_npy_turn(network, Path(scratch), chosen.seconds)
        report(subjects, networks, chosen.network)


def prepared(scratch: Path, only: list[str], hidden: tuple[int, ...]) -> list[Subject]:
    """The subjects that can run here."""
    model = dense.bundle(scratch / "bundle", hidden)
    os.environ["MODEL"] = str(model)
    (scratch / "model-settings.json").write_text(
        json.dumps({"name": "small", "implementation": "ml_server.Small", "parallel_workers": 0}))
    (scratch / "settings.json").write_text(json.dumps(
        {"http_port": PORT, "host": "127.0.0.1", "parallel_workers": 0, "grpc_port": PORT + 1,
         "metrics_port": PORT + 2}))
    made: list[tuple[str, Callable[[], Subject]]] = [
        ("slipway", slipway),
        ("mlflow", lambda: mlflow_subject(scratch, model)),
        ("litserve", lambda: Subject("litserve", [str(python("litserve")), str(SUBJECTS / "lit.py")], "/invocations",
                                     instances)),
        ("bentoml", lambda: Subject("bentoml", [
            str(python("bentoml").with_name("bentoml")), "serve", "bento:Small", "--working-dir", str(SUBJECTS),
            "--host", "127.0.0.1", "--port", str(PORT)], "/invocations", instances)),
        ("mlserver", lambda: Subject("mlserver", [str(python("mlserver").with_name("mlserver")), "start", str(scratch)],
                                     "/v2/models/small/infer", open_inference))]
    return [make() for name, make in made if not only or name in only]


def slipway() -> Subject:
    """Ours."""
    return Subject("slipway", [sys.executable, "-m", "serving.runtime.server"], "/invocations", instances)


def python(name: str) -> Path:
    """The Python of a competitor's own environment, made when it is not there."""
    folder = CACHE / name
    if not (folder / "bin" / "python").is_file():
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        subprocess.run([folder / "bin" / "pip", "install", "--quiet", name, "onnxruntime==1.32.0", "setuptools"],
                       check=True)
    return folder / "bin" / "python"


def instances(rows: list[list[float]]) -> bytes:
    """The body of most."""
    return json.dumps({"instances": rows}).encode()


def open_inference(rows: list[list[float]]) -> bytes:
    """The body of MLServer's own protocol."""
    return json.dumps({"inputs": [{"name": "x", "shape": [len(rows), WIDTH], "datatype": "FP32",
                                   "data": [v for row in rows for v in row]}]}).encode()


def mlflow_subject(scratch: Path, model: Path) -> Subject:
    """`mlflow models serve`, as its documentation shows it."""
    import mlflow.onnx
    import onnx
    from mlflow.models import infer_signature

    rows = np.zeros((1, WIDTH), np.float32)
    mlflow.onnx.save_model(onnx.load(model), scratch / "mlflow", signature=infer_signature({"x": rows}),
                           pip_requirements=[])
    command = [str(Path(sys.executable).with_name("mlflow")), "models", "serve", "-m", str(scratch / "mlflow"), "-p",
               str(PORT), "-h", "127.0.0.1", "--env-manager", "local", "-w", "1"]
    return Subject("mlflow models serve", command, "/invocations",
                   lambda rows: json.dumps({"inputs": {"x": rows}}).encode())


@contextmanager
def running(subject: Subject, bundle: Path) -> Iterator[None]:
    """The server, up and answering; gone afterwards."""
    env = {**os.environ, "PORT": str(PORT), "SLIPWAY_BUNDLE": str(bundle), "SLIPWAY_WORKERS": "1",
           "SLIPWAY_HOST": "127.0.0.1", "OMP_NUM_THREADS": "1",
           "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "PYTHONPATH": f"{Path.cwd()}:{SUBJECTS}"}
    process = subprocess.Popen(subject.command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                               start_new_session=True)
    try:
        _until_it_answers(subject, process)
        yield
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        time.sleep(1)


def _until_it_answers(subject: Subject, process: subprocess.Popen[bytes]) -> None:
    body = subject.body([[0.0] * WIDTH])
    asked = urllib.request.Request(
        f"http://127.0.0.1:{PORT}{subject.path}", body, {"Content-Type": "application/json"})
    for _ in range(240):
        if process.poll() is not None:
            raise SystemExit(f"{subject.name} did not start")
        try:
            urllib.request.urlopen(asked, timeout=5).read()  # noqa: S310 - our own server
        except (urllib.error.URLError, OSError):
            time.sleep(0.5)
        else:
            return
    raise SystemExit(f"{subject.name} never answered")


def take_turn(subject: Subject, scratch: Path, seconds: int) -> None:
    """Start it, ask it in every way, stop it."""
    one, many = [[0.1] * WIDTH], [[0.1] * WIDTH] * 32
    with running(subject, scratch / "bundle"):
        for name, body in (("1 JSON", subject.body(one)), ("32 JSON", subject.body(many))):
            subject.seen.setdefault(name, []).append(wrk(subject.path, body, "application/json", scratch, seconds))


def take_npy_turn(network: Network, scratch: Path, seconds: int) -> None:
    """Ask onnxruntime alone, then Slipway."""
    packed, ours = io.BytesIO(), slipway()
    np.save(packed, np.full((32, WIDTH), 0.1, np.float32))
    network.alone.append(raw(network.bundle / "model.onnx"))
    with running(ours, network.bundle):
        network.served.append(wrk(ours.path, packed.getvalue(), "application/x-npy", scratch, seconds)[0])


def wrk(path: str, body: bytes, kind: str, scratch: Path, seconds: int) -> tuple[float, float]:
    """Requests a second, and the 99th percentile in milliseconds."""
    (scratch / "body").write_bytes(body)
    script = scratch / "ask.lua"
    script.write_text(
        f'wrk.method = "POST"\nlocal f = io.open("{scratch}/body", "rb")\nwrk.body = f:read("*a")\nf:close()\n'
        f'wrk.headers["Content-Type"] = "{kind}"\n'
        + ('wrk.headers["Accept"] = "application/x-npy"\n' if kind.endswith("npy") else ""))
    said = subprocess.run(["wrk", "-t1", "-c32", f"-d{seconds}", "--latency", "-s", str(script),
                           f"http://127.0.0.1:{PORT}{path}"], capture_output=True, text=True, check=True).stdout
    if "Non-2xx" in said:
        raise SystemExit(f"refused: {said}")
    late, unit = re.findall(r"99%\s+([\d.]+)(us|ms|s)", said)[0]
    return float(re.findall(r"Requests/sec:\s+([\d.]+)", said)[0]), float(late) * {"us": 1e-3, "ms": 1, "s": 1e3}[unit]


def raw(model: Path) -> float:
    """Batches of 32 a second of onnxruntime alone, in this process."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    rows = np.full((32, WIDTH), 0.1, np.float32)
    best = 0.0
    for _ in range(5):
        started, calls = time.perf_counter(), 0
        while time.perf_counter() - started < 0.5:
            session.run(["probabilities"], {"x": rows})
            calls += 1
        best = max(best, calls / (time.perf_counter() - started))
    return best


def report(subjects: list[Subject], networks: list[Network], asked: str) -> None:
    """Print and keep the medians, and how ours compares."""
    ours: dict[str, Any] = {}
    kept: dict[str, Any] = {"hidden": HIDDEN[asked]}
    for subject in subjects:
        for name, seen in subject.seen.items():
            rate, late = (statistics.median(column) for column in zip(*seen, strict=True))
            ours.setdefault(name, (rate, late))
            kept[f"{subject.name}, {name}"] = {"requests a second": rate, "p99 ms": late,
                                               "slipway times": ours[name][0] / rate}
            print(f"{subject.name:22}{name:>9}{rate:12,.0f} requests/s   p99 {late:8.2f} ms   "
                  f"slipway is {ours[name][0] / rate:6.1f} x, p99 {ours[name][1] / late:5.2f} x")
    for network in networks:
        served, alone = statistics.median(network.served), statistics.median(network.alone)
        kept[f"npy, {network.name}"] = {"hidden": HIDDEN[network.name], "batches of 32 a second": served,
                                        "onnxruntime alone": alone, "share": network.share}
        print(f"npy, batches of 32, {network.name} network {HIDDEN[network.name]}: {served:,.0f}/s; "
              f"onnxruntime alone {alone:,.0f}/s; share {network.share:.2f}")
    record.write("serving", record.machine(("onnxruntime", "mlflow")), kept)


if __name__ == "__main__":
    main()
