"""The scikit-learn side: pipelines that fill in, scale and encode inside the model, and the fitting of them.

Only parts that convert to ONNX without a difference are used: ColumnTransformer with a OneHotEncoder
over named levels instead of HistGradientBoosting's own categories, and float32 throughout.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from .settings import Value
from .words import Array, Blueprint, Engine, Examples, Kind

if TYPE_CHECKING:
    from sklearn.base import BaseEstimator
    from sklearn.pipeline import Pipeline

# A category beyond the most frequent ones is encoded as "none of these", so a column of names cannot blow up memory.
MOST_LEVELS = 100

SVM: Mapping[str, Value] = MappingProxyType(
    {
        "C": Value(1.0, 1e-6, 1e6, search=(0.1, 30.0), log=True),
        "kernel": Value("rbf", choices=("rbf", "linear", "poly"), search=("rbf", "linear")),
        "gamma": Value(0.0, 0.0, 1e3),
        "most_rows": Value(10_000, 100, 10_000_000),
    }
)
BOOSTING: Mapping[str, Value] = MappingProxyType(
    {
        "learning_rate": Value(0.1, 1e-4, 1, search=(0.02, 0.3), log=True),
        "iterations": Value(200, 1, 10_000, search=(50, 400), log=True),
        "leaves": Value(31, 2, 1000, search=(8, 64), log=True),
        "l2": Value(0.0, 0, 1e4),
    }
)
FOREST: Mapping[str, Value] = MappingProxyType(
    {
        "trees": Value(200, 1, 10_000, search=(50, 300), log=True),
        "depth": Value(0, 0, 1000),
        "leaf_rows": Value(1, 1, 100_000, search=(1, 20), log=True),
    }
)
LINEAR: Mapping[str, Value] = MappingProxyType({"C": Value(1.0, 1e-6, 1e6, search=(0.01, 100.0), log=True)})


@dataclass(frozen=True, slots=True)
class FittedPipeline:
    """A fitted scikit-learn pipeline."""

    native: Pipeline
    kind: Kind
    best_epoch: int = 0
    engine: Engine = Engine.SKLEARN

    def answers(self, inputs: Mapping[str, Array]) -> Array:
        """Probabilities or numbers, float32."""
        frame = as_frame(inputs)
        said = self.native.predict_proba(frame) if self.kind is Kind.CLASSIFICATION else self.native.predict(frame)
        return np.asarray(said, dtype=np.float32)


def as_frame(inputs: Mapping[str, Array]) -> Any:
    """The named arrays as a DataFrame, text as Python strings."""
    import pandas as pd

    return pd.DataFrame({name: pd.Series(values, dtype=values.dtype) for name, values in inputs.items()})


def fit(pipeline: Pipeline, blueprint: Blueprint) -> FittedPipeline:
    """Fit on the training rows, each weighted as its class is."""
    rows = _some(blueprint)
    train = blueprint.train.take(rows)
    weights = blueprint.weights_of(train.target)
    pipeline.fit(as_frame(train.inputs), train.target, model__sample_weight=weights)
    return FittedPipeline(pipeline, blueprint.kind)


def _some(blueprint: Blueprint) -> Array:
    """All training rows, or a seeded draw where the algorithm's cost grows with their square."""
    most = int(blueprint.settings.values.get("most_rows", len(blueprint.train)))
    if len(blueprint.train) <= most:
        return np.arange(len(blueprint.train))
    return np.sort(np.random.default_rng(blueprint.seed).choice(len(blueprint.train), most, replace=False))


def levels(values: Array) -> list[str]:
    """The most frequent categories of a column, in letter order."""
    names, counts = np.unique(values.astype(str), return_counts=True)
    return sorted(str(name) for name in names[np.argsort(-counts, kind="stable")[:MOST_LEVELS]])


