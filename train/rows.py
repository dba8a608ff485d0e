"""The dense network over a table's columns: filling, scaling and category embedding inside the model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .estimators import levels
from .words import Array, Blueprint, Kind

if TYPE_CHECKING:
    import keras

    from .descent import Network

# Standardised numbers beyond this say no more than "very large".
FARTHEST = 10.0


def dense_network(blueprint: Blueprint) -> Network:
    """One input per column, (rows,) float32 or text; hidden layers; class probabilities or one number."""
    import keras
    from keras import layers

    from .descent import Network

    inputs = {name: _input(name, values) for name, values in blueprint.train.inputs.items()}
    numbers = [name for name, values in blueprint.train.inputs.items() if values.dtype.kind == "f"]
    words = [name for name in inputs if name not in numbers]
    cut: list[Any] = [_scaled(blueprint, inputs, numbers)] if numbers else []
    codes = [layers.StringLookup(vocabulary=levels(blueprint.train.inputs[n]))(inputs[n]) for n in words]
    x = [*cut, *(_embedded(blueprint, n, code) for n, code in zip(words, codes, strict=True))]
    joined = layers.Concatenate()(x) if len(x) > 1 else x[0]
    return Network(keras.Model(inputs, _head(blueprint, joined), name="tabular_dnn"), (*cut, *codes))


def _input(name: str, values: Array) -> Any:
    import keras

    return keras.Input((), name=name, dtype="float32" if values.dtype.kind == "f" else "string")


def _scaled(blueprint: Blueprint, inputs: Any, names: list[str]) -> Any:
    """(rows, columns): each number standardised by the training rows, the mean where it is missing."""
    from keras import layers, ops

    table = np.stack([blueprint.train.inputs[name] for name in names], axis=1).astype(np.float64)
    mean = np.nan_to_num(_quiet(np.nanmean, table))
    variance = np.nan_to_num(_quiet(np.nanvar, table))
    columns = [layers.Reshape((1,))(inputs[name]) for name in names]
    x = layers.Concatenate()(columns) if len(columns) > 1 else columns[0]
    x = layers.Normalization(mean=mean, variance=np.where(variance > 0, variance, 1.0))(x)
    known = ops.where(ops.isnan(x), ops.zeros_like(x), x)
    return ops.clip(known, -FARTHEST, FARTHEST)


def _quiet(figure: Any, table: Array) -> Array:
    """A NaN-aware figure per column; a column with no value at all gives NaN without NumPy's warning."""
    filled = np.where(np.isnan(table).all(axis=0), 0.0, table)
    return np.asarray(figure(filled, axis=0))


def _embedded(blueprint: Blueprint, name: str, code: Any) -> Any:
    from keras import layers

    count = len(levels(blueprint.train.inputs[name])) + 1
    width = min(blueprint.settings.integer("embedding"), max(1, (count + 1) // 2))
    return layers.Embedding(count, width)(code)


def _head(blueprint: Blueprint, x: keras.KerasTensor) -> keras.KerasTensor:
    from keras import layers

    for _ in range(blueprint.settings.integer("layers")):
        x = layers.Dense(blueprint.settings.integer("units"), activation="relu")(x)
        x = layers.Dropout(blueprint.settings.number("dropout"))(x)
    if blueprint.kind is Kind.CLASSIFICATION:
        return layers.Dense(blueprint.outputs, activation="softmax", dtype="float32", name="probabilities")(x)
    spread, middle = float(blueprint.train.target.std()) or 1.0, float(blueprint.train.target.mean())
    x = layers.Rescaling(spread, offset=middle, dtype="float32")(layers.Dense(1, dtype="float32")(x))
    return layers.Reshape((), name="prediction")(x)
