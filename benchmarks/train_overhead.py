"""What does logging cost a training? Plain Keras `fit`, `fit` with MLflow's autologging, and ours, side by side.

    python -m benchmarks.train_overhead [--rounds 5] [--epochs 20] [--json]

The three train the same network on the same digits from the same start, in turn, round by round, so that a
busy machine is busy for all of them; the fastest round of each says most where others work beside.
Each writes to its own SQLite store, as a laptop does. Ours also keeps the
best weights and writes checkpoints; the plain one does neither. What is compared are medians of the time in `fit`.
"""

from __future__ import annotations

import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from train import Request
from train.training import Plan, plan

PLAIN, AUTOLOG, OURS = "plain fit", "fit + mlflow.keras.autolog", "slipway train"


def prepared(made: Plan) -> Any:
    """The network to train, built anew from the same seed."""
    from train import descent

    descent.prepare(made.blueprint.seed)
    return made.task.algorithms[made.algorithm].build(made.blueprint)


def plain(made: Plan, epochs: int) -> float:
    """Seconds of Keras's own fit, with the optimiser and batches that ours uses."""
    import tensorflow as tf

    network, parts = prepared(made), made.parts
    network.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    train = tf.data.Dataset.from_tensor_slices((dict(parts.train.inputs), parts.train.target)).cache()
    judged = tf.data.Dataset.from_tensor_slices((dict(parts.validation.inputs), parts.validation.target))
    batches = train.shuffle(len(parts.train), seed=0).batch(32).prefetch(tf.data.AUTOTUNE)
    started = time.perf_counter()
    network.fit(batches, validation_data=judged.batch(512), epochs=epochs, verbose=0)
    return time.perf_counter() - started


def autologged(made: Plan, epochs: int) -> float:
    """The same with MLflow's autologging, each epoch written before the next begins."""
    import mlflow

    mlflow.keras.autolog(log_models=False, log_datasets=False)
    try:
        with mlflow.start_run():
            return plain(made, epochs)
    finally:
        mlflow.keras.autolog(disable=True)


def ours(made: Plan, epochs: int) -> float:
    """Ours: batched metrics, best weights, checkpoints."""
    from train import descent
    from train.tracking import recording

    network = prepared(made)
    with recording("benchmark") as recorder:
        started = time.perf_counter()
        descent.fit(network, made.parts, made.blueprint, recorder, Path("checkpoint") / "state.npz")
        recorder.flush()
        taken = time.perf_counter() - started
    (Path("checkpoint") / "state.npz").unlink(missing_ok=True)
    return taken


def measure(rounds: int, epochs: int) -> dict[str, list[float]]:
    """Seconds of each way in each round, after one round that is not counted."""
    request = Request("images", parameters={"epochs": str(epochs), "schedule": "constant", "batch_size": "32"})
    made = plan(request)
    ways: dict[str, Callable[[Plan, int], float]] = {PLAIN: plain, AUTOLOG: autologged, OURS: ours}
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for round_number in range(rounds + 1):
        for name, way in ways.items():
            seconds = way(made, epochs)
            if round_number:
                taken[name].append(seconds)
    return taken


@click.command()
@click.option("--rounds", default=5, show_default=True)
@click.option("--epochs", default=20, show_default=True)
@click.option("--json", "as_json", is_flag=True)
def main(rounds: int, epochs: int, as_json: bool) -> None:
    """Measure and print the table."""
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{folder}/mlflow.db"
        taken = measure(rounds, epochs)
    medians = {name: statistics.median(seconds) for name, seconds in taken.items()}
    fastest = {name: min(seconds) for name, seconds in taken.items()}
    if as_json:
        click.echo(json.dumps({"seconds": taken, "medians": medians}))
        return
    for name, median in medians.items():
        ratios = median / medians[PLAIN], fastest[name] / fastest[PLAIN]
        click.echo(f"{name:<28} median {median:6.2f} s ({ratios[0]:.3f} x plain), fastest {ratios[1]:.3f} x plain")


if __name__ == "__main__":
    main()
