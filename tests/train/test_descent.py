"""Gradient descent: what a run cut off by a kill goes on from, and what the seed decides."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from train import Request
from train.training import fit, plan, resumed
from train.words import Fitted, Metrics

SHORT = {"epochs": "6", "units": "16", "layers": "1"}


class Told:
    """Remembers what it is told, and gives up after an epoch if asked to."""

    def __init__(self, until: int = 10**9) -> None:
        self.until, self.epochs = until, list[Metrics]()

    def epoch(self, number: int, metrics: Metrics) -> None:
        """Take an epoch."""
        self.epochs.append(metrics)
        if number >= self.until:
            raise KeyboardInterrupt


def descend(told: Told, checkpoint: Path | None = None, **changed: str) -> Fitted:
    """Fit the tumours' network."""
    made = plan(Request("tabular", parameters=SHORT | changed))
    return fit(made.task.algorithms["dnn"], made.blueprint, made.parts, told, checkpoint)


def test_a_cut_off_training_goes_on_to_the_same_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from train import epochs

    monkeypatch.setattr(epochs, "CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr(epochs, "CHECKPOINT_COST", 0)
    whole, parts = Told(), Told(until=5)
    straight = descend(whole, learning_rate="0.1")
    assert straight.best_epoch < 5, "the best epoch lies before the cut, so its weights must come from the checkpoint"
    with pytest.raises(KeyboardInterrupt):
        descend(parts, tmp_path / "state.npz", learning_rate="0.1")
    again = Told()
    continued = descend(again, tmp_path / "state.npz", learning_rate="0.1")
    assert again.epochs == whole.epochs
    for mine, theirs in zip(continued.native.get_weights(), straight.native.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_the_same_seed_gives_the_same_epochs_to_the_last_bit() -> None:
    first, second = Told(), Told()
    descend(first)
    descend(second)
    assert first.epochs == second.epochs


def test_the_best_epoch_is_restored_and_patience_ends_the_course() -> None:
    told = Told()
    fitted = descend(told, epochs="60", patience="2", learning_rate="0.1")
    losses = [epoch["validation.loss"] for epoch in told.epochs]
    assert fitted.best_epoch == int(np.argmin(losses)) + 1
    assert len(losses) == fitted.best_epoch + 2


@pytest.mark.slow
def test_a_killed_run_is_resumed_under_its_own_id_and_ends_registered(workspace: Path) -> None:
    command = [sys.executable, "-m", "train", "text", "--epochs", "8", "--patience", "0", "--name", "resumed"]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(command, cwd=workspace, env=environment, stdout=quiet, stderr=quiet)
    checkpoints = workspace / ".slipway" / "checkpoints"
    before = set(checkpoints.glob("*/state.npz"))
    deadline = time.monotonic() + 120
    while not (fresh := set(checkpoints.glob("*/state.npz")) - before):
        assert process.poll() is None, "the training ended before it was killed"
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    run_id = fresh.pop().parent.name
    made = resumed(run_id)
    assert (made.run_id, made.name, made.version) == (run_id, "resumed", 1)
    assert made.metrics["epochs_trained"] == 8
    assert not (checkpoints / run_id / "state.npz").exists()
