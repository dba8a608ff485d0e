"""Surgery on ONNX graphs: canonical names, one dimension more or less, one offline optimisation."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import Unconvertible
from . import order

if TYPE_CHECKING:
    import onnx


def canonical(model: onnx.ModelProto, inputs: Mapping[str, str], outputs: Sequence[str]) -> onnx.ModelProto:
    """What is the same graph with names that depend on nothing but its shape?

    Exporters number tensors and nodes by process-wide counters; without this two conversions of one model differ.

    Args:
        model: changed in place.
        inputs: the graph's name of an input -> the name it shall have.
        outputs: the names of the outputs, in the graph's order.
    """
    graph = model.graph
    order.settle(graph)
    names = {"": ""} | {t.name: new for t, new in zip(graph.output, outputs, strict=True)}
    names |= {t.name: inputs[t.name] for t in graph.input}
    _rename(graph, names)
    for value in [*graph.input, *graph.output]:
        for axis, size in enumerate(value.type.tensor_type.shape.dim):
            if axis == 0 or not size.HasField("dim_value"):
                size.dim_param = "batch" if axis == 0 else f"{value.name}_{axis}"
        value.doc_string = ""
    ordered = sorted((t for t in graph.initializer if t.name.startswith("_")), key=lambda t: t.name)
    del graph.initializer[:], graph.value_info[:], model.metadata_props[:]
    graph.initializer.extend(ordered)
    graph.name, model.doc_string, graph.doc_string = "model", "", ""
    model.producer_name, model.producer_version, model.domain = "slipway", "", ""
    _order_opsets(model)
    return model


def _rename(graph: onnx.GraphProto, names: dict[str, str]) -> None:
    # A body of Loop, If or Scan sees the tensors around it, so one table serves every depth. Constants are numbered
    # where they are first used: exporters list them in the order of a hash table.
    for value in graph.input:
        names.setdefault(value.name, f"_t{len(names)}")
    for number, node in enumerate(graph.node):
        node.name, node.doc_string = f"n{number}", ""
        del node.metadata_props[:]
        for body in order.bodies(node):
            _rename(body, names)
            del body.value_info[:]
        for tensor in [*node.input, *node.output]:
            names.setdefault(tensor, f"_t{len(names)}")
        node.input[:] = [names[t] for t in node.input]
        node.output[:] = [names[t] for t in node.output]
    for value in [*graph.input, *graph.output, *graph.initializer]:
        value.name = names.get(value.name, f"unused {value.name}")
    graph.name = "body"


def _order_opsets(model: onnx.ModelProto) -> None:
    ordered = sorted((o.domain, o.version) for o in model.opset_import)
    used = {node.domain for node in _every_node(model.graph)} | {""}
    del model.opset_import[:]
    for domain, number in ordered:
        if domain in used:
            entry = model.opset_import.add()
            entry.domain, entry.version = domain, number


def _every_node(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    for node in graph.node:
        yield node
        for body in order.bodies(node):
            yield from _every_node(body)


def optimised(model: onnx.ModelProto) -> onnx.ModelProto:
    """What is the same model, optimised once so that no start has to?

    Raises:
        Unconvertible: onnxruntime does not load the graph; its words name the operator.
    """
    import onnx
    import onnxruntime as ort

    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "optimised.onnx"
        options = ort.SessionOptions()
        # Above EXTENDED, this machine's own memory layouts would be baked into the file.
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
        options.optimized_model_filepath = str(path)
        options.log_severity_level = 3
        try:
            body = model.SerializeToString(deterministic=True)
            ort.InferenceSession(body, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # noqa: BLE001 - onnxruntime's exceptions share no base class of their own
            raise Unconvertible(f"onnxruntime does not take the converted graph: {first_line(error)}") from None
        made = onnx.load(path)
    same = {t.name: t.name for t in made.graph.input}
    return canonical(made, same, [t.name for t in made.graph.output])


def first_line(error: BaseException) -> str:
    """What does an exception say, in one line and without paths of this machine?"""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]


def matching(found: Iterable[str], wanted: Sequence[str]) -> dict[str, str]:
    """Which input of the graph is which input of the signature? Exporters reorder and decorate them.

    Raises:
        Unconvertible: it cannot be told.
    """
    matched: dict[str, str] = {}
    names = list(found)
    for name in names:
        near = [w for w in wanted if name in (w, f"{w}:0")] or [
            w for w in wanted if name.split(":")[0].endswith(f"_{w}")]
        if len(near) != 1 and len(names) == len(wanted) == 1:
            near = list(wanted)
        if len(near) != 1 or near[0] in matched.values():
            raise Unconvertible(f"the converted graph's input {name!r} matches none of {list(wanted)}")
        matched[name] = near[0]
    return matched


def rename_inputs(model: onnx.ModelProto, names: Mapping[str, str]) -> None:
    """Let the graph's inputs be called otherwise.

    Args:
        model: changed in place.
        names: the graph's name of an input -> the name it shall have.
    """
    for value in model.graph.input:
        value.name = names[value.name]
    for node in _every_node(model.graph):
        node.input[:] = [names.get(t, t) for t in node.input]


def accept_flat(model: onnx.ModelProto, names: Iterable[str]) -> None:
    """Let each of these inputs of shape (rows, 1) be given as (rows,), as a column of a table is."""
    from onnx import helper

    graph, added = model.graph, []
    _constant(graph, "slipway_column", [-1, 1])
    for value in graph.input:
        if value.name in set(names) and len(value.type.tensor_type.shape.dim) == 2:
            inner = f"{value.name}__column"
            for node in graph.node:
                node.input[:] = [inner if t == value.name else t for t in node.input]
            added.append(helper.make_node("Reshape", [value.name, "slipway_column"], [inner]))
            del value.type.tensor_type.shape.dim[1:]
    _prepend(graph, added)


def answer_flat(model: onnx.ModelProto, name: str) -> None:
    """Let this output of shape (rows, 1) be (rows,), as scikit-learn's own answer is."""
    from onnx import helper

    graph = model.graph
    value = next(v for v in graph.output if v.name == name)
    for node in graph.node:
        node.output[:] = [f"{name}__column" if t == name else t for t in node.output]
        node.input[:] = [f"{name}__column" if t == name else t for t in node.input]
    _constant(graph, "slipway_flat", [-1])
    graph.node.append(helper.make_node("Reshape", [f"{name}__column", "slipway_flat"], [name]))
    del value.type.tensor_type.shape.dim[1:]


