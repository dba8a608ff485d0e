"""Which row is this? Digests by which a held-out row is found again among those that were trained on. No I/O here.

A training leaves the digests of its rows (never the rows) with its run, in SEEN, and a check compares.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

SEEN = "evaluation/train_rows.npz"
SIZE = 16  # bytes: by chance, two of 10^9 rows share a digest once in 10^20 cases
DIGITS = 4
TINY = 1e-300  # smaller numbers have fewer digits than that, and are taken for zero
_CHUNK = 4096
_BETWEEN = b"\x1f"
_NOT_WORDS = re.compile(r"[\W_]+")
Digests = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class RowDigests:
    """Two digests for each row, each of shape (rows, SIZE).

    `copies` are equal for rows equal in inputs and target; `alike` for rows whose inputs are equal up to case, spacing
    and punctuation of text and up to the first DIGITS significant digits of numbers, whatever the target.
    """

    copies: Digests
    alike: Digests

    def __len__(self) -> int:
        return len(self.copies)


def row_digests(inputs: Mapping[str, NDArray[Any]], target: NDArray[Any]) -> RowDigests:
    """Digest every row; the order of the inputs does not matter, nor does the width of a float or an integer.

    Args:
        inputs: input name -> array of shape (rows, ...): numbers, booleans or text.
        target: shape (rows,).
    """
    columns = [np.asarray(inputs[name]) for name in sorted(inputs)]
    copies, alike = bytearray(), bytearray()
    for start in range(0, len(target), _CHUNK):
        part = [values[start : start + _CHUNK] for values in (*columns, np.asarray(target))]
        copies += b"".join(_digest(cells) for cells in zip(*map(_exact, part), strict=True))
        alike += b"".join(_digest(cells) for cells in zip(*map(_about, part[:-1]), strict=True))
    return RowDigests(_table(copies), _table(alike))


def seen_rows(parts: Mapping[str, RowDigests]) -> dict[str, NDArray[Any]]:
    """What the file SEEN holds: `train.copies`, `train.alike`, `validation.copies`, ... by the name of the split."""
    named = {f"{name}.copies": digests.copies for name, digests in parts.items()}
    return named | {f"{name}.alike": digests.alike for name, digests in parts.items()}


def of_arrays(found: Mapping[str, NDArray[Any]]) -> RowDigests:
    """All rows that a training saw, whichever split they were in.

    Raises:
        ValueError: when these are no such arrays.
    """
    copies = [_checked(name, values) for name, values in found.items() if name.endswith(".copies")]
    alike = [_checked(name, values) for name, values in found.items() if name.endswith(".alike")]
    if not copies or len(copies) != len(alike):
        raise ValueError(f"it holds {', '.join(found) or 'nothing'}; wanted train.copies and train.alike")
    return RowDigests(np.concatenate(copies), np.concatenate(alike))


def known(rows: Digests, seen: Digests) -> NDArray[np.bool_]:
    """For each row: is its digest among those seen?"""
    among = {bytes(digest) for digest in seen}
    return np.fromiter((bytes(digest) in among for digest in rows), dtype=np.bool_, count=len(rows))


def _checked(name: str, values: NDArray[Any]) -> Digests:
    if values.dtype != np.uint8 or values.ndim != 2 or values.shape[1] != SIZE:
        raise ValueError(f"{name} has shape {values.shape} of {values.dtype}; wanted (rows, {SIZE}) of uint8")
    return values


def _digest(cells: tuple[bytes, ...]) -> bytes:
    return hashlib.blake2b(_BETWEEN.join(cells), digest_size=SIZE).digest()


def _table(digests: bytearray) -> Digests:
    return np.frombuffer(bytes(digests), dtype=np.uint8).reshape(-1, SIZE)


def _exact(values: NDArray[Any]) -> Iterator[bytes]:
    if values.dtype.kind not in "fiub":
        return (repr(value).encode() for value in _as_text(values))
    flat = values.reshape(len(values), -1)
    if values.dtype.kind != "f":
        return (row.tobytes() for row in flat.astype("<i8"))
    wide = flat.astype("<f8") + 0.0  # without the sign of zero
    wide[np.isnan(wide)] = np.nan  # nor the payload of NaN
    return (row.tobytes() for row in wide)


def _about(values: NDArray[Any]) -> Iterator[bytes]:
    if values.dtype.kind not in "fiub":
        return (repr([_NOT_WORDS.sub(" ", text.casefold()).strip() for text in row]).encode()
                for row in _as_text(values))
    return (row.tobytes() for row in _rounded(values.reshape(len(values), -1).astype("<f8")))


def _as_text(values: NDArray[Any]) -> list[list[str]]:
    """Each row's texts."""
    return [[str(text) for text in row] for row in values.reshape(len(values), -1).tolist()]


def _rounded(numbers: NDArray[Any]) -> NDArray[np.int32]:
    """Each number as its first digits and its power of ten: whole numbers, so that equal ones are equal in bytes."""
    finite = np.isfinite(numbers)
    plain = np.where(finite & (np.abs(numbers) >= TINY), numbers, 0.0)
    size = np.abs(plain)
    power = np.floor(np.log10(size, out=np.zeros_like(size), where=size > 0)).astype(np.int32)
    digits = np.rint(plain / 10.0 ** (power.astype(np.float64) - (DIGITS - 1)))
    over = np.abs(digits) >= 10**DIGITS
    digits, power = np.where(over, digits / 10, digits), np.where(over, power + 1, power)
    made = np.stack([np.rint(digits), np.where(plain == 0, 0, power)], axis=-1).astype("<i4")
    made[~finite] = np.stack([np.isnan(numbers), np.sign(np.nan_to_num(numbers))], axis=-1)[~finite].astype("<i4") - 99
    return made
