"""What a LightGBM model holds, read from its own dump (lightgbm.readthedocs.io, Booster.dump_model; 4.7)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..errors import Unconvertible
from .trees import Forest, Nodes

LINKS = {
    "binary": "sigmoid", "cross_entropy": "sigmoid", "multiclass": "softmax", "multiclassova": "sigmoid",
    "poisson": "exp", "gamma": "exp", "tweedie": "exp",
    **dict.fromkeys(("regression", "regression_l1", "huber", "fair", "quantile", "mape", "lambdarank", "rank_xendcg"),
                    "identity"),
}
SAFE = ("lightgbm.", "collections.", "numpy.", "sklearn.", "builtins.")


def load(path: Path) -> Any:
    """Which model is stored there: one of LightGBM's estimators in a skops file, or a Booster?

    Raises:
        Unconvertible: the skops file holds what is neither LightGBM's nor scikit-learn's.
    """
    import lightgbm

    if path.suffix != ".skops":
        return lightgbm.Booster(model_file=str(path))
    import skops.io

    types = skops.io.get_untrusted_types(file=path)
    if strange := sorted(t for t in types if not t.startswith(SAFE)):
        raise Unconvertible(f"{path.name} holds {', '.join(strange)}, which is not LightGBM's; Next: use LightGBM's "
                            "own estimators")
    return skops.io.load(path, trusted=types)


def native(model: Any) -> Callable[[Any], Any]:
    """How does the model itself answer a table?"""
    ask: Callable[[Any], Any] = model.predict_proba if hasattr(model, "predict_proba") else model.predict
    return ask


def forest_of(model: Any) -> Forest:
    """Which forest is this model?

    Raises:
        Unconvertible: it holds something that is named.
    """
    dumped = (model.booster_ if hasattr(model, "booster_") else model).dump_model()
    # Such as "binary sigmoid:1" or "regression sqrt".
    objective, *options = str(dumped.get("objective") or "none").split()
    if objective not in LINKS or "sqrt" in options:
        raise Unconvertible(f"LightGBM's objective {' '.join([objective, *options])} was not ported; wanted one of "
                            f"{', '.join(LINKS)}")
    scale = next((float(o.partition(":")[2]) for o in options if o.startswith("sigmoid:")), 1.0)
    targets, nodes = dumped["num_tree_per_iteration"], Nodes()
    for number, tree in enumerate(dumped["tree_info"]):
        _tree(nodes, number, tree["tree_structure"], number % targets)
    both = objective == "binary" and hasattr(model, "predict_proba")
    return Forest(nodes, False, (0.0,) * targets, LINKS[objective], scale, bool(dumped["average_output"]), both)


def _tree(nodes: Nodes, number: int, root: dict[str, Any], target: int) -> None:
    count, waiting = 1, [(0, root)]
    while waiting:
        node, held = waiting.pop()
        if "split_feature" not in held:
            _refuse_leaf(held)
            nodes.leaf(number, node, target, held["leaf_value"])
            continue
        _refuse_split(held)
        nodes.split(number, node, held["split_feature"], held["threshold"], to=(count, count + 1),
                    missing_left=_missing_left(held))
        waiting += [(count, held["left_child"]), (count + 1, held["right_child"])]
        count += 2


def _missing_left(held: dict[str, Any]) -> bool:
    """Without a rule for missing values, LightGBM takes one for zero (Tree::NumericalDecision)."""
    return bool(held["default_left"]) if held["missing_type"] == "NaN" else held["threshold"] >= 0.0


def _refuse_split(held: dict[str, Any]) -> None:
    if held["decision_type"] != "<=":
        raise Unconvertible("LightGBM's splits by category were not ported; Next: encode the category columns, for "
                            "example one column for each category, and train without categorical_feature")
    if held["missing_type"] == "Zero":
        raise Unconvertible("LightGBM's zero_as_missing was not ported; Next: train without it")


def _refuse_leaf(held: dict[str, Any]) -> None:
    if "leaf_coeff" in held:
        raise Unconvertible("LightGBM's linear trees were not ported; Next: train with linear_tree=False")
