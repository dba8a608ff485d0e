"""From an approved release to a bundle: verified files, ONNX, golden requests, and the manifest that binds them."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import convert, parity
from .errors import BundleInvalid, Unconvertible
from .runtime import manifest as manifests
from .runtime.core import GOLDEN, MODEL, Golden, Predictor, read_golden
from .runtime.errors import BundleBroken
from .runtime.manifest import FileEntry, Manifest, Tensor

if TYPE_CHECKING:
    from registry import Release


@dataclass(frozen=True, slots=True)
class Bundle:
    """Which folder holds what may be served, and what does its manifest say?"""

    folder: Path
    manifest: Manifest


def build(release: Release, files: Path, into: Path) -> Bundle:
    """Which bundle does this release make?

    Args:
        release: what was approved.
        files: the release's own files, already hashed against its digest.
        into: an empty or missing folder.

    Raises:
        Unconvertible: there is no safe way to ONNX, or the version carries no golden requests.
        ParityFailed: the ONNX model answers the golden requests differently from the native model.
    """
    import onnx

    described = _described(files)
    golden = _golden(files)
    converted = convert.convert(files, described["flavors"], tuple(golden.outputs))
    into.mkdir(parents=True, exist_ok=True)
    onnx.save_model(converted.model, into / MODEL)
    shutil.copyfile(files / GOLDEN, into / GOLDEN)
    facts = described.get("metadata", {}).get("slipway", {})
    draft = _draft(release, converted, facts, golden, into)
    native = converted.native(golden.inputs)
    shown = Predictor(_written(into, draft).folder).predict(golden.inputs)
    name = f"{release.model}/{release.version} as ONNX"
    found = parity.require(parity.compare(native, shown, labels=bool(draft.labels)), what=name)
    parity.require(parity.compare(golden.outputs, native, labels=bool(draft.labels)),
                   what=f"{release.model}/{release.version} reloaded from its approved files")
    return _written(into, draft, found)


def verify(folder: Path) -> Bundle:
    """Is this a bundle whose every file is the one its manifest names?

    Raises:
        BundleInvalid: missing, changed and extra files are named together.
    """
    try:
        return Bundle(folder, manifests.read(folder))
    except BundleBroken as error:
        raise BundleInvalid(str(error)) from None


def _described(files: Path) -> dict[str, Any]:
    import yaml

    described: dict[str, Any] = yaml.safe_load((files / "MLmodel").read_text(encoding="utf-8"))
    return described


def _golden(files: Path) -> Golden:
    try:
        return read_golden(files / GOLDEN)
    except BundleBroken as error:
        raise Unconvertible(
            f"{error}. Without golden requests nothing proves that the converted model answers as the native one: "
            f"log {GOLDEN} with the model (slipway train does)"
        ) from None


def _draft(release: Release, converted: convert.Converted, facts: dict[str, Any], golden: Golden,
           folder: Path) -> Manifest:
    return Manifest(
        name=release.model, version=release.version, run_id=release.run_id, digest=release.digest,
        task=facts.get("task", ""), kind=facts.get("kind", "regression"), labels=tuple(facts.get("labels", ())),
        inputs=_tensors(converted.model.graph.input), outputs=_outputs(golden), source=converted.source,
        parity=manifests.Parity(0, 0, 0.0, parity.TOLERANCE),
        verdicts=tuple(f"{v.gate}: {v.outcome.value}: {v.reason}" for v in release.evidence.verdicts),
        approvals=tuple(f"{a.approver} at {a.at.isoformat()}" for a in release.approvals),
        files=tuple(_entry(folder / name) for name in (GOLDEN, MODEL)),
    )


def _written(folder: Path, draft: Manifest, found: manifests.Parity | None = None) -> Bundle:
    from dataclasses import replace

    manifest = replace(draft, parity=found) if found else draft
    (folder / manifests.NAME).write_bytes(manifest.to_bytes())
    return Bundle(folder, manifest)


def _entry(path: Path) -> FileEntry:
    body = path.read_bytes()
    return FileEntry(path.name, hashlib.sha256(body).hexdigest(), len(body))


def _tensors(values: Any) -> tuple[Tensor, ...]:
    import onnx

    found = []
    for value in values:
        tensor = value.type.tensor_type
        dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type)
        sizes = tuple(d.dim_value if d.HasField("dim_value") else None for d in tensor.shape.dim)
        found.append(Tensor(value.name, str(dtype), (None, *sizes[1:])))
    return tuple(found)


def _outputs(golden: Golden) -> tuple[Tensor, ...]:
    return tuple(Tensor(name, str(a.dtype), (None, *a.shape[1:])) for name, a in golden.outputs.items())
