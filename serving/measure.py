"""How does a bundle serve? Load, answer, milliseconds, memory: in this process, which holds the runtime and no more.

    python -m serving.measure BUNDLE < requests.json

reads a JSON list of requests, and prints one line of JSON: the answers and the measurements. Run it in a process of its
own: the peak of memory is that of the whole process, and a framework that was loaded before would be counted.
"""

from __future__ import annotations

import json
import os
import platform
import resource
import sys
import time
from pathlib import Path
from typing import Any

from .runtime import manifest
from .runtime.core import Predictor
from .runtime.exchange import Exchange, Request

REQUESTS, SECONDS = 300, 5.0
FRAMEWORKS = ("tensorflow", "torch", "sklearn", "mlflow", "numpy")


def measure(folder: Path, requests: list[Any]) -> dict[str, Any]:
    """What does it take to serve this bundle, and how does it answer? The first round of requests also warms up."""
    started = time.perf_counter()
    exchange = Exchange(Predictor(folder))
    load = time.perf_counter() - started
    bodies = [json.dumps(request).encode() for request in requests]
    answers = [json.loads(exchange.respond(Request(body)).body) for body in bodies]
    times = sorted(_times(exchange, bodies))
    return {
        "answers": answers, "requests": len(times), "load_ms": load * 1e3, "p50_ms": _share(times, 0.50) * 1e3,
        "p99_ms": _share(times, 0.99) * 1e3, "memory_mb": peak_megabytes(),
        "bundle_mb": sum(path.stat().st_size for path in folder.iterdir()) / 1e6,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
    }


def _times(exchange: Exchange, bodies: list[bytes]) -> list[float]:
    """Seconds of each request, one after the other: every request once, and then as many as fit."""
    times: list[float] = []
    end = time.perf_counter() + SECONDS
    while len(times) < len(bodies) or (len(times) < REQUESTS and time.perf_counter() < end):
        body = bodies[len(times) % len(bodies)]
        before = time.perf_counter()
        exchange.respond(Request(body))
        times.append(time.perf_counter() - before)
    return times


def _share(ordered: list[float], share: float) -> float:
    """The smallest time that this share of requests does not exceed."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def peak_megabytes() -> float:
    """The most memory that this process held.

    Linux's own account of this program: getrusage would count what the parent held when it started us.
    """
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text(encoding="utf-8").splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) / 1e3
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1e6 if sys.platform == "darwin" else 1e3)


if __name__ == "__main__":
    found = measure(Path(sys.argv[1]), json.load(sys.stdin))
    engine = manifest.parse((Path(sys.argv[1]) / manifest.NAME).read_bytes()).engine
    if engine == "onnx" and (loaded := [name for name in FRAMEWORKS if name in sys.modules]):
        sys.exit(f"{', '.join(loaded)} was loaded, so these are not the runtime's figures")
    print(json.dumps(found))
