"""How long does a Lambda function take to its first answer, and what does a warm one add to the session call?

Real awslambdaric, a fresh process for every measurement, subjects interleaved, so that a busy machine is unfair to all
alike: trust the ratios.

    python -m benchmarks.cold_start [--turns N] [--naive-turns N]
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import record
from benchmarks.digits import digits_bundle
from serving import package

SUBJECTS = Path(__file__).with_name("cold_start_subjects")
HERE = f"python{sys.version_info.major}.{sys.version_info.minor}"
WARM = 200


@dataclass(slots=True)
class Subject:
    """One way of serving: how it starts, and what was seen.

    Attributes:
        path: folders that its process imports from, first to last.
        first, warm: milliseconds to the first answer from the start of the process, and of a warm call.
        memory: megabytes at most.
    """

    name: str
    handler: str
    path: tuple[Path, ...]
    environ: dict[str, str]
    first: list[float] = field(default_factory=list)
    warm: list[float] = field(default_factory=list)
    memory: list[float] = field(default_factory=list)


def main() -> None:
    """Measure and print a table."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--turns", type=int, default=15)
    options.add_argument("--naive-turns", type=int, default=2)
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="slipway-bench-") as scratch:
        run(Path(scratch), chosen.turns, chosen.naive_turns)


def run(scratch: Path, turns: int, naive_turns: int) -> None:
    """Build the subjects, take turns, print."""
    bundle, model = digits_bundle(scratch / "digits")
    layer = package.build_layer(package.layer_spec(HERE, "x86_64"))
    release = package.build_release(bundle, scratch / "release", HERE)
    for archive, place in ((layer, scratch / "opt"), (release, scratch / "task")):
        zipfile.ZipFile(archive).extractall(place)
    ric = _only("awslambdaric", "simplejson", "snapshot_restore_py", into=scratch / "ric")
    rows = [[[[0.0]] * 8] * 8]
    event = json.dumps({"instances": rows}).encode()
    bare = Subject("bare handler", "bare.handler", (SUBJECTS, ric), {})
    ours = Subject("slipway", package.HANDLER, (scratch / "task", scratch / "opt" / "python", ric), {})
    naive = Subject("TensorFlow in the handler", "naive.handler",
                    (SUBJECTS, *(Path(p) for p in sys.path if p.endswith("site-packages")), ric), {"MODEL": str(model)})
    for turn in range(turns):
        for subject in (bare, ours):
            measure(subject, event, WARM)
        if turn < naive_turns:
            measure(naive, event, 1)
    report([bare, ours, naive], session_call(bundle.folder), layer, release)


def measure(subject: Subject, event: bytes, warm: int) -> None:
    """Start the function once, ask it once and then `warm` times more."""
    listener = socket.create_server(("127.0.0.1", 0))
    env = {"AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{listener.getsockname()[1]}", "AWS_LAMBDA_FUNCTION_NAME": "f",
           "AWS_LAMBDA_FUNCTION_VERSION": "1", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "1769", "AWS_REGION": "us-east-1",
           "LAMBDA_TASK_ROOT": str(subject.path[0]), "PYTHONPATH": os.pathsep.join(map(str, subject.path)),
           "PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1", **subject.environ}
    # -S keeps this environment's own site-packages out: a function has only what its zip and its layer hold.
    command = [sys.executable, "-S", "-s", "-m", "awslambdaric", subject.handler]
    started = time.perf_counter()
    process = subprocess.Popen(command, env=env, cwd=subject.path[0], stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL)
    try:
        _converse(listener, process, subject, event, warm, started)
    finally:
        process.kill()
        process.wait()
        listener.close()


