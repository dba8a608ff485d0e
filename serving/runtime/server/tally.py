"""What the server has done so far, in Prometheus's words; workers share the numbers through one piece of memory."""

from __future__ import annotations

import mmap
from bisect import bisect_left
from typing import Any

from ..manifest import Manifest

BOUNDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
STATUSES = ("2xx", "4xx", "5xx")
COUNTERS = ("rows", "unknown", "model_faults", "capture_failures", "batches", "overloads")
PLACES = {counter: place for place, counter in enumerate(COUNTERS, start=len(STATUSES))}
WIDTH = len(STATUSES) + len(COUNTERS) + len(BOUNDS) + 2


class Tally:
    """Numbers of so many workers; each writes its own row, any may read all.

    Args:
        workers: how many rows.
    """

    def __init__(self, workers: int) -> None:
        self._memory = mmap.mmap(-1, workers * WIDTH * 8)
        self._numbers = memoryview(self._memory).cast("d")
        self._workers = workers
        self._base = 0

    def use(self, worker: int) -> None:
        """Write to this worker's row from now on."""
        self._base = worker * WIDTH

    def answered(self, status: int, seconds: float) -> None:
        """Count one answer."""
        place = self._base
        self._numbers[place + (0 if status < 300 else 1 if status < 500 else 2)] += 1
        place += len(STATUSES) + len(COUNTERS)
        self._numbers[place + len(BOUNDS)] += 1
        self._numbers[place + len(BOUNDS) + 1] += seconds
        if (index := bisect_left(BOUNDS, seconds)) < len(BOUNDS):
            self._numbers[place + index] += 1

    def add(self, counter: str, amount: float = 1) -> None:
        """Count something else."""
        self._numbers[self._base + PLACES[counter]] += amount

    def _sum(self, index: int) -> float:
        return sum(self._numbers[worker * WIDTH + index] for worker in range(self._workers))

    def text(self, manifest: Manifest) -> bytes:
        """What is said to Prometheus (text format 0.0.4)?"""
        who = f'model="{_escaped(manifest.name)}",version="{manifest.version}"'
        lines = ["# TYPE slipway_requests_total counter"]
        lines += [f'slipway_requests_total{{{who},status="{s}"}} {self._sum(i):g}' for i, s in enumerate(STATUSES)]
        for index, name in enumerate(COUNTERS, start=len(STATUSES)):
            lines += [f"# TYPE slipway_{name}_total counter", f"slipway_{name}_total{{{who}}} {self._sum(index):.15g}"]
        lines.append("# TYPE slipway_request_seconds histogram")
        start, seen = len(STATUSES) + len(COUNTERS), 0.0
        for index, bound in enumerate(BOUNDS):
            seen += self._sum(start + index)
            lines.append(f'slipway_request_seconds_bucket{{{who},le="{bound:g}"}} {seen:.15g}')
        count, total = self._sum(start + len(BOUNDS)), self._sum(start + len(BOUNDS) + 1)
        lines += [f'slipway_request_seconds_bucket{{{who},le="+Inf"}} {count:.15g}',
                  f"slipway_request_seconds_sum{{{who}}} {total:.9g}",
                  f"slipway_request_seconds_count{{{who}}} {count:.15g}"]
        return ("\n".join(lines) + "\n").encode()


class SharedCounts:
    """What an exchange counts, kept where every worker's numbers are.

    Args:
        tally: where.
    """

    def __init__(self, tally: Tally) -> None:
        self._tally = tally

    def count(self, counter: str, amount: int = 1) -> None:
        """Count something."""
        self._tally.add(counter, amount)


def _escaped(text: Any) -> str:
    return str(text).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
