"""From a Keras model to ONNX: text layers ported, recurrent ones fused."""

from __future__ import annotations

import contextlib
import logging
import os
import tempfile
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import Unconvertible
from ..runtime.text import Tokeniser
from . import graph, recurrent
from .words import OPSET, Arrays, Column, Converted, Step, Wanted

if TYPE_CHECKING:
    import onnx

PREPARING = ("CategoryEncoding", "CenterCrop", "Discretization", "Hashing", "IntegerLookup", "Normalization",
             "Rescaling", "Resizing", "StringLookup", "UnitNormalization")


def candidates(data: Path, wanted: Wanted) -> Iterator[Converted]:
    """Which ONNX models may answer as this Keras model does? The fastest first.

    Raises:
        Unconvertible: the file is no `.keras` file, runs code, or holds what no exporter takes.
    """
    model = _functional(_loaded(data / "model.keras"))
    inputs = tuple(_column(tensor, model) for tensor in model.inputs)
    outputs = _outputs(model, wanted)
    tokenisers, served = _without_text_layers(model)
    tools = {"keras": version("keras"), "tf2onnx": version("tf2onnx"), "onnxruntime": version("onnxruntime")}
    source = {"format": "keras", "opset": str(OPSET), **tools}
    for export in (recurrent.export, export_any):
        made = export(served)
        if made is not None:
            names = graph.matching([t.name for t in made.graph.input], [t.name for t in served.inputs])
            ready = graph.optimised(graph.canonical(made, names, outputs))
            yield Converted(ready, _native(model, outputs), source, inputs, outputs, texts=tokenisers,
                            steps=tuple(_steps(model)))


def _loaded(source: Path) -> Any:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import keras

    if not source.is_file():
        raise Unconvertible(f"no {source.name} among the model's files; log it in Keras's .keras format: "
                            'keras_model_kwargs={"save_format": "keras"}')
    try:
        # safe_mode refuses Lambda layers, which would run code out of the file.
        return keras.saving.load_model(source, compile=False, safe_mode=True)
    except (TypeError, ValueError) as error:
        raise Unconvertible(f"{source.name} does not load safely: {graph.first_line(error)}. "
                            "Next: replace Lambda layers and unregistered classes by Keras's own layers") from None


def _functional(model: Any) -> Any:
    import keras

    if isinstance(model, keras.Sequential) and model.built:
        return keras.Model(model.inputs, model.outputs)
    if not getattr(model, "inputs", None) or not hasattr(model, "layers"):
        raise Unconvertible(f"{type(model).__name__} is a subclassed Keras model without fixed inputs; "
                            "Next: build it with keras.Input and keras.Model(inputs, outputs)")
    return model


def _outputs(model: Any, wanted: Wanted) -> tuple[str, ...]:
    if len(model.outputs) == 1:
        return (wanted.output or model.output_names[0],)
    return tuple(model.output_names)


def _column(tensor: Any, model: Any) -> Column:
    from keras import backend

    dtype = backend.standardize_dtype(tensor.dtype)
    return Column(tensor.name, dtype, (None, *tensor.shape[1:]), _known(tensor, model), _bounds(tensor, model))


def _bounds(tensor: Any, model: Any) -> tuple[int, int] | None:
    """The rows of the smallest embedding right behind this input; a number past them fails."""
    sizes = [layer.input_dim for layer in model.layers if type(layer).__name__ == "Embedding"
             and any(_origin(given) is _origin(tensor) for given in _given(layer))]
    return (0, min(sizes) - 1) if sizes else None


def _known(tensor: Any, model: Any) -> tuple[str | int, ...]:
    """The categories that a StringLookup or IntegerLookup right behind this input knows."""
    for layer in model.layers:
        if type(layer).__name__ not in ("StringLookup", "IntegerLookup"):
            continue
        if any(_origin(given) is _origin(tensor) for given in _given(layer)):
            return tuple(v.item() if isinstance(v, np.generic) else v
                         for v in layer.get_vocabulary(include_special_tokens=False))
    return ()


def _steps(model: Any) -> Iterator[Step]:
    """Layers that prepare inputs; what becomes of text is ported, and told by the tokeniser."""
    for layer in model.layers:
        if type(layer).__name__ in PREPARING:
            named = [_origin(given) for given in _given(layer)]
            facts = {key: value for key, value in layer.get_config().items()
                     if key not in ("name", "trainable") and isinstance(value, (str, int, float, bool))}
            yield Step(type(layer).__name__, tuple(o.name for o in named if type(o).__name__ == "InputLayer"), facts)


def _given(layer: Any) -> list[Any]:
    import keras

    return keras.tree.flatten(layer._inbound_nodes[0].input_tensors)  # type: ignore[no-any-return]  # keras has no annotations


def _origin(tensor: Any) -> Any:
    """The input that this tensor is, seen through layers that only reshape."""
    operation = tensor._keras_history.operation
    while type(operation).__name__ in ("Reshape", "Identity", "ExpandDims", "Flatten"):
        operation = operation._inbound_nodes[0].input_tensors[0]._keras_history.operation
    return operation


