"""HistGradientBoosting with categories of its own (scikit-learn 1.9), which skl2onnx 1.20 silently gets wrong.

A split by category holds the set of those that go left. It becomes a chain of comparisons with one category each, which
onnxruntime joins into one again. What is missing and what was never seen go where scikit-learn sends them
(sklearn/ensemble/_hist_gradient_boosting/_predictor.pyx).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..runtime.native import is_table
from . import graph, trees
from .trees import Forest, Nodes
from .words import Column

if TYPE_CHECKING:
    import onnx

LINKS = {"squared_error": "identity", "absolute_error": "identity", "quantile": "identity", "poisson": "exp",
         "gamma": "exp"}


@dataclass(frozen=True, slots=True)
class Choice:
    """What stands for each category of a column, by scikit-learn's number for it?

    Attributes:
        categories: as they were seen, without the missing one.
        values: what the trees compare with: the numbers themselves, or the place of a text.
    """

    categories: tuple[Any, ...]
    values: tuple[float, ...]


def has_categories(model: Any) -> bool:
    """Is it HistGradientBoosting with categories of its own?"""
    return getattr(model, "is_categorical_", None) is not None and hasattr(model, "_predictors")


def model_of(model: Any, inputs: tuple[Column, ...], output: str) -> onnx.ModelProto:
    """Which ONNX model answers as this one does?

    Args:
        model: for which `has_categories` is so.
        inputs: columns of a table, or one array of rows.
        output: the name of the answer.
    """
    found = places(model)
    made = trees.model_of(_forest(model, found), len(found), output, double=True)
    table = is_table(inputs)
    ready = graph.canonical(made, {trees.TABLE: trees.TABLE if table else inputs[0].name}, [output])
    if table:
        graph.join_columns(ready, trees.TABLE, [c.name for c in inputs])
    chosen = {inputs[place].name: choice for place, choice in found if choice} if table else {}
    for column in inputs:
        if column.dtype == "string":
            graph.take_words(ready, column.name, chosen[column.name].categories)
        else:
            graph.take_as(ready, column.name, graph.number_of(column.dtype))
    return graph.optimised(ready)


def places(model: Any) -> list[tuple[int, Choice | None]]:
    """For each feature of the trees, which column of a request is it, and has it categories?"""
    parts = {name: (part, np.flatnonzero(mask).tolist()) for name, part, mask in model._preprocessor.transformers_}
    encoder, chosen = parts["encoder"]
    found: list[tuple[int, Choice | None]] = []
    for place, categories in zip(chosen, encoder.categories_, strict=True):
        seen = tuple(c for c in categories.tolist() if c is not None and c == c)
        words = any(isinstance(c, str) for c in seen)
        found.append((place, Choice(seen, tuple(float(n if words else c) for n, c in enumerate(seen)))))
    return found + [(place, None) for place in parts.get("numerical", (None, []))[1]]


def _forest(model: Any, places: list[tuple[int, Choice | None]]) -> Forest:
    nodes, base = Nodes(), tuple(float(b) for b in np.ravel(model._baseline_prediction))
    for number, tree in enumerate(tree for grown in model._predictors for tree in grown):
        _tree(nodes, number, tree, number % len(base), places)
    if not hasattr(model, "classes_"):
        return Forest(nodes, False, base, LINKS[model.loss])
    return Forest(nodes, False, base, "softmax" if len(base) > 1 else "sigmoid", both=len(base) == 1)


def _tree(nodes: Nodes, number: int, tree: Any, target: int, places: list[tuple[int, Choice | None]]) -> None:
    spare = len(tree.nodes)
    for at, node in enumerate(tree.nodes):
        if node["is_leaf"]:
            nodes.leaf(number, at, target, float(node["value"]))
            continue
        place, choice = places[int(node["feature_idx"])]
        to, missing_left = (int(node["left"]), int(node["right"])), bool(node["missing_go_to_left"])
        if choice is None or not node["is_categorical"]:
            nodes.split(number, at, place, float(node["num_threshold"]), to=to, missing_left=missing_left)
            continue
        bits = tree.raw_left_cat_bitsets[int(node["bitset_idx"])]
        left = [bool(int(bits[code // 32]) >> code % 32 & 1) for code in range(len(choice.values))]
        # What is in neither set goes the way of the missing, so only the other way is asked for.
        asked = [value for value, goes_left in zip(choice.values, left, strict=True) if goes_left != missing_left]
        spare = nodes.chain(number, at, place, asked, to=to[::-1] if missing_left else to, spare=spare)
