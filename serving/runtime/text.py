"""From a sentence to the numbers that a text model takes, exactly as Keras's TextVectorization does it.

Ported rather than exported, because no exporter to ONNX takes that layer. Only ASCII is lowered and only ASCII
white space separates, as in TensorFlow's byte-wise string functions.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from typing import Any, NamedTuple

from .block import Block
from .errors import BadRequest

PUNCTUATION = b"!\"#$%&()*+,-./:;<=>?@[\\]^_`{|}~'"
PADDING, UNKNOWN = 0, 1
MOST_WORDS = 1 << 22  # of one request, padding among them; a text of the largest size has fewer


class Tokeniser(NamedTuple):
    """How do words become numbers?

    Attributes:
        vocabulary: the known words; the first stands for 2, as 0 is padding and 1 any unknown word.
        length: how many words are kept, and to how many a shorter text is padded; None: to the longest of the batch.
        lower: whether capital letters become small ones.
        strip: whether punctuation goes.
        characters: whether each character is a word.
    """

    vocabulary: tuple[str, ...]
    length: int | None
    lower: bool = True
    strip: bool = True
    characters: bool = False

    def to_dict(self) -> dict[str, Any]:
        """What is stored of it?"""
        return self._asdict()

    @classmethod
    def of(cls, stored: dict[str, Any]) -> Tokeniser:
        """Which tokeniser was stored?"""
        return cls(**{**stored, "vocabulary": tuple(stored["vocabulary"])})

    def words(self, text: str) -> list[str]:
        """Which words does the model see in this text?"""
        body = text.encode("utf-8", "replace")
        if self.lower:
            body = body.lower()
        if self.strip:
            body = body.translate(None, PUNCTUATION)
        found = body.decode() if self.characters else [word.decode() for word in body.split()]
        return list(found[: self.length])


class Reader:
    """A tokeniser with its look-up table made once."""

    def __init__(self, tokeniser: Tokeniser) -> None:
        self._tokeniser = tokeniser
        self._numbers = {word: number for number, word in enumerate(tokeniser.vocabulary, start=2)}

    def read(self, texts: Iterable[str]) -> tuple[Block, list[list[str]]]:
        """Which numbers stand for these texts, shape (rows, length), and which words of each are unknown?

        Raises:
            BadRequest: 413, one long text among many short ones: all are padded to its length.
        """
        rows = [self._tokeniser.words(text) for text in texts]
        width = self._tokeniser.length or max(map(len, rows), default=0)
        if len(rows) * width > MOST_WORDS:
            raise BadRequest(f"{len(rows)} texts at once, the longest of {width} words; at most "
                             f"{MOST_WORDS // width} as long as that are taken", status=413)
        get, numbers = self._numbers.get, array("q")
        for row in rows:
            numbers.extend([get(word, UNKNOWN) for word in row] + [PADDING] * (width - len(row)))
        unknown = [[word for word in row if word not in self._numbers] for row in rows]
        return Block("int64", (len(rows), width), numbers.tobytes()), unknown
