"""From a scikit-learn model to ONNX, without what is known to convert silently wrong."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import Unconvertible
from ..runtime import native as runtime
from . import graph, hist_trees, mending, words_of_text
from .words import OPSET, Arrays, Column, Converted, Kept, Step, Wanted

if TYPE_CHECKING:
    import onnx

# Found by comparing (skl2onnx 1.20): these convert without an error and then answer differently, or not at all.
IN_A_PIPELINE = ("categorical_features inside a pipeline; Next: train it on the table itself, or encode them with a "
                 "OneHotEncoder before it")
REFUSED: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "HistGradientBoostingClassifier": (hist_trees.has_categories, IN_A_PIPELINE),
    "HistGradientBoostingRegressor": (hist_trees.has_categories, IN_A_PIPELINE),
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
    model = loaded(folder, wanted)
    if hist_trees.has_categories(model):
        yield _grown(model, wanted)
        return
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
                        inputs, (_output(model, wanted),), labels(model), texts, tuple(steps(rest)))
    if not found:
        raise Unconvertible(reasons[0])


def _grown(model: Any, wanted: Wanted) -> Converted:
    """Trees with categories of their own, written here."""
    columns, inputs = {place: choice for place, choice in hist_trees.places(model) if choice}, wanted.inputs
    if runtime.is_table(inputs):
        inputs = tuple(replace(c, known=columns[place].categories) if place in columns else c
                       for place, c in enumerate(inputs))
    source = {"format": "sklearn", "opset": str(OPSET), "precision": "float64",
              **{name: version(name) for name in ("scikit-learn", "onnxruntime")}}
    output = _output(model, wanted)
    return Converted(hist_trees.model_of(model, inputs, output), native(model, inputs, wanted), source, inputs,
                     (output,), labels(model))


def kept(folder: Path, wanted: Wanted, why: str) -> Converted:
    """The model as it is stored, to be served by scikit-learn itself.

    Args:
        folder, wanted: as for `candidates`.
        why: why there is no ONNX.

    Raises:
        Unconvertible: it is a pickle, has no signature, or a look inside finds what could run code.
    """
    from registry import harms

    model, path = loaded(folder, wanted), folder / _stored(wanted)
    if found := harms(path):
        raise Unconvertible(f"{path.name} {'; '.join(found)}; Next: use scikit-learn's own estimators and transformers")
    inputs = _with_known(wanted.inputs, model)
    tools = {name: version(name) for name in (*runtime.SAME, "skops")}
    return Converted(
        Kept(path, runtime.types_in(path).named), native(model, inputs, wanted),
        {"format": "sklearn", "unconverted": why.partition("Next:")[0].rstrip(" ;."), **tools}, inputs,
        (_output(model, wanted),), labels(model), steps=tuple(steps(model)))


def loaded(folder: Path, wanted: Wanted) -> Any:
    """Which model is stored there? Never unpickles.

    Raises:
        Unconvertible: it is a pickle, has no signature, or is a skops file with types that are not scikit-learn's own.
    """
    flavor, stored = wanted.flavors["sklearn"], _stored(wanted)
    if flavor.get("serialization_format") != "skops":
        raise Unconvertible(f"{stored} is a pickle, which runs code when it is read; Next: log it again with "
                            'mlflow.sklearn.log_model(..., serialization_format="skops")')
    found = runtime.types_in(folder / stored)
    if found.strange:
        raise Unconvertible(f"{stored} holds {', '.join(found.strange)}, which is not scikit-learn's; Next: use "
                            "scikit-learn's own estimators and transformers")
    if not wanted.inputs:
        raise Unconvertible("the model was logged without a signature, so nothing says what a request holds; "
                            "Next: log it with signature=infer_signature(...)")
    return runtime.load(folder / stored, found.named)


def _stored(wanted: Wanted) -> str:
    return str(wanted.flavors["sklearn"].get("pickled_model", runtime.SKOPS))


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


def steps(model: Any, columns: Any = ()) -> Iterator[Step]:
    """What does this model do to its inputs before it predicts? In order, with the columns where they are named."""
    for found in ("best_estimator_", "estimator_"):
        if hasattr(model, found):
            yield from steps(getattr(model, found), columns)
            return
    parts: list[tuple[Any, Any]] = [
        (part, columns) for _, part in (*getattr(model, "steps", ()), *getattr(model, "transformer_list", ()))]
    parts += [(part, named) for _, part, named in getattr(model, "transformers_", ())]
    for part, named in parts:
        yield from steps(part, named)
    if not parts and hasattr(model, "transform") and hasattr(model, "get_params"):
        facts = {name: value if value == value else "nan" for name, value in model.get_params(deep=False).items()
                 if name not in ("copy", "n_jobs") and isinstance(value, (str, int, float, bool))}
        listed = columns if isinstance(columns, (list, tuple)) else [columns]
        yield Step(type(model).__name__, tuple(c for c in listed if isinstance(c, str)), facts)


def labels(model: Any) -> tuple[str, ...]:
    """What are the classes called, where the model answers with their probabilities?"""
    return tuple(str(c) for c in model.classes_) if hasattr(model, "predict_proba") else ()


def native(model: Any, inputs: tuple[Column, ...], wanted: Wanted) -> Callable[[Arrays], Arrays]:
    """How does the model itself answer arrays?"""
    name = _output(model, wanted)
    return lambda arrays: {name: runtime.answer(model, arrays, inputs)}


def _output(model: Any, wanted: Wanted) -> str:
    return wanted.output or ("probabilities" if hasattr(model, "predict_proba") else "prediction")


def _refuse_silently_wrong(model: Any) -> None:
    for part in estimators(model):
        kind = type(part).__name__
        if kind in REFUSED and REFUSED[kind][0](part):
            raise Unconvertible(f"{kind} cannot be converted with {REFUSED[kind][1]}")


def _with_known(inputs: tuple[Column, ...], model: Any) -> tuple[Column, ...]:
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

    if not runtime.is_table(inputs):
        return [(inputs[0].name, of(inputs[0])([None, *inputs[0].shape[1:]]))]
    if _takes_columns(model) or {c.dtype for c in inputs} == {"string"}:
        return [(c.name, of(c)([None, 1])) for c in inputs]
    return [("slipway_table", of(inputs[0])([None, len(inputs)]))]


def _takes_columns(model: Any) -> bool:
    head = model.steps[0][1] if getattr(model, "steps", None) else model
    return hasattr(head, "transformers_")


def _named(made: onnx.ModelProto, model: Any, inputs: tuple[Column, ...], wanted: Wanted) -> onnx.ModelProto:
    from onnx import helper

    table = runtime.is_table(inputs) and [t.name for t in made.graph.input] == ["slipway_table"]
    _keep_one_output(made, probabilities=hasattr(model, "predict_proba"))
    # In the order given, and all of them, but "mean radius" as mean_radius: skl2onnx makes identifiers of names.
    given = ["slipway_table"] if table else [c.name for c in inputs]
    names = dict(zip((t.name for t in made.graph.input), given, strict=True))
    ready = graph.canonical(made, names, [_output(model, wanted)])
    if table:
        graph.join_columns(ready, "slipway_table", [c.name for c in inputs])
    elif runtime.is_table(inputs):
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