def take_as(model: onnx.ModelProto, name: str, dtype: int) -> None:
    """Let this input be given as another type, cast on the way in.

    Args:
        model: changed in place.
        name: the input.
        dtype: the type it shall have, one of onnx.TensorProto's numbers.
    """
    from onnx import helper

    graph = model.graph
    value = next(v for v in graph.input if v.name == name)
    was, inner = value.type.tensor_type.elem_type, f"{name}__cast"
    if was == dtype:
        return
    for node in graph.node:
        node.input[:] = [inner if t == name else t for t in node.input]
    value.type.tensor_type.elem_type = dtype
    _prepend(graph, [helper.make_node("Cast", [name], [inner], to=was)])


def take_words(model: onnx.ModelProto, name: str, words: Sequence[str]) -> None:
    """Let this input of numbers be given as text: the place of the word in this list, missing where it is not there.

    Args:
        model: changed in place.
        name: the input.
        words: those that are known.
    """
    from onnx import TensorProto, helper

    take_as(model, name, TensorProto.FLOAT)
    inner = f"{name}__place"
    for node in model.graph.node:
        node.input[:] = [inner if t == name else t for t in node.input]
    next(v for v in model.graph.input if v.name == name).type.tensor_type.elem_type = TensorProto.STRING
    _prepend(model.graph, [helper.make_node("LabelEncoder", [name], [inner], domain="ai.onnx.ml", keys_strings=words,
                                            values_floats=[float(n) for n in range(len(words))],
                                            default_float=float("nan"))])


def number_of(dtype: str) -> int:
    """What is onnx.TensorProto's number of this type of numpy's?"""
    import numpy as np
    from onnx import helper

    return int(helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))


def _prepend(graph: onnx.GraphProto, nodes: list[Any]) -> None:
    rest = list(graph.node)
    del graph.node[:]
    graph.node.extend([*nodes, *rest])


def _constant(graph: onnx.GraphProto, name: str, values: list[int]) -> None:
    from onnx import TensorProto, helper

    if all(t.name != name for t in graph.initializer):
        graph.initializer.append(helper.make_tensor(name, TensorProto.INT64, [len(values)], values))


def join_columns(model: onnx.ModelProto, table: str, names: Sequence[str]) -> None:
    """Let one input of shape (rows, width) be given as so many columns of shape (rows,)."""
    from onnx import helper

    graph = model.graph
    whole = next(v for v in graph.input if v.name == table)
    dtype = whole.type.tensor_type.elem_type
    _constant(graph, "slipway_column", [-1, 1])
    graph.input.remove(whole)
    graph.input.extend(helper.make_tensor_value_info(name, dtype, ["batch"]) for name in names)
    columns = [helper.make_node("Reshape", [name, "slipway_column"], [f"{name}__column"]) for name in names]
    join = helper.make_node("Concat", [f"{name}__column" for name in names], [table], axis=1)
    _prepend(graph, [*columns, join])