def _converse(listener: socket.socket, process: subprocess.Popen[bytes], subject: Subject, event: bytes, warm: int,
              started: float) -> None:
    head = (b"HTTP/1.1 200 OK\r\nLambda-Runtime-Aws-Request-Id: 1\r\nLambda-Runtime-Deadline-Ms: 9999999999999\r\n"
            b"Lambda-Runtime-Invoked-Function-Arn: arn:aws:lambda:us-east-1:1:function:f\r\n"
            b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(event))
    took = b"HTTP/1.1 202 Accepted\r\nContent-Type: application/json\r\nContent-Length: 0\r\n\r\n"
    listener.settimeout(120)
    line, _ = listener.accept()
    line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    answers, asked = 0, 0.0
    with line:
        while answers <= warm:
            path, _ = _read(line)
            if path.endswith("/next"):
                asked = time.perf_counter()
                line.sendall(head + event)
                continue
            if not path.endswith("/response"):
                raise SystemExit(f"{subject.name} failed: {path}")
            now = time.perf_counter()
            if answers:
                subject.warm.append((now - asked) * 1e3)
            else:
                subject.first.append((now - started) * 1e3)
            answers += 1
            line.sendall(took)
        subject.memory.append(_peak(process.pid))


def _read(line: socket.socket) -> tuple[str, bytes]:
    data = b""
    while b"\r\n\r\n" not in data:
        part = line.recv(1 << 16)
        if not part:
            raise SystemExit("the function ended")
        data += part
    head, _, body = data.partition(b"\r\n\r\n")
    length = next((int(h.split(b":")[1]) for h in head.split(b"\r\n") if h.lower().startswith(b"content-length")), 0)
    while len(body) < length:
        body += line.recv(1 << 16)
    return head.split(b" ")[1].decode(), body


def _peak(process: int) -> float:
    status = Path(f"/proc/{process}/status").read_text()
    return next(int(row.split()[1]) for row in status.splitlines() if row.startswith("VmHWM")) / 1024


def _only(*names: str, into: Path) -> Path:
    """These packages of this environment alone, with their bytecode."""
    import importlib.util

    for name in names:
        found = importlib.util.find_spec(name)
        if found and found.origin:
            shutil.copytree(Path(found.origin).parent, into / name)
    native = importlib.util.find_spec("runtime_client")
    if native and native.origin:
        shutil.copy(native.origin, into)
    return into


def session_call(folder: Path) -> float:
    """Milliseconds of the raw session call for one row."""
    import numpy as np
    import onnxruntime

    from serving.runtime.core import MODEL, first_request

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(folder / MODEL, options, providers=["CPUExecutionProvider"])
    request = {name: np.asarray(block) for name, block in first_request(folder / "golden.npz").items()}
    spent = []
    for _ in range(2000):
        started = time.perf_counter()
        session.run(["probabilities"], request)
        spent.append(time.perf_counter() - started)
    return statistics.median(spent) * 1e3


def report(subjects: list[Subject], session: float, layer: Path, release: Path) -> None:
    """Print and keep what was seen, each beside the bare handler."""
    bare, ours = subjects[0], subjects[1]
    base = statistics.median(bare.first)
    kept: dict[str, Any] = {"raw session call ms": session, "layer bytes": layer.stat().st_size,
                            "release bytes": release.stat().st_size}
    print(f"{'':28}{'first ms':>10}{'x bare':>8}{'warm ms':>10}{'MB':>7}")
    for one in (subject for subject in subjects if subject.first):
        first, warm = statistics.median(one.first), statistics.median(one.warm)
        kept[one.name] = {"first ms": first, "times bare": first / base, "warm ms": warm, "peak MB": max(one.memory)}
        print(f"{one.name:28}{first:10.1f}{first / base:8.2f}{warm:10.3f}{max(one.memory):7.0f}")
    over = statistics.median(ours.warm) - statistics.median(bare.warm) - session
    print(f"raw session call {session:.3f} ms; a warm call over bare handler and session {over:.3f} ms")
    kept["warm ms over bare and session"] = over
    print(f"layer {layer.stat().st_size / 1e6:.1f} MB zipped, release {release.stat().st_size / 1e6:.2f} MB zipped")
    record.write("cold_start", record.machine(("onnxruntime", "awslambdaric", "tensorflow")), kept)


if __name__ == "__main__":
    main()
