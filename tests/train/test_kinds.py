"""What holds for every kind of model: the same things are logged, and what is registered answers the same."""

from __future__ import annotations

import json
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
import yaml

from tests.train.conftest import Tracked
from train.tasks.text import tokens

KINDS = ("images", "text", "ratings", "dnn", "svm")
CLASSIFIERS = ("images", "text", "dnn", "svm")


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> Tracked:
    """Each kind of model in turn."""
    made: Tracked = request.getfixturevalue(request.param)
    return made


@pytest.fixture(params=CLASSIFIERS)
def classifier(request: pytest.FixtureRequest) -> Tracked:
    """Each kind of classifier in turn."""
    made: Tracked = request.getfixturevalue(request.param)
    return made


def asked(tracked: Tracked, inputs: dict[str, Any]) -> Any:
    """What the stored model answers, given the inputs as its flavour takes them."""
    model = mlflow.pyfunc.load_model(str(tracked.model_files()))
    columns = "sklearn" in model.metadata.flavors
    objects = {name: values.astype(object) if values.dtype.kind == "U" else values for name, values in inputs.items()}
    return np.asarray(model.predict(pd.DataFrame(inputs) if columns else objects))


def test_golden_requests_are_answered_by_the_stored_model_as_they_were_in_training(kind: Tracked) -> None:
    with np.load(kind.model_files() / "golden.npz", allow_pickle=False) as golden:
        inputs = {name[3:]: golden[name] for name in golden.files if name.startswith("in.")}
        (said,) = (golden[name] for name in golden.files if name.startswith("out."))
    assert len(said) == 32
    np.testing.assert_allclose(asked(kind, inputs), said, atol=1e-5)


def test_inputs_are_named_and_the_metadata_says_what_the_answers_mean(kind: Tracked) -> None:
    described = yaml.safe_load((kind.model_files() / "MLmodel").read_text())
    with np.load(kind.model_files() / "golden.npz", allow_pickle=False) as golden:
        names = {name[3:] for name in golden.files if name.startswith("in.")}
    assert {column["name"] for column in json.loads(described["signature"]["inputs"])} == names
    about = described["metadata"]["slipway"]
    assert about["schema"] == 1
    assert bool(about["labels"]) == (about["kind"] == "classification")


def test_requirements_are_pinned_and_hold_no_test_tool(kind: Tracked) -> None:
    lines = (kind.model_files() / "requirements.txt").read_text().split()
    assert all("==" in line for line in lines)
    assert not [line for line in lines if line.startswith(("pytest", "rich", "optuna"))]


def test_the_source_the_splits_and_the_code_are_on_the_run(kind: Tracked) -> None:
    inputs, tags = kind.run.inputs, kind.run.data.tags
    assert inputs is not None
    assert {tag.value for made in inputs.dataset_inputs for tag in made.tags} == {"train", "validation", "held_out"}
    assert len({tags[f"slipway.data.{part}"] for part in ("train", "validation", "held_out")}) == 3
    assert tags["slipway.git.dirty"] in ("true", "false")
    assert len(tags["slipway.git.commit"]) == 40


def test_every_classifier_logs_the_same_figures_each_with_its_interval(classifier: Tracked) -> None:
    metrics = classifier.metrics
    names = ["accuracy", "recall_macro", "precision_macro", "f1_macro", "log_loss", "calibration_error", "auc"]
    names += [f"{figure}.{label}" for figure in ("recall", "precision", "f1") for label in labels_of(classifier)]
    for name in names:
        low, value, high = (metrics[f"held_out.{name}{end}"] for end in (".ci_low", "", ".ci_high"))
        assert low <= high, name
        # A calibration error cannot be below 0, so resampling pushes it up: it may lie below its own interval.
        assert name == "calibration_error" or low <= value <= high, name


def labels_of(tracked: Tracked) -> list[str]:
    """The classes of the logged model."""
    described = yaml.safe_load((tracked.model_files() / "MLmodel").read_text())
    return list(described["metadata"]["slipway"]["labels"])


def test_every_classifier_leaves_its_pictures(classifier: Tracked) -> None:
    assert {"confusion_matrix", "precision_recall", "calibration"} <= classifier.pictures()


@pytest.mark.parametrize("name", ["images", "text", "ratings", "dnn"])
def test_gradient_descent_leaves_its_curve_and_its_parameters(name: str, request: pytest.FixtureRequest) -> None:
    tracked: Tracked = request.getfixturevalue(name)
    losses = tracked.client.get_metric_history(tracked.trained.run_id, "validation.loss")
    assert len(losses) == tracked.metrics["epochs_trained"]
    assert "learning_curves" in tracked.pictures()
    wanted = {"loss", "optimizer", "schedule", "learning_rate", "patience", "restore_best", "precision"}
    assert wanted <= tracked.run.data.params.keys()


def test_the_network_that_reads_in_order_comes_near_the_best_that_is_possible(text: Tracked) -> None:
    metrics = text.metrics
    assert metrics["held_out.accuracy"] >= metrics["known.best_accuracy"] - 0.02


def test_a_bag_of_words_loses_clearly_where_order_decides(text: Tracked) -> None:
    from tests.train.conftest import trained

    bag = trained("text", "bag")
    assert bag.metrics["held_out.accuracy"] <= text.metrics["held_out.accuracy"] - 0.1
    assert bag.run.data.tags["slipway.data.held_out"] == text.run.data.tags["slipway.data.held_out"]


def test_tokenising_travels_with_the_text_model_and_a_plain_function_repeats_it(text: Tracked) -> None:
    described = json.loads((text.model_files() / "tokens.json").read_text())
    vocabulary = {word: place for place, word in enumerate(described["vocabulary"])}
    network = mlflow.tensorflow.load_model(str(text.model_files()))
    layer = next(layer for layer in network.layers if hasattr(layer, "get_vocabulary"))
    for words in ("Although the SOUP was not (very) good, it's fine!", "Ünïcode stays  \t apart", "", "..."):
        places = [vocabulary.get(word.decode(), 1) for word in tokens(words)][: described["length"]]
        padded = places + [0] * (described["length"] - len(places))
        assert layer(np.array([words])).numpy()[0].tolist() == padded


def test_ratings_come_near_the_oracle_and_beat_biases(ratings: Tracked) -> None:
    metrics = ratings.metrics
    assert metrics["held_out.rmse"] <= 1.15 * metrics["known.oracle_rmse"]
    assert metrics["held_out.rmse"] < metrics["held_out.rmse_of_biases"]
    for name in ("rmse", "recall_at_10", "ndcg_at_10"):
        assert metrics[f"held_out.{name}.ci_low"] <= metrics[f"held_out.{name}"] <= metrics[f"held_out.{name}.ci_high"]


def test_an_unknown_user_gets_what_the_item_is_worth_on_average(ratings: Tracked) -> None:
    said = asked(ratings, {"user": np.array(["nobody", "no one"]), "item": np.array(["i0", "i0"])})
    assert said[0] == said[1]
    nothing_known = asked(ratings, {"user": np.array(["nobody"]), "item": np.array(["nothing"])})
    assert abs(nothing_known[0] - 3.5) < 0.3
