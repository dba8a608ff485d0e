from __future__ import annotations

import importlib
import json
import sys
from typing import Any

import mlflow
import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.metrics import accuracy_score, recall_score

from registry import (
    ModelUnusable,
    ModelVersion,
    Outcome,
    PromotionRefused,
    RegistryError,
    Stage,
    check,
    commands,
    connect,
    mlflow_store,
    model_files,
    register_candidate,
)
from registry.evaluation import class_indices, classification, discordant, relative_gain
from registry.wire import WordShape
from tests.registry.world import LABELS, ROWS, World, log_rows, points


def test_the_numbers_are_ours_and_not_those_that_were_logged(world: World) -> None:
    version = world.candidate(wrong=0.45)
    mlflow.MlflowClient().log_metric(version.run_id, "held_out.accuracy", 0.999)
    evidence = check.check(version)
    held_out, truth = points(3, ROWS)
    native = mlflow.sklearn.load_model("models:/images/1").predict(held_out)
    measured = {measure.name: measure.value for measure in evidence.measures}
    assert measured["accuracy"] == pytest.approx(accuracy_score(truth, native))
    assert measured["recall_macro"] == pytest.approx(recall_score(truth, native, average="macro"))


def test_the_champion_answers_the_same_rows(world: World) -> None:
    world.released()
    evidence = check.check(world.candidate(wrong=0.3))
    assert evidence.paired is not None
    assert (evidence.paired.champion, evidence.paired.rows) == (1, ROWS)


def test_a_worse_candidate_is_refused_with_the_difference(world: World) -> None:
    (world.folder / "policy.yaml").write_text("schema: 1\ndefaults: {gates: {floors: {recall_lowest: 0.1}}}\n")
    world.released()
    evidence = check.check(shifted(world, by=0.12))
    (verdict,) = [v for v in evidence.verdicts if v.gate == "not_worse"]
    assert not evidence.passed
    assert verdict.reason.startswith("accuracy -0.")
    assert "95 %" in verdict.reason


def shifted(world: World, by: float) -> ModelVersion:
    """A candidate that draws the line between the classes in the wrong place."""
    connect()
    values, labels = points(1, 400)
    model = LogisticRegression(C=1000).fit(values + np.array([by, 0]), labels)
    return logged(world, model, *points(3, ROWS))


def logged(
    world: World, model: Any, held_out: Any, truth: Any, name: str = "images", kind: str = "classification",
    answers: str = "",
) -> ModelVersion:
    """Log and register a fitted model with its held-out rows."""
    with mlflow.start_run() as run:
        info = mlflow.sklearn.log_model(
            model, name="model", pip_requirements=[], input_example=held_out[:2],
            metadata={"slipway": {"schema": 1, "kind": kind, "labels": LABELS}},
            pyfunc_predict_fn=answers or ("predict_proba" if kind == "classification" else "predict"),
        )  # fmt: skip
        log_rows(world.folder, {"values": held_out}, truth, {"values": points(1, 400)[0]}, points(1, 400)[1])
    return register_candidate(name, run_id=run.info.run_id, source=info.model_uri)


def test_a_check_draws_no_progress_bars(world: World, capfd: pytest.CaptureFixture[str]) -> None:
    import keras

    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2, activation="softmax")])
    mlflow.keras.save_model(model, str(world.folder / "keras"), pip_requirements=[])
    capfd.readouterr()
    rows = {"values": points(3, 600)[0].astype("float32")}
    assert model_files.predict(world.folder / "keras", rows).shape == (600, 2)
    said = capfd.readouterr()
    assert said.out == ""
    assert "ms/step" not in said.err


def test_a_failed_gate_exits_with_one_and_still_is_recorded(world: World) -> None:
    world.candidate(wrong=0.5)
    told = CliRunner().invoke(commands.check, ["images/1", "--json"])
    assert told.exit_code == 1
    outcomes = {verdict["gate"]: verdict["outcome"] for verdict in json.loads(told.stdout)["verdicts"]}
    assert outcomes["accuracy"] == "failed"
    assert [entry.kind.value for entry in mlflow_store.ledger("images")] == ["registered", "checked"]


def test_a_summary_is_appended_as_markdown_that_a_ci_job_shows(world: World) -> None:
    world.candidate()
    path = world.folder / "summary.md"
    path.write_text("before\n")
    told = CliRunner().invoke(commands.check, ["images/1"], env={"GITHUB_STEP_SUMMARY": str(path)})
    assert told.exit_code == 0, told.output
    lines = path.read_text().splitlines()
    assert lines[:2] == ["before", "## images/1: every gate passed"]
    assert "| gate | verdict | numbers |" in lines
    assert any(line.startswith("| overlap | passed | 0 of 200") for line in lines)


