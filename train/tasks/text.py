"""Which class is the text? A recurrent network that reads words in order.

Default data: generated reviews in which word order decides. By path: CSV or Parquet with the columns
`--text` and `--target`. Tokenising is inside the model, and simple enough that `tokens` below repeats it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import descent, estimators, generators
from ..checks import class_indices, indices_among
from ..errors import BadData
from ..settings import Value
from ..sources.tables import Table, aside, read_table
from ..words import (
    Algorithm,
    Array,
    Blueprint,
    DataOptions,
    Dataset,
    Engine,
    Examples,
    Fitted,
    Kind,
    Task,
    data_settings,
)

if TYPE_CHECKING:
    from ..descent import Network

ROWS = 8000
# What Keras's TextVectorization strips (lower_and_strip_punctuation, Keras 3.15), as bytes.
PUNCTUATION = b"!\"#$%&()*+,-./:;<=>?@[\\]^_`{|}~'"
LONGEST = 256


def tokens(text: str) -> list[bytes]:
    """The words of a text as the model sees them: ASCII lower case, punctuation gone, split at white space."""
    return text.encode().lower().translate(None, PUNCTUATION).split()


def load(options: DataOptions) -> Dataset:
    """Texts as Python strings under the name "text"."""
    if not options.path:
        texts, target = generators.sentences(ROWS, seed=options.seed)
        known = {"best_accuracy": 1 - generators.LABEL_NOISE}
        source = f"train.generators.sentences({ROWS}, seed={options.seed})"
        made = Examples({"text": texts}, target)
        return Dataset(made, ("negative", "positive"), Kind.CLASSIFICATION, source, known=known)
    table = _read(options.path, options)
    column = options.settings.text("target")
    target, labels = class_indices(table.words(column), file=table.file, column=column)
    other = options.settings.text("held_out")
    held_out = _held_out(_read(other, options), labels, options) if other else None
    examples = Examples({"text": _texts(table, options)}, target, aside(table, options))
    return Dataset(examples, labels, Kind.CLASSIFICATION, options.path, held_out=held_out)


def _read(path: str, options: DataOptions) -> Table:
    return read_table(path, missing=options.columns("missing"), limit=options.settings.integer("limit"))


def _texts(table: Table, options: DataOptions) -> Array:
    column = options.settings.text("text")
    words = table.words(column)
    for row, word in enumerate(words, start=1):
        if not word.strip():
            raise BadData("the text is missing", file=table.file, row=row, column=column)
    return np.array(words, dtype=object)


def _held_out(table: Table, labels: tuple[str, ...], options: DataOptions) -> Examples:
    column = options.settings.text("target")
    target = indices_among(table.words(column), labels, file=table.file, column=column)
    return Examples({"text": _texts(table, options)}, target, aside(table, options))


def recurrent(blueprint: Blueprint) -> Network:
    """Words to numbers, an embedding, one recurrent layer that skips padding, class probabilities."""
    import keras
    from keras import layers

    chosen = blueprint.settings
    vocabulary, length = _vocabulary(blueprint.train.inputs["text"], chosen.integer("vocabulary"))
    text = keras.Input((), name="text", dtype="string")
    codes = layers.TextVectorization(
        standardize="lower_and_strip_punctuation",
        split="whitespace",
        output_sequence_length=chosen.integer("length") or length,
        vocabulary=vocabulary,
    )(text)
    x = layers.Embedding(len(vocabulary) + 2, chosen.integer("embedding"), mask_zero=True)(codes)
    x = (layers.LSTM if chosen.text("cell") == "lstm" else layers.GRU)(chosen.integer("units"))(x)
    x = layers.Dropout(chosen.number("dropout"))(x)
    answers = layers.Dense(blueprint.outputs, activation="softmax", dtype="float32", name="probabilities")(x)
    return descent.Network(keras.Model({"text": text}, answers, name="text_rnn"), (codes,))


def _vocabulary(texts: Iterable[str], most: int) -> tuple[list[str], int]:
    """The most frequent words of the training texts, and how many words 99 % of the texts stay within."""
    counts: Counter[bytes] = Counter()
    lengths = []
    for text in texts:
        words = tokens(text)
        counts.update(words)
        lengths.append(len(words))
    ranked = sorted(counts, key=lambda word: (-counts[word], word))[:most]
    return [word.decode() for word in ranked], int(np.clip(np.quantile(lengths, 0.99), 1, LONGEST))


def files(fitted: Fitted) -> Mapping[str, str]:
    """tokens.json, from which a server without TensorFlow turns text into the network's numbers."""
    if fitted.engine is not Engine.KERAS:
        return {}
    layer: Any = next(layer for layer in fitted.native.layers if hasattr(layer, "get_vocabulary"))
    described = {
        "input": "text",
        "length": layer.get_config()["output_sequence_length"],
        "lower": "ascii",
        "strip": PUNCTUATION.decode(),
        "split": "whitespace",
        "vocabulary": list(layer.get_vocabulary()),
    }
    return {"tokens.json": json.dumps(described, ensure_ascii=False)}


def _settings(cell: str) -> Mapping[str, Value]:
    return descent.settings(
        epochs=12,
        batch_size=64,
        learning_rate=4e-3,
        patience=3,
        cell=Value(cell, choices=("gru", "lstm")),
        vocabulary=Value(20_000, 1, 10_000_000),
        length=Value(0, 0, 10_000),
        embedding=Value(32, 1, 4096, search=(16, 96), log=True),
        units=Value(32, 1, 4096, search=(16, 96), log=True),
        dropout=Value(0.2, 0, 0.95, search=(0.0, 0.5)),
    )


TASK = Task(
    "text",
    load,
    MappingProxyType(
        {
            "gru": Algorithm(Engine.KERAS, recurrent, _settings("gru")),
            "lstm": Algorithm(Engine.KERAS, recurrent, _settings("lstm")),
            "bag": Algorithm(Engine.SKLEARN, estimators.bag_of_words, estimators.BAG),
        }
    ),
    data_settings(text=Value("text"), target=Value("label")),
    files=files,
)
