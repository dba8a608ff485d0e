"""From the native model to ONNX: once, offline, and with the same bytes every time."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .errors import Unconvertible

if TYPE_CHECKING:
    import onnx

OPSET = 18  # the newest that tf2onnx 1.17 writes
Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Converted:
    """What came of a conversion?

    Attributes:
        model: the ONNX model, optimised and in canonical names.
        native: the native model, to compare with: arrays in, arrays out.
        source: what it was converted from and with which tools.
    """

    model: onnx.ModelProto
    native: Callable[[Arrays], Arrays]
    source: dict[str, str]


def convert(folder: Path, flavors: dict[str, Any], outputs: tuple[str, ...]) -> Converted:
    """Which ONNX model answers as this MLflow model does?

    Args:
        folder: the model's files, as MLflow stores them.
        flavors: the ``flavors`` of its MLmodel file.
        outputs: the names that the outputs shall have.

    Raises:
        Unconvertible: no safe way from this flavour to ONNX.
    """
    if "tensorflow" in flavors:
        return _from_keras(folder / flavors["tensorflow"].get("data", "data"), outputs)
    found = ", ".join(sorted(flavors.keys() - {"python_function"})) or "none"
    raise Unconvertible(f"flavour {found} cannot be converted to ONNX yet; wanted tensorflow (a .keras file)")


def _from_keras(data: Path, outputs: tuple[str, ...]) -> Converted:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import keras

    source = data / "model.keras"
    if not source.is_file():
        raise Unconvertible(f"no {source.name} among the model's files; log it in Keras's .keras format")
    try:
        # safe_mode refuses Lambda layers, which would run code out of the file.
        model = keras.saving.load_model(source, compile=False, safe_mode=True)
    except (TypeError, ValueError) as error:
        raise Unconvertible(f"{source.name} does not load safely: {str(error).splitlines()[0]}") from None
    names = [t.name for t in model.inputs]

    def native(arrays: Arrays) -> Arrays:
        answers = model(_as_called(model, [arrays[name] for name in names]), training=False)
        every = answers if isinstance(answers, list) else [answers]
        return {name: np.asarray(a) for name, a in zip(outputs, every, strict=True)}

    graph = _optimised(canonical(_export(model), names, outputs))
    tools = {"keras": version("keras"), "tf2onnx": version("tf2onnx"), "onnxruntime": version("onnxruntime")}
    return Converted(graph, native, {"format": "keras", "opset": str(OPSET), **tools})


def _as_called(model: Any, tensors: list[Any]) -> Any:
    """The tensors, in the order of the model's inputs, in the structure that the model was built with."""
    import keras

    return keras.tree.pack_sequence_as(model._inputs_struct, tensors)


def _export(model: Any) -> onnx.ModelProto:
    # Keras's own ONNX export fails on some layers only when the result is loaded or run, so we go by way of a
    # SavedModel and tf2onnx's loader (private, hence the exact pin of tf2onnx).
    import contextlib
    import logging
    import tempfile

    import keras

    with tempfile.TemporaryDirectory() as scratch, contextlib.redirect_stdout(None):
        archive = keras.export.ExportArchive()
        archive.track(model)
        # training=False is said here because Keras's own export leaves it open: normalisation layers would go on
        # measuring the batch, and layers that augment would go on drawing random numbers.
        archive.add_endpoint("serve", lambda *tensors: model(_as_called(model, list(tensors)), training=False),
                             [keras.InputSpec(shape=t.shape, dtype=t.dtype, name=t.name) for t in model.inputs])
        archive.write_out(scratch, verbose=False)
        logging.getLogger("tf2onnx").setLevel(logging.ERROR)
        from tf2onnx import convert as tf2onnx_convert
        from tf2onnx import tf_loader

        graph, inputs, outputs, renamed, tables = tf_loader.from_saved_model(
            scratch, None, None, return_initialized_tables=True, return_tensors_to_rename=True
        )
        converted, _ = tf2onnx_convert._convert_common(
            graph, name="model", opset=OPSET, tensors_to_rename=renamed, input_names=inputs,
            output_names=outputs, initialized_tables=tables,
        )
    return converted  # type: ignore[no-any-return]  # tf2onnx has no annotations


def canonical(model: onnx.ModelProto, inputs: list[str], outputs: tuple[str, ...]) -> onnx.ModelProto:
    """What is the same graph with names that depend on nothing but its shape?

    Exporters number tensors and nodes by process-wide counters; without this two conversions of one model differ.
    Inputs and outputs keep the names given; a graph whose inputs stand in another order is bound by name.
    """
    graph = model.graph
    rename = {t.name: new for t, new in zip(graph.output, outputs, strict=True)}
    rename |= {t.name: _matching(t.name, inputs) for t in graph.input}
    for number, node in enumerate(graph.node):
        node.name, node.doc_string = f"n{number}", ""
        for tensor in [*node.input, *node.output]:
            rename.setdefault(tensor, f"t{len(rename)}" if tensor else "")
    for node in graph.node:
        node.input[:] = [rename[t] for t in node.input]
        node.output[:] = [rename[t] for t in node.output]
    for value in [*graph.input, *graph.output, *graph.initializer]:
        value.name = rename.get(value.name, value.name)
    for value in [*graph.input, *graph.output]:
        for axis, size in enumerate(value.type.tensor_type.shape.dim):
            if not size.HasField("dim_value"):
                size.dim_param = "batch" if axis == 0 else f"{value.name}_{axis}"
    ordered = sorted(graph.initializer, key=lambda t: t.name)
    del graph.initializer[:], graph.value_info[:], model.metadata_props[:]
    graph.initializer.extend(ordered)
    graph.name, model.doc_string = "model", ""
    return model


def _matching(found: str, inputs: list[str]) -> str:
    if found in inputs:
        return found
    near = [name for name in inputs if found.split(":")[0].endswith(name)]
    if len(inputs) == 1 or len(near) == 1:
        return (near or inputs)[0]
    raise Unconvertible(f"the converted graph's input {found!r} matches none of {inputs}")


def _optimised(model: onnx.ModelProto) -> onnx.ModelProto:
    # Level EXTENDED: above it, this machine's own memory layouts would be baked into the file.
    import tempfile

    import onnx
    import onnxruntime as ort

    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "optimised.onnx"
        options = ort.SessionOptions()
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
        options.optimized_model_filepath = str(path)
        options.log_severity_level = 3
        ort.InferenceSession(model.SerializeToString(deterministic=True), options, providers=["CPUExecutionProvider"])
        optimised = onnx.load(path)
    return canonical(optimised, [t.name for t in optimised.graph.input], tuple(t.name for t in optimised.graph.output))
