"""What skl2onnx writes so that the answer differs or onnxruntime cannot run it, mended after the conversion.

Trees: skl2onnx (1.20) rounds cuts to the nearest single, and lets forests compare doubles where scikit-learn compares
singles: a value right at a cut then falls on the other side. Imputer: onnxruntime (1.32) has it for singles only;
choosing by IsNaN does the same for doubles.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import onnx


def exact(made: onnx.ModelProto, parts: Iterable[Any]) -> None:
    """Mend a converted model, in place.

    Args:
        made: as skl2onnx wrote it.
        parts: the estimators that it was made of.
    """
    parts = list(parts)
    for number, node in enumerate([n for n in made.graph.node if n.op_type == "Imputer"]):
        _fill_doubles(made.graph, node, number, parts)
    nodes = [node for node in made.graph.node if node.op_type.startswith("TreeEnsemble")]
    wholes = [_cuts(part) for part in parts if hasattr(part, "_predictors") or hasattr(part, "estimators_")]
    for number, node in enumerate(nodes):
        cuts = next((c for c in wholes if len(c) == _size(node)), None)
        if cuts is not None:
            _round_down(node, cuts)
            if not any(hasattr(part, "_predictors") for part in parts):
                _compare_singles(made.graph, node, number)


def _cuts(part: Any) -> NDArray[np.float64]:
    """Every node's threshold, in the order in which skl2onnx writes the nodes."""
    if hasattr(part, "_predictors"):
        found = [tree.nodes["num_threshold"] for trees in part._predictors for tree in trees]
    else:
        found = [tree.tree_.threshold for tree in np.ravel(part.estimators_) if hasattr(tree, "tree_")]
    return np.concatenate(found) if found else np.zeros(0)


def _size(node: onnx.NodeProto) -> int:
    return next((len(a.ints) for a in node.attribute if a.name == "nodes_nodeids"), -1)


def floor32(values: NDArray[Any]) -> NDArray[np.float32]:
    """The largest single that is not above each of these doubles: `x <= value` says the same for every single x."""
    near = values.astype(np.float32)
    return np.where(near <= values, near, np.nextafter(near, np.float32(-np.inf)))


def _round_down(node: onnx.NodeProto, cuts: NDArray[Any]) -> None:
    attributes = {a.name: a for a in node.attribute}
    values, modes = attributes.get("nodes_values"), attributes["nodes_modes"].strings
    if values is None or len(values.floats) != len(cuts):
        return
    for index, (cut, mode) in enumerate(zip(floor32(cuts).tolist(), modes, strict=True)):
        if mode != b"LEAF":
            values.floats[index] = cut


def _compare_singles(graph: onnx.GraphProto, node: onnx.NodeProto, number: int) -> None:
    """Give a forest singles, as scikit-learn does, where the rest of the pipeline computes in doubles."""
    from onnx import TensorProto, helper

    single, place = f"slipway_single_{number}", list(graph.node).index(node)
    graph.node.insert(place, helper.make_node("Cast", [node.input[0]], [single], to=TensorProto.FLOAT))
    graph.node[place + 1].input[0] = single


def _fill_doubles(graph: onnx.GraphProto, node: onnx.NodeProto, number: int, parts: list[Any]) -> None:
    from onnx import helper, numpy_helper

    attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    singles = np.array(attributes.get("imputed_value_floats", ()), np.float32)
    filled = [p.statistics_ for p in parts if hasattr(p, "statistics_") and p.statistics_.dtype.kind == "f"
              and np.array_equal(p.statistics_[~np.isnan(p.statistics_)].astype(np.float32), singles)]
    if not filled or not np.isnan(attributes.get("replaced_value_float", 0.0)) or not _is_double(graph, node.input[0]):
        return
    given, made, mask = node.input[0], node.output[0], f"slipway_missing_{number}"
    values = filled[0][~np.isnan(filled[0])][None]
    graph.initializer.append(numpy_helper.from_array(values, f"slipway_filled_{number}"))
    place = list(graph.node).index(node)
    graph.node.remove(node)
    graph.node.insert(place, helper.make_node("IsNaN", [given], [mask]))
    graph.node.insert(place + 1, helper.make_node("Where", [mask, f"slipway_filled_{number}", given], [made]))


def _is_double(graph: onnx.GraphProto, name: str) -> bool:
    from onnx import TensorProto

    types = {v.name: v.type.tensor_type.elem_type for v in graph.input}
    for node in graph.node:
        if node.op_type == "Concat" and node.input[0] in types:
            types[node.output[0]] = types[node.input[0]]
    return types.get(name) == TensorProto.DOUBLE
