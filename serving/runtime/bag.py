"""From a sentence to counted words, exactly as scikit-learn's CountVectorizer and TfidfVectorizer do it.

Ported rather than converted: skl2onnx writes them with other tokens for pairs of words and for accented letters.
"""

from __future__ import annotations

import re
import unicodedata
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from math import log, sqrt
from typing import Any, NamedTuple

from .block import Block
from .errors import BadRequest

LARGEST = 1 << 28  # bytes of one request's table of words


class Bag(NamedTuple):
    """How does a text become a row of numbers, one for each known word or run of words?

    Attributes:
        vocabulary: the known words, in the order of the columns.
        pattern: the regular expression of a word; unused where characters are counted.
        analyzer: ``word``, ``char`` or ``char_wb``.
        spans: the shortest and longest run of words, or characters, that counts as one.
        lower: whether capital letters become small ones, in all of Unicode.
        accents: None, ``unicode`` or ``ascii``: how accents are stripped.
        stop: words that are left out.
        binary: whether a word counts once however often it stands there.
        sublinear: whether 1 + ln(count) stands for a count.
        weights: what each column is multiplied by (inverse document frequency); empty for none.
        norm: ``l1``, ``l2`` or None: the length that each row gets.
    """

    vocabulary: tuple[str, ...]
    pattern: str
    analyzer: str = "word"
    spans: tuple[int, int] = (1, 1)
    lower: bool = True
    accents: str | None = None
    stop: tuple[str, ...] = ()
    binary: bool = False
    sublinear: bool = False
    weights: tuple[float, ...] = ()
    norm: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """What is stored of it?"""
        return {"kind": "bag", **self._asdict()}

    @classmethod
    def of(cls, stored: dict[str, Any]) -> Bag:
        """Which bag was stored?"""
        kept: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in stored.items() if k != "kind"}
        return cls(**kept)


class BagReader:
    """A bag with its look-up table and its expression made once."""

    def __init__(self, bag: Bag) -> None:
        self._bag = bag
        self._columns = {word: column for column, word in enumerate(bag.vocabulary)}
        self._find = re.compile(bag.pattern).findall
        self._stop = frozenset(bag.stop)

    def read(self, texts: Iterable[str]) -> tuple[Block, list[list[str]]]:
        """Which numbers stand for these texts, shape (rows, words), and which words of each are unknown?

        Raises:
            BadRequest: 413, the table would take more memory than one request may.
        """
        rows, width = list(texts), len(self._columns)
        if len(rows) * width * 8 > LARGEST:
            raise BadRequest(f"{len(rows)} texts at once; at most {LARGEST // (8 * width)} are taken", status=413)
        table, unknown = array("d", bytes(len(rows) * width * 8)), []
        for index, text in enumerate(rows):
            plain = self._plain(text)
            for column, value in self._weighed(Counter(self._terms(plain))).items():
                table[index * width + column] = value
            unknown.append(self._unknown(plain))
        return Block("float64", (len(rows), width), table.tobytes()), unknown

    def _plain(self, text: str) -> str:
        if self._bag.lower:
            text = text.lower()
        if self._bag.accents == "unicode":
            return "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
        if self._bag.accents == "ascii":
            return unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode("ascii")
        return text

    def _words(self, text: str) -> list[str]:
        return [word for word in self._find(text) if word not in self._stop]

    def _terms(self, text: str) -> Iterator[str]:
        low, high = self._bag.spans
        if self._bag.analyzer == "word":
            words = self._words(text)
            for span in range(low, high + 1):
                yield from (" ".join(words[i : i + span]) for i in range(len(words) - span + 1))
            return
        squeezed = re.sub(r"\s\s+", " ", text)
        parts = [f" {word} " for word in squeezed.split()] if self._bag.analyzer == "char_wb" else [squeezed]
        for part in parts:
            yield from _runs(part, low, high, whole=self._bag.analyzer == "char_wb")

    def _unknown(self, text: str) -> list[str]:
        if self._bag.analyzer != "word" or self._bag.spans[0] > 1:
            return []
        return [word for word in self._words(text) if word not in self._columns]

    def _weighed(self, counts: Mapping[str, int]) -> dict[int, float]:
        """Column -> number of one text, for the few columns that are not 0."""
        bag, columns = self._bag, self._columns
        row = {columns[term]: 1.0 if bag.binary else float(count) for term, count in counts.items() if term in columns}
        if bag.sublinear:
            row = {column: log(value) + 1.0 for column, value in row.items()}
        if bag.weights:
            row = {column: value * bag.weights[column] for column, value in row.items()}
        if not bag.norm:
            return row
        length = sum(map(abs, row.values())) if bag.norm == "l1" else sqrt(sum(v * v for v in row.values()))
        return {column: value / length for column, value in row.items()} if length > 0 else row


def _runs(part: str, low: int, high: int, *, whole: bool) -> Iterator[str]:
    for span in range(low, high + 1):
        if whole and span >= len(part):
            yield part  # scikit-learn counts a short word once, whatever longer spans are asked for
            return
        yield from (part[i : i + span] for i in range(len(part) - span + 1))
