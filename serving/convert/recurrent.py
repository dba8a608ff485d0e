"""Recurrent Keras networks rebuilt with ONNX's fused LSTM and GRU operators.

Exporters write a masked LSTM, and every GRU, as a Loop that is some fifteen times slower for a single request.
A masked step only carries the state on, so when only the last state is used the kept steps may be moved to the front
and their number given as `sequence_lens`: exact for any pattern of masks.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .words import OPSET

if TYPE_CHECKING:
    import onnx

PASSED = ("Dropout", "SpatialDropout1D", "Identity", "GaussianNoise", "GaussianDropout", "ActivityRegularization")
# Keras keeps its gates in another order than ONNX: i f c o -> i o f c, and z r h in both.
GATES = {"LSTM": (0, 3, 1, 2), "GRU": (0, 1, 2)}


@dataclass(frozen=True, slots=True)
class Chain:
    """What leads from the numbers of words to the last state: input, embedding, recurrent layers; and that state."""

    given: Any
    embedding: Any
    layers: tuple[Any, ...]
    state: Any


@dataclass
class Head:
    """The graph as it grows."""

    nodes: list[Any] = field(default_factory=list)
    weights: list[Any] = field(default_factory=list)

    def add(self, operator: str, inputs: list[str], outputs: list[str], **attributes: Any) -> str:
        """Append a node; the name of its last output."""
        from onnx import helper

        self.nodes.append(helper.make_node(operator, inputs, outputs, **attributes))
        return outputs[-1]

    def keep(self, name: str, values: NDArray[Any]) -> str:
        """Append a constant; its name."""
        from onnx import numpy_helper

        self.weights.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name


def export(model: Any) -> onnx.ModelProto | None:
    """Which fused graph is this network? None where it is not embedding -> recurrent layers -> anything."""
    import keras
    import onnx
    from onnx import compose

    from .keras_ import export_any

    model, names_outside = _unwrapped(model)
    chain = _chain(model)
    if chain is None:
        return None
    others = [t for t in model.inputs if t.name != chain.given.name]
    rest = keras.Model([chain.state, *others], model.outputs)
    tail = compose.add_prefix(export_any(rest), "tail_")
    head = _head(chain)
    head.ir_version = tail.ir_version
    names = [t.name for t in tail.graph.input]
    state = next(n for n in names if not any(n.split(":")[0].endswith(o.name) for o in others))
    made = compose.merge_models(head, tail, io_map=[("state", state)])
    for value in made.graph.input:
        value.name = names_outside.get(value.name, value.name)
    for node in made.graph.node:
        node.input[:] = [names_outside.get(name, name) for name in node.input]
    onnx.checker.check_model(made)
    return made


def _unwrapped(model: Any) -> tuple[Any, dict[str, str]]:
    """The network itself where it stands as a whole in another, which only names its input anew; and those names."""
    inner = [layer for layer in model.layers if type(layer).__name__ != "InputLayer"]
    if len(inner) == len(model.inputs) == 1 and type(inner[0]).__name__ == "Functional":
        return inner[0], {inner[0].inputs[0].name: model.inputs[0].name}
    return model, {}


def _chain(model: Any) -> Chain | None:
    recurrent = [layer for layer in model.layers if _cells(layer)]
    if not recurrent or not all(_is_plain(layer) for layer in recurrent):
        return None
    last = recurrent[-1]
    found, tensor = [last], _node(last, model).input_tensors[0]
    if _first(last).return_sequences:
        return None
    while True:
        layer = tensor._keras_history.operation
        kind = type(layer).__name__
        if _cells(layer):
            found.insert(0, layer)
        elif kind == "Embedding":
            given = _node(layer, model).input_tensors[0]
            is_input = type(given._keras_history.operation).__name__ == "InputLayer"
            whole = len(found) == len(recurrent) and is_input and len(given.shape) == 2
            return Chain(given, layer, tuple(found), _node(last, model).output_tensors[0]) if whole else None
        elif kind not in PASSED:
            return None
        tensor = _node(layer, model).input_tensors[0]


def _node(layer: Any, model: Any) -> Any:
    """Where this network calls the layer. A layer is shared with each network that this one was cut from."""
    own = [node for level in model._nodes_by_depth.values() for node in level]
    return next(node for node in own if node.operation is layer)


def _cells(layer: Any) -> list[Any]:
    if type(layer).__name__ == "Bidirectional":
        inner = [layer.forward_layer, layer.backward_layer]
        return inner if type(inner[0]).__name__ in GATES else []
    return [layer] if type(layer).__name__ in GATES else []


def _first(layer: Any) -> Any:
    return _cells(layer)[0]


def _is_plain(layer: Any) -> bool:
    cells = _cells(layer)
    if len(cells) == 2 and layer.merge_mode != "concat":
        return False
    return all(
        c.activation.__name__ == "tanh" and c.recurrent_activation.__name__ == "sigmoid" and not c.stateful
        and not c.return_state and c.go_backwards == (position == 1) for position, c in enumerate(cells))


def _head(chain: Chain) -> onnx.ModelProto:
    from onnx import TensorProto, helper

    head, length = Head(), chain.given.shape[1]
    head.add("Cast", [chain.given.name], ["ids"], to=TensorProto.INT64)
    ids, lengths = ("ids", "") if not chain.embedding.mask_zero else _compacted(head, length)
    head.add("Transpose", [ids], ["ids_by_step"], perm=[1, 0])
    table = head.keep("embedding", chain.embedding.get_weights()[0])
    sequence = head.add("Gather", [table, "ids_by_step"], ["x"])
    state = ""
    for number, layer in enumerate(chain.layers):
        sequence, state = _recurrent(head, layer, f"r{number}", sequence, lengths)
    width = sum(cell.units for cell in _cells(chain.layers[-1]))
    head.add("Transpose", [state], ["state_by_row"], perm=[1, 0, 2])
    head.add("Reshape", ["state_by_row", head.keep("row_shape", np.array([-1, width], np.int64))], ["state"])
    dtype = helper.np_dtype_to_tensor_dtype(np.dtype(chain.given.dtype))
    made = helper.make_graph(
        head.nodes, "head", [helper.make_tensor_value_info(chain.given.name, dtype, ["batch", length])],
        [helper.make_tensor_value_info("state", TensorProto.FLOAT, ["batch", width])], head.weights)
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", OPSET)])


def _compacted(head: Head, length: int | None) -> tuple[str, str]:
    """The words of each row moved to its front, and how many they are."""
    from onnx import TensorProto

    head.add("Equal", ["ids", head.keep("padding", np.array(0, np.int64))], ["masked"])
    head.add("Not", ["masked"], ["kept"])
    head.add("Cast", ["kept"], ["kept_as_number"], to=TensorProto.INT32)
    head.add("ReduceSum", ["kept_as_number", head.keep("axis_1", np.array([1], np.int64))], ["lengths"], keepdims=0)
    # Sorting by (kept, then position) keeps the words' order: the key is 0 for a masked step, else width - position.
    if length is None:
        zero, minus = head.keep("zero", np.array(0, np.int64)), head.keep("minus_one", np.array(-1, np.int64))
        head.add("Shape", ["ids"], ["width"], start=1, end=2)
        head.add("Gather", ["width", zero], ["width_scalar"])
        head.add("Range", ["width_scalar", zero, minus], ["falling"])
        head.add("Cast", ["falling"], ["falling_float"], to=TensorProto.FLOAT)
    else:
        head.keep("width", np.array([length], np.int64))
        head.keep("falling_float", np.arange(length, 0, -1, dtype=np.float32))
    head.add("Cast", ["kept"], ["kept_float"], to=TensorProto.FLOAT)
    head.add("Mul", ["kept_float", "falling_float"], ["key"])
    head.add("TopK", ["key", "width"], ["sorted_key", "order"], axis=1, largest=1, sorted=1)
    return head.add("GatherElements", ["ids", "order"], ["compact"], axis=1), "lengths"


def _recurrent(head: Head, layer: Any, name: str, sequence: str, lengths: str) -> tuple[str, str]:
    cells = _cells(layer)
    kind, units = type(cells[0]).__name__, cells[0].units
    weights = [_weights(cell, kind) for cell in cells]
    given = [sequence, *(head.keep(f"{name}_{part}", np.stack([w[i] for w in weights]))
                         for i, part in enumerate("WRB")), lengths]
    attributes: dict[str, Any] = {"hidden_size": units}
    if len(cells) == 2:
        attributes["direction"] = "bidirectional"
    if kind == "GRU":
        attributes["linear_before_reset"] = int(cells[0].reset_after)
    head.add(kind, given, [f"{name}_all", f"{name}_state"], **attributes)
    # (steps, directions, rows, units) -> (steps, rows, directions * units), as the next layer wants it.
    head.add("Transpose", [f"{name}_all"], [f"{name}_by_row"], perm=[0, 2, 1, 3])
    shape = head.keep(f"{name}_shape", np.array([0, 0, -1], np.int64))
    return head.add("Reshape", [f"{name}_by_row", shape], [f"{name}_sequence"]), f"{name}_state"


def _weights(cell: Any, kind: str) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    units, given = cell.units, cell.get_weights()
    bias = given[2] if cell.use_bias else np.zeros((len(GATES[kind]) * units,), np.float32)
    both = bias if bias.ndim == 2 else np.stack([bias, np.zeros_like(bias)])

    def ordered(values: NDArray[Any]) -> NDArray[Any]:
        return np.concatenate([values[..., g * units : (g + 1) * units] for g in GATES[kind]], axis=-1)

    return ordered(given[0]).T, ordered(given[1]).T, np.concatenate([ordered(both[0]), ordered(both[1])])
