"""What does the runtime take, in OpenAPI 3.1? No more and no less, as far as a schema can say it."""

from __future__ import annotations

from typing import Any

from ..core import Predictor
from ..exchange import CSV, JSON, NPY, TEXT, taken
from ..manifest import Manifest, Tensor
from .settings import Settings

Schema = dict[str, Any]
REFUSALS = {
    400: "not readable", 406: "no such answer", 411: "no length", 413: "too large", 415: "no such content type",
    422: "does not fit the signature, or numbers far beyond those the model was tried on overflow in it",
    500: "the model failed, or its answer is not finite",
    503: "too many requests wait"}
# What MLflow, TensorFlow Serving and Vertex AI send along, and the runtime leaves aside.
ALONG: Schema = {name: {"description": "left aside"} for name in ("params", "signature_name", "parameters")}

# The first double that rounds up past the largest number of a type: half a step above it.
PAST = {"float16": 65520.0, "float32": 2.0**128 - 2.0**103}


def openapi(predictor: Predictor, settings: Settings) -> Schema:
    """How is this model asked?"""
    manifest = predictor.manifest
    error = {JSON: {"schema": {"$ref": "#/components/schemas/Error"}}}
    refusals = {str(status): {"description": text, "content": error} for status, text in REFUSALS.items()}
    ask = {
        "operationId": "predict", "summary": f"Ask {manifest.name}/{manifest.version} for predictions",
        "requestBody": {"required": True, "description": _also(predictor), "content": _bodies(predictor)},
        "responses": {"200": {"description": "the predictions", "headers": _headers(), "content": {
            JSON: {"schema": {"$ref": "#/components/schemas/Answer"}},
            CSV: {"schema": {"type": "string"}}, NPY: {"schema": {"type": "string", "format": "binary"}}}}, **refusals}}
    health = {"operationId": "ping", "summary": "Does the model answer?", "responses": {
        "200": {"description": "it answered its first golden request", "content": {JSON: {"schema": {
            "type": "object"}}}}}}
    return {
        "openapi": "3.1.0",
        "info": {"title": manifest.name, "version": str(manifest.version), "description": f"release {manifest.digest}"},
        "paths": {settings.answers: {"post": ask}, settings.health: {"get": health}},
        "components": {"schemas": {"Answer": _answer(manifest), "Error": {
            "type": "object", "required": ["error"], "properties": {"error": {"type": "string"}}}}}}


def _also(predictor: Predictor) -> str:
    # Text that is no CSV, and bytes that are no picture, cannot be told by a schema: only JSON and text have one.
    others = [kind for kind in taken(predictor) if kind not in (JSON, TEXT)]
    return f"Taken as well: {', '.join(others)}. Any body may be gzip." if others else "Any body may be gzip."


def _bodies(predictor: Predictor) -> Schema:
    bodies: Schema = {JSON: {"schema": _asked(predictor.manifest.inputs, predictor.limits.rows)}}
    if TEXT in taken(predictor):
        bodies[TEXT] = {"schema": _leaf(predictor.manifest.inputs[0])}
    return bodies


def _asked(tensors: tuple[Tensor, ...], most: int) -> Schema:
    rows = {"oneOf": [_list(row, most) for row in _rows(tensors)]}
    return {"oneOf": [
        _form("instances", rows), _form("dataframe_records", rows), _form("inputs", _inputs(tensors, most)),
        _form("dataframe_split", _split(tensors, most)), *rows["oneOf"]]}


def _form(name: str, value: Schema) -> Schema:
    return {"type": "object", "required": [name], "additionalProperties": False, "properties": {name: value, **ALONG}}


def _list(items: Schema, most: int) -> Schema:
    return {"type": "array", "minItems": 1, "maxItems": most, "items": items}


def _rows(tensors: tuple[Tensor, ...]) -> list[Schema]:
    """What may one row be? All rows of a request have the same form."""
    named = {"type": "object", "required": [t.name for t in tensors],
             "properties": {t.name: _value(t) for t in tensors}}
    if len(tensors) == 1:
        return [_value(tensors[0]), named]
    return [named, _in_order(tensors)] if all(len(t.shape) == 1 for t in tensors) else [named]


