"""Every algorithm of train/, and two models that others could bring, answer alike wherever they are served."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serving import bundle as bundles
from serving.bundle import Bundle
from serving.convert.words import Arrays
from serving.golden import read_golden
from serving.runtime.core import GOLDEN, Predictor
from train import Request, train
from train.tasks import NAMES, find

from .conftest import release_of
from .prebuilt import one_of_many, prebuilt
from .small import Front, LambdaFront, server
from .test_convert import OURS, bought, people, pipeline

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
ALGORITHMS = [f"{task}-{name}" for task in NAMES for name in find(task).algorithms]
OTHERS = ["a-pipeline-with-strings", "a-network-with-two-inputs"]
LITTLE = {"epochs": "1", "iterations": "20", "trees": "20"}  # of what takes time, for those that have it
LIMITED = {"images": {"limit": "600"}, "ratings": {"limit": "2000"}}  # the default data of the others is small
TIE = 2e-4  # closer likeliest labels may change places, as docs/runtime.md says


@dataclass(frozen=True)
class Native:
    """A model before it was converted: its files, requests to it, and its own answers to them.

    Attributes:
        labels: each row's label as the model itself names it; empty where it only says how likely each one is.
    """

    files: Path
    asked: Arrays
    said: Any
    labels: tuple[str, ...] = ()


@dataclass(frozen=True)
class Subject:
    """One line of the table."""

    native: Native
    bundle: Bundle

    @property
    def body(self) -> bytes:
        """The requests as JSON, null where a number is missing."""
        columns = {name: values.tolist() for name, values in self.native.asked.items()}
        return re.sub(rb"\bNaN\b", b"null", json.dumps({"inputs": columns}).encode())


def from_train(name: str, folder: Path) -> Native:
    """What a short training of this algorithm leaves, asked as MLflow asks it."""
    import mlflow
    import pandas as pd
    from mlflow.artifacts import download_artifacts

    task, _, algorithm = name.partition("-")
    known = find(task).algorithms[algorithm].settings
    little = {name: value for name, value in LITTLE.items() if name in known} | LIMITED.get(task, {})
    made = train(Request(task, "", algorithm, parameters=little))
    files = Path(download_artifacts(made.source))
    asked = {k: v.astype(object) if v.dtype.kind == "U" else v for k, v in read_golden(files / GOLDEN).inputs.items()}
    model = mlflow.pyfunc.load_model(str(files))
    said = model.predict(pd.DataFrame(asked) if "sklearn" in model.metadata.flavors else asked)
    return Native(files, asked, np.asarray(said))


def a_pipeline(folder: Path) -> Native:
    """Somebody's own pipeline over numbers and words, asked with holes and a city that it never saw."""
    import mlflow.sklearn
    from mlflow.models import infer_signature
    from sklearn.linear_model import LogisticRegression

    frame = people()
    model = pipeline(LogisticRegression()).fit(frame, bought(frame))
    mlflow.sklearn.save_model(model, folder, signature=infer_signature(frame), input_example=frame[:16],
                              pip_requirements=[], skops_trusted_types=OURS)
    asked = people(64)
    asked.loc[3, "city"] = "Atlantis"
    columns = {name: asked[name].to_numpy() for name in asked}
    return Native(folder, columns, model.predict_proba(asked), tuple(model.predict(asked)))


def a_network(folder: Path) -> Native:
    """Somebody's own functional network with two inputs, one of them a row of numbers, one a matrix."""
    import keras
    import mlflow.tensorflow
    from mlflow.models import infer_signature

    keras.utils.set_random_seed(3)
    wide, deep = keras.Input((3,), name="wide"), keras.Input((4, 2), name="deep")
    joined = keras.layers.Concatenate()([wide, keras.layers.GRU(5)(deep)])
    model = keras.Model({"wide": wide, "deep": deep}, keras.layers.Dense(2, name="score")(joined))
    draw = np.random.default_rng(0)
    asked = {"deep": draw.random((8, 4, 2), np.float32), "wide": draw.random((8, 3), np.float32)}
    mlflow.tensorflow.save_model(model, folder, signature=infer_signature(asked), input_example=asked,
                                 pip_requirements=[], keras_model_kwargs={"save_format": "keras"})
    return Native(folder, asked, model.predict(asked, verbose=0))


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a store of its own, for all trainings here."""
    folder = tmp_path_factory.mktemp("everywhere")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("MLFLOW_REGISTRY_URI", "MLFLOW_RUN_ID"):
            patch.delenv(name, raising=False)
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db")
        patch.chdir(folder)
        yield folder


@pytest.fixture(scope="module", params=ALGORITHMS + OTHERS)
def subject(request: pytest.FixtureRequest, workspace: Path) -> Subject:
    """Each model in turn: made, converted, and bundled once for all places."""
    own: dict[str, Callable[[Path], Native]] = {OTHERS[0]: a_pipeline, OTHERS[1]: a_network}
    folder = workspace / request.param
    native = own[request.param](folder) if request.param in own else from_train(request.param, folder)
    return Subject(native, bundles.build(release_of(native.files), native.files, workspace / f"{request.param}.bundle"))


@contextmanager
def on_lambda(bundle: Bundle, folder: Path, request: pytest.FixtureRequest) -> Iterator[Front]:
    shutil.copytree(bundle.folder, folder / "bundle")
    yield LambdaFront(folder)


@contextmanager
def in_the_container_server(bundle: Bundle, folder: Path, request: pytest.FixtureRequest) -> Iterator[Front]:
    with server(bundle.folder) as (front, _):
        yield front


@contextmanager
def in_aws_prebuilt_stack(bundle: Bundle, folder: Path, request: pytest.FixtureRequest) -> Iterator[Front]:
    with one_of_many(request.getfixturevalue("stack"), bundle, folder / "model") as front:
        yield front


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """AWS's own server, which each model is loaded into; it starts once."""
    golden = Path(__file__).parents[1] / "golden" / "bundles" / "0.1-text-gru"
    with prebuilt(bundles.verify(golden), tmp_path_factory.mktemp("stack"), many=True) as front:
        yield front


PLACES: list[Callable[[Bundle, Path, pytest.FixtureRequest], Any]] = [
    on_lambda, in_the_container_server, in_aws_prebuilt_stack]


def test_parity_is_shown_on_golden_and_on_awkward_requests(subject: Subject) -> None:
    shown = subject.bundle.manifest.parity
    assert shown.rows >= 8
    assert shown.labels_equal == shown.rows
    assert shown.edge_rows > 0
    assert shown.edge_labels_equal == shown.edge_rows
    assert max(shown.max_abs_diff, shown.edge_max_abs_diff) <= shown.tolerance


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.__name__)
def test_the_answers_are_the_native_models(
        place: Callable[..., Any], subject: Subject, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    with place(subject.bundle, tmp_path, request) as front:
        reply = front.ask(subject.body, content_type="application/json")
    assert reply.status == 200, reply.body
    native, labels = subject.native, subject.bundle.manifest.labels
    np.testing.assert_allclose(reply.json["predictions"], native.said, rtol=1e-5, atol=1e-5)
    if labels:
        least, most = np.sort(native.said)[:, -2:].T
        wanted = native.labels or np.take(labels, native.said.argmax(1)).tolist()
        told = zip(reply.json["labels"], wanted, most - least > TIE, strict=True)
        assert [(said, right) for said, right, clear in told if clear and said != right] == []
    assert reply.json == json.loads(json.dumps(Predictor(subject.bundle.folder).answer(json.loads(subject.body))))
