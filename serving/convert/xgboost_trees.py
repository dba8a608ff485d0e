"""What an XGBoost model holds, read from its own JSON (xgboost.readthedocs.io, model schema; checked with 3.2)."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import Unconvertible
from .trees import Forest, Nodes

# Objective -> what turns the sum of the leaves into the answer. What is not here is refused by name.
LINKS = {
    "binary:logistic": "sigmoid", "reg:logistic": "sigmoid", "multi:softprob": "softmax", "multi:softmax": "argmax",
    "count:poisson": "exp", "reg:gamma": "exp", "reg:tweedie": "exp",
    **dict.fromkeys(("reg:squarederror", "reg:squaredlogerror", "reg:pseudohubererror", "reg:absoluteerror",
                     "reg:quantileerror", "binary:logitraw", "rank:pairwise", "rank:ndcg", "rank:map"), "identity"),
}
ESTIMATORS = ("XGBClassifier", "XGBRegressor", "XGBRanker", "XGBRFClassifier", "XGBRFRegressor")


def load(path: Path, kind: str) -> Any:
    """Which model is stored there: one of XGBoost's estimators where MLflow says so, else a Booster?"""
    import xgboost

    name = kind.rpartition(".")[2]
    model = getattr(xgboost, name)() if name in ESTIMATORS else xgboost.Booster()
    model.load_model(path)
    return model


def native(model: Any) -> Callable[[Any], Any]:
    """How does the model itself answer a table?"""
    import xgboost

    if hasattr(model, "predict_proba"):
        return lambda table: model.predict_proba(table, validate_features=False)
    if isinstance(model, xgboost.Booster):
        return lambda table: model.predict(xgboost.DMatrix(table), validate_features=False)
    return lambda table: model.predict(table, validate_features=False)


def forest_of(model: Any, columns: list[str] | None) -> Forest:
    """Which forest is this model?

    Args:
        model: a Booster, or one of XGBoost's estimators.
        columns: the names of the columns in requests; None where there is one array.

    Raises:
        Unconvertible: it holds something that is named.
    """
    booster = model.get_booster() if hasattr(model, "get_booster") else model
    named = list(booster.feature_names or ())
    if columns and named and columns != named:
        raise Unconvertible(f"the signature's columns {columns} are not the trees' {named}; Next: log the model with "
                            "the columns in the order of its training")
    learner = json.loads(booster.save_raw("json"))["learner"]
    objective = learner["objective"]["name"]
    if objective not in LINKS:
        raise Unconvertible(f"XGBoost's objective {objective} was not ported; wanted one of {', '.join(LINKS)}")
    nodes = _nodes(learner["gradient_booster"], _rounds(learner, estimator=model is not booster))
    link, base = LINKS[objective], _base(learner, LINKS[objective])
    both = link == "sigmoid" and hasattr(model, "predict_proba")
    return Forest(nodes, True, base, link, both=both)


def _rounds(learner: dict[str, Any], *, estimator: bool) -> int | None:
    """How many rounds answer? An estimator stops at its best one, a Booster uses all (None)."""
    best = learner["attributes"].get("best_iteration")
    return int(best) + 1 if estimator and best is not None else None


def _base(learner: dict[str, Any], link: str) -> tuple[float, ...]:
    """What the sum begins with: base_score, which is kept as an answer, taken back through the link."""
    described = learner["learner_model_param"]
    stored = described["base_score"].strip("[]")
    targets = max(1, int(described["num_class"]), int(described["num_target"]))
    scores = [float(part) for part in stored.split(",")]
    scores = scores * targets if len(scores) == 1 else scores
    back: dict[str, Callable[[float], float]] = {"sigmoid": lambda p: math.log(p / (1 - p)), "exp": math.log}
    return tuple(back.get(link, float)(score) for score in scores)


def _nodes(booster: dict[str, Any], rounds: int | None) -> Nodes:
    if booster["name"] not in ("gbtree", "dart"):
        raise Unconvertible(f"XGBoost's booster {booster['name']} holds no trees; Next: train with booster='gbtree'")
    weights = booster.get("weight_drop")
    model = booster["gbtree"]["model"] if booster["name"] == "dart" else booster["model"]
    count = len(model["trees"]) if rounds is None else model["iteration_indptr"][rounds]
    nodes = Nodes()
    for number, (tree, target) in enumerate(zip(model["trees"][:count], model["tree_info"], strict=False)):
        _tree(nodes, number, tree, target, weights[number] if weights else 1.0)
    return nodes


def _tree(nodes: Nodes, number: int, tree: dict[str, Any], target: int, weight: float) -> None:
    if any(tree["split_type"]):
        raise Unconvertible("XGBoost's splits by category were not ported; Next: encode the category columns, for "
                            "example one column for each category, and train without enable_categorical")
    if int(tree["tree_param"]["size_leaf_vector"]) > 1:
        raise Unconvertible("XGBoost's trees with several numbers in a leaf were not ported; Next: train with "
                            "multi_strategy='one_output_per_tree'")
    for node, (left, right) in enumerate(zip(tree["left_children"], tree["right_children"], strict=True)):
        value = tree["split_conditions"][node]
        if left == -1:
            nodes.leaf(number, node, target, float(np.float32(value) * np.float32(weight)))
        else:
            nodes.split(number, node, tree["split_indices"][node], value, to=(left, right),
                        missing_left=bool(tree["default_left"][node]))
