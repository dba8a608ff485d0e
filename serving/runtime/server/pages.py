"""What the server says about itself: an OpenAPI description from the signature, and a page to try a request by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from .. import images
from ..core import Predictor
from ..exchange import JSON
from ..manifest import Manifest, Tensor
from .description import openapi
from .settings import Settings

PAGE = Path(__file__).with_name("try.html")


def of(predictor: Predictor, settings: Settings) -> dict[str, tuple[str, bytes]]:
    """Which pages are served, by path?"""
    manifest = predictor.manifest
    facts = {"model": f"{manifest.name}/{manifest.version}", "name": manifest.name, "version": manifest.version,
             "digest": manifest.digest, "path": settings.answers, "kind": _kind(manifest), "labels": manifest.labels,
             "inputs": [_facts(t) for t in manifest.inputs]}
    page = PAGE.read_text(encoding="utf-8").replace("__FACTS__", json.dumps(facts).replace("<", "\\u003c"))
    described = json.dumps(openapi(predictor, settings)).encode()
    return {"/": ("text/html; charset=utf-8", page.encode()), "/openapi.json": (JSON, described)}


def _kind(manifest: Manifest) -> str:
    if images.is_image(manifest.inputs):
        return "image"
    return "text" if len(manifest.inputs) == 1 and manifest.inputs[0].dtype == "string" else "form"


def _facts(tensor: Tensor) -> dict[str, Any]:
    return {"name": tensor.name, "type": tensor.dtype, "shape": list(tensor.shape[1:]), "seen": tensor.seen,
            "bounds": tensor.bounds, "known": list(tensor.known[:200]), "missing": tensor.missing,
            "closed": tensor.closed}
