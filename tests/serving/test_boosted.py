"""XGBoost and LightGBM become one ONNX operator that answers as they do; what was not ported is refused by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serving import bundle as bundles
from serving.bundle import Bundle
from serving.errors import Unconvertible
from serving.runtime.core import MODEL, Predictor

from .conftest import release_of

xgboost = pytest.importorskip("xgboost", reason="the extra 'boosted' is not installed")
lightgbm = pytest.importorskip("lightgbm", reason="the extra 'boosted' is not installed")
Save = Callable[[Any, Any], Bundle]
ROWS = np.random.default_rng(0).normal(size=(300, 4)).astype(np.float32).round(2)
KINDS = (ROWS @ np.array([1, -2, 0.5, 0], np.float32) > 0).astype(int) + (ROWS[:, 3] > 1)
AMOUNTS = np.exp(ROWS[:, 0]) + ROWS[:, 1] ** 2
FEW = {"n_estimators": 8, "random_state": 0}
QUIET = {**FEW, "verbose": -1, "min_child_samples": 5}


def table(rows: Any = ROWS, *, missing: bool = True) -> Any:
    """Columns of four types, with holes where a model may see them."""
    import pandas as pd

    frame = pd.DataFrame({"a": rows[:, 0].astype(np.float64) * 1e7, "b": rows[:, 1],
                          "c": (rows[:, 2] * 9).astype(np.int64), "d": rows[:, 3].astype(np.float64)})
    if missing:
        frame.loc[::5, "a"] = np.nan
        frame.loc[::7, "b"] = np.nan
    return frame


@pytest.fixture
def save(tmp_path: Path) -> Save:
    """Store a model as MLflow does, and bundle it."""
    def bundle_of(model: Any, example: Any) -> Bundle:
        import mlflow.lightgbm
        import mlflow.xgboost
        from mlflow.models import infer_signature

        flavor: Any = mlflow.xgboost if type(model).__module__.startswith("xgboost") else mlflow.lightgbm
        files = tmp_path / "files"
        flavor.save_model(model, files, signature=infer_signature(example), input_example=example, pip_requirements=[])
        return bundles.build(release_of(files), files, tmp_path / "bundle")

    return bundle_of


def answered(bundle: Bundle, rows: Any) -> Any:
    served = Predictor(bundle.folder)
    if hasattr(rows, "to_dict"):
        records = [{k: None if v != v else v for k, v in row.items()} for row in rows.to_dict("records")]
        return np.asarray(served.answer({"dataframe_records": records})["predictions"])
    return np.asarray(served.answer({"instances": rows.tolist()})["predictions"])


CLASSIFIERS: dict[str, Callable[[], Any]] = {
    "xgboost two": lambda: xgboost.XGBClassifier(**FEW).fit(ROWS, KINDS > 0),
    "xgboost three": lambda: xgboost.XGBClassifier(**FEW).fit(ROWS, KINDS),
    "xgboost forest": lambda: xgboost.XGBRFClassifier(**FEW).fit(ROWS, KINDS),
    "xgboost dart": lambda: xgboost.XGBClassifier(booster="dart", rate_drop=0.5, **FEW).fit(ROWS, KINDS > 0),
    "lightgbm two": lambda: lightgbm.LGBMClassifier(**QUIET).fit(ROWS, np.where(KINDS > 0, "yes", "no")),
    "lightgbm three": lambda: lightgbm.LGBMClassifier(**QUIET).fit(ROWS, KINDS),
    "lightgbm one each": lambda: lightgbm.LGBMClassifier(objective="multiclassova", **QUIET).fit(ROWS, KINDS),
    "lightgbm dart": lambda: lightgbm.LGBMClassifier(boosting_type="dart", **QUIET).fit(ROWS, KINDS > 0),
    "lightgbm forest": lambda: lightgbm.LGBMClassifier(boosting_type="rf", bagging_freq=1, bagging_fraction=0.6,
                                                       **QUIET).fit(ROWS, KINDS > 0),
}


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_a_classifier_answers_its_own_probabilities_and_labels(name: str, save: Save) -> None:
    import onnx

    model = CLASSIFIERS[name]()
    bundle = save(model, ROWS[:16])
    assert bundle.manifest.labels == tuple(map(str, model.classes_))
    assert bundle.manifest.parity.edge_rows > 20
    np.testing.assert_allclose(answered(bundle, ROWS), model.predict_proba(ROWS), atol=1e-5)
    operators = [node.op_type for node in onnx.load(bundle.folder / MODEL).graph.node]
    assert operators.count("TreeEnsembleRegressor") == 1


REGRESSORS: dict[str, Callable[[Any], Any]] = {
    "xgboost": lambda given: xgboost.XGBRegressor(**FEW).fit(given, AMOUNTS),
    "xgboost poisson": lambda given: xgboost.XGBRegressor(objective="count:poisson", **FEW).fit(given, AMOUNTS),
    "xgboost stopped early": lambda given: xgboost.XGBRegressor(
        n_estimators=30, learning_rate=0.9, early_stopping_rounds=2, random_state=0).fit(
            given[:200], AMOUNTS[:200], eval_set=[(given[200:], AMOUNTS[200:])], verbose=False),
    "xgboost booster": lambda given: xgboost.train(
        {"objective": "reg:squarederror"}, xgboost.DMatrix(given, AMOUNTS), 8),
    "lightgbm": lambda given: lightgbm.LGBMRegressor(**QUIET).fit(given, AMOUNTS),
    "lightgbm tweedie": lambda given: lightgbm.LGBMRegressor(objective="tweedie", **QUIET).fit(given, AMOUNTS),
    "lightgbm booster": lambda given: lightgbm.train(
        {"objective": "regression", "verbose": -1}, lightgbm.Dataset(given, AMOUNTS), 8),
}


@pytest.mark.parametrize("missing", [True, False], ids=["holes", "whole"])
@pytest.mark.parametrize("name", REGRESSORS)
def test_columns_of_several_types_and_holes_are_read_as_the_library_reads_them(
        name: str, missing: bool, save: Save) -> None:
    model = REGRESSORS[name](table(missing=missing))
    bundle = save(model, table()[:35])
    asked = table(np.concatenate([ROWS, ROWS + np.float32(0.005), ROWS * 1000]))
    given = xgboost.DMatrix(asked) if isinstance(model, xgboost.Booster) else asked
    np.testing.assert_allclose(answered(bundle, asked), model.predict(given), rtol=1e-5, atol=1e-5)


def test_a_value_right_at_a_cut_goes_the_librarys_way(save: Save) -> None:
    steps = np.repeat(np.arange(0, 3, 0.1), 8)[:, None]
    model = lightgbm.LGBMRegressor(**QUIET, max_bin=300).fit(steps, np.floor(steps[:, 0] * 10) % 3)
    cuts = [tree["tree_structure"]["threshold"] for tree in model.booster_.dump_model()["tree_info"]]
    asked = np.unique([f(c) for c in cuts for f in (lambda c: c, lambda c: np.nextafter(c, 9), lambda c: np.nextafter(
        c, -9), lambda c: float(np.float32(c)))])[:, None]
    np.testing.assert_allclose(answered(save(model, steps[::9]), asked), model.predict(asked), atol=1e-6)


def categories() -> Any:
    import pandas as pd

    frame = table(missing=False)
    frame["c"] = pd.Categorical(frame["c"] % 5)
    return frame


REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "categories of LightGBM": (lambda: lightgbm.LGBMRegressor(**QUIET, min_data_per_group=1, cat_smooth=0).fit(
        table(missing=False), np.abs(ROWS[:, 2]), categorical_feature=["c"]), "splits by category"),
    "categories of XGBoost": (lambda: xgboost.XGBRegressor(enable_categorical=True, **FEW).fit(
        categories(), ROWS[:, 2]), "splits by category"),
    "zero as missing": (lambda: lightgbm.LGBMRegressor(**QUIET, zero_as_missing=True).fit(table(), AMOUNTS),
                        "zero_as_missing"),
    "linear trees": (lambda: lightgbm.LGBMRegressor(**QUIET, linear_tree=True).fit(table(), AMOUNTS), "linear trees"),
    "a linear booster": (lambda: xgboost.XGBRegressor(booster="gblinear", **FEW).fit(table(missing=False), AMOUNTS),
                         "gblinear"),
    "an objective": (lambda: xgboost.XGBClassifier(objective="binary:hinge", **FEW).fit(table(), KINDS > 0),
                     "binary:hinge"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_was_not_ported_is_refused_by_its_name(name: str, save: Save) -> None:
    make, said = REFUSED[name]
    with pytest.raises(Unconvertible, match=said):
        save(make(), table(missing=False)[:16])


def test_a_pickle_is_refused_before_it_is_read(save: Save, tmp_path: Path) -> None:
    import mlflow.lightgbm
    from mlflow.models import infer_signature

    model = lightgbm.LGBMRegressor(**QUIET).fit(ROWS, AMOUNTS)
    mlflow.lightgbm.save_model(model, tmp_path / "files", signature=infer_signature(ROWS), input_example=ROWS[:4],
                               pip_requirements=[], serialization_format="cloudpickle")
    with pytest.raises(Unconvertible, match="a pickle, which runs code"):
        bundles.build(release_of(tmp_path / "files"), tmp_path / "files", tmp_path / "bundle")
