"""A model's journal as it is read: the newest entries first, and no more of them than somebody looks at.

Entries are numbered without a gap, so that the last number tells every key, and the last number is found without
listing them all: whether S3 holds a key after a given one is monotone, whatever was deleted before it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, overload

from . import journal
from .errors import AwsFailed, AwsMissing
from .journal import Entry, S
from .names import entry_key, entry_number

# Keys after a given one, in their order, and whether there are more: one request to S3.
Page = Callable[[str], tuple[Sequence[str], bool]]
LAST = 999_999  # beyond it the keys are not in the numbers' order
FIRST, MOST = 1, 64  # entries fetched together, several at a time: twice as many with every step back


@dataclass(frozen=True, slots=True)
class Numbered(Sequence[str]):
    """The keys of the entries under a prefix, from the first number to the last."""

    prefix: str
    first: int
    last: int

    def __len__(self) -> int:
        return self.last - self.first + 1

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        found = range(self.first, self.last + 1)[index]
        return entry_key(self.prefix, found) if isinstance(found, int) else [entry_key(self.prefix, n) for n in found]


def keys_of(page: Page, prefix: str) -> Sequence[str]:
    """Under which keys do a journal's entries lie, oldest first? Asks as often as its length has binary digits.

    Raises:
        AwsFailed: somebody wrote something else there.
    """
    keys, more = page("")
    if not more:
        return tuple(keys)
    first, low, high, step = _number(keys[0]), _number(keys[-1]), 0, len(keys)
    while more:  # there are entries after `low`, and none after `high` once that is known
        middle = _between(low, high, len(keys)) if high else min(low + step, LAST)
        found, beyond = page(entry_key(prefix, middle))
        if found:
            low, more, step = _number(found[-1]), beyond, 2 * step
        else:
            high = middle
    return Numbered(prefix, first, low)


def _between(low: int, high: int, page: int) -> int:
    return low if high - low <= page else (low + high) // 2


def _number(key: str) -> int:
    number = entry_number(key)
    if number is None:
        raise AwsFailed(f"{key} is no entry of a deployment journal: its name is no number")
    return number


class History(Sequence[Entry[S]], Generic[S]):
    """A journal's entries, oldest first. Each is fetched when it is looked at, and never again.

    Where one in between was deleted, the keys are listed after all, and what is left of them is the journal.

    Args:
        keys: as `keys_of` gives them.
        listed: all keys, asked of S3 in as many requests as it takes.
        read: what lies under some keys.
        shape: what the target ships.
    """

    def __init__(self, keys: Sequence[str], *, listed: Callable[[], Sequence[str]],
                 read: Callable[[Sequence[str]], list[bytes]], shape: type[S]) -> None:
        self._keys, self._listed, self._read, self._shape = keys, listed, read, shape
        self._known: dict[str, Entry[S]] = {}  # so that an entry is itself however often it is looked at

    def __len__(self) -> int:
        return len(self._keys)

    @overload
    def __getitem__(self, index: int) -> Entry[S]: ...
    @overload
    def __getitem__(self, index: slice) -> list[Entry[S]]: ...
    def __getitem__(self, index: int | slice) -> Entry[S] | list[Entry[S]]:
        if isinstance(index, slice):
            return self._entries(index)
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        return self._entries(slice(index, index + 1 or None))[0]

    def __iter__(self) -> Iterator[Entry[S]]:
        return iter(self._entries(slice(None)))

    def __reversed__(self) -> Iterator[Entry[S]]:
        seen, size = 0, FIRST
        while seen < len(self):  # counted from the end, where nothing shifts when the keys are listed after all
            block = self._entries(slice(-seen - size if seen + size < len(self) else None, -seen or None))
            yield from reversed(block)
            seen, size = seen + len(block), min(2 * size, MOST)

    def _entries(self, wanted: slice) -> list[Entry[S]]:
        keys = self._keys[wanted]
        new = [key for key in keys if key not in self._known]
        try:
            bodies = self._read(new)
        except AwsMissing:
            if not isinstance(self._keys, Numbered):
                raise
            last = self._keys[-1]
            self._keys = tuple(key for key in self._listed() if key <= last)
            return self._entries(wanted)
        for key, body in zip(new, bodies, strict=True):
            self._known[key] = journal.parse(body, key, self._shape)
        return [self._known[key] for key in keys]
