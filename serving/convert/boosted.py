"""From XGBoost and LightGBM to ONNX; both are optional extras."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import Unconvertible
from . import graph
from .sklearn_ import is_table
from .words import Arrays, Column, Converted, Wanted

OPSET = 15  # what onnxmltools writes for trees


def candidates(folder: Path, wanted: Wanted) -> Iterator[Converted]:
    """Which ONNX model answers as these boosted trees do?

    Raises:
        Unconvertible: the extra is not installed, the file is a pickle, or there is no signature.
    """
    kind = "xgboost" if "xgboost" in wanted.flavors else "lightgbm"
    try:
        import onnxmltools
    except ModuleNotFoundError:
        raise Unconvertible(_not_installed(kind)) from None
    path = folder / wanted.flavors[kind].get("data", "model")
    if path.suffix in (".pkl", ".pickle", ""):
        raise Unconvertible(f"{path.name} is a pickle, which runs code when it is read; Next: log the {kind} Booster "
                            "itself, in its own format")
    if not wanted.inputs:
        raise Unconvertible("the model was logged without a signature, so nothing says what a request holds; "
                            "Next: log it with signature=infer_signature(...)")
    booster, width = _loaded(kind, path), _width(wanted.inputs)
    from onnxmltools.convert.common.data_types import FloatTensorType

    convert = onnxmltools.convert_xgboost if kind == "xgboost" else onnxmltools.convert_lightgbm
    extra = {"zipmap": False} if kind == "lightgbm" else {}
    try:
        made = convert(booster, initial_types=[("slipway_table", FloatTensorType([None, width]))],
                       target_opset=OPSET, **extra)
    except Exception as error:  # noqa: BLE001 - the converters raise whatever they trip over
        raise Unconvertible(f"onnxmltools does not convert this {kind} model: {graph.first_line(error)}") from None
    yield _finished(made, booster, kind, wanted)


def _not_installed(kind: str) -> str:
    return (f"this is a {kind} model, and the extra that converts it is not installed; "
            f"Next: pip install {kind} onnxmltools")


def _loaded(kind: str, path: Path) -> Any:
    try:
        if kind == "xgboost":
            import xgboost

            booster = xgboost.Booster()
            booster.load_model(path)
            return booster
        import lightgbm
    except ModuleNotFoundError:
        raise Unconvertible(_not_installed(kind)) from None
    return lightgbm.Booster(model_file=str(path))


def _width(inputs: tuple[Column, ...]) -> int:
    wrong = [c.name for c in inputs if not c.dtype.startswith(("float", "int"))]
    if wrong:
        raise Unconvertible(f"inputs {wrong} are no numbers; Next: encode them before the trees")
    return len(inputs) if is_table(inputs) else int(inputs[0].shape[1] or 0)


def _finished(made: Any, booster: Any, kind: str, wanted: Wanted) -> Converted:
    from onnx import helper

    outputs = made.graph.output
    chosen = outputs[1].name if len(outputs) > 1 else outputs[0].name
    for value in [v for v in outputs if v.name != chosen]:
        outputs.remove(value)
    name = wanted.output or ("probabilities" if len(outputs) > 1 else "prediction")
    ready = graph.canonical(made, {"slipway_table": "slipway_table"}, [name])
    if is_table(wanted.inputs):
        graph.join_columns(ready, "slipway_table", [c.name for c in wanted.inputs])
    else:
        graph.canonical(ready, {"slipway_table": wanted.inputs[0].name}, [name])
    for column in wanted.inputs:
        graph.take_as(ready, column.name, helper.np_dtype_to_tensor_dtype(np.dtype(column.dtype)))
    source = {"format": kind, "opset": str(OPSET), kind: version(kind), "onnxmltools": version("onnxmltools"),
              "onnxruntime": version("onnxruntime")}
    answer = _native(booster, kind, wanted.inputs, name)
    return Converted(graph.optimised(ready), answer, source, wanted.inputs, (name,))


def _native(booster: Any, kind: str, inputs: tuple[Column, ...], name: str) -> Any:
    def native(arrays: Arrays) -> Arrays:
        table = np.stack([arrays[c.name] for c in inputs], axis=1) if is_table(inputs) else arrays[inputs[0].name]
        if kind == "xgboost":
            import xgboost

            said = booster.predict(xgboost.DMatrix(table, feature_names=booster.feature_names))
        else:
            said = booster.predict(table)
        return {name: _as_probabilities(np.asarray(said, np.float32), booster, kind)}

    return native


def _as_probabilities(said: Any, booster: Any, kind: str) -> Any:
    """Two columns for a binary classifier, as its converter writes them; else (rows, outputs)."""
    objective = (json.loads(booster.save_config())["learner"]["objective"]["name"] if kind == "xgboost"
                 else str(booster.params.get("objective", "")))
    if objective.startswith("binary") and said.ndim == 1:
        return np.stack([1 - said, said], axis=1)
    return said.reshape(len(said), -1)