def _in_order(tensors: tuple[Tensor, ...]) -> Schema:
    return {"type": "array", "prefixItems": [_value(t) for t in tensors], "items": False,
            "minItems": len(tensors), "maxItems": len(tensors)}


def _inputs(tensors: tuple[Tensor, ...], most: int) -> Schema:
    named = {"type": "object", "required": [t.name for t in tensors], "additionalProperties": False,
             "description": "each input with the same number of rows",
             "properties": {t.name: _list(_value(t), most) for t in tensors}}
    return {"oneOf": [named, _list(_value(tensors[0]), most)]} if len(tensors) == 1 else named


def _split(tensors: tuple[Tensor, ...], most: int) -> Schema:
    first, names = tensors[0], [t.name for t in tensors]
    said = "in this order, or in any other that the rows follow; further columns are left aside"
    columns: Schema = {"const": names, "description": said}
    row, required = _in_order(tensors), ["data"]
    if len(tensors) == 1 and len(first.shape) == 2:
        wide = {"minItems": first.shape[1], "maxItems": first.shape[1]} if first.shape[1] else {}
        columns = {"type": "array", "items": {"type": ["string", "integer"]}, **wide}
        row, required = _value(first), ["columns", "data"]
    return {"type": "object", "required": required,
            "properties": {"columns": columns, "data": _list(row, most)}}


def _value(tensor: Tensor) -> Schema:
    schema = _leaf(tensor)
    if tensor.missing and len(tensor.shape) == 1 and _has_holes(tensor):
        schema = {"anyOf": [schema, {"type": "null"}]}
    for size in reversed(tensor.shape[1:]):
        schema = {"type": "array", "items": schema, **({"minItems": size, "maxItems": size} if size else {
            "description": "as long as in every other row"})}
    return schema


def _has_holes(tensor: Tensor) -> bool:
    """Is there a value of this type that stands for a missing one?"""
    return tensor.dtype == "string" or (tensor.dtype.startswith("float") and not tensor.closed)


def _leaf(tensor: Tensor) -> Schema:
    if tensor.closed:
        return {"enum": [*tensor.known, *([""] if tensor.missing and tensor.dtype == "string" else [])]}
    if tensor.dtype == "string":
        refused = tensor.known and not tensor.missing and len(tensor.shape) == 1
        return {"type": "string", **({"minLength": 1} if refused else {})}
    if tensor.dtype == "bool":
        return {"type": "boolean"}
    if tensor.dtype.startswith(("int", "uint")):
        low, high = tensor.bounds or _whole(tensor.dtype)
        return {"type": "integer", "minimum": low, "maximum": high}
    past = PAST.get(tensor.dtype)
    return {"type": "number", **({"exclusiveMinimum": -past, "exclusiveMaximum": past} if past else {}),
            **_trained(tensor)}


def _whole(dtype: str) -> tuple[int, int]:
    """Which whole numbers does this type hold?"""
    bits = int(dtype.lstrip("uint"))
    return (0, 2**bits - 1) if dtype.startswith("u") else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


def _trained(tensor: Tensor) -> Schema:
    """Where did the numbers lie that the model was trained and compared on? No bound: others are answered as well."""
    if not tensor.seen:
        return {}
    low, high = tensor.seen
    return {"description": f"{low:g} to {high:g} where the model was tried; others are taken",
            "examples": [low] if low == high else [low, high]}


def _answer(manifest: Manifest) -> Schema:
    who = {"type": "object", "required": ["name", "version", "digest"], "properties": {
        "name": {"const": manifest.name}, "version": {"const": manifest.version}, "digest": {"const": manifest.digest}}}
    labels = {"type": "array", "items": {"enum": list(manifest.labels)}} if manifest.labels else {"type": "array"}
    predictions = {"type": "array"} if len(manifest.outputs) == 1 else {
        "type": "object", "required": [t.name for t in manifest.outputs]}
    return {"type": "object", "required": ["predictions", "model"], "properties": {
        "predictions": predictions, "labels": labels, "unknown": {"type": "array", "items": {"type": "object"}},
        "model": who}}


def _headers() -> Schema:
    return {name: {"schema": {"type": "string"}} for name in ("X-Model", "X-Model-Digest")}
