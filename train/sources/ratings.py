"""Ratings: user, item, rating and perhaps a time, in the layouts that MovieLens uses.

u.data (tabs, no header), ratings.dat (`::`, no header), ratings.csv (commas, a header). Parquet with a header.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ..checks import finite_target, some_rows
from ..errors import BadData
from ..words import Array, Examples
from .tables import Table, instants, read_table

SEPARATORS = ("::", "\t", ";", "|", ",")
# What the four columns are called in the wild, tried in order when the user names none.
NAMES: Mapping[str, tuple[str, ...]] = {
    "user": ("user", "userId", "user_id", "userid", "UserID"),
    "item": ("item", "movieId", "movie_id", "item_id", "itemId", "MovieID", "movie"),
    "rating": ("rating", "Rating", "score", "stars"),
    "time": ("timestamp", "time", "Timestamp"),
}


def read_ratings(path: str, chosen: Mapping[str, str], *, limit: int = 0) -> Examples:
    """Read ratings; `chosen` maps user, item, rating and time to column names, "" for the usual ones.

    Raises:
        BadData: no such file, a column that is not there, a user or item missing, a rating that is no number.
    """
    if not Path(path).is_file():
        raise BadData("there is no such file", file=path)
    if Path(path).suffix.lower() in {".parquet", ".pq"}:
        return _from_table(read_table(path, limit=limit), chosen)
    with Path(path).open(encoding="utf-8", errors="replace") as lines:
        first = lines.readline().rstrip("\r\n")
    if not first:
        raise BadData("the file is empty", file=path)
    separator = next((mark for mark in SEPARATORS if mark in first), ",")
    if separator == "::" or _is_number(first.split(separator)[2:3]):
        return _from_table(_headless(path, separator, limit), chosen)
    return _from_table(read_table(path, limit=limit), chosen)


def _is_number(cells: list[str]) -> bool:
    try:
        return bool(cells) and float(cells[0]) == float(cells[0])
    except ValueError:
        return False


def _headless(path: str, separator: str, limit: int) -> Table:
    """Columns by position: user, item, rating, time."""
    rows: list[list[str]] = []
    try:
        with Path(path).open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, start=1):
                cells = line.rstrip("\r\n").split(separator)
                if rows and len(cells) != len(rows[0]):
                    raise BadData(f"has {len(cells)} cells, the first row has {len(rows[0])}", file=path, row=number)
                rows.append(cells)
                if limit and len(rows) >= limit:
                    break
    except UnicodeDecodeError as error:
        raise BadData(f"is not UTF-8 text (byte {error.start})", file=path) from None
    some_rows(len(rows), file=path)
    if len(rows[0]) < 3:
        raise BadData(f"has {len(rows[0])} columns, wanted user, item, rating", file=path, row=1)
    names = ("user", "item", "rating", "timestamp")
    cells_of = dict(zip(names, zip(*rows, strict=True), strict=False))
    return Table(path, {name: np.array(cells, dtype=object) for name, cells in cells_of.items()}, {})


def _from_table(table: Table, chosen: Mapping[str, str]) -> Examples:
    inputs = {role: _identifiers(table, _column(table, role, chosen)) for role in ("user", "item")}
    rating = _column(table, "rating", chosen)
    target = finite_target(table.numbers(rating), file=table.file, column=rating)
    aside: dict[str, Array] = {}
    time = chosen["time"] or next((name for name in NAMES["time"] if name in table.columns), "")
    if time:
        aside[chosen["time"] or "time"] = instants(table, time)
    return Examples(inputs, target, aside)


def _column(table: Table, role: str, chosen: Mapping[str, str]) -> str:
    if chosen[role]:
        table.need(chosen[role])
        return chosen[role]
    for name in NAMES[role]:
        if name in table.columns:
            return name
    raise BadData(f"no column for the {role}; name it with --{role}", file=table.file)


def _identifiers(table: Table, name: str) -> Array:
    values = table.words(name)
    for row, value in enumerate(values, start=1):
        if value == "":
            raise BadData("is missing", file=table.file, row=row, column=name)
    return np.array(values, dtype=object)
