"""How fast does a large model get into S3, and how much memory does that take, beside `aws s3 cp`?

    python -m benchmarks.upload [--gigabytes 2] [--turns 3]

The server is a real one, seaweedfs, in an environment of its own (tests/localaws/peers.py says how to install it); the
AWS command line is the `aws` on PATH. Both clients take turns on the same file and the same server, each in a process
of its own, so that a busy machine is unfair to both alike: trust the ratio. Ours creates only where nothing lies, and
has S3 verify a SHA-256 of every part; the time is that of the whole process.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

BUCKET = "peers"
OURS = """
import sys
from pathlib import Path
from serving.aws.storage import Storage
Storage(lambda: "000000000000").create_object(sys.argv[1], sys.argv[2], Path(sys.argv[3]), sys.argv[4])
"""


def main() -> None:
    """Measure in turns; JSON on stdout."""
    ask = argparse.ArgumentParser(description=__doc__)
    ask.add_argument("--gigabytes", type=float, default=2)
    ask.add_argument("--turns", type=int, default=3)
    asked = ask.parse_args()
    aws = shutil.which("aws")
    if aws is None:
        sys.exit("no `aws` on PATH. Next: pip install awscli in an environment of its own, and put it on PATH")
    with tempfile.TemporaryDirectory(prefix="slipway-bench-") as scratch:
        print(json.dumps(measure(Path(scratch), aws, round(asked.gigabytes * 1e9), asked.turns), indent=2))


def measure(scratch: Path, aws: str, size: int, turns: int) -> dict[str, object]:
    """Both ways, in turns, on one server."""
    from tests.localaws.peers import SEAWEEDFS, started

    path, small = scratch / "model", scratch / "small"
    sha256 = _written(path, size)
    small_sha256 = _written(small, 1000)
    (scratch / "server").mkdir()
    with started(SEAWEEDFS, scratch / "server") as reach:
        environ = {**os.environ, **reach, "AWS_DEFAULT_REGION": "us-east-1"}
        seconds: dict[str, list[float]] = {"slipway": [], "aws s3 cp": []}
        memory: dict[str, list[int]] = {name: [] for name in seconds}
        for turn in range(turns):
            for name in seconds:
                key = f"{name.split()[0]}-{turn}"
                argv = {"slipway": [sys.executable, "-c", OURS, BUCKET, key, str(path), sha256],
                        "aws s3 cp": [aws, "s3", "cp", "--only-show-errors", str(path), f"s3://{BUCKET}/{key}"]}[name]
                took, peak = _ran(argv, environ)
                seconds[name].append(took)
                memory[name].append(peak)
                _ran([aws, "s3", "rm", "--only-show-errors", f"s3://{BUCKET}/{key}"], environ)
        _, idle = _ran([sys.executable, "-c", OURS, BUCKET, "small", str(small), small_sha256], environ)
    median = {name: statistics.median(found) for name, found in seconds.items()}
    return {
        "bytes": size, "turns": turns,
        "seconds, median": {name: round(took, 2) for name, took in median.items()},
        "seconds, all": {name: [round(took, 2) for took in found] for name, found in seconds.items()},
        "MB/s": {name: round(size / 1e6 / took) for name, took in median.items()},
        "throughput, times aws s3 cp": round(median["aws s3 cp"] / median["slipway"], 2),
        "peak memory, MB": {**{name: max(found) for name, found in memory.items()}, "slipway, 1 kB": idle},
    }  # fmt: skip


def _written(path: Path, size: int) -> str:
    found = hashlib.sha256()
    with path.open("wb") as file:
        for start in range(0, size, 1 << 24):
            block = os.urandom(min(1 << 24, size - start))
            file.write(block)
            found.update(block)
    return found.hexdigest()


def _ran(argv: list[str], environ: dict[str, str]) -> tuple[float, int]:
    """Seconds and peak memory in MB of one process."""
    started_at = time.perf_counter()
    process = subprocess.Popen(argv, env=environ)  # what it says on stderr goes to ours
    _, status, usage = os.wait4(process.pid, 0)
    took = time.perf_counter() - started_at
    if status:
        sys.exit(f"{argv[0]} failed")
    return took, round(usage.ru_maxrss / 1024)


if __name__ == "__main__":
    main()
