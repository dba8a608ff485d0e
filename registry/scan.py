"""Could any file of a model run code while it is loaded? Looks inside every file; what it does not know, it names.

An allow-list: a format is known here, with all that may stand in it, or it is a finding. Pickles, Keras Lambda layers
and custom objects are findings wherever they hide: in the archive, in nested models, in a functional graph.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from registry import scan_keras, scan_skops
from registry.measured import Scan

_LOADERS = frozenset(f"mlflow.{name}" for name in ("sklearn", "tensorflow", "keras", "onnx", "xgboost", "lightgbm"))
_MOST_FINDINGS = 20


def scan(folder: Path, files: list[str]) -> Scan:
    """Look into these files of a downloaded model."""
    found = [f"{name}: {what}" for name in files for what in _look(folder / name)]
    return Scan(len(files), tuple(found[:_MOST_FINDINGS]))


def harms(path: Path) -> tuple[str, ...]:
    """What in this one file could run code while it is loaded?"""
    return tuple(_look(path))


def _look(path: Path) -> Iterator[str]:
    try:
        head = path.open("rb").read(4)
        if head[:1] == b"\x80" and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
            yield "is a pickle"
            return
        look = _LOOKS.get("MLmodel" if path.name == "MLmodel" else path.suffix.lower())
        if look is None:
            yield "is of a format that is not known to be free of code"
        else:
            yield from look(path)
    except (ValueError, OSError, KeyError, TypeError, zipfile.BadZipFile, yaml.YAMLError, RecursionError) as error:
        yield f"cannot be read as what its name says: {str(error).partition(chr(10))[0][:200]}"


def _mlmodel(path: Path) -> Iterator[str]:
    said = yaml.safe_load(path.read_text(encoding="utf-8"))
    for flavour, options in (said.get("flavors") or {}).items():
        loader = (options or {}).get("loader_module")
        if loader is not None and loader not in _LOADERS:
            yield f"is loaded by {loader}, which runs the model's own code"
        if (options or {}).get("code"):
            yield f"flavour {flavour} brings code along"
        if (options or {}).get("custom_objects"):
            yield f"flavour {flavour} brings custom objects along"


def _text(path: Path) -> Iterator[str]:
    path.read_text(encoding="utf-8")
    return iter(())


def _yaml(path: Path) -> Iterator[str]:
    yaml.safe_load(path.read_text(encoding="utf-8"))
    return iter(())


def _json(path: Path) -> Iterator[str]:
    json.loads(path.read_text(encoding="utf-8"))
    return iter(())


def _npy(path: Path) -> Iterator[str]:
    yield from _array(path.read_bytes(), path.name)


def _npz(path: Path) -> Iterator[str]:
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            yield from _array(archive.read(name), name)


def _array(body: bytes, name: str) -> Iterator[str]:
    """An array of Python objects is a pickle; the header says so, and nothing else is read."""
    stream = io.BytesIO(body)
    version = np.lib.format.read_magic(stream)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    _, _, dtype = read(stream)
    if dtype.hasobject:
        yield f"{name} holds Python objects, which are a pickle"


def _entries(archive: zipfile.ZipFile) -> Iterator[str]:
    for name in archive.namelist():
        if name.startswith(("/", "\\")) or ".." in name.split("/"):
            yield f"holds {name}, outside of it"
        if archive.read(name)[:2] in (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"):
            yield f"holds the pickle {name}"


def _keras(path: Path) -> Iterator[str]:
    with zipfile.ZipFile(path) as archive:
        yield from _entries(archive)
        for name in archive.namelist():
            if name not in ("config.json", "metadata.json", "model.weights.h5") and not name.startswith("assets/"):
                yield f"holds {name}, which no .keras file has"
        yield from scan_keras.findings(json.loads(archive.read("config.json")))
        if "model.weights.h5" in archive.namelist():
            yield from scan_keras.outward(io.BytesIO(archive.read("model.weights.h5")))


def _h5(path: Path) -> Iterator[str]:
    config: Any = scan_keras.config_of(path)
    if config is not None:
        yield from scan_keras.findings(config)
    yield from scan_keras.outward(path)


def _skops(path: Path) -> Iterator[str]:
    with zipfile.ZipFile(path) as archive:
        yield from _entries(archive)
        for name in archive.namelist():
            if name.endswith(".npy"):
                yield from _array(archive.read(name), name)
            elif name != "schema.json" and not name.endswith(".npz"):
                yield f"holds {name}, which no .skops file has"
        yield from scan_skops.findings(json.loads(archive.read("schema.json")))


def _onnx(path: Path) -> Iterator[str]:
    """Graphs of operators only; one that reads other files of the machine is a finding."""
    import onnx

    for tensor in _tensors(onnx.load(str(path), load_external_data=False)):
        for entry in tensor.external_data:
            if entry.key == "location" and (entry.value.startswith("/") or ".." in entry.value.split("/")):
                yield f"reads {entry.value}, outside of the model"


def _tensors(message: Any) -> Iterator[Any]:
    """Every tensor: weights, and constants of nodes, of inner graphs and of functions, all read from files alike."""
    if message.DESCRIPTOR.name == "TensorProto":
        yield message
    for field, value in message.ListFields():
        if field.message_type:
            for part in value if isinstance(value, Sequence) else (value,):
                yield from _tensors(part)


_LOOKS: dict[str, Callable[[Path], Iterator[str]]] = {
    "MLmodel": _mlmodel, ".yaml": _yaml, ".yml": _yaml, ".json": _json, ".txt": _text, ".md": _text, ".csv": _text,
    ".npy": _npy, ".npz": _npz, ".keras": _keras, ".h5": _h5, ".hdf5": _h5, ".skops": _skops, ".onnx": _onnx,
    ".ubj": lambda path: iter(()),  # XGBoost's own binary JSON: numbers and strings
    ".lgb": _text,  # LightGBM's own text
}  # fmt: skip
