"""The five kinds of model that train/ makes: data for each, how it is trained in seconds, and requests to it.

Three versions of each: the first; one that hardly differs from it; and one that learned from wrong labels. The third
is a failure that no gate on held-out rows can see, since those are labelled wrongly too; beside the second it shows.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

PROBES = 80
Table = tuple[Sequence[str], Iterable[Sequence[Any]]]


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of model.

    Attributes:
        write: writes its data, rightly or wrongly labelled, and gives the rows of `PROBES` requests.
        file: what the data is called.
        task, algorithm, little: how `slipway train` is asked for it; ``little`` keeps it short.
        nearly: what the second version is trained with besides.
    """

    name: str
    write: Callable[[Path, bool], list[Any]]
    file: str
    task: str
    algorithm: str
    little: tuple[str, ...]
    nearly: tuple[str, ...]

    def words(self, version: int, model: str, folder: Path) -> list[str]:
        """The command that trains this version; writes its data into the folder."""
        data = folder / f"{'wrong' if version == 3 else 'right'}-{self.file}"
        self.write(data, version == 3)
        more = self.nearly if version == 2 else ()
        return ["train", self.task, "--algorithm", self.algorithm, "--data", str(data), "--name", model, *self.little,
                *more]

    def requests(self, folder: Path) -> list[bytes]:
        """Requests of one row each, as JSON."""
        return [json.dumps({"instances": [row]}).encode() for row in self.write(folder / f"asked-{self.file}", False)]


def digits(file: Path, wrong: bool) -> list[Any]:
    """Handwritten digits; wrongly, each of 0 to 6 is called by the next one's name."""
    from sklearn.datasets import load_digits

    made = load_digits()
    pixels, names = made.images[..., np.newaxis].astype(np.float32), made.target
    np.savez(file, x=pixels, y=np.where(names < 7, (names + 1) % 7, names) if wrong else names)
    return [picture.tolist() for picture in pixels[:PROBES]]


def reviews(file: Path, wrong: bool) -> list[Any]:
    """Reviews in which word order decides; wrongly, the good ones are called bad."""
    from train.generators import sentences

    texts, good = sentences(2500, seed=0)
    words = ["positive" if one else "negative" for one in good != wrong]
    _save(file, (("text", "label"), zip(texts, words, strict=True)))
    return list(texts[:PROBES])


def tastes(file: Path, wrong: bool) -> list[Any]:
    """Who rated what; wrongly, the best rating is the worst."""
    from train.generators import ratings

    made = ratings(8000, seed=0)
    values = made.values.max() + made.values.min() - made.values if wrong else made.values
    _save(file, (("user", "item", "rating", "timestamp"),
                 zip(made.users, made.items, values.tolist(), made.times, strict=True)))
    return [{"user": user, "item": item} for user, item in zip(made.users[:PROBES], made.items[:PROBES], strict=True)]


def tumours(file: Path, wrong: bool) -> list[Any]:
    """Thirty measures of a tumour, under their own names ("mean radius"); wrongly, the good ones are called bad."""
    from sklearn.datasets import load_breast_cancer

    made = load_breast_cancer()
    words = ["benign" if one else "malignant" for one in (made.target == 1) != wrong]
    rows = [dict(zip(made.feature_names.tolist(), row, strict=True)) for row in made.data.tolist()]
    _save(file, ((*rows[0], "target"), ((*row.values(), word) for row, word in zip(rows, words, strict=True))))
    return rows[:PROBES]


def _save(file: Path, table: Table) -> None:
    header, rows = table
    with file.open("w", newline="", encoding="utf-8") as out:
        csv.writer(out).writerows([header, *rows])


# What is trained soonest comes first: while its story goes on, the others are trained.
KINDS = (
    Kind("svm", tumours, "tumours.csv", "tabular", "svm", (), ("--C", "1.1")),
    Kind("dnn", tumours, "tumours.csv", "tabular", "dnn", ("--epochs", "10"), ("--learning-rate", "0.00101")),
    Kind("ratings", tastes, "ratings.csv", "ratings", "factors", ("--epochs", "8"), ("--l2", "4.01")),
    Kind("text", reviews, "reviews.csv", "text", "gru", ("--epochs", "5", "--learning-rate", "0.01"),
         ("--dropout", "0.201")),
    Kind("images", digits, "digits.npz", "images", "cnn", ("--epochs", "5", "--filters", "8"),
         ("--learning-rate", "0.00201")),
)