def test_a_run_without_held_out_rows_cannot_be_checked(world: World) -> None:
    version = world.candidate()
    with mlflow.start_run():
        info = mlflow.sklearn.log_model(mlflow.sklearn.load_model("models:/images/1"), name="bare", pip_requirements=[])
    bare = register_candidate("bare", run_id=info.run_id, source=info.model_uri)
    with pytest.raises(RegistryError, match=r"bare/1 has no held-out rows. Next: log evaluation/held_out.npz"):
        check.check(bare)
    assert version.number == 1


def test_a_model_that_does_not_name_its_classes_cannot_be_checked(world: World) -> None:
    model = mlflow.sklearn.load_model(world.candidate().source)
    with mlflow.start_run() as run:
        info = mlflow.sklearn.log_model(model, name="mute", pip_requirements=[])
        mlflow.log_artifact(str(world.folder / "held_out.npz"), "evaluation")
    mute = register_candidate("mute", run_id=run.info.run_id, source=info.model_uri)
    with pytest.raises(ModelUnusable, match="names no kind of answer, or no classes"):
        check.check(mute)


def test_a_version_that_cannot_answer_its_own_rows_cannot_be_checked(world: World) -> None:
    version = world.candidate()
    arrays: dict[str, Any] = {"in.other": np.zeros((ROWS, 5)), "labels": points(3, ROWS)[1]}
    np.savez(world.folder / "held_out.npz", **arrays)
    mlflow.MlflowClient().log_artifact(version.run_id, str(world.folder / "held_out.npz"), "evaluation")
    with pytest.raises(ModelUnusable, match="the model does not answer"):
        check.check(version)


def with_code(world: World, monkeypatch: pytest.MonkeyPatch) -> ModelVersion:
    """A candidate of a class of its own, whose module comes along with it and leaves a mark when it is imported."""
    world.candidate()  # whose held-out rows it answers
    (world.folder / "brought.py").write_text(
        "import pathlib\nfrom sklearn.linear_model import LogisticRegression\n"
        f"pathlib.Path({str(world.folder / 'mark')!r}).touch()\n\n\nclass Brought(LogisticRegression):\n    pass\n")
    monkeypatch.syspath_prepend(world.folder)
    model = importlib.import_module("brought").Brought().fit(*points(1, 400))
    with mlflow.start_run() as run:
        info = mlflow.sklearn.log_model(
            model, name="brought", pip_requirements=[], code_paths=[str(world.folder / "brought.py")],
            serialization_format="skops", skops_trusted_types=["brought.Brought"],
            metadata={"slipway": {"kind": "classification", "labels": LABELS}},
        )  # fmt: skip
        mlflow.log_artifact(str(world.folder / "held_out.npz"), "evaluation")
    del sys.modules["brought"]
    (world.folder / "mark").unlink()
    return register_candidate("brought", run_id=run.info.run_id, source=info.model_uri)


def test_a_version_whose_files_could_run_code_is_refused_before_it_is_loaded(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = with_code(world, monkeypatch)
    with pytest.raises(ModelUnusable, match=r"not loaded, .*brings code along.*custom object brought.Brought.*Next: "):
        check.check(version)
    assert not (world.folder / "mark").exists(), "its code was run"


def test_a_policy_that_asks_for_no_such_look_lets_it_be_loaded(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = with_code(world, monkeypatch)
    (world.folder / "policy.yaml").write_text("schema: 1\ndefaults: {gates: {formats: null}}\n")
    assert "formats" not in {verdict.gate for verdict in check.check(version).verdicts}
    assert (world.folder / "mark").exists()


def test_a_champion_that_cannot_answer_these_rows_leaves_the_gate_unknown(world: World) -> None:
    world.released()
    evidence = check.check(wider(world))
    assert {v.gate: v.outcome for v in evidence.verdicts}["not_worse"] is Outcome.UNKNOWN
    assert not evidence.passed


def wider(world: World) -> ModelVersion:
    """A good candidate that wants three columns where the champion wants two."""
    values, labels = points(1, 400)
    held_out, truth = points(3, ROWS)
    model = LogisticRegression().fit(np.hstack([values, values[:, :1]]), labels)
    rows = np.hstack([held_out, held_out[:, :1]])
    return logged(world, model, rows, truth)


# --- answers of every shape


def test_probabilities_scores_labels_and_indices_all_name_a_class() -> None:
    expected = [0, 1, 1]
    for output in (
        np.array([[0.9, 0.1], [0.2, 0.8], [0.4, 0.6]]),
        np.array([[0.1], [0.8], [0.5]]),
        np.array(["low", "high", "high"]),
        np.array([0, 1, 1]),
    ):
        assert class_indices(output, LABELS).tolist() == expected
    assert class_indices(np.array([7.0, 9.0]), ["7", "8", "9"]).tolist() == [0, 2]


@pytest.mark.parametrize(
    "output", [np.zeros((3, 5)), np.array(["low", "middle"]), np.array([0, 2]), np.zeros((2, 2, 2))]
)
def test_an_answer_that_names_no_class_is_refused(output: Any) -> None:
    with pytest.raises(ValueError, match="the model answers with"):
        class_indices(output, LABELS)


def test_a_class_that_does_not_occur_has_no_recall() -> None:
    truth = np.array([0, 0, 1])
    measures = classification(truth, np.array([0, 1, 1]), ["a", "b", "c"])
    assert measures == {"recall.a": 0.5, "recall.b": 1.0, "accuracy": 2 / 3, "recall_macro": 0.75, "recall_lowest": 0.5}


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=50))
def test_the_difference_in_accuracy_is_the_discordant_pairs(rows: list[tuple[int, int, int]]) -> None:
    truth, mine, theirs = (np.array(column) for column in zip(*rows, strict=True))
    mine_only, theirs_only = discordant(truth, mine, theirs)
    assert mine_only - theirs_only == int((mine == truth).sum()) - int((theirs == truth).sum())


