"""What a benchmark saw, kept as JSON under .slipway/benchmarks, with the machine and the versions."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterable
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

FOLDER = Path(".slipway") / "benchmarks"


def machine(packages: Iterable[str]) -> dict[str, Any]:
    """Which machine is this, how busy is it, and which versions are here?"""
    model = next((row.partition(":")[2].strip() for row in Path("/proc/cpuinfo").read_text().splitlines()
                  if row.startswith("model name")), platform.machine())
    return {"processor": model, "cores": len(os.sched_getaffinity(0)), "load": round(os.getloadavg()[0], 1),
            "python": platform.python_version(), **{name: _version(name) for name in packages}}


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def write(name: str, where: dict[str, Any], seen: dict[str, Any]) -> None:
    """Print where it was measured, and keep everything."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    kept = {"at": datetime.now(UTC).isoformat(timespec="seconds"), "machine": where, **seen}
    path = FOLDER / f"{name}.json"
    path.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    print("on " + ", ".join(f"{key} {value}" for key, value in where.items()))
    print(f"kept in {path}")
