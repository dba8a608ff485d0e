"""Gradient descent, as it is: objective, optimiser, schedule, early stopping and the epoch that is kept.

The only module that trains Keras models. Everything it does is a parameter in `SETTINGS`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from .settings import Settings, Value
from .splits import Split
from .words import Array, Blueprint, Engine, Examples, Kind, Metrics, Progress

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

# TensorFlow reads these when it is imported: its start-up notes are not ours to print.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")

SETTINGS: Mapping[str, Value] = MappingProxyType(
    {
        "epochs": Value(20, 1, 10_000),
        "batch_size": Value(32, 1, 65_536),
        "learning_rate": Value(1e-3, 1e-8, 10, search=(1e-4, 1e-2), log=True),
        "optimizer": Value("adam", choices=("adam", "adamw", "sgd", "rmsprop")),
        "schedule": Value("constant", choices=("constant", "cosine", "plateau")),
        "monitor": Value("loss", choices=("loss", "accuracy")),
        "patience": Value(5, 0, 10_000),
        "restore_best": Value(True),
        "precision": Value("float32", choices=("float32", "mixed_float16", "mixed_bfloat16")),
    }
)


def settings(**changed: Value | float | str) -> Mapping[str, Value]:
    """The parameters of descent with an algorithm's own defaults and parameters put over them."""
    made = dict(SETTINGS)
    for name, value in changed.items():
        made[name] = value if isinstance(value, Value) else _with_default(made[name], value)
    return MappingProxyType(made)


def _with_default(value: Value, default: float | str) -> Value:
    return Value(default, value.low, value.high, value.choices, value.search, value.log)


@dataclass(frozen=True, slots=True)
class FittedNetwork:
    """A trained Keras model."""

    native: keras.Model
    best_epoch: int
    engine: Engine = Engine.KERAS

    def answers(self, inputs: Mapping[str, Array]) -> Array:
        """What the network says, float32; a single output column comes back flat."""
        data = _batches(inputs, None, 512)
        made = np.asarray(self.native.predict(data, verbose=0), dtype=np.float32)
        return made[:, 0] if made.ndim == 2 and made.shape[1] == 1 else made


def prepare(seed: int, precision: str = "float32") -> None:
    """Seed Python, NumPy and TensorFlow, and ask for operations that repeat exactly."""
    import keras
    import tensorflow as tf

    keras.utils.disable_interactive_logging()
    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()
    keras.config.set_dtype_policy(precision)


def fit(network: keras.Model, split: Split, blueprint: Blueprint, progress: Progress) -> FittedNetwork:
    """Train `network` on the training rows, choosing the epoch to keep on the validation rows."""
    chosen = blueprint.settings
    steps = -(-len(split.train) // chosen.integer("batch_size")) * chosen.integer("epochs")
    network.compile(optimizer=_optimizer(chosen, steps), **_objective(blueprint.kind))
    batch = chosen.integer("batch_size")
    best = _Best(f"val_{chosen.text('monitor')}", chosen.integer("patience"), restore=chosen.flag("restore_best"))
    network.fit(
        _training_batches(split.train, batch, blueprint.seed),
        validation_data=_batches(split.validation.inputs, split.validation.target, max(batch, 256)),
        epochs=chosen.integer("epochs"),
        callbacks=_callbacks(best, chosen, progress),
        shuffle=False,
        verbose=0,
    )
    return FittedNetwork(network, best.epoch)


def _objective(kind: Kind) -> dict[str, Any]:
    if kind is Kind.CLASSIFICATION:
        return {"loss": "sparse_categorical_crossentropy", "metrics": ["accuracy"]}
    return {"loss": "mse", "metrics": ["mae"]}


def _optimizer(chosen: Settings, steps: int) -> keras.Optimizer:
    import keras

    rate: Any = chosen.number("learning_rate")
    if chosen.text("schedule") == "cosine":
        rate = keras.optimizers.schedules.CosineDecay(rate, steps)
    return keras.optimizers.get({"class_name": chosen.text("optimizer"), "config": {"learning_rate": rate}})


def _training_batches(examples: Examples, batch: int, seed: int) -> tf.data.Dataset:
    """Rows in a new seeded order each epoch; no Python runs per row."""
    import tensorflow as tf

    rows = tf.data.Dataset.from_tensor_slices((dict(examples.inputs), examples.target))
    shuffled = rows.cache().shuffle(min(len(examples), 20_000), seed=seed)
    return shuffled.batch(batch).prefetch(tf.data.AUTOTUNE)


def _batches(inputs: Mapping[str, Array], target: Array | None, batch: int) -> tf.data.Dataset:
    import tensorflow as tf

    data = dict(inputs) if target is None else (dict(inputs), target)
    return tf.data.Dataset.from_tensor_slices(data).batch(batch).prefetch(tf.data.AUTOTUNE)


def _callbacks(best: Any, chosen: Settings, progress: Progress) -> list[Any]:
    import keras

    tell = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: progress.epoch(epoch + 1, _named(logs)))
    callbacks = [tell, best.callback()]
    if chosen.text("schedule") == "plateau":
        callbacks.append(keras.callbacks.ReduceLROnPlateau(patience=max(chosen.integer("patience") // 2, 1)))
    return callbacks


def _named(logs: Mapping[str, float]) -> Metrics:
    """Keras's `loss` and `val_loss` as train.loss and validation.loss; the rate as it is."""
    made = {}
    for name, value in logs.items():
        head, tail = ("validation", name[4:]) if name.startswith("val_") else ("train", name)
        made["learning_rate" if name == "learning_rate" else f"{head}.{tail}"] = float(value)
    return made


class _Best:
    """Which epoch was best on validation, its weights, and when to stop waiting for a better one."""

    def __init__(self, monitor: str, patience: int, *, restore: bool) -> None:
        self.monitor, self.patience, self.restore = monitor, patience, restore
        self.rising = monitor.endswith("accuracy")
        self.value, self.epoch, self.weights = -np.inf, 0, None

    def callback(self) -> Any:
        import keras

        made = keras.callbacks.Callback()
        made.on_epoch_end = lambda epoch, logs: self._after(made.model, epoch + 1, logs)
        made.on_train_end = lambda logs=None: self._restore(made.model)
        return made

    def _after(self, network: Any, epoch: int, logs: Mapping[str, float]) -> None:
        value = logs[self.monitor] if self.rising else -logs[self.monitor]
        if value > self.value:
            self.value, self.epoch = value, epoch
            self.weights = network.get_weights() if self.restore else None
        elif self.patience and epoch - self.epoch >= self.patience:
            network.stop_training = True

    def _restore(self, network: Any) -> None:
        if self.weights is not None:
            network.set_weights(self.weights)