def _prepared(train: Examples, model: BaseEstimator) -> Pipeline:
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    numbers = [name for name, values in train.inputs.items() if values.dtype.kind == "f"]
    words = [name for name in train.inputs if name not in numbers]
    filled = SimpleImputer(strategy="median", keep_empty_features=True)
    parts: list[tuple[str, Any, list[str]]] = []
    if numbers:
        parts.append(("numbers", Pipeline([("fill", filled), ("scale", StandardScaler())]), numbers))
    if words:
        known = [np.array(levels(train.inputs[name]), dtype=object) for name in words]
        encoder = OneHotEncoder(categories=known, handle_unknown="ignore", sparse_output=False, dtype=np.float32)
        parts.append(("words", encoder, words))
    return Pipeline([("columns", ColumnTransformer(parts, sparse_threshold=0)), ("model", model)])


def svm(blueprint: Blueprint) -> Pipeline:
    """A support vector machine; its probabilities come from a sigmoid fitted by cross-validation on train."""
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.svm import SVC, SVR

    chosen = blueprint.settings
    shared = {"C": chosen.number("C"), "kernel": chosen.text("kernel"), "gamma": chosen.number("gamma") or "scale"}
    if blueprint.kind is not Kind.CLASSIFICATION:
        return _prepared(blueprint.train, SVR(**shared))
    machine = SVC(random_state=blueprint.seed, cache_size=500, **shared)
    return _prepared(blueprint.train, CalibratedClassifierCV(machine, ensemble=False, cv=3))


def boosting(blueprint: Blueprint) -> Pipeline:
    """Histogram gradient boosting."""
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    chosen = blueprint.settings
    made = HistGradientBoostingClassifier if _classifies(blueprint) else HistGradientBoostingRegressor
    model = made(
        learning_rate=chosen.number("learning_rate"),
        max_iter=chosen.integer("iterations"),
        max_leaf_nodes=chosen.integer("leaves"),
        l2_regularization=chosen.number("l2"),
        early_stopping=False,
        random_state=blueprint.seed,
    )
    return _prepared(blueprint.train, model)


def forest(blueprint: Blueprint) -> Pipeline:
    """A random forest."""
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

    chosen = blueprint.settings
    made = RandomForestClassifier if _classifies(blueprint) else RandomForestRegressor
    model = made(
        n_estimators=chosen.integer("trees"),
        max_depth=chosen.integer("depth") or None,
        min_samples_leaf=chosen.integer("leaf_rows"),
        n_jobs=-1,
        random_state=blueprint.seed,
    )
    return _prepared(blueprint.train, model)


def linear(blueprint: Blueprint) -> Pipeline:
    """Logistic regression, or ridge regression for a number."""
    from sklearn.linear_model import LogisticRegression, Ridge

    strength = blueprint.settings.number("C")
    if _classifies(blueprint):
        return _prepared(blueprint.train, LogisticRegression(C=strength, max_iter=1000))
    return _prepared(blueprint.train, Ridge(alpha=1 / strength))


BAG: Mapping[str, Value] = MappingProxyType(
    {
        "C": Value(1.0, 1e-6, 1e6, search=(0.01, 100.0), log=True),
        "words": Value(1, 1, 3, search=(1, 2)),
        "vocabulary": Value(20_000, 1, 10_000_000),
    }
)


# Letters and digits of ASCII: the pattern that converts to ONNX without a difference.
WORD = r"[a-zA-Z0-9_]+"


def bag_of_words(blueprint: Blueprint) -> Pipeline:
    """TF-IDF of words (or of pairs) and logistic regression: blind to word order beyond `words`."""
    from sklearn.compose import ColumnTransformer
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import Pipeline

    chosen = blueprint.settings
    spans = (1, chosen.integer("words"))
    words = TfidfVectorizer(ngram_range=spans, max_features=chosen.integer("vocabulary"), token_pattern=WORD)
    model = LogisticRegression(C=chosen.number("C"), max_iter=1000)
    return Pipeline([("columns", ColumnTransformer([("text", words, "text")])), ("model", model)])


def _classifies(blueprint: Blueprint) -> bool:
    return blueprint.kind is Kind.CLASSIFICATION
