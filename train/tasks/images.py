"""Which class is the picture? A small convolutional network.

Default data: the 1,797 handwritten digits of 8x8 pixels that scikit-learn ships. By path: idx files
(the MNIST layout), .npz arrays, or a folder with one folder of pictures per class.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from .. import descent
from ..checks import indices_among
from ..errors import BadData
from ..settings import Value
from ..words import Algorithm, Blueprint, DataOptions, Dataset, Engine, Examples, Kind, Task, data_settings

if TYPE_CHECKING:
    import keras

    from ..sources.pictures import Pictures


def load(options: DataOptions) -> Dataset:
    """Pictures as float32 (rows, height, width, channels) under the name "image"."""
    if not options.path:
        return _digits()
    from ..sources.pictures import read_pictures

    size, other = options.settings.integer("size"), options.settings.text("held_out")
    read = read_pictures(options.path, size=size)
    target, labels = read.targets(options.path)
    judged = read_pictures(other, size=size) if other else read.held_out
    rows = slice(options.settings.integer("limit") or None)
    return Dataset(
        examples=Examples({"image": read.pixels[rows]}, target[rows]),
        labels=labels,
        kind=Kind.CLASSIFICATION,
        source=options.path,
        scale=read.scale,
        held_out=_held_out(judged, labels, read.pixels.shape, other or options.path) if judged else None,
    )


def _digits() -> Dataset:
    from sklearn.datasets import load_digits

    digits = load_digits()
    pixels = digits.images.astype(np.float32)[..., np.newaxis]
    return Dataset(
        examples=Examples({"image": pixels}, digits.target.astype(np.int64)),
        labels=tuple(str(name) for name in digits.target_names),
        kind=Kind.CLASSIFICATION,
        source="sklearn.datasets.load_digits",
        scale=16.0,
    )


def _held_out(judged: Pictures, labels: tuple[str, ...], shape: tuple[int, ...], file: str) -> Examples:
    if judged.pixels.shape[1:] != shape[1:]:
        message = f"held-out pictures are {judged.pixels.shape[1:]}, training pictures {shape[1:]}"
        raise BadData(message, file=file)
    return Examples({"image": judged.pixels}, indices_among(judged.words, labels, file=file, column="label"))


def cnn(blueprint: Blueprint) -> keras.Model:
    """Two convolution blocks and a dense layer; the pixel scaling is inside."""
    import keras
    from keras import layers

    chosen, width = blueprint.settings, blueprint.settings.integer("filters")
    image = keras.Input(blueprint.train.inputs["image"].shape[1:], name="image")
    x = layers.Rescaling(1.0 / blueprint.scale)(image)
    if chosen.number("shift"):
        x = layers.RandomTranslation(chosen.number("shift"), chosen.number("shift"), seed=blueprint.seed)(x)
    for filters in (width, 2 * width):
        for _ in range(2):
            x = layers.Conv2D(filters, 3, padding="same", use_bias=False)(x)
            x = layers.ReLU()(layers.BatchNormalization(momentum=0.9)(x))
        x = layers.MaxPooling2D(padding="same")(x)
    x = layers.Dropout(chosen.number("dropout"))(layers.Flatten()(x))
    x = layers.Dense(chosen.integer("units"), activation="relu")(x)
    answers = layers.Dense(blueprint.outputs, activation="softmax", dtype="float32", name="probabilities")(x)
    return keras.Model({"image": image}, answers, name="images_cnn")


def dense(blueprint: Blueprint) -> keras.Model:
    """One hidden layer over all pixels: what a picture's shape is worth is seen against this."""
    import keras
    from keras import layers

    image = keras.Input(blueprint.train.inputs["image"].shape[1:], name="image")
    x = layers.Flatten()(layers.Rescaling(1.0 / blueprint.scale)(image))
    x = layers.Dense(blueprint.settings.integer("units"), activation="relu")(x)
    x = layers.Dropout(blueprint.settings.number("dropout"))(x)
    answers = layers.Dense(blueprint.outputs, activation="softmax", dtype="float32", name="probabilities")(x)
    return keras.Model({"image": image}, answers, name="images_dense")


UNITS, DROPOUT = Value(64, 1, 4096, search=(32, 256), log=True), Value(0.3, 0, 0.95, search=(0.0, 0.6))
CNN_SETTINGS = descent.settings(
    learning_rate=2e-3,
    schedule="cosine",
    patience=0,
    monitor="accuracy",
    filters=Value(16, 1, 512, search=(8, 48), log=True),
    units=UNITS,
    shift=Value(0.06, 0, 0.5, search=(0.0, 0.2)),
    dropout=DROPOUT,
)
DENSE_SETTINGS = descent.settings(schedule="cosine", patience=0, units=UNITS, dropout=DROPOUT)

TASK = Task(
    "images",
    load,
    MappingProxyType(
        {"cnn": Algorithm(Engine.KERAS, cnn, CNN_SETTINGS), "dense": Algorithm(Engine.KERAS, dense, DENSE_SETTINGS)}
    ),
    data_settings(size=Value(0, 0, 4096)),
)
