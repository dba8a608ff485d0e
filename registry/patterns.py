"""Which paths fit one of these shell patterns? Asked for every file at every move, so put together once."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from fnmatch import translate
from functools import lru_cache

Fits = Callable[[str], object]


def fitting(patterns: Sequence[str]) -> Fits:
    """What tells whether a path fits any of the patterns (as `fnmatch.fnmatchcase` reads them)?"""
    return _compiled(tuple(patterns))


@lru_cache(maxsize=64)
def _compiled(patterns: tuple[str, ...]) -> Fits:
    if not patterns:
        return lambda path: None
    return re.compile("|".join(map(translate, patterns))).match
