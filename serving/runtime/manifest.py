"""What is in a bundle, as its manifest.json says it; read with the standard library alone."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .errors import BundleBroken

SCHEMA = 1
NAME = "manifest.json"


@dataclass(frozen=True, slots=True)
class Tensor:
    """What does one input or output look like?

    Attributes:
        name: the name that requests and the ONNX graph use.
        dtype: numpy's name of the type, such as ``float32``.
        shape: sizes, with None where any size will do; the first is the batch.
    """

    name: str
    dtype: str
    shape: tuple[int | None, ...]


@dataclass(frozen=True, slots=True)
class Parity:
    """How closely does the converted model follow the native one?

    Attributes:
        rows: golden requests compared.
        labels_equal: rows whose most likely label is the same; equals ``rows`` where there are no labels.
        max_abs_diff: the largest absolute difference of any output.
        tolerance: the largest difference that passes.
    """

    rows: int
    labels_equal: int
    max_abs_diff: float
    tolerance: float


@dataclass(frozen=True, slots=True)
class FileEntry:
    """Which bytes must a file have?"""

    path: str
    sha256: str
    size: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """What is served, what it came from, and why it may be served?

    Attributes:
        name, version, run_id, digest: the approved MLflow version; the digest covers the bytes that were approved.
        kind: ``classification``, ``regression`` or ``ranking``.
        labels: the name of each class, in the order of the probabilities; empty when there are none.
        source: what was converted, and with which tools and opset.
        verdicts, approvals: the sentences of the release's evidence, for a reader.
        files: every other file of the bundle.
    """

    name: str
    version: int
    run_id: str
    digest: str
    task: str
    kind: str
    labels: tuple[str, ...]
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    source: dict[str, str]
    parity: Parity
    verdicts: tuple[str, ...]
    approvals: tuple[str, ...]
    files: tuple[FileEntry, ...]
    schema: int = SCHEMA

    def to_bytes(self) -> bytes:
        """What are the bytes of manifest.json? The same for equal manifests, whatever the machine."""
        return (json.dumps(asdict(self), indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()


def parse(body: bytes) -> Manifest:
    """What does this manifest.json say?

    Raises:
        BundleBroken: it is not JSON, of another schema, or lacks a key.
    """
    try:
        raw: dict[str, Any] = json.loads(body)
    except ValueError as error:
        raise BundleBroken(f"{NAME} is not JSON: {error}") from None
    if raw.get("schema") != SCHEMA:
        raise BundleBroken(f"{NAME} has schema {raw.get('schema')!r}; this runtime reads {SCHEMA}")
    try:
        return Manifest(
            **{**raw, "labels": tuple(raw["labels"]), "inputs": _tensors(raw["inputs"]),
               "outputs": _tensors(raw["outputs"]), "parity": Parity(**raw["parity"]),
               "verdicts": tuple(raw["verdicts"]), "approvals": tuple(raw["approvals"]),
               "files": tuple(FileEntry(**f) for f in raw["files"])}
        )
    except (KeyError, TypeError) as error:
        raise BundleBroken(f"{NAME} is not a manifest: {error}") from None


def read(folder: Path) -> Manifest:
    """Which manifest does this bundle have, and are its files the ones it names?

    Raises:
        BundleBroken: every missing, changed and extra file is named.
    """
    if not (folder / NAME).is_file():
        raise BundleBroken(f"no {NAME} in {folder.name}: not a bundle, or its upload was cut off")
    manifest = parse((folder / NAME).read_bytes())
    if faults := differences(folder, manifest):
        raise BundleBroken(f"the bundle of {manifest.name}/{manifest.version} was altered: " + "; ".join(faults))
    return manifest


def differences(folder: Path, manifest: Manifest) -> list[str]:
    """How do the files of a bundle differ from its manifest? Empty when they do not."""
    wanted = {f.path: f for f in manifest.files}
    found = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()} - {NAME}
    faults = [f"{path} is missing" for path in sorted(wanted.keys() - found)]
    faults += [f"{path} is not in the manifest" for path in sorted(found - wanted.keys())]
    faults += [f"{path} was changed" for path in sorted(found & wanted.keys())
               if hashlib.sha256((folder / path).read_bytes()).hexdigest() != wanted[path].sha256]
    return faults


def _tensors(raw: list[dict[str, Any]]) -> tuple[Tensor, ...]:
    return tuple(Tensor(t["name"], t["dtype"], tuple(t["shape"])) for t in raw)