def _native(model: Any, outputs: tuple[str, ...]) -> Any:
    import keras
    import tensorflow as tf

    names = [t.name for t in model.inputs]

    def native(arrays: Arrays) -> Arrays:
        tensors = [tf.constant(arrays[n].tolist() if arrays[n].dtype.kind in "OU" else arrays[n]) for n in names]
        every = keras.tree.flatten(model(_as_called(model, tensors), training=False))
        return {name: np.array(a) for name, a in zip(outputs, every, strict=True)}

    return native


def _as_called(model: Any, tensors: list[Any]) -> Any:
    """The tensors, in the order of the model's inputs, in the structure that the model was built with."""
    import keras

    return keras.tree.pack_sequence_as(model._inputs_struct, tensors)


def _without_text_layers(model: Any) -> tuple[dict[str, Tokeniser], Any]:
    """What turns text into numbers, and the rest of the network, which takes the numbers under the same name."""
    import keras

    layers = [layer for layer in model.layers if type(layer).__name__ == "TextVectorization"]
    if not layers:
        return {}, model
    found, cut = {}, {}
    for layer in layers:
        name = _origin(layer.input).output.name
        if name in found:
            raise Unconvertible(f"two TextVectorization layers read {name!r}; Next: share one")
        found[name], cut[name] = tokeniser_of(layer), layer.output
    fresh = [cut.get(tensor.name, tensor) for tensor in model.inputs]
    rest = keras.Model(fresh, model.outputs)
    names = [tensor.name for tensor in model.inputs]
    renamed = [keras.Input(t.shape[1:], dtype=t.dtype, name=name) for name, t in zip(names, rest.inputs, strict=True)]
    return found, keras.Model(renamed, keras.tree.flatten(rest(renamed if len(renamed) > 1 else renamed[0])))


def tokeniser_of(layer: Any) -> Tokeniser:
    """Which tokeniser does as this TextVectorization layer does?

    Raises:
        Unconvertible: it does something that was not ported.
    """
    config = layer.get_config()
    wanted = {"ngrams": (None,), "output_mode": ("int",), "split": ("whitespace", "character"), "ragged": (False,),
              "standardize": ("lower_and_strip_punctuation", "lower", "strip_punctuation", None)}
    for option, allowed in wanted.items():
        if config.get(option) not in allowed:
            raise Unconvertible(f"TextVectorization {layer.name!r} with {option}={config.get(option)!r} was not "
                                f"ported; wanted one of {list(allowed)}")
    standardize = config["standardize"] or ""
    words = tuple(layer.get_vocabulary(include_special_tokens=False))
    return Tokeniser(words, config["output_sequence_length"], lower="lower" in standardize,
                     strip="strip" in standardize, characters=config["split"] == "character")


def export_any(model: Any) -> onnx.ModelProto:
    """Which ONNX graph is this Keras model, by way of a SavedModel and tf2onnx?

    Keras's own export(format="onnx") fails on some layers only when the result is loaded or run; this is tf2onnx's
    private loader, hence its exact pin.

    Raises:
        Unconvertible: tf2onnx does not know an operator; it is named.
    """
    import keras

    # TensorFlow makes identifiers of the arguments' names, so that "mean radius" would come back as another.
    plain = {f"input_{number:05d}": tensor.name for number, tensor in enumerate(model.inputs)}
    with tempfile.TemporaryDirectory() as scratch, contextlib.redirect_stdout(None):
        archive = keras.export.ExportArchive()
        archive.track(model)
        # training=False is said here because Keras's own export leaves it open: normalisation layers would go on
        # measuring the batch, and layers that augment would go on drawing random numbers.
        archive.add_endpoint("serve", lambda *tensors: model(_as_called(model, list(tensors)), training=False),
                             [keras.InputSpec(shape=t.shape, dtype=t.dtype, name=name)
                              for name, t in zip(plain, model.inputs, strict=True)])
        archive.write_out(scratch, verbose=False)
        logging.getLogger("tf2onnx").setLevel(logging.CRITICAL)
        from tf2onnx import convert as tf2onnx_convert
        from tf2onnx import tf_loader

        try:
            read, inputs, outputs, tables, renamed = tf_loader.from_saved_model(
                scratch, None, None, return_initialized_tables=True, return_tensors_to_rename=True)
            made, _ = tf2onnx_convert._convert_common(
                read, name="model", opset=OPSET, tensors_to_rename=renamed, input_names=inputs,
                output_names=outputs, initialized_tables=tables)
        except (ValueError, KeyError, RuntimeError) as error:
            raise Unconvertible(f"tf2onnx does not convert this network: {graph.first_line(error)}. Next: replace "
                                "the layer that it names by one of Keras's plain layers") from None
    found = graph.matching([t.name for t in made.graph.input], list(plain))
    graph.rename_inputs(made, {name: plain[given] for name, given in found.items()})
    return made  # type: ignore[no-any-return]  # tf2onnx has no annotations
