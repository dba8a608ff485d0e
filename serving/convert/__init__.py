"""From the native model to ONNX: once, offline, and with the same bytes every time.

The face of this folder: one module for each kind of model, and what they share in graph.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..errors import Unconvertible
from .words import Arrays, Column, Converted, Wanted

__all__ = ["Arrays", "Column", "Converted", "Wanted", "candidates", "kept", "wanted_of"]

# MLflow's column types -> numpy's; what is not here has no place in an ONNX graph.
COLUMN_TYPES = {"float": "float32", "double": "float64", "integer": "int32", "long": "int64", "boolean": "bool",
                "string": "string"}
KINDS = ("keras", "tensorflow", "sklearn", "onnx", "xgboost", "lightgbm", "pytorch")


def candidates(folder: Path, wanted: Wanted) -> Iterator[Converted]:
    """Which ONNX models may answer as this MLflow model does? The best first; parity decides which one is used.

    Args:
        folder: the model's files, as MLflow stores them.
        wanted: what its MLmodel file says.

    Raises:
        Unconvertible: no safe way from this flavour to ONNX; the message names what stands in the way.
    """
    flavors = wanted.flavors
    if "tensorflow" in flavors or "keras" in flavors:
        from . import keras_

        options = flavors.get("tensorflow") or flavors["keras"]
        return keras_.candidates(folder / str(options.get("data", "data")), wanted)
    if "sklearn" in flavors:
        from . import sklearn_

        return sklearn_.candidates(folder, wanted)
    if "onnx" in flavors:
        from . import onnx_

        return onnx_.candidates(folder, wanted)
    if "xgboost" in flavors or "lightgbm" in flavors:
        from . import boosted

        return boosted.candidates(folder, wanted)
    if "pytorch" in flavors:
        from . import torch_

        return torch_.candidates(folder, wanted)
    found = ", ".join(sorted(flavors.keys() - {"python_function"})) or "python_function"
    raise Unconvertible(f"flavour {found} cannot be converted to ONNX; wanted one of {', '.join(KINDS)}")


def kept(folder: Path, wanted: Wanted, why: str) -> Converted | None:
    """The model as its framework serves it, where there is no ONNX; None where that is not supported.

    Raises:
        Unconvertible: it may not be loaded.
    """
    if "sklearn" not in wanted.flavors or wanted.flavors.keys() & {"tensorflow", "keras"}:
        return None
    from . import sklearn_

    return sklearn_.kept(folder, wanted, why)


def wanted_of(described: dict[str, Any], output: str | None) -> Wanted:
    """What does an MLmodel file want converted?

    Args:
        described: the file, parsed.
        output: the name that golden requests give to the single output.

    Raises:
        Unconvertible: the signature has a column that no ONNX graph can take.
    """
    import json

    signature = described.get("signature") or {}
    listed = json.loads(signature.get("inputs") or "[]")
    return Wanted(described["flavors"], tuple(_column(entry, index) for index, entry in enumerate(listed)), output)


def _column(entry: dict[str, Any], index: int) -> Column:
    name = str(entry.get("name") or f"input_{index}")
    if entry["type"] == "tensor":
        spec = entry["tensor-spec"]
        dtype = "string" if spec["dtype"] in ("str", "object") else str(spec["dtype"])
        return Column(name, dtype, (None, *(None if size < 0 else size for size in spec["shape"][1:])))
    if entry["type"] not in COLUMN_TYPES:
        raise Unconvertible(f"column {name!r} has type {entry['type']}, which no ONNX graph takes; Next: give it as a "
                            "number or as text")
    return Column(name, COLUMN_TYPES[entry["type"]], (None,))
