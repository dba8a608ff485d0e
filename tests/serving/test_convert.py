"""Every kind of model that converts answers as its native one, and what would be silently wrong is refused."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serving import bundle as bundles
from serving.bundle import Bundle
from serving.errors import ParityFailed, Unconvertible
from serving.golden import plain
from serving.runtime.core import MODEL, Predictor
from serving.runtime.errors import BadRequest

from .conftest import release_of

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
Save = Callable[..., Bundle]
OURS = ["functools.partial", "numpy.dtype", "numpy.log1p", "sklearn.utils.validation.check_array",
        "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor", "sklearn.tree._tree.Tree",
        "sklearn._loss.link.LogitLink", "sklearn._loss.loss.HalfBinomialLoss", "sklearn._loss.link.Interval"]
CITIES = ["Rome", "Paris", "\u0141\u00f3d\u017a"]


@pytest.fixture
def save(tmp_path: Path) -> Save:
    """Store a model as MLflow does, and bundle it."""
    def bundle_of(flavor: Any, model: Any, example: Any, **options: Any) -> Bundle:
        from mlflow.models import infer_signature

        files = tmp_path / "files"
        if flavor.__name__ == "mlflow.sklearn" and "serialization_format" not in options:
            options["skops_trusted_types"] = OURS
        flavor.save_model(model, files, signature=infer_signature(example), input_example=example,
                          pip_requirements=[], **options)
        return bundles.build(release_of(files), files, tmp_path / "bundle")

    return bundle_of


def people(rows: int = 300) -> Any:
    import pandas as pd

    draw = np.random.default_rng(3)
    frame = pd.DataFrame({
        "age": draw.integers(18, 80, rows).astype(np.float64), "income": draw.normal(3e4, 9e3, rows),
        "city": draw.choice(CITIES, rows), "visits": draw.integers(0, 9, rows)})
    frame.loc[::7, "age"] = np.nan
    return frame


def bought(frame: Any) -> Any:
    score = frame["income"] / 1e4 + frame["visits"] + 3 * (frame["city"] == "Paris")
    return (score > 8).map({True: "yes", False: "no"})


def pipeline(estimator: Any, unknown: str = "ignore", renamed: Mapping[str, str] | None = None) -> Any:
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    numbers = [(renamed or {}).get(name, name) for name in ("age", "income", "visits")]
    columns = ColumnTransformer([
        ("numbers", make_pipeline(SimpleImputer(), StandardScaler()), numbers),
        ("words", OneHotEncoder(handle_unknown=unknown), ["city"])])
    return make_pipeline(columns, estimator)


@pytest.mark.parametrize("name", ["LogisticRegression", "RandomForestClassifier", "GradientBoostingClassifier"])
def test_a_pipeline_of_strings_and_numbers_answers_as_scikit_learn(name: str, save: Save) -> None:
    import mlflow.sklearn
    from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier
    from sklearn.linear_model import LogisticRegression

    kinds = {k.__name__: k for k in (LogisticRegression, RandomForestClassifier, GradientBoostingClassifier)}
    frame = people()
    model = pipeline(kinds[name]()).fit(frame, bought(frame))
    bundle = save(mlflow.sklearn, model, frame[:16])
    served = Predictor(bundle.folder)
    assert bundle.manifest.labels == ("no", "yes")
    assert bundle.manifest.parity.edge_rows > 100
    asked = people(64).to_dict("records")
    answer = served.answer({"dataframe_records": [{k: None if v != v else v for k, v in r.items()} for r in asked]})
    np.testing.assert_allclose(answer["predictions"], model.predict_proba(people(64)), atol=1e-5)
    assert answer["labels"] == model.predict(people(64)).tolist()


def test_columns_keep_names_that_are_no_identifiers(save: Save) -> None:
    import mlflow.sklearn
    from sklearn.linear_model import LogisticRegression

    frame = people()
    renamed = {"age": "age at entry", "income": "income/year (\u20ac)", "visits": "income_year____"}
    model = pipeline(LogisticRegression(), renamed=renamed).fit(frame.rename(columns=renamed), bought(frame))
    asked = people(8).rename(columns=renamed)
    served = Predictor(save(mlflow.sklearn, model, asked).folder)
    rows = [{k: None if v != v else v for k, v in row.items()} for row in asked.to_dict("records")]
    answer = served.answer({"dataframe_records": rows})
    np.testing.assert_allclose(answer["predictions"], model.predict_proba(asked), atol=1e-5)


def test_an_unseen_category_is_flagged_where_the_model_has_a_fallback(save: Save) -> None:
    import mlflow.sklearn
    from sklearn.linear_model import LogisticRegression

    frame = people()
    bundle = save(mlflow.sklearn, pipeline(LogisticRegression()).fit(frame, bought(frame)), frame[:16])
    row = {"age": 30.0, "income": 1e4, "city": "Atlantis", "visits": 1}
    answer = Predictor(bundle.folder).answer({"dataframe_records": [row]})
    assert answer["unknown"] == [{"row": 0, "input": "city", "value": "Atlantis"}]


def test_an_unseen_category_is_refused_where_the_model_refuses_it(save: Save) -> None:
    import mlflow.sklearn
    from sklearn.linear_model import LogisticRegression

    frame = people()
    model = pipeline(LogisticRegression(), unknown="error").fit(frame, bought(frame))
    served = Predictor(save(mlflow.sklearn, model, frame[:16]).folder)
    with pytest.raises(BadRequest, match="Atlantis is not known to the model; wanted one of Paris, Rome"):
        served.answer({"dataframe_records": [{"age": 30.0, "income": 1e4, "city": "Atlantis", "visits": 1}]})


def test_a_missing_number_is_refused_where_the_model_refuses_it(save: Save) -> None:
    import mlflow.sklearn
    from sklearn.linear_model import LinearRegression

    frame = people()[["income", "visits"]].astype(np.float64)
    served = Predictor(save(mlflow.sklearn, LinearRegression().fit(frame, frame["income"] * 2), frame[:16]).folder)
    with pytest.raises(BadRequest, match="income, row 0: found null"):
        served.answer({"dataframe_records": [{"income": None, "visits": 1.0}]})


def test_a_machine_without_probabilities_answers_labels(save: Save) -> None:
    import mlflow.sklearn
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import LinearSVC

    rows = np.random.default_rng(0).normal(size=(200, 4))
    model = make_pipeline(StandardScaler(), LinearSVC()).fit(rows, np.where(rows[:, 0] > 0, "up", "down"))
    served = Predictor(save(mlflow.sklearn, model, rows[:8]).folder)
    assert served.answer({"instances": rows[:8].tolist()})["predictions"] == model.predict(rows[:8]).tolist()


@pytest.mark.parametrize("options", [{}, {"ngram_range": (1, 2)}, {"sublinear_tf": True}, {"strip_accents": "unicode"},
                                     {"analyzer": "char_wb", "ngram_range": (2, 4)}, {"stop_words": ["bad"]}])
def test_counted_words_are_scikit_learns_own_accents_and_pairs_too(options: dict[str, Any], save: Save) -> None:
    import mlflow.sklearn
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    texts = ["good caf\u00e9", "bad Caf\u00e9, bad!", "not good", "not bad at all", "na\u00efve good", "b\u00e4d"] * 5
    model = make_pipeline(TfidfVectorizer(**options), LogisticRegression()).fit(texts, [1, 0, 0, 1, 1, 0] * 5)
    bundle = save(mlflow.sklearn, model, np.array(texts[:6]))
    served = Predictor(bundle.folder)
    name = bundle.manifest.inputs[0].name
    asked = ["", "Caf\u00e9 not bad", "g\u00f6\u00f6d  good", "\u0130 b\u00c4d", "zzz", "a" * 40]
    answer = served.answer({"inputs": {name: asked}})
    np.testing.assert_allclose(answer["predictions"], model.predict_proba(asked), atol=1e-5)


def chosen_by_category(kind: str) -> tuple[Any, Any]:
    """Boosted trees that split words, numbers and a number with holes by category, and what they were trained on."""
    import pandas as pd
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    draw = np.random.default_rng(5)
    frame = pd.DataFrame({
        "age": draw.normal(size=400), "city": draw.choice([*CITIES, "Oslo", "Bern"], 400),
        "day": draw.integers(-2, 40, 400), "size": draw.choice([0.5, 1.5, 38.0, 250.0, np.nan], 400)})
    height = frame["city"].map({"Rome": 3, "Oslo": -2}).fillna(1) + frame["day"] % 3
    height += (frame["size"] == 38) * frame["age"]
    options = {"categorical_features": ["city", "day", "size"], "max_iter": 8, "min_samples_leaf": 3}
    if kind == "poisson":
        return HistGradientBoostingRegressor(loss="poisson", **options).fit(frame, height - height.min()), frame
    classes = {"two": height > 2, "three": np.digitize(height, [1, 3])}
    return HistGradientBoostingClassifier(**options).fit(frame, classes[kind]), frame


@pytest.mark.parametrize("kind", ["poisson", "two", "three"])
def test_boosting_with_its_own_categories_answers_as_scikit_learn_the_unseen_and_the_missing_too(
        kind: str, save: Save) -> None:
    import mlflow.sklearn

    model, frame = chosen_by_category(kind)
    bundle = save(mlflow.sklearn, model, frame[:32])
    assert bundle.manifest.engine == "onnx"
    assert {i.name: len(i.known) for i in bundle.manifest.inputs} == {"age": 0, "city": 5, "day": 42, "size": 4}
    asked = frame[:64].copy()
    asked.loc[::5, "city"], asked.loc[::4, "day"], asked.loc[::3, "size"] = "Quito", 99, np.nextafter(38.0, 39)
    asked.loc[1::7, "size"], asked.loc[1::9, "day"], asked.loc[2::11, "age"] = np.nan, -1, np.nan
    said = Predictor(bundle.folder).predict({
        name: asked[name].to_numpy(object if name == "city" else None) for name in asked})
    wanted = model.predict_proba(asked) if kind != "poisson" else model.predict(asked)
    np.testing.assert_allclose(np.asarray(next(iter(plain(said).values()))), wanted, rtol=1e-5, atol=1e-6)


def test_boosting_with_its_own_categories_takes_an_array_too(save: Save) -> None:
    import mlflow.sklearn
    from sklearn.ensemble import HistGradientBoostingClassifier

    rows = np.random.default_rng(0).integers(0, 5, (200, 2)).astype(np.float64)
    model = HistGradientBoostingClassifier(categorical_features=[1], max_iter=5).fit(rows, (rows[:, 1] * 7) % 3 > 1)
    bundle = save(mlflow.sklearn, model, rows[:8])
    asked = np.array([[x, y] for x in (0, 2.5, np.nan) for y in (-1, 0, 1, 1.5, 2, 3, 4, 9, 1e9, np.nan)])
    said = plain(Predictor(bundle.folder).predict({bundle.manifest.inputs[0].name: asked}))
    np.testing.assert_allclose(np.asarray(next(iter(said.values()))), model.predict_proba(asked), atol=1e-6)


def test_boosting_with_its_own_categories_inside_a_pipeline_is_refused_by_name(save: Save) -> None:
    import mlflow.sklearn
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    rows = np.random.default_rng(0).integers(0, 5, (200, 2)).astype(np.float64)
    grown = HistGradientBoostingClassifier(categorical_features=[0], max_iter=5)
    model = make_pipeline(StandardScaler(), grown).fit(rows, rows[:, 0] > 2)
    with pytest.raises(Unconvertible, match=r"HistGradientBoostingClassifier cannot .* categorical_features .*; Next:"):
        save(mlflow.sklearn, model, rows[:8])


def test_a_function_inside_a_pipeline_is_refused_by_name(save: Save) -> None:
    import mlflow.sklearn
    from sklearn.linear_model import LinearRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer

    rows = np.random.default_rng(0).random((50, 2))
    model = make_pipeline(FunctionTransformer(np.log1p), LinearRegression()).fit(rows, rows[:, 0])
    with pytest.raises(Unconvertible, match=r"FunctionTransformer cannot be converted with a Python function; Next:"):
        save(mlflow.sklearn, model, rows[:8])


def test_a_pickle_is_refused_before_it_is_read(save: Save) -> None:
    import mlflow.sklearn
    from sklearn.linear_model import LinearRegression

    rows = np.random.default_rng(0).random((50, 2))
    with pytest.raises(Unconvertible, match="a pickle, which runs code"):
        save(mlflow.sklearn, LinearRegression().fit(rows, rows[:, 0]), rows[:8], serialization_format="pickle")


def test_numbers_past_single_precision_keep_their_meaning(save: Save) -> None:
    import mlflow.sklearn
    from sklearn.ensemble import HistGradientBoostingRegressor

    seconds = 1.7e9 + np.arange(400.0)[:, None] * 7
    model = HistGradientBoostingRegressor(max_iter=20, min_samples_leaf=5).fit(seconds, np.arange(400) % 50)
    try:
        bundle = save(mlflow.sklearn, model, seconds[::9])
        served = Predictor(bundle.folder)
    except (ParityFailed, Unconvertible):
        return  # refused is right; answering otherwise is not
    answer = np.asarray(served.answer({"instances": seconds.tolist()})["predictions"])
    np.testing.assert_allclose(answer, model.predict(seconds), rtol=1e-4)


def keras_files(save: Save, model: Any, example: dict[str, Any]) -> Bundle:
    import mlflow.tensorflow

    return save(mlflow.tensorflow, model, example, keras_model_kwargs={"save_format": "keras"})


def test_a_networks_inputs_keep_names_that_are_no_identifiers(save: Save) -> None:
    import keras

    names = ("mean radius", "mean_radius", "b (cm)")
    inputs = {name: keras.Input((1,), name=name) for name in names}
    joined = keras.layers.Concatenate()(list(inputs.values()))
    model = keras.Model(inputs, keras.layers.Dense(2, name="score")(joined))
    asked = {name: np.full((3, 1), place, np.float32) for place, name in enumerate(names)}
    served = Predictor(keras_files(save, model, asked).folder)
    answer = served.answer({"inputs": {name: values.tolist() for name, values in asked.items()}})
    np.testing.assert_allclose(answer["predictions"], model.predict(asked, verbose=0), atol=1e-5)


def test_tables_of_names_are_converted_to_the_same_bytes_every_time(save: Save) -> None:
    import keras

    inputs = {role: keras.Input((), name=role, dtype="string") for role in ("user", "item")}
    parts = []
    for role, given in inputs.items():
        codes = keras.layers.StringLookup(vocabulary=[f"{role}{number}" for number in range(50)])(given)
        parts += [keras.layers.Embedding(51, width)(codes) for width in (1, 4)]
    rated = keras.layers.Add()([parts[0], parts[2], keras.layers.Dot(axes=1)([parts[1], parts[3]])])
    model = keras.Model(inputs, keras.layers.Reshape((), name="prediction")(rated))
    asked = {role: np.array([f"{role}{number}" for number in range(8)], dtype=object) for role in inputs}
    first = keras_files(save, model, asked).folder
    files = first.parent / "files"
    made = {bundles.build(release_of(files), files, first.parent / f"again-{n}").manifest.to_bytes() for n in range(3)}
    assert made == {(first / "manifest.json").read_bytes()}


def test_a_network_with_two_inputs_is_bound_by_name(save: Save) -> None:
    import keras

    keras.utils.set_random_seed(3)
    wide, deep = keras.Input((3,), name="wide"), keras.Input((2,), name="deep")
    out = keras.layers.Dense(1, name="score")(keras.layers.Concatenate()([wide, keras.layers.Dense(4)(deep)]))
    model = keras.Model({"wide": wide, "deep": deep}, out)
    draw = np.random.default_rng(0)
    example = {"deep": draw.random((8, 2), np.float32), "wide": draw.random((8, 3), np.float32)}
    served = Predictor(keras_files(save, model, example).folder)
    answer = served.answer({"inputs": {k: v.tolist() for k, v in example.items()}})
    np.testing.assert_allclose(answer["predictions"], model.predict(example, verbose=0), atol=1e-5)


@pytest.mark.parametrize("shape", ["gru", "lstm", "stacked", "both ways", "unmasked"])
def test_a_recurrent_network_is_rebuilt_with_fused_operators_exactly(shape: str, save: Save) -> None:
    import keras
    import onnx
    from keras import layers

    keras.utils.set_random_seed(5)
    words = keras.Input((12,), name="words", dtype="int32")
    x = layers.Embedding(30, 8, mask_zero=shape != "unmasked")(words)
    if shape == "stacked":
        x = layers.Dropout(0.1)(layers.GRU(6, return_sequences=True)(x))
    if shape == "both ways":
        x = layers.Bidirectional(layers.LSTM(5))(x)
    else:
        x = (layers.LSTM if shape == "lstm" else layers.GRU)(7)(x)
    model = keras.Model(words, layers.Dense(2, activation="softmax", name="probabilities")(x))
    asked = np.random.default_rng(0).integers(0, 30, (32, 12)).astype(np.int32)
    asked[np.random.default_rng(1).random(asked.shape) < 0.4] = 0
    asked[0] = 0
    bundle = keras_files(save, model, {"words": asked})
    operators = {node.op_type for node in onnx.load(bundle.folder / MODEL).graph.node}
    assert operators & {"GRU", "LSTM"}
    assert "Loop" not in operators
    said = Predictor(bundle.folder).predict({"words": asked})
    np.testing.assert_allclose(next(iter(said.values())), model.predict(asked, verbose=0), atol=1e-5)
    assert bundle.manifest.inputs[0].bounds == (0, 29)


def test_a_word_number_past_the_embedding_is_refused(save: Save) -> None:
    import keras
    from keras import layers

    words = keras.Input((4,), name="words", dtype="int32")
    model = keras.Model(words, layers.Dense(1)(layers.Flatten()(layers.Embedding(10, 2)(words))))
    served = Predictor(keras_files(save, model, {"words": np.ones((4, 4), np.int32)}).folder)
    with pytest.raises(BadRequest, match=r"words, row 0: 10 is not known to the model; wanted 0 to 9"):
        served.answer({"instances": [[1, 2, 3, 10]]})


@pytest.mark.parametrize("cell", ["GRU", "LSTM"])
def test_a_recurrent_network_that_reads_text_is_rebuilt_without_a_loop(cell: str, save: Save) -> None:
    import keras
    import onnx
    from keras import layers

    text = keras.Input((), name="text", dtype="string")
    codes = layers.TextVectorization(output_sequence_length=5, vocabulary=["good", "bad"])(text)
    x = getattr(layers, cell)(8)(layers.Embedding(4, 6, mask_zero=True)(codes))
    model = keras.Model({"text": text}, layers.Dense(2, activation="softmax")(layers.Dropout(0.2)(x)))
    bundle = keras_files(save, model, {"text": np.array(["good bad", "bad", "", "what else"], object)})
    operators = {node.op_type for node in onnx.load(bundle.folder / MODEL).graph.node}
    assert cell in operators
    assert "Loop" not in operators


def test_an_onnx_model_is_taken_with_its_weights_inside(save: Save, tmp_path: Path) -> None:
    import mlflow.onnx
    from onnx import TensorProto, helper, numpy_helper

    weights = numpy_helper.from_array(np.ones((3, 2), np.float32), "W")
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "W"], ["y"])], "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 2])], [weights])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    example = {"x": np.ones((4, 3), np.float32)}
    bundle = save(mlflow.onnx, model, example)
    assert Predictor(bundle.folder).answer({"instances": [[1, 2, 3]]})["predictions"] == [[6.0, 6.0]]
    assert sorted(p.name for p in bundle.folder.iterdir()) == ["golden.npz", "manifest.json", "model.onnx"]


def test_an_extra_that_is_not_installed_is_named(network_files: Path, tmp_path: Path) -> None:
    import importlib.util
    import json
    import shutil

    if importlib.util.find_spec("torch"):
        pytest.skip("torch is installed")
    files = Path(shutil.copytree(network_files, tmp_path / "files"))
    (files / "MLmodel").write_text(json.dumps({"flavors": {"pytorch": {}, "python_function": {}}}))
    with pytest.raises(Unconvertible, match=r"what converts it is not installed \(no \w+\); Next: pip install torch"):
        bundles.build(release_of(files), files, tmp_path / "bundle")
