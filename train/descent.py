"""Gradient descent, as it is: objective, optimiser, schedule, early stopping and the epoch that is kept.

The only module that trains Keras models. Everything it does is a parameter in `SETTINGS`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from .settings import Settings, Value
from .words import Array, Blueprint, Engine, Kind, Progress, Split

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

# TensorFlow reads these when it is imported: its start-up notes are not ours to print.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")

SETTINGS: Mapping[str, Value] = MappingProxyType(
    {
        "epochs": Value(0, 0, 10_000),
        "batch_size": Value(0, 0, 65_536),
        "learning_rate": Value(1e-3, 1e-8, 10, search=(3e-4, 1e-2), log=True),
        "optimizer": Value("adam", choices=("adam", "adamw", "sgd", "rmsprop")),
        "loss": Value("auto", choices=("auto", "mse", "mae", "huber")),
        "schedule": Value("constant", choices=("constant", "cosine", "plateau")),
        "monitor": Value("loss", choices=("loss", "accuracy")),
        "patience": Value(5, 0, 10_000),
        "restore_best": Value(True),
        "precision": Value("float32", choices=("float32", "mixed_float16", "mixed_bfloat16")),
    }
)
# What 0 means: a batch that gives about 40 steps an epoch, and epochs that give about 1,500 steps.
STEPS_PER_EPOCH, STEPS = 40, 1500
SMALLEST_BATCH, LARGEST_BATCH = 32, 256
FEWEST_EPOCHS, MOST_EPOCHS = 8, 30


def settings(**changed: Value | float | str) -> Mapping[str, Value]:
    """The parameters of descent with an algorithm's own defaults and parameters put over them."""
    made = dict(SETTINGS)
    for name, value in changed.items():
        made[name] = value if isinstance(value, Value) else made[name].starting(value)
    return MappingProxyType(made)


@dataclass(frozen=True, slots=True)
class Network:
    """A model to train, and the tensors in it that nothing trainable lies before.

    What comes before the cut (tokenising, category look-up, scaling) is computed once, not once an epoch.
    """

    model: keras.Model
    cut: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True)
class FittedNetwork:
    """A trained Keras model."""

    native: keras.Model
    best_epoch: int
    engine: Engine = Engine.KERAS

    def answers(self, inputs: Mapping[str, Array]) -> Array:
        """What the network says, float32; a single output column comes back flat."""
        return np.asarray(self.native.predict(_batches(inputs, 1024), verbose=0), dtype=np.float32)