# --- what could not be measured


def test_classes_without_probabilities_leave_calibration_unknown_and_a_policy_may_let_them_be(world: World) -> None:
    connect()
    version = logged(world, LogisticRegression().fit(*points(1, 400)), *points(3, ROWS), answers="predict")
    checked = CliRunner().invoke(commands.check, ["images/1"])
    assert checked.exit_code == 1
    assert "unknown calibration    calibration not measured: it answers with classes alone (log it" in checked.stdout
    with pytest.raises(PromotionRefused, match="probabilities: where_given"):
        mlflow_store.move(version, Stage.STAGING)
    where_given = "{gates: {calibration: {probabilities: where_given}}}"
    (world.folder / "policy.yaml").write_text(f"schema: 1\nmodels: {{images: {where_given}}}\n")
    again = CliRunner().invoke(commands.check, ["images/1"])
    assert again.exit_code == 0
    assert "passed  calibration    answers with classes alone, which the policy lets be (where_given)" in again.stdout
    assert mlflow_store.move(version, Stage.STAGING).stage is Stage.STAGING


# --- models that answer with a number


def amounts(world: World, *, slope: float = 1.0) -> ModelVersion:
    """A regression on the first column, whose training truth has this slope."""
    connect()
    values = points(1, 400)[0]
    held_out = points(3, ROWS)[0]
    noise = np.random.default_rng(5).normal(scale=0.05, size=ROWS)
    model = LinearRegression().fit(values, slope * values[:, 0])
    return logged(world, model, held_out, held_out[:, 0] + noise, name="amounts", kind="regression")


def test_a_model_that_answers_with_numbers_is_measured_by_its_errors(world: World) -> None:
    evidence = check.check(amounts(world))
    assert evidence.passed
    assert {verdict.gate for verdict in evidence.verdicts} == {
        "r2", "not_worse", "files", "slices", "calibration", "overlap", "signature", "dependencies", "serving",
        "latency_p50", "latency_p99", "memory", "bundle", "formats",
    }  # fmt: skip
    assert {measure.name for measure in evidence.measures} == {"mae", "rmse", "r2"}


def test_a_larger_error_than_the_champions_is_refused(world: World) -> None:
    first = amounts(world)
    check.check(first)
    world.acting("bo")
    mlflow_store.send_approval(first, WordShape())
    mlflow_store.move(first, Stage.PRODUCTION)
    world.acting("ana")
    same, worse = check.check(amounts(world)), check.check(amounts(world, slope=0.8))
    assert same.passed
    (verdict,) = [v for v in worse.verdicts if v.gate == "not_worse"]
    assert verdict.reason.startswith("mean error +")
    assert verdict.reason.endswith("larger beyond noise")


def test_the_gain_in_error_is_paired_and_mirrors_no_noise() -> None:
    rng = np.random.default_rng(0)
    truth = rng.normal(size=500)
    champion = truth + rng.normal(size=500)
    assert relative_gain(truth, champion, champion) == (0, 0, 0)
    gain, low, high = relative_gain(truth, truth + 0.5 * (champion - truth), champion)
    assert (gain, low, high) == pytest.approx((0.5, 0.5, 0.5))
