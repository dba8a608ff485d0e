"""What the server says about itself: an OpenAPI description from the signature, and a page to try a request by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from .. import images
from ..core import Predictor
from ..exchange import CSV, JSON, NPY, TEXT, taken
from ..manifest import Manifest, Tensor
from .settings import Settings

PAGE = Path(__file__).with_name("try.html")
WIDE = 3e38  # the largest number that fits a float32, rounded down
REFUSALS = {400: "not readable", 406: "no such answer", 411: "no length", 413: "too large", 415: "no such content type",
            422: "does not fit the signature", 500: "the model failed", 503: "too many requests wait"}


def of(predictor: Predictor, settings: Settings) -> dict[str, tuple[str, bytes]]:
    """Which pages are served, by path?"""
    manifest = predictor.manifest
    facts = {"model": f"{manifest.name}/{manifest.version}", "name": manifest.name, "version": manifest.version,
             "digest": manifest.digest, "path": settings.answers, "kind": _kind(manifest), "labels": manifest.labels,
             "inputs": [_facts(t) for t in manifest.inputs]}
    page = PAGE.read_text(encoding="utf-8").replace("__FACTS__", json.dumps(facts).replace("<", "\\u003c"))
    described = json.dumps(openapi(predictor, settings)).encode()
    return {"/": ("text/html; charset=utf-8", page.encode()), "/openapi.json": (JSON, described)}


def openapi(predictor: Predictor, settings: Settings) -> dict[str, Any]:
    """How is this model asked, in OpenAPI 3.1?"""
    manifest = predictor.manifest
    error = {JSON: {"schema": {"$ref": "#/components/schemas/Error"}}}
    refusals = {str(status): {"description": text, "content": error} for status, text in REFUSALS.items()}
    ask = {
        "operationId": "predict", "summary": f"Ask {manifest.name}/{manifest.version} for predictions",
        "requestBody": {"required": True, "content": _bodies(predictor)},
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


def _bodies(predictor: Predictor) -> dict[str, Any]:
    rows = predictor.limits.rows
    bodies: dict[str, Any] = {JSON: {"schema": _asked(predictor.manifest, rows)}}
    for kind in taken(predictor)[1:]:
        bodies[kind] = {"schema": {"type": "string"}} if kind in (CSV, TEXT) else {
            "schema": {"type": "string", "format": "binary"}}
    # Text that is no CSV, and bytes that are no picture, cannot be told by a schema: only JSON is described in full.
    return {JSON: bodies[JSON]} | {k: v for k, v in bodies.items() if k == TEXT}


def _asked(manifest: Manifest, rows: int) -> dict[str, Any]:
    row: dict[str, Any] = {"type": "object", "required": [t.name for t in manifest.inputs],
                           "properties": {t.name: _value(t) for t in manifest.inputs}}
    if len(manifest.inputs) == 1:
        row = _value(manifest.inputs[0])
    return {"type": "object", "required": ["instances"], "additionalProperties": False, "properties": {
        "instances": {"type": "array", "minItems": 1, "maxItems": rows, "items": row}}}


def _value(tensor: Tensor) -> dict[str, Any]:
    schema = _leaf(tensor)
    if tensor.missing and len(tensor.shape) == 1:
        schema = {"anyOf": [schema, {"type": "null"}]}
    for size in reversed(tensor.shape[1:]):
        schema = {"type": "array", "items": schema, "minItems": size or 1, "maxItems": size or 4}
    return schema


def _leaf(tensor: Tensor) -> dict[str, Any]:
    if tensor.dtype == "string":
        return {"type": "string", "enum": list(tensor.known)} if tensor.closed else {"type": "string"}
    if tensor.dtype == "bool":
        return {"type": "boolean"}
    if tensor.dtype.startswith(("int", "uint")):
        low, high = tensor.bounds or (0, 127)
        return {"type": "integer", "minimum": low, "maximum": high}
    low_seen, high_seen = tensor.seen or (0.0, 1.0)
    span = (high_seen - low_seen) or 1.0
    # As far out as the conversion was compared with the native model; farther is taken, and not described.
    return {"type": "number", "minimum": max(-WIDE, low_seen - 10 * span), "maximum": min(WIDE, high_seen + 10 * span)}


def _answer(manifest: Manifest) -> dict[str, Any]:
    who = {"type": "object", "required": ["name", "version", "digest"], "properties": {
        "name": {"const": manifest.name}, "version": {"const": manifest.version}, "digest": {"const": manifest.digest}}}
    labels = {"type": "array", "items": {"enum": list(manifest.labels)}} if manifest.labels else {"type": "array"}
    return {"type": "object", "required": ["predictions", "model"], "properties": {
        "predictions": {}, "labels": labels, "unknown": {"type": "array", "items": {"type": "object"}}, "model": who}}


def _headers() -> dict[str, Any]:
    return {name: {"schema": {"type": "string"}} for name in ("X-Model", "X-Model-Digest")}


def _kind(manifest: Manifest) -> str:
    if images.is_image(manifest.inputs):
        return "image"
    return "text" if len(manifest.inputs) == 1 and manifest.inputs[0].dtype == "string" else "form"


def _facts(tensor: Tensor) -> dict[str, Any]:
    return {"name": tensor.name, "type": tensor.dtype, "shape": list(tensor.shape[1:]), "seen": tensor.seen,
            "bounds": tensor.bounds, "known": list(tensor.known[:200]), "missing": tensor.missing,
            "closed": tensor.closed}
