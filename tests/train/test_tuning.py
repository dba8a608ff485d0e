"""The search: what it compares, what it repeats, and what a kill costs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import optuna
import pytest
from mlflow import MlflowClient
from optuna.trial import TrialState

from train import Request
from train.tuning import Budget, Question, Tuned, tune

ALGORITHMS = ("svm", "linear", "boosting")


def search(storage: Path, trials: int, seed: int = 0) -> Tuned:
    """A short search over three algorithms."""
    request = Request("tabular", seed=seed, parameters={"iterations": "20"}, name=f"tuned-{storage.stem}")
    return tune(Question(request, ALGORITHMS, storage=str(storage)), Budget(trials=trials))


@pytest.fixture(scope="module")
def tuned(workspace: Path) -> Tuned:
    """One search of six trials."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{workspace}/mlflow.db")
        patch.chdir(workspace)
        return search(workspace / "first.journal", trials=6)


def trials_of(storage: Path) -> list[optuna.trial.FrozenTrial]:
    """All trials of the only study in a journal."""
    kept = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(storage)))
    return optuna.load_study(study_name=None, storage=kept).trials


def test_every_algorithm_is_tried_and_each_trial_is_a_run_under_the_searchs(tuned: Tuned) -> None:
    assert set(tuned.algorithms) == set(ALGORITHMS)
    client = MlflowClient()
    experiment = client.get_run(tuned.run_id).info.experiment_id
    under = client.search_runs([experiment], f"tags.`mlflow.parentRunId` = '{tuned.run_id}'")
    trials = [run for run in under if run.info.run_name.startswith("trial-")]
    assert len(trials) == 6
    assert all("validation.f1_macro" in run.data.metrics for run in trials)
    assert {"search_history", "search_parameters"} <= {
        Path(item.path).stem for item in client.list_artifacts(tuned.run_id, "plots")
    }


def test_the_winner_is_retrained_registered_and_says_which_search_chose_it(tuned: Tuned) -> None:
    run = MlflowClient().get_run(tuned.winner.run_id)
    assert run.data.params["search.study"] == tuned.study
    assert run.data.params["search.trials"] == "6"
    assert run.data.params["algorithm"] == tuned.parameters["algorithm"]
    assert run.data.tags["mlflow.parentRunId"] == tuned.run_id
    assert (tuned.winner.name, tuned.winner.version) == ("tuned-first", 1)


def test_a_fixed_parameter_stays_fixed(workspace: Path, tuned: Tuned) -> None:
    names = {name for trial in trials_of(workspace / "first.journal") for name in trial.params}
    assert "boosting.learning_rate" in names
    assert "boosting.iterations" not in names


def test_the_same_seed_finds_the_same(workspace: Path, tuned: Tuned) -> None:
    again = search(workspace / "second.journal", trials=6)
    assert (again.value, again.parameters) == (tuned.value, tuned.parameters)
    first, second = (trials_of(workspace / f"{name}.journal") for name in ("first", "second"))
    assert [trial.params for trial in first] == [trial.params for trial in second]


def test_a_search_asked_again_does_nothing_twice(workspace: Path, tuned: Tuned) -> None:
    again = search(workspace / "first.journal", trials=6)
    assert again.winner == tuned.winner
    assert len(trials_of(workspace / "first.journal")) == 6


@pytest.mark.slow
def test_two_processes_share_a_search_and_a_kill_costs_one_trial(workspace: Path) -> None:
    storage = workspace / "shared.journal"
    words = ["tune", "tabular", "--algorithms", "svm,linear", "--trials", "16", "--storage", str(storage)]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[2])}

    def start() -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "train", *words, "--name", "shared"]
        quiet = subprocess.DEVNULL
        return subprocess.Popen(command, cwd=workspace, env=environment, stdout=quiet, stderr=quiet)

    killed, other = start(), start()
    deadline = time.monotonic() + 120
    while not storage.exists() or '"op_code":6' not in storage.read_text():
        assert time.monotonic() < deadline
        time.sleep(0.1)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert other.wait(timeout=180) == 0
    assert start().wait(timeout=180) == 0
    trials = trials_of(storage)
    done = [trial for trial in trials if trial.state in (TrialState.COMPLETE, TrialState.PRUNED)]
    params = [tuple(sorted(trial.params.items())) for trial in done]
    assert len(set(params)) == len(params) == 16
    assert len(trials) - len(done) <= 1
