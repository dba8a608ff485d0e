"""From a scikit-learn model to ONNX, without what is known to convert silently wrong."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import Unconvertible
from . import graph, mending, words_of_text
from .words import OPSET, Arrays, Column, Converted, Wanted

if TYPE_CHECKING:
    import onnx

# skops names each function beside the partial that holds it, so a partial is as safe as what it is made of.
SAFE = ("sklearn.", "numpy.", "scipy.", "builtins.", "functools.partial")
# Found by comparing (skl2onnx 1.20): these convert without an error and then answer differently, or not at all.
REFUSED: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "HistGradientBoostingClassifier": (lambda m: getattr(m, "is_categorical_", None) is not None,
                                       "categorical_features; Next: encode them with a OneHotEncoder before it"),
    "HistGradientBoostingRegressor": (lambda m: getattr(m, "is_categorical_", None) is not None,
                                      "categorical_features; Next: encode them with a OneHotEncoder before it"),
    "TfidfTransformer": (lambda m: m.sublinear_tf, "sublinear_tf; Next: train with sublinear_tf=False"),
    "HashingVectorizer": (lambda m: True, "hashing; Next: use a CountVectorizer or TfidfVectorizer"),
    "FunctionTransformer": (lambda m: m.func is not None, "a Python function; Next: use one of scikit-learn's own "
                                                          "transformers, or transform before the request"),
}


def candidates(folder: Path, wanted: Wanted) -> Iterator[Converted]:
    """Which ONNX models may answer as this scikit-learn model does? Double precision before single.

    Raises:
        Unconvertible: it is a pickle, has no signature, or holds what does not convert rightly.
    """
    model = loaded(folder, wanted.flavors["sklearn"])
    if not wanted.inputs:
        raise Unconvertible("the model was logged without a signature, so nothing says what a request holds; "
                            "Next: log it with signature=infer_signature(...)")
    _refuse_silently_wrong(model)
    inputs = _with_known(wanted.inputs, model)
    answers = native(model, inputs, wanted)
    rest, given, texts = _without_counting(model, inputs)
    tools = {"scikit-learn": version("scikit-learn"), "skl2onnx": version("skl2onnx"),
             "onnxruntime": version("onnxruntime")}
    found, reasons = False, []
    for precision in _precisions(given):
        try:
            made = _export(rest, given, precision)
            ready = _named(made, rest, given, wanted)
        except Unconvertible as error:
            reasons.append(str(error))
            continue
        found = True
        yield Converted(ready, answers, {"format": "sklearn", "opset": str(OPSET), "precision": precision, **tools},
                        inputs, (_output(model, wanted),), labels(model), texts)
    if not found:
        raise Unconvertible(reasons[0])


def loaded(folder: Path, flavor: dict[str, Any]) -> Any:
    """Which model is stored there? Never unpickles.

    Raises:
        Unconvertible: it is a pickle, or a skops file with types that are not scikit-learn's own.
    """
    stored = flavor.get("pickled_model", "model.skops")
    if flavor.get("serialization_format") != "skops":
        raise Unconvertible(f"{stored} is a pickle, which runs code when it is read; Next: log it again with "
                            'mlflow.sklearn.log_model(..., serialization_format="skops")')
    import skops.io

    strange = [t for t in skops.io.get_untrusted_types(file=folder / stored) if not t.startswith(SAFE)]
    if strange:
        raise Unconvertible(f"{stored} holds {', '.join(sorted(strange))}, which is not scikit-learn's; Next: use "
                            "scikit-learn's own estimators and transformers")
    trusted = skops.io.get_untrusted_types(file=folder / stored)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return skops.io.load(folder / stored, trusted=trusted)


def estimators(model: Any) -> Iterator[Any]:
    """Which estimators does this model consist of, itself first?"""
    yield model
    inner: list[Any] = [step for _, step in getattr(model, "steps", ())]
    inner += [part[1] for part in getattr(model, "transformers_", ())]
    inner += [part for _, part in getattr(model, "transformer_list", ())]
    inner += [getattr(model, name) for name in ("estimator", "estimator_", "best_estimator_") if hasattr(model, name)]
    for part in inner:
        if hasattr(part, "get_params"):
            yield from estimators(part)


def labels(model: Any) -> tuple[str, ...]:
    """What are the classes called, where the model answers with their probabilities?"""
    return tuple(str(c) for c in model.classes_) if hasattr(model, "predict_proba") else ()


def native(model: Any, inputs: tuple[Column, ...], wanted: Wanted) -> Callable[[Arrays], Arrays]:
    """How does the model itself answer arrays?"""
    name, found = _output(model, wanted), words_of_text.split(model)
    as_list = found is not None and found[1] is None

    def answer(arrays: Arrays) -> Arrays:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            given = arrays[inputs[0].name].tolist() if as_list else frame(arrays, inputs)
            said = model.predict_proba(given) if hasattr(model, "predict_proba") else model.predict(given)
        said = np.asarray(said)
        return {name: said.astype(object) if said.dtype.kind in "US" else said}

    return answer


def frame(arrays: Arrays, inputs: tuple[Column, ...]) -> Any:
    """The arrays as the model takes them: a DataFrame of columns, or the one array."""
    if is_table(inputs):
        import pandas as pd

        return pd.DataFrame({c.name: pd.Series(arrays[c.name].tolist() if c.dtype == "string" else arrays[c.name],
                                               dtype=object if c.dtype == "string" else arrays[c.name].dtype)
                             for c in inputs})
    return arrays[inputs[0].name]


def is_table(inputs: tuple[Column, ...]) -> bool:
    """Are these the columns of a table?"""
    return all(len(c.shape) == 1 for c in inputs)


def _output(model: Any, wanted: Wanted) -> str:
    return wanted.output or ("probabilities" if hasattr(model, "predict_proba") else "prediction")


def _refuse_silently_wrong(model: Any) -> None:
    for part in estimators(model):
        kind = type(part).__name__
        if kind in REFUSED and REFUSED[kind][0](part):
            raise Unconvertible(f"{kind} cannot be converted with {REFUSED[kind][1]}")


def _with_known(inputs: tuple[Column, ...], model: Any) -> tuple[Column, ...]:
    from dataclasses import replace

    known: dict[str, tuple[str | int, ...]] = {}
    for part in estimators(model):
        for _, encoder, columns in getattr(part, "transformers_", ()):
            last = list(estimators(encoder))[-1]
            if hasattr(last, "categories_") and len(last.categories_) == len(columns):
                known |= {str(c): tuple(v.item() if isinstance(v, np.generic) else v for v in values)
                          for c, values in zip(columns, last.categories_, strict=True)}
    return tuple(replace(c, known=tuple(v for v in known.get(c.name, ()) if v == v)) for c in inputs)


def _without_counting(model: Any, inputs: tuple[Column, ...]) -> tuple[Any, tuple[Column, ...], dict[str, Any]]:
    """What is left to convert when the counting of words is ported, and what it is given."""
    found = words_of_text.split(model)
    if found is None or len(inputs) != 1 or inputs[0].dtype != "string":
        return model, inputs, {}
    bag, _, rest = found
    given = (Column(inputs[0].name, "float64", (None, len(bag.vocabulary))),)
    return rest, given, {inputs[0].name: bag}


def _precisions(inputs: tuple[Column, ...]) -> tuple[str, ...]:
    numbers = {c.dtype for c in inputs if c.dtype != "string"}
    if numbers <= {"float32"}:
        return ("float32", "float64")
    return ("float64", "float32", "mixed") if any(c.dtype.startswith("int") for c in inputs) else ("float64", "float32")


def _export(model: Any, inputs: tuple[Column, ...], precision: str) -> onnx.ModelProto:
    from skl2onnx import convert_sklearn

    last = list(_ends(model))
    options: dict[int, Any] = {id(m): {"zipmap": False} for m in last if hasattr(m, "predict_proba")}
    for part in estimators(model):
        if type(part).__name__ in words_of_text.COUNTERS:
            raise Unconvertible(f"{type(part).__name__} beside other columns cannot be converted rightly; Next: make "
                                "it the pipeline's first step, or the only part of its ColumnTransformer")
        if type(part).__name__ in ("StandardScaler", "RobustScaler", "MaxAbsScaler"):
            options[id(part)] = {"div": "div"}  # as scikit-learn computes it; a tree's threshold shows the difference
        if type(part).__name__ == "LinearSVC":
            options[id(part)] = {"raw_scores": True}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            made = convert_sklearn(model, initial_types=_types(model, inputs, precision), options=options,
                                   target_opset={"": OPSET, "ai.onnx.ml": 3})
    except Exception as error:  # noqa: BLE001 - skl2onnx raises whatever its converters trip over
        raise Unconvertible(f"skl2onnx does not convert this model: {type(error).__name__}: {graph.first_line(error)}. "
                            "Next: replace the estimator that it names") from None
    mending.exact(made, estimators(model))
    return made  # type: ignore[no-any-return]  # skl2onnx has no annotations


def _ends(model: Any) -> Iterator[Any]:
    yield model
    if getattr(model, "steps", None):
        yield from _ends(model.steps[-1][1])


def _types(model: Any, inputs: tuple[Column, ...], precision: str) -> list[tuple[str, Any]]:
    from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType, Int64TensorType, StringTensorType

    def of(column: Column) -> Any:
        if column.dtype == "string":
            return StringTensorType
        if column.dtype.startswith("int") and precision == "mixed":
            return Int64TensorType
        return DoubleTensorType if precision == "float64" else FloatTensorType

    if not is_table(inputs):
        return [(inputs[0].name, of(inputs[0])([None, *inputs[0].shape[1:]]))]
    if _takes_columns(model) or {c.dtype for c in inputs} == {"string"}:
        return [(c.name, of(c)([None, 1])) for c in inputs]
    return [("slipway_table", of(inputs[0])([None, len(inputs)]))]


def _takes_columns(model: Any) -> bool:
    head = model.steps[0][1] if getattr(model, "steps", None) else model
    return hasattr(head, "transformers_")


def _named(made: onnx.ModelProto, model: Any, inputs: tuple[Column, ...], wanted: Wanted) -> onnx.ModelProto:
    from onnx import helper

    table = is_table(inputs) and [t.name for t in made.graph.input] == ["slipway_table"]
    _keep_one_output(made, probabilities=hasattr(model, "predict_proba"))
    # In the order given, and all of them, but "mean radius" as mean_radius: skl2onnx makes identifiers of names.
    given = ["slipway_table"] if table else [c.name for c in inputs]
    names = dict(zip((t.name for t in made.graph.input), given, strict=True))
    ready = graph.canonical(made, names, [_output(model, wanted)])
    if table:
        graph.join_columns(ready, "slipway_table", [c.name for c in inputs])
    elif is_table(inputs):
        graph.accept_flat(ready, [c.name for c in inputs])
    for column in inputs:
        kind = np.dtype(object) if column.dtype == "string" else np.dtype(column.dtype)
        graph.take_as(ready, column.name, helper.np_dtype_to_tensor_dtype(kind))
    if not hasattr(model, "predict_proba"):
        graph.answer_flat(ready, _output(model, wanted))
    return graph.optimised(ready)


def _keep_one_output(made: onnx.ModelProto, *, probabilities: bool) -> None:
    outputs = made.graph.output
    kept = outputs[1] if probabilities and len(outputs) > 1 else outputs[0]
    name = kept.name
    for value in [v for v in outputs if v.name != name]:
        outputs.remove(value)
