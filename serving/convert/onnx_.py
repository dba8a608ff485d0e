"""From a model that is ONNX already: checked, its weights brought inside, its inputs bound by name."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import Unconvertible
from . import graph
from .words import Arrays, Column, Converted, Wanted


def candidates(folder: Path, wanted: Wanted) -> Iterator[Converted]:
    """Which model is stored there, optimised and in one file?

    Raises:
        Unconvertible: it is no ONNX model, or has no inputs that are tensors.
    """
    import onnx

    path = folder / wanted.flavors["onnx"].get("data", "model.onnx")
    path = path / "model.onnx" if path.is_dir() else path
    _refuse_outside(path)
    try:
        model = onnx.load(path)
        onnx.checker.check_model(model)
    except Exception as error:  # noqa: BLE001 - protobuf and onnx share no base class
        raise Unconvertible(f"{path.name} is no valid ONNX model: {graph.first_line(error)}") from None
    weights = {t.name for t in model.graph.initializer}
    for value in [v for v in model.graph.input if v.name in weights]:
        model.graph.input.remove(value)
    inputs = tuple(_column(value) for value in model.graph.input)
    outputs = tuple(value.name for value in model.graph.output)
    outputs = (wanted.output,) if len(outputs) == 1 and wanted.output else outputs
    answer = _native(model, outputs)
    same = {c.name: c.name for c in inputs}
    source = {"format": "onnx", "opset": str(model.opset_import[0].version), "onnxruntime": version("onnxruntime")}
    yield Converted(graph.optimised(graph.canonical(model, same, outputs)), answer, source, inputs, outputs)


def _refuse_outside(path: Path) -> None:
    """External weights may name any file of this machine: only plain files beside the model are read."""
    import onnx

    if not path.is_file():
        raise Unconvertible(f"no {path.name} among the model's files")
    try:
        bare = onnx.load(path, load_external_data=False)
    except Exception as error:  # noqa: BLE001 - protobuf's exceptions share no base class
        raise Unconvertible(f"{path.name} is no ONNX model: {graph.first_line(error)}") from None
    for tensor in bare.graph.initializer:
        for entry in tensor.external_data:
            beside = path.parent / entry.value
            if entry.key == "location" and (Path(entry.value).name != entry.value or beside.is_symlink()):
                raise Unconvertible(f"{path.name} keeps weights in {entry.value!r}; wanted a file beside it")


def _column(value: Any) -> Column:
    from onnx import helper

    tensor = value.type.tensor_type
    if not tensor.elem_type:
        raise Unconvertible(f"input {value.name!r} is no tensor; Next: export the model with tensors as inputs")
    dtype = helper.tensor_dtype_to_np_dtype(tensor.elem_type)
    sizes = tuple(d.dim_value if d.HasField("dim_value") and d.dim_value > 0 else None for d in tensor.shape.dim)
    return Column(value.name, "string" if dtype == np.dtype(object) else str(dtype), (None, *sizes[1:]))


def _native(model: Any, outputs: tuple[str, ...]) -> Any:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])

    def native(arrays: Arrays) -> Arrays:
        return dict(zip(outputs, session.run(None, arrays), strict=True))

    return native
