"""Which class, or which number, does a row of a table mean? A dense network, an SVM, trees, a linear model.

Default data: the 569 tumours of scikit-learn's breast cancer set. By path: CSV or Parquet with the column
`--target`; text columns are categories, missing values are filled in, both inside the model.
"""

from __future__ import annotations

from types import MappingProxyType

import numpy as np

from .. import descent, estimators, rows
from ..checks import class_indices, finite_target, indices_among
from ..errors import BadData
from ..settings import Value
from ..sources.tables import Table, aside, read_table
from ..words import Algorithm, Array, DataOptions, Dataset, Engine, Examples, Kind, Task, data_settings

# A number target with more distinct values than this is a quantity, not a class.
MOST_NUMBER_CLASSES = 20


def load(options: DataOptions) -> Dataset:
    """One input per column: float32 with NaN where missing, or text with "" where missing."""
    if not options.path:
        return _tumours()
    table = _read(options.path, options)
    other = options.settings.text("held_out")
    kind, labels, target = _target(table, options)
    examples = _examples(table, target, options, None)
    held_out = None
    if other:
        judged = _read(other, options)
        held_out = _examples(judged, _same_target(judged, kind, labels, options), options, examples)
    return Dataset(examples, labels, kind, options.path, held_out=held_out)


def _tumours() -> Dataset:
    from sklearn.datasets import load_breast_cancer

    made = load_breast_cancer()
    inputs = {
        str(name).replace(" ", "_"): made.data[:, place].astype(np.float32)
        for place, name in enumerate(made.feature_names)
    }
    labels = tuple(str(name) for name in made.target_names)
    examples = Examples(inputs, made.target.astype(np.int64))
    return Dataset(examples, labels, Kind.CLASSIFICATION, "sklearn.datasets.load_breast_cancer")


def _read(path: str, options: DataOptions) -> Table:
    return read_table(path, missing=options.columns("missing"), limit=options.settings.integer("limit"))


def _target(table: Table, options: DataOptions) -> tuple[Kind, tuple[str, ...], Array]:
    column, wanted = options.settings.text("target"), options.settings.text("kind")
    words = table.words(column)
    if wanted == "regression" or (wanted == "auto" and _is_quantity(table, column)):
        return Kind.REGRESSION, (), finite_target(table.numbers(column), file=table.file, column=column)
    target, labels = class_indices(words, file=table.file, column=column)
    return Kind.CLASSIFICATION, labels, target


def _is_quantity(table: Table, column: str) -> bool:
    return table.is_numeric(column) and len(set(table.words(column))) > MOST_NUMBER_CLASSES


def _same_target(table: Table, kind: Kind, labels: tuple[str, ...], options: DataOptions) -> Array:
    column = options.settings.text("target")
    if kind is Kind.REGRESSION:
        return finite_target(table.numbers(column), file=table.file, column=column)
    return indices_among(table.words(column), labels, file=table.file, column=column)


def _examples(table: Table, target: Array, options: DataOptions, like: Examples | None) -> Examples:
    left_out = {options.settings.text("target"), *options.columns("group"), *options.columns("time")}
    left_out |= set(options.columns("ignore"))
    for name in (*options.columns("ignore"), *options.columns("categorical")):
        table.need(name)
    names = [name for name in table.columns if name not in left_out]
    if like is not None:
        names = _same_columns(table, names, like)
    if not names:
        raise BadData("no column is left to learn from", file=table.file)
    inputs = {input_name(name): _column(table, name, options, like) for name in names}
    return Examples(inputs, target, aside(table, options))


def _same_columns(table: Table, names: list[str], like: Examples) -> list[str]:
    """The columns that feed the inputs of the training rows, in their order."""
    feeding = {input_name(name): name for name in names}
    for wanted in like.inputs:
        if wanted not in feeding:
            table.need(wanted)
    return [feeding[wanted] for wanted in like.inputs]


def input_name(column: str) -> str:
    """The input that a column feeds: its own name, a slash (which Keras forbids in names) turned into _."""
    return column.replace("/", "_")


def _column(table: Table, name: str, options: DataOptions, like: Examples | None) -> Array:
    numeric = table.is_numeric(name) if like is None else like.inputs[input_name(name)].dtype.kind == "f"
    if numeric and name not in options.columns("categorical"):
        values = table.numbers(name)
        bad = np.flatnonzero(np.isinf(values.astype(np.float32)))
        if len(bad):
            raise BadData("is too large for a number", file=table.file, row=int(bad[0]) + 1, column=name)
        return values.astype(np.float32)
    return np.array(table.words(name), dtype=object)


DNN_SETTINGS = descent.settings(
    epochs=60,
    patience=8,
    units=Value(64, 1, 4096, search=(16, 256), log=True),
    layers=Value(2, 1, 8, search=(1, 3)),
    dropout=Value(0.2, 0, 0.95, search=(0.0, 0.5)),
    embedding=Value(8, 1, 256),
)

TASK = Task(
    "tabular",
    load,
    MappingProxyType(
        {
            "dnn": Algorithm(Engine.KERAS, rows.dense_network, DNN_SETTINGS),
            "svm": Algorithm(Engine.SKLEARN, estimators.svm, estimators.SVM),
            "boosting": Algorithm(Engine.SKLEARN, estimators.boosting, estimators.BOOSTING),
            "forest": Algorithm(Engine.SKLEARN, estimators.forest, estimators.FOREST),
            "linear": Algorithm(Engine.SKLEARN, estimators.linear, estimators.LINEAR),
        }
    ),
    data_settings(
        target=Value("target"),
        kind=Value("auto", choices=("auto", "classification", "regression")),
        categorical=Value(""),
        ignore=Value(""),
    ),
)
