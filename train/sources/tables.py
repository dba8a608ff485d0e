"""CSV and Parquet as named columns of text or float32 numbers, every missing value explicit."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..checks import some_rows
from ..errors import BadData
from ..words import Array, DataOptions, Examples

if TYPE_CHECKING:
    import pandas as pd

# A column is numeric if at least this share of its values are numbers; the others are then errors, not categories.
NUMERIC_SHARE = 0.8
DELIMITERS = ",;\t|"


@dataclass(frozen=True, slots=True)
class Table:
    """Columns as text, "" where a value is missing; `typed` are those that the file itself types as numbers."""

    file: str
    columns: Mapping[str, Array]
    typed: Mapping[str, Array]

    def __len__(self) -> int:
        """How many rows are there?"""
        return len(next(iter(self.columns.values()))) if self.columns else 0

    def words(self, name: str) -> list[str]:
        """The column `name` as text.

        Raises:
            BadData: there is no such column.
        """
        self.need(name)
        return [str(value) for value in self.columns[name].tolist()]

    def need(self, name: str) -> None:
        """Refuse a column that is not there, naming the nearest one.

        Raises:
            BadData: there is no such column.
        """
        if name not in self.columns:
            near = get_close_matches(name, self.columns, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(list(self.columns)[:20])}"
            raise BadData(f"there is no such column; {hint}", file=self.file, column=name)

    def numbers(self, name: str) -> Array:
        """The column `name` as float64, NaN where missing.

        Raises:
            BadData: there is no such column, or a value is no number.
        """
        self.need(name)
        if name in self.typed:
            return self.typed[name]
        values, bad = self._parse(name)
        if len(bad):
            row = int(bad[0])
            raise BadData(f"{str(self.columns[name][row])!r} is not a number", file=self.file, row=row + 1, column=name)
        return values

    def is_numeric(self, name: str) -> bool:
        """Is most of this column numbers?"""
        if name in self.typed:
            return True
        values, bad = self._parse(name)
        present = np.isfinite(values).sum() + len(bad)
        return bool(present) and len(bad) <= (1 - NUMERIC_SHARE) * present

    def _parse(self, name: str) -> tuple[Array, Array]:
        import pandas as pd

        text = self.columns[name]
        values = np.asarray(pd.to_numeric(pd.Series(text, dtype=object), errors="coerce"), dtype=np.float64)
        present = np.array([value != "" for value in text.tolist()], dtype=bool)
        return values, np.flatnonzero(present & ~np.isfinite(values))


def read_table(path: str, *, missing: Sequence[str] = (), limit: int = 0) -> Table:
    """Read a CSV (any of , ; tab |) or a Parquet file.

    Only an empty cell and the words in `missing` are missing values: "NA" may well be a country.

    Raises:
        BadData: there is no such file, it cannot be read, or it has no rows.
    """
    if not Path(path).is_file():
        raise BadData("there is no such file", file=path)
    columnar = Path(path).suffix.lower() in {".parquet", ".pq"}
    frame = _parquet(path) if columnar else _csv(path, missing, limit)
    frame = frame.head(limit) if limit else frame
    some_rows(len(frame), file=path)
    return _typed(path, frame, set(missing))


def _csv(path: str, missing: Sequence[str], limit: int) -> pd.DataFrame:
    import pandas as pd

    try:
        with Path(path).open(newline="", encoding="utf-8-sig") as lines:
            header = lines.readline()
        separator = max(DELIMITERS, key=header.count)
        _refuse_ragged(path, separator)
        return pd.read_csv(
            path, sep=separator, dtype=str, keep_default_na=False, na_values=list(missing), nrows=limit or None,
            skipinitialspace=True, encoding="utf-8-sig", index_col=False, low_memory=False,
        )  # fmt: skip
    except pd.errors.EmptyDataError:
        raise BadData("the file is empty", file=path) from None
    except UnicodeDecodeError as error:
        raise BadData(f"is not UTF-8 text (byte {error.start})", file=path) from None


def _refuse_ragged(path: str, separator: str) -> None:
    """Refuse a row with more or fewer cells than the header: pandas would shift or pad it silently."""
    with Path(path).open(newline="", encoding="utf-8-sig") as lines:
        rows = csv.reader(lines, delimiter=separator, skipinitialspace=True)
        width = len(next(rows, []))
        for row, cells in enumerate((cells for cells in rows if cells), start=1):
            if len(cells) != width:
                raise BadData(f"has {len(cells)} cells, the header has {width}", file=path, row=row)


def _parquet(path: str) -> pd.DataFrame:
    import pandas as pd
    import pyarrow

    try:
        return pd.read_parquet(path)
    except (pyarrow.ArrowException, OSError) as error:
        raise BadData(f"cannot be read as Parquet: {str(error).splitlines()[0]}", file=path) from None


def _typed(path: str, frame: pd.DataFrame, missing: set[str]) -> Table:
    import pandas as pd

    columns: dict[str, Array] = {}
    typed: dict[str, Array] = {}
    for name in map(str, frame.columns):
        series = frame[name]
        if pd.api.types.is_bool_dtype(series.dtype):
            series = series.map({True: "true", False: "false"})
        elif pd.api.types.is_numeric_dtype(series.dtype):
            typed[name] = series.to_numpy(dtype=np.float64, na_value=np.nan)
            if (np.isnan(typed[name]) | (typed[name] == np.floor(typed[name]))).all():
                series = series.astype("Int64")
        text = series.astype(object).where(series.notna(), "").map(str)
        columns[name] = np.array(["" if word in missing else word for word in text], dtype=object)
    return Table(path, columns, typed)


def aside(table: Table, options: DataOptions) -> dict[str, Array]:
    """The columns that split or slice and are kept from the model: group, time, slices."""
    found: dict[str, Array] = {}
    for name in (*options.columns("group"), *options.columns("slices")):
        found[name] = np.array(table.words(name), dtype=object)
    for name in options.columns("time"):
        found[name] = instants(table, name)
    return found


def instants(table: Table, name: str) -> Array:
    """A time column as float64: numbers as they are, anything else as seconds since 1970.

    Raises:
        BadData: a value is neither a number nor a date, or is missing.
    """
    import pandas as pd

    table.need(name)
    if table.is_numeric(name):
        values = table.numbers(name)
    else:
        text = pd.Series(table.words(name))
        moments = pd.to_datetime(text, errors="coerce", utc=True, format="ISO8601")
        values = np.where(moments.notna(), moments.astype("int64").to_numpy() / 1e9, np.nan)
    bad = np.flatnonzero(~np.isfinite(values))
    if len(bad):
        row = int(bad[0])
        message = f"{str(table.columns[name][row])!r} is neither a number nor an ISO 8601 date"
        raise BadData(message, file=table.file, row=row + 1, column=name)
    return np.asarray(values, dtype=np.float64)


def same_columns(first: Examples, second: Examples, *, file: str) -> None:
    """Refuse a held-out file whose columns are not those of the training file.

    Raises:
        BadData: a column is missing.
    """
    for name in first.inputs:
        if name not in second.inputs:
            raise BadData("the held-out file lacks this column", file=file, column=name)
