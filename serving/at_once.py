"""Several questions to AWS at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

A = TypeVar("A")
Q = TypeVar("Q")
AT_ONCE = 8  # a client keeps ten connections (botocore 1.43, max_pool_connections)


def at_once(ask: Callable[[Q], A], questions: Iterable[Q], looked: Callable[[], None] = lambda: None) -> list[A]:
    """What is answered to each of these, in their order? ``looked`` is called after each, from several threads."""
    def answer(question: Q) -> A:
        found = ask(question)
        looked()
        return found

    with ThreadPoolExecutor(AT_ONCE, "slipway-ask") as pool:
        return list(pool.map(answer, questions))
