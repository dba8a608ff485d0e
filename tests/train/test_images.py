"""What a training of the images task leaves behind, read back from MLflow."""

from __future__ import annotations

import numpy as np
import yaml
from PIL import Image

from tests.train.conftest import Tracked


def test_a_candidate_is_registered_from_the_run_that_trained_it(images: Tracked) -> None:
    version = images.client.get_model_version("images", str(images.trained.version))
    assert (version.run_id, version.source) == (images.trained.run_id, images.trained.source)
    assert version.current_stage == "None"
    assert images.run.info.status == "FINISHED"


def test_every_epoch_has_loss_and_accuracy_for_train_and_validation(images: Tracked) -> None:
    for name in ("train.loss", "train.accuracy", "validation.loss", "validation.accuracy"):
        history = images.client.get_metric_history(images.trained.run_id, name)
        assert [point.step for point in history] == [1, 2, 3, 4], name


def test_held_out_figures_carry_their_interval(images: Tracked) -> None:
    metrics = images.run.data.metrics
    for name in ("accuracy", "recall_macro", "precision_macro", "f1_macro", *(f"recall.{n}" for n in range(10))):
        low, value, high = (metrics[f"held_out.{name}{end}"] for end in (".ci_low", "", ".ci_high"))
        assert low <= value <= high, name
    assert metrics["held_out.accuracy"] > 0.6


def test_parameters_say_what_was_asked_and_what_was_default(images: Tracked) -> None:
    params = images.run.data.params
    asked = {"task": "images", "algorithm": "cnn", "epochs": "4", "filters": "8"}
    assert asked.items() <= params.items()
    assert {"learning_rate", "optimizer", "schedule", "batch_size", "seed"} <= params.keys()


def test_the_data_is_named_and_every_split_has_a_digest(images: Tracked) -> None:
    inputs = images.run.inputs
    assert inputs is not None
    contexts = {tag.value for made in inputs.dataset_inputs for tag in made.tags}
    assert contexts == {"train", "validation", "held_out"}
    digests = [images.run.data.tags[f"slipway.data.{context}"] for context in contexts]
    assert len(set(digests)) == 3
    assert all(len(digest) == 64 for digest in digests)


def test_pictures_are_readable_images(images: Tracked) -> None:
    for name in ("confusion_matrix", "learning_curves"):
        with Image.open(images.artifact(f"plots/{name}.png")) as picture:
            assert min(picture.size) > 200


def test_the_model_names_its_input_and_its_labels(images: Tracked) -> None:
    described = yaml.safe_load((images.model_files() / "MLmodel").read_text())
    assert '"name": "image"' in described["signature"]["inputs"]
    assert '"shape": [-1, 8, 8, 1]' in described["signature"]["inputs"]
    assert '"name": "probabilities"' in described["signature"]["outputs"]
    assert described["metadata"]["slipway"] == {
        "schema": 1,
        "task": "images",
        "kind": "classification",
        "labels": [str(digit) for digit in range(10)],
        "licences": {
            "mlflow": "Apache-2.0", "keras": "Apache-2.0", "tensorflow": "Apache-2.0",
            "numpy": "BSD-3-Clause AND 0BSD AND MIT AND Zlib AND CC0-1.0",
        },
    }  # fmt: skip


def test_requirements_are_explicit_and_hold_no_test_tool(images: Tracked) -> None:
    listed = (images.model_files() / "requirements.txt").read_text().split()
    assert {line.partition("==")[0] for line in listed} == {"mlflow", "keras", "tensorflow", "numpy"}
    assert all("==" in line for line in listed)


def test_golden_answers_are_what_the_stored_model_says(images: Tracked) -> None:
    import mlflow

    with np.load(images.model_files() / "golden.npz", allow_pickle=False) as golden:
        asked, said = golden["in.image"], golden["out.probabilities"]
    model = mlflow.pyfunc.load_model(str(images.model_files()))
    assert asked.shape == (32, 8, 8, 1)
    np.testing.assert_allclose(model.predict({"image": asked}), said, atol=1e-6)


def test_held_out_rows_are_a_fifth_stratified_and_give_the_logged_accuracy(images: Tracked) -> None:
    import mlflow

    with np.load(images.artifact("evaluation/held_out.npz"), allow_pickle=False) as rows:
        asked, labels = rows["in.image"], rows["labels"]
    assert (asked.shape, asked.dtype) == ((360, 8, 8, 1), np.dtype("float32"))
    assert np.bincount(labels).min() >= 34
    said = mlflow.pyfunc.load_model(str(images.model_files())).predict({"image": asked}).argmax(axis=1)
    assert (said == labels).mean() == images.run.data.metrics["held_out.accuracy"]
