"""What happens between epochs: telling, keeping the best weights, stopping early, saving the state to go on from.

Imports Keras, so only `descent` imports this, when it trains.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from .settings import Settings
from .words import Array, Metrics, Progress

LOG = logging.getLogger(__name__)
# A checkpoint is written when at least this long has passed, and at least this many times what writing one costs.
CHECKPOINT_SECONDS, CHECKPOINT_COST = 1.0, 50
PLATEAU_FACTOR = 0.3


class Course(keras.callbacks.Callback):  # type: ignore[misc]  # Keras ships no types
    """One course of epochs; its whole state is in the checkpoint, so a killed course goes on where it was."""

    def __init__(self, chosen: Settings, progress: Progress, checkpoint: Path | None) -> None:
        """Take the parameters, who is told, and where the state is kept (None: nowhere)."""
        super().__init__()
        self.chosen, self.progress, self.checkpoint = chosen, progress, checkpoint
        self.epoch = tf.Variable(0, dtype=tf.int32)
        self.monitor = f"val_{chosen.text('monitor')}"
        self.sign = 1.0 if self.monitor.endswith("accuracy") else -1.0
        self.best_value, self.best_epoch = -np.inf, 0
        self.best_weights: list[Array] = []
        self.history: list[Metrics] = []
        self.saved, self.cost = time.monotonic(), 0.0

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        """Set the epoch that the order of rows is drawn from."""
        self.epoch.assign(epoch)

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        """Tell, compare with the best, perhaps stop, perhaps save."""
        logs = logs or {}
        self._compare(epoch + 1, logs)
        self._slow_down(epoch + 1)
        metrics = named(logs) | {"learning_rate": float(self.model.optimizer.learning_rate)}
        self.history.append(metrics)
        self._save(epoch + 1)
        self.progress.epoch(epoch + 1, metrics)

    def on_train_end(self, logs: Mapping[str, float] | None = None) -> None:
        """Put the best weights back, if that is wanted."""
        if self.best_weights and self.chosen.flag("restore_best"):
            self.model.set_weights(self.best_weights)

    def _compare(self, epoch: int, logs: Mapping[str, float]) -> None:
        value, patience = self.sign * logs.get(self.monitor, -self.sign * np.inf), self.chosen.integer("patience")
        if value > self.best_value:
            self.best_value, self.best_epoch, self.best_weights = value, epoch, self.model.get_weights()
        elif patience and epoch - self.best_epoch >= patience:
            self.model.stop_training = True

    def _slow_down(self, epoch: int) -> None:
        """Schedule plateau: lower the rate each time half the patience has passed without a better epoch."""
        if self.chosen.text("schedule") != "plateau":
            return
        waited, step = epoch - self.best_epoch, max(self.chosen.integer("patience") // 2, 1)
        if waited and waited % step == 0:
            self.model.optimizer.learning_rate = float(self.model.optimizer.learning_rate) * PLATEAU_FACTOR

    def _save(self, epoch: int) -> None:
        started = time.monotonic()
        if self.checkpoint is None or started - self.saved < max(CHECKPOINT_SECONDS, CHECKPOINT_COST * self.cost):
            return
        state = {"epoch": epoch, "best_epoch": self.best_epoch, "best_value": self.best_value, "history": self.history}
        arrays: dict[str, Any] = {"state": np.array(json.dumps(state))}
        arrays |= {f"now.{i}": np.asarray(v) for i, v in enumerate(self._variables(self.model))}
        arrays |= {f"best.{i}": v for i, v in enumerate(self.best_weights)}
        self.checkpoint.parent.mkdir(parents=True, exist_ok=True)
        half = self.checkpoint.with_suffix(".half.npz")
        np.savez(half, **arrays)
        os.replace(half, self.checkpoint)  # noqa: PTH105  the one call that is atomic on every system
        self.saved = time.monotonic()
        self.cost = self.saved - started

    def _variables(self, model: Any) -> list[Any]:
        """Weights, states of random layers, and the optimiser's own: all that the next epoch depends on."""
        own = {id(variable) for metric in model.metrics for variable in metric.variables}
        return [v for v in model.variables if id(v) not in own] + list(model.optimizer.variables)

    def resume(self, model: Any) -> int:
        """How many epochs are done already? Puts their state back into the compiled `model`."""
        if self.checkpoint is None or not self.checkpoint.is_file():
            return 0
        model.optimizer.build(model.trainable_variables)
        with np.load(self.checkpoint, allow_pickle=False) as kept:
            state = json.loads(str(kept["state"]))
            for place, variable in enumerate(self._variables(model)):
                variable.assign(kept[f"now.{place}"])
            self.best_weights = [kept[f"best.{i}"] for i in range(len(model.get_weights()))]
        self.best_epoch, self.best_value = state["best_epoch"], state["best_value"]
        for number, metrics in enumerate(state["history"], start=1):
            self.history.append(metrics)
            self.progress.epoch(number, metrics)
        LOG.info("going on after epoch %d", state["epoch"])
        return int(state["epoch"])


def named(logs: Mapping[str, float]) -> Metrics:
    """Keras's `loss` and `val_loss` as train.loss and validation.loss."""
    pairs = ((("validation", name[4:]) if name.startswith("val_") else ("train", name), v) for name, v in logs.items())
    return {f"{part}.{name}": float(value) for (part, name), value in pairs if name != "learning_rate"}
