"""Boosted trees as one ONNX operator, cut for cut: what XGBoost and LightGBM have in common.

Written here rather than by onnxmltools (1.16), which rounds LightGBM's cuts to the nearest single, knows no columns by
name, and sends missing values to the wrong side of some cuts.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from . import mending
from .words import OPSET

if TYPE_CHECKING:
    import onnx

TABLE = "slipway_table"


@dataclass(slots=True)
class Nodes:
    """The nodes of every tree, in columns as the operator wants them.

    Attributes:
        trees, ids: which tree, and which node of it.
        features, cuts: which column is compared with what; unused at a leaf.
        left, right: the node to go on with where the comparison holds, and where it does not.
        missing_left: whether a missing value goes left.
        leaves: tree, node, target and weight of each leaf.
        equal: tree and node of those that ask whether a value is the cut itself.
    """

    trees: list[int] = field(default_factory=list)
    ids: list[int] = field(default_factory=list)
    features: list[int] = field(default_factory=list)
    cuts: list[float] = field(default_factory=list)
    left: list[int] = field(default_factory=list)
    right: list[int] = field(default_factory=list)
    missing_left: list[int] = field(default_factory=list)
    leaves: list[tuple[int, int, int, float]] = field(default_factory=list)
    equal: set[tuple[int, int]] = field(default_factory=set)

    def split(self, tree: int, node: int, feature: int, cut: float, *, to: tuple[int, int],
              missing_left: bool) -> None:
        """Add a node that compares."""
        self._add(tree, node, feature, cut, to, missing_left)

    def chain(self, tree: int, node: int, feature: int, values: list[float], *, to: tuple[int, int],
              spare: int) -> int:
        """Add nodes that ask for one value after the other; the next unused number of a node.

        Args:
            tree, node, feature: of the first.
            values: what is asked for; where there is none, nothing is equal to it.
            to: the node to go on with where it is one of them, and where it is none or missing.
            spare: from where numbers are free.
        """
        ids = [node, *range(spare, spare + len(values) - 1)]
        for place, value in zip(ids, values or [float("nan")], strict=True):
            after = ids[ids.index(place) + 1] if place != ids[-1] else to[1]
            self._add(tree, place, feature, value, (to[0], after), False)
            self.equal.add((tree, place))
        return spare + len(ids) - 1

    def leaf(self, tree: int, node: int, target: int, weight: float) -> None:
        """Add a node that answers."""
        self._add(tree, node, 0, 0.0, (0, 0), False)
        self.leaves.append((tree, node, target, weight))

    def _add(self, tree: int, node: int, feature: int, cut: float, to: tuple[int, int], missing_left: bool) -> None:
        self.trees.append(tree)
        self.ids.append(node)
        self.features.append(feature)
        self.cuts.append(cut)
        self.left.append(to[0])
        self.right.append(to[1])
        self.missing_left.append(int(missing_left))


@dataclass(frozen=True, slots=True)
class Forest:
    """What is a boosted model, whichever library made it?

    Attributes:
        nodes: of every tree.
        below: whether a value goes left when it is below the cut (XGBoost) rather than at most the cut (LightGBM).
        base: what the sum of the leaves begins with, one number for each target.
        link: what turns the sum into the answer: ``identity``, ``sigmoid``, ``softmax``, ``exp`` or ``argmax``.
        scale: what a sigmoid's sum is multiplied by.
        mean: whether the trees are averaged rather than summed.
        both: whether a single probability p is answered as the two columns 1 - p and p.
    """

    nodes: Nodes
    below: bool
    base: tuple[float, ...]
    link: str = "identity"
    scale: float = 1.0
    mean: bool = False
    both: bool = False


def model_of(forest: Forest, width: int, output: str, *, double: bool) -> onnx.ModelProto:
    """Which ONNX model answers as this forest does?

    Args:
        forest: what it holds.
        width: columns of the table that it reads.
        output: the name of the answer.
        double: whether the columns are compared as doubles; else every value is a single.
    """
    from onnx import TensorProto, helper

    kind = TensorProto.DOUBLE if double else TensorProto.FLOAT
    nodes = [_ensemble(forest, double=double), *_linked(forest, output)]
    flat = forest.link == "argmax" or (len(forest.base) == 1 and not forest.both)
    answer = helper.make_tensor_value_info(
        output, TensorProto.FLOAT, ["batch"] if flat else ["batch", max(2, len(forest.base))])
    given = helper.make_tensor_value_info(TABLE, kind, ["batch", width])
    constants = [helper.make_tensor("slipway_flat", TensorProto.INT64, [1], [-1]),
                 helper.make_tensor("slipway_scale", TensorProto.FLOAT, [], [forest.scale]),
                 helper.make_tensor("slipway_one", TensorProto.FLOAT, [], [1.0])]
    used = {name for node in nodes for name in node.input}
    graph = helper.make_graph(nodes, "forest", [given], [answer], [c for c in constants if c.name in used])
    return helper.make_model(graph, ir_version=9, opset_imports=[
        helper.make_opsetid("", OPSET), helper.make_opsetid("ai.onnx.ml", 3)])


def _ensemble(forest: Forest, *, double: bool) -> Any:
    from onnx import helper

    nodes = forest.nodes
    leaf = {(tree, node) for tree, node, _, _ in nodes.leaves}
    branch = "BRANCH_LT" if forest.below else "BRANCH_LEQ"
    modes = ["LEAF" if place in leaf else "BRANCH_EQ" if place in nodes.equal else branch
             for place in zip(nodes.trees, nodes.ids, strict=True)]
    return helper.make_node(
        "TreeEnsembleRegressor", [TABLE], ["sum"], domain="ai.onnx.ml", n_targets=len(forest.base),
        aggregate_function="AVERAGE" if forest.mean else "SUM", nodes_treeids=nodes.trees, nodes_nodeids=nodes.ids,
        nodes_featureids=nodes.features, nodes_modes=modes, nodes_truenodeids=nodes.left,
        nodes_falsenodeids=nodes.right, nodes_missing_value_tracks_true=nodes.missing_left,
        target_treeids=[leaf[0] for leaf in nodes.leaves], target_nodeids=[leaf[1] for leaf in nodes.leaves],
        target_ids=[leaf[2] for leaf in nodes.leaves], **_numbers(forest, double=double))


def _numbers(forest: Forest, *, double: bool) -> dict[str, Any]:
    """The cuts, the leaves' weights and the base, in the precision that the columns are compared in."""
    from onnx import numpy_helper

    named: dict[str, Any] = {
        "nodes_values": np.array(forest.nodes.cuts, np.float64), "base_values": np.array(forest.base, np.float64),
        "target_weights": np.array([leaf[3] for leaf in forest.nodes.leaves], np.float64)}
    if double:
        return {f"{name}_as_tensor": numpy_helper.from_array(values, name) for name, values in named.items()}
    if not forest.below:
        # `x <= cut` says the same of every single x when the cut is rounded down; XGBoost's cuts are singles already.
        named["nodes_values"] = mending.floor32(named["nodes_values"])
    return {name: values.astype(np.float32).tolist() for name, values in named.items()}


def _linked(forest: Forest, output: str) -> list[Any]:
    from onnx import TensorProto, helper

    node = helper.make_node
    if forest.link == "softmax":
        return [node("Softmax", ["sum"], [output], axis=1)]
    if forest.link == "argmax":
        return [node("ArgMax", ["sum"], ["place"], axis=1, keepdims=0),
                node("Cast", ["place"], [output], to=TensorProto.FLOAT)]
    steps = {"identity": [], "exp": [node("Exp", ["sum"], ["said"])],
             "sigmoid": [node("Mul", ["sum", "slipway_scale"], ["scaled"]), node("Sigmoid", ["scaled"], ["said"])]}
    made = list(steps[forest.link])
    last = "said" if made else "sum"
    if forest.both:
        return [*made, node("Sub", ["slipway_one", last], ["other"]), node("Concat", ["other", last], [output], axis=1)]
    if len(forest.base) == 1:
        return [*made, node("Reshape", [last, "slipway_flat"], [output])]
    return [*made, node("Identity", [last], [output])]
