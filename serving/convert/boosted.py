"""From XGBoost and LightGBM to ONNX; both are optional extras."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import Unconvertible
from ..runtime.native import is_table
from . import graph, lightgbm_trees, trees, xgboost_trees
from .words import OPSET, Arrays, Column, Converted, Wanted

EXTRA = "pip install 'slipway[boosted]'"


def candidates(folder: Path, wanted: Wanted) -> Iterator[Converted]:
    """Which ONNX model answers as these boosted trees do?

    Raises:
        Unconvertible: the library is not installed, the file is a pickle, there is no signature, or the trees hold
            something that is named.
    """
    kind = "xgboost" if "xgboost" in wanted.flavors else "lightgbm"
    if not wanted.inputs:
        raise Unconvertible("the model was logged without a signature, so nothing says what a request holds; "
                            "Next: log it with signature=infer_signature(...)")
    model = _loaded(kind, folder, wanted.flavors[kind])
    width = _width(wanted.inputs)
    if kind == "xgboost":
        forest = xgboost_trees.forest_of(model, [c.name for c in wanted.inputs] if is_table(wanted.inputs) else None)
    else:
        forest = lightgbm_trees.forest_of(model)
    # XGBoost reads every number as a single; LightGBM compares in doubles what came in doubles.
    double = kind == "lightgbm" and any(c.dtype != "float32" for c in wanted.inputs)
    name = wanted.output or ("probabilities" if hasattr(model, "predict_proba") else "prediction")
    made = trees.model_of(forest, width, name, double=double)
    source = {"format": kind, "opset": str(OPSET), kind: _version(kind), "onnxruntime": version("onnxruntime")}
    yield Converted(_finished(made, wanted.inputs, name), _native(model, kind, wanted.inputs, name), source,
                    wanted.inputs, (name,), labels(model))


def labels(model: Any) -> tuple[str, ...]:
    """What are the classes called, where the model answers with their probabilities?"""
    return tuple(str(c) for c in model.classes_) if hasattr(model, "predict_proba") else ()


def _loaded(kind: str, folder: Path, options: dict[str, Any]) -> Any:
    path = folder / options.get("data", "model")
    if path.suffix in (".pkl", ".pickle", ".cloudpickle", ""):
        raise Unconvertible(f"{path.name} is a pickle, which runs code when it is read; Next: log it again with "
                            f"MLflow's default format for {kind}")
    try:
        if kind == "xgboost":
            return xgboost_trees.load(path, options.get("model_class", ""))
        return lightgbm_trees.load(path)
    except ModuleNotFoundError:
        raise Unconvertible(f"this is a {kind} model, and the extra that converts it is not installed; "
                            f"Next: {EXTRA}") from None


def _version(kind: str) -> str:
    try:
        return version(kind)
    except PackageNotFoundError:
        return version("xgboost-cpu")  # the same library without its 200 MB for GPUs


def _width(inputs: tuple[Column, ...]) -> int:
    wrong = [c.name for c in inputs if not c.dtype.startswith(("float", "int"))]
    if wrong:
        raise Unconvertible(f"inputs {wrong} are no numbers; Next: encode them before the trees")
    if is_table(inputs):
        return len(inputs)
    if len(inputs) > 1 or len(inputs[0].shape) != 2 or not inputs[0].shape[1]:
        raise Unconvertible("boosted trees read one table of known width; Next: log the model with a signature of "
                            "columns, or of one array of rows")
    return inputs[0].shape[1]


def _finished(made: Any, inputs: tuple[Column, ...], output: str) -> Any:
    from onnx import helper

    given = {trees.TABLE: trees.TABLE if is_table(inputs) else inputs[0].name}
    ready = graph.canonical(made, given, [output])
    if is_table(inputs):
        graph.join_columns(ready, trees.TABLE, [c.name for c in inputs])
    for column in inputs:
        graph.take_as(ready, column.name, helper.np_dtype_to_tensor_dtype(np.dtype(column.dtype)))
    return graph.optimised(ready)


def _native(model: Any, kind: str, inputs: tuple[Column, ...], name: str) -> Callable[[Arrays], Arrays]:
    ask = xgboost_trees.native(model) if kind == "xgboost" else lightgbm_trees.native(model)

    def native(arrays: Arrays) -> Arrays:
        table = np.stack([arrays[c.name] for c in inputs], axis=1) if is_table(inputs) else arrays[inputs[0].name]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # both remark on a table without column names
            return {name: np.asarray(ask(table), np.float32)}

    return native