@contextmanager
def _quiet_start() -> Iterator[None]:
    """Keep off the terminal what TensorFlow writes while it loads, before it has read its log level."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def prepare(seed: int, precision: str = "float32") -> None:
    """Seed Python, NumPy and TensorFlow, and ask for operations that repeat exactly."""
    with _quiet_start():
        import keras
        import tensorflow as tf

        tf.config.list_physical_devices("GPU")
    tf.get_logger().setLevel("ERROR")  # each model traces its own functions; TensorFlow warns at the fifth
    keras.backend.clear_session()
    keras.utils.disable_interactive_logging()
    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()
    keras.config.set_dtype_policy(precision)


def fit(
    made: Network | keras.Model, split: Split, blueprint: Blueprint, progress: Progress, checkpoint: Path | None = None
) -> FittedNetwork:
    """Train on the training rows, choosing the epoch to keep on the validation rows.

    With `checkpoint`, the state is kept in that file after epochs, and training goes on from it if it is there.
    """
    from .epochs import Course

    network = made if isinstance(made, Network) else Network(made)
    core, train, validation = _behind_the_cut(network, split)
    chosen, batch, epochs = blueprint.settings, *_extent(blueprint.settings, len(split.train))
    steps = -(-len(split.train) // batch) * epochs
    core.compile(optimizer=_optimizer(chosen, steps), **_objective(blueprint.kind, chosen.text("loss")))
    course = Course(chosen, progress, checkpoint)
    core.fit(
        _training_batches(train, split.train.target, batch, blueprint, course),
        validation_data=_batches(validation, max(batch, 512), split.validation.target, blueprint),
        initial_epoch=course.resume(core),
        epochs=epochs,
        callbacks=[course],
        shuffle=False,
        verbose=0,
    )
    return FittedNetwork(network.model, course.best_epoch)


def _extent(chosen: Settings, rows: int) -> tuple[int, int]:
    """Rows in a batch, and epochs; 0 is chosen from the number of rows."""
    wanted = 2 ** round(np.log2(max(rows / STEPS_PER_EPOCH, 1)))
    batch = chosen.integer("batch_size") or int(np.clip(wanted, SMALLEST_BATCH, LARGEST_BATCH))
    per_epoch = -(-rows // batch)
    return batch, chosen.integer("epochs") or int(np.clip(STEPS // per_epoch, FEWEST_EPOCHS, MOST_EPOCHS))


def _behind_the_cut(network: Network, split: Split) -> tuple[keras.Model, Any, Any]:
    """The part to train and its inputs for train and validation, everything before it computed once."""
    import keras

    if not network.cut:
        return network.model, dict(split.train.inputs), dict(split.validation.inputs)
    front = keras.Model({tensor.name: tensor for tensor in network.model.inputs}, list(network.cut))
    core = keras.Model(list(network.cut), network.model.outputs[0])
    parts = (front.predict(_batches(part.inputs, 4096), verbose=0) for part in (split.train, split.validation))
    return core, *(_tuple(part) for part in parts)


def _tuple(values: Any) -> Any:
    return tuple(values) if isinstance(values, (list, tuple)) else (values,)


def _objective(kind: Kind, loss: str) -> dict[str, Any]:
    if kind is Kind.CLASSIFICATION:
        return {"loss": "sparse_categorical_crossentropy", "metrics": ["accuracy"]}
    return {"loss": "mse" if loss == "auto" else loss, "metrics": ["mae"]}


def _optimizer(chosen: Settings, steps: int) -> keras.Optimizer:
    import keras

    rate: Any = chosen.number("learning_rate")
    if chosen.text("schedule") == "cosine":
        rate = keras.optimizers.schedules.CosineDecay(rate, steps)
    return keras.optimizers.get({"class_name": chosen.text("optimizer"), "config": {"learning_rate": rate}})


def _training_batches(inputs: Any, target: Array, batch: int, blueprint: Blueprint, course: Any) -> tf.data.Dataset:
    """Rows in an order drawn from seed and epoch, a batch gathered at a time: no Python runs per row."""
    import tensorflow as tf

    weights = (blueprint.weights_of(target),) if blueprint.class_weights else ()
    held = tf.nest.map_structure(_tensor, (inputs, target, *weights))

    def order(_: Any) -> tf.data.Dataset:
        dice = tf.random.stateless_uniform([len(target)], seed=tf.stack([blueprint.seed % 2**31, course.epoch]))
        return tf.data.Dataset.from_tensor_slices(tf.argsort(dice, stable=True))

    def gather(rows: Any) -> Any:
        return tf.nest.map_structure(lambda values: tf.gather(values, rows), held)

    drawn = tf.data.Dataset.from_tensors(0).flat_map(order).batch(batch)
    batches = drawn.map(gather, num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)
    return batches.apply(tf.data.experimental.assert_cardinality(-(-len(target) // batch)))


def _tensor(values: Array) -> Any:
    import tensorflow as tf

    return tf.constant(values.tolist() if values.dtype == object else values)


def _batches(
    inputs: Any, batch: int, target: Array | None = None, blueprint: Blueprint | None = None
) -> tf.data.Dataset:
    """Rows in their own order; with `target` and its weights when there is something to compare with."""
    import tensorflow as tf

    held = tf.nest.map_structure(_tensor, inputs if isinstance(inputs, tuple) else dict(inputs))
    if target is None or blueprint is None:
        data = held
    else:
        data = (held, target, *((blueprint.weights_of(target),) if blueprint.class_weights else ()))
    return tf.data.Dataset.from_tensor_slices(data).batch(batch).prefetch(tf.data.AUTOTUNE)
