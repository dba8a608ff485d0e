"""Which tests run against the local AWS, and which against a peer? Read from what was collected, not from a list."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from types import CodeType
from typing import Any

import pytest

from serving.localaws import running
from tests.localaws.peers import Peer

STARTS = {running}
COMMAND = "serving.localaws"  # python -m serving.localaws, in a test's words


def places(item: pytest.Item) -> set[str]:
    """On which emulators does this test run?"""
    if not isinstance(item, pytest.Function):
        return set()
    if "peer" in item.fixturenames and "peer" in item._fixtureinfo.name2fixturedefs:
        peer = item.callspec.params["peer"]
        return {peer.name if isinstance(peer, Peer) else "ours"}
    fixtures = [definition.func for found in item._fixtureinfo.name2fixturedefs.values() for definition in found]
    return {"ours"} if any(reaches(function, set()) for function in [item.function, *fixtures]) else set()


def reaches(function: Callable[..., Any], seen: set[Any]) -> bool:
    """Does this function start a local AWS, itself or by another of the tests' functions?"""
    bare: Any = inspect.unwrap(function)
    if bare in STARTS:
        return True
    if bare in seen or not hasattr(bare, "__code__"):
        return False
    seen.add(bare)
    names, words = set[str](), set[Any]()
    for code in _bodies(bare.__code__):
        names |= set(code.co_names)
        words |= {one for one in code.co_consts if isinstance(one, str)}
    if COMMAND in words:
        return True
    used = [bare.__globals__[name] for name in names if name in bare.__globals__]
    return any(reaches(one, seen) for one in used if callable(one) and _is_ours(one))


def _is_ours(thing: Any) -> bool:
    return thing in STARTS or str(getattr(thing, "__module__", "")).startswith("tests.")


def _bodies(code: CodeType) -> Iterator[CodeType]:
    yield code
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            yield from _bodies(inner)
