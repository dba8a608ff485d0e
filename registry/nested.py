"""Every object in parsed JSON, however deep."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def objects(parsed: Any) -> Iterator[dict[str, Any]]:
    """All of them, an outer one before those in it."""
    if isinstance(parsed, dict):
        yield parsed
        for value in parsed.values():
            yield from objects(value)
    elif isinstance(parsed, list):
        for value in parsed:
            yield from objects(value)
