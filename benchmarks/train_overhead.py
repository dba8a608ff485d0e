"""What does logging cost a training? Plain Keras `fit`, `fit` with MLflow's autologging, and ours, side by side.

    python -m benchmarks.train_overhead [--rounds 5] [--epochs 20] [--json]

The three train the same network on the same digits from the same start, in turn, round by round, so that a
busy machine is busy for all of them; where others work beside, processor time says more than the wall's.
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
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click

from train import Request
from train.training import Plan, plan

PLAIN, AUTOLOG, OURS = "plain fit", "fit + mlflow.keras.autolog", "slipway train"


@dataclass(frozen=True)
class Times:
    """Seconds by the clock on the wall, and seconds of processor time over all threads."""

    wall: float
    processor: float


class Clock:
    """Starts when made."""

    def __init__(self) -> None:
        """Look at both clocks."""
        self.wall, self.processor = time.perf_counter(), time.process_time()

    def read(self) -> Times:
        """The times since then."""
        return Times(time.perf_counter() - self.wall, time.process_time() - self.processor)


def prepared(made: Plan) -> Any:
    """The network to train, built anew from the same seed."""
    from train import descent

    descent.prepare(made.blueprint.seed)
    return made.task.algorithms[made.algorithm].build(made.blueprint)


def plain(made: Plan, epochs: int) -> Times:
    """Times of Keras's own fit, with the optimiser and batches that ours uses."""
    import tensorflow as tf

    network, parts = prepared(made), made.parts
    network.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    train = tf.data.Dataset.from_tensor_slices((dict(parts.train.inputs), parts.train.target)).cache()
    judged = tf.data.Dataset.from_tensor_slices((dict(parts.validation.inputs), parts.validation.target))
    batches = train.shuffle(len(parts.train), seed=0).batch(32).prefetch(tf.data.AUTOTUNE)
    clock = Clock()
    network.fit(batches, validation_data=judged.batch(512), epochs=epochs, verbose=0)
    return clock.read()


def autologged(made: Plan, epochs: int) -> Times:
    """The same with MLflow's autologging, each epoch written before the next begins."""
    import mlflow

    mlflow.keras.autolog(log_models=False, log_datasets=False)
    try:
        with mlflow.start_run():
            return plain(made, epochs)
    finally:
        mlflow.keras.autolog(disable=True)


def ours(made: Plan, epochs: int) -> Times:
    """Ours: batched metrics, best weights, checkpoints."""
    from train import descent
    from train.tracking import recording

    network = prepared(made)
    with recording("benchmark") as recorder:
        clock = Clock()
        descent.fit(network, made.parts, made.blueprint, recorder, Path("checkpoint") / "state.npz")
        recorder.flush()
        taken = clock.read()
    (Path("checkpoint") / "state.npz").unlink(missing_ok=True)
    return taken


def measure(rounds: int, epochs: int) -> dict[str, list[Times]]:
    """Times of each way in each round, after one round that is not counted."""
    request = Request("images", parameters={"epochs": str(epochs), "schedule": "constant", "batch_size": "32"})
    made = plan(request)
    ways: dict[str, Callable[[Plan, int], Times]] = {PLAIN: plain, AUTOLOG: autologged, OURS: ours}
    taken: dict[str, list[Times]] = {name: [] for name in ways}
    for round_number in range(rounds + 1):
        for name, way in ways.items():
            times = way(made, epochs)
            if round_number:
                taken[name].append(times)
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
    if as_json:
        click.echo(json.dumps({name: [asdict(one) for one in times] for name, times in taken.items()}))
        return
    for name in taken:
        cells = []
        for kind in ("wall", "processor"):
            mine, theirs = ([getattr(one, kind) for one in taken[way]] for way in (name, PLAIN))
            ratio = statistics.median(mine) / statistics.median(theirs)
            cells.append(f"{kind} {statistics.median(mine):6.2f} s = {ratio:.3f} x plain")
        click.echo(f"{name:<28} {'   '.join(cells)}")


if __name__ == "__main__":
    main()
