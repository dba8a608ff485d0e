"""Which class is the picture? A small convolutional network.

Default data: the 1,797 handwritten digits of 8x8 pixels that scikit-learn ships.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from .. import descent
from ..settings import Value
from ..words import Algorithm, Blueprint, DataOptions, Dataset, Engine, Examples, Kind, Task

if TYPE_CHECKING:
    import keras


def load(options: DataOptions) -> Dataset:
    """The digits that scikit-learn ships: float32 pixels 0..16, shape (1797, 8, 8, 1)."""
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
        x = layers.MaxPooling2D()(x)
    x = layers.Dropout(chosen.number("dropout"))(layers.Flatten()(x))
    x = layers.Dense(chosen.integer("units"), activation="relu")(x)
    answers = layers.Dense(len(blueprint.labels), activation="softmax", dtype="float32", name="probabilities")(x)
    return keras.Model({"image": image}, answers, name="images_cnn")


CNN_SETTINGS = descent.settings(
    epochs=30,
    schedule="cosine",
    patience=0,
    monitor="accuracy",
    filters=Value(16, 1, 512, search=(8, 48), log=True),
    units=Value(64, 1, 4096, search=(32, 256), log=True),
    shift=Value(0.1, 0, 0.5, search=(0, 0.2)),
    dropout=Value(0.3, 0, 0.95, search=(0, 0.6)),
)

TASK = Task("images", load, MappingProxyType({"cnn": Algorithm(Engine.KERAS, cnn, CNN_SETTINGS)}))
