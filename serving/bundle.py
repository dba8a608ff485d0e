"""From an approved release to a bundle: verified files, ONNX, golden requests, and the manifest that binds them."""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass
from importlib.metadata import metadata, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import convert, parity
from .convert.probe import probe
from .convert.words import Arrays, Converted
from .errors import BundleInvalid, ParityFailed, Unconvertible
from .golden import Asked, plain, requests_of, write_golden
from .runtime import manifest as manifests
from .runtime.core import GOLDEN, MODEL, TEXTS, Predictor, reader_of
from .runtime.errors import BundleBroken
from .runtime.manifest import FileEntry, Manifest, Parity, Tensor

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
        Unconvertible: there is no safe way to ONNX, or the version carries no requests to compare answers on.
        ParityFailed: every ONNX model tried answers differently from the native model.
    """
    described = _described(files)
    asked = requests_of(files, described)
    what = f"{release.model}/{release.version}"
    fault: ParityFailed | None = None
    for converted in convert.candidates(files, convert.wanted_of(described, asked.output)):
        try:
            return _bundled(release, described, asked, converted, into)
        except ParityFailed as error:
            fault = fault or error
    raise fault or Unconvertible(f"{what}: nothing was converted")


def _bundled(release: Release, described: dict[str, Any], asked: Asked, converted: Converted, into: Path) -> Bundle:
    import onnx

    what, facts = f"{release.model}/{release.version}", (described.get("metadata") or {}).get("slipway", {})
    labels = tuple(facts.get("labels") or converted.labels)
    _fit_or_refuse(asked.inputs, converted)
    native = converted.native(asked.inputs)
    if asked.outputs:
        parity.require(parity.compare(asked.outputs, native, labels=bool(labels)),
                       what=f"{what} reloaded from its approved files")
    probed = probe(converted, asked.inputs)
    shutil.rmtree(into, ignore_errors=True)
    into.mkdir(parents=True)
    onnx.save_model(converted.model, into / MODEL)
    if converted.texts:
        _write_json(into / TEXTS, {name: t.to_dict() for name, t in sorted(converted.texts.items())})
    said = _said(converted, asked.inputs)
    write_golden(into / GOLDEN, asked.inputs, asked.outputs or said)
    draft = _draft(release, converted, facts, into)
    draft = draft._replace(labels=labels, inputs=probed.inputs, outputs=_outputs(said))
    predictor = Predictor(_written(into, draft).folder)
    golden = parity.require(parity.compare(native, plain(predictor.predict(asked.inputs)), labels=bool(labels)),
                            what=f"{what} as ONNX")
    edges = Parity(0, 0, 0.0, parity.TOLERANCE)
    if probed.answers:
        edges = parity.require(
            parity.compare(probed.answers, plain(predictor.predict(probed.edges)), labels=bool(labels)),
            what=f"{what} as ONNX, asked awkward requests (empty, unseen, missing, extreme),")
    return _written(into, draft._replace(parity=parity.recorded(golden, edges)))


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


def _said(converted: Converted, inputs: Arrays) -> Arrays:
    """The converted model's own answers, which, unlike the native one's, are the same bytes every time.

    Only where nobody wrote the native answers down; that both agree is shown before anything is shipped.
    """
    import numpy as np
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(converted.model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    readers = {name: reader_of(text.to_dict()) for name, text in converted.texts.items()}
    ready = {name: np.asarray(readers[name].read(rows.tolist())[0]) if name in readers else rows
             for name, rows in inputs.items()}
    return dict(zip(converted.outputs, session.run(list(converted.outputs), ready), strict=True))


def _fit_or_refuse(inputs: dict[str, Any], converted: Converted) -> None:
    wanted = {c.name for c in converted.inputs}
    if inputs.keys() != wanted:
        raise Unconvertible(f"the golden requests name {sorted(inputs)}; the model takes {sorted(wanted)}")


def _draft(release: Release, converted: Converted, facts: dict[str, Any], folder: Path) -> Manifest:
    return Manifest(
        name=release.model, version=release.version, run_id=release.run_id, digest=release.digest,
        task=facts.get("task", ""), kind=facts.get("kind", "classification" if converted.labels else "regression"),
        labels=(), inputs=(), outputs=(), source=converted.source,
        parity=Parity(0, 0, 0.0, parity.TOLERANCE),
        verdicts=tuple(f"{v.gate}: {v.outcome.value}: {v.reason}" for v in release.evidence.verdicts),
        approvals=tuple(f"{a.approver} at {a.at.isoformat()}" for a in release.approvals),
        files=tuple(_entry(folder / name) for name in (GOLDEN, MODEL, TEXTS) if (folder / name).is_file()),
        licences=_licences(), builder={"numpy": version("numpy"), "onnx": version("onnx"),
                                       "python": f"{sys.version_info.major}.{sys.version_info.minor}",
                                       "slipway": version("slipway")},
    )


def _licences() -> dict[str, str]:
    found = {}
    for name in ("onnxruntime",):
        said = metadata(name).json
        named = str(said.get("license_expression") or said.get("license") or "unknown")
        found[name] = named.partition("\n")[0]
    return found


def _write_json(path: Path, content: Any) -> None:
    import json

    path.write_bytes((json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode())


def _written(folder: Path, draft: Manifest) -> Bundle:
    (folder / manifests.NAME).write_bytes(draft.to_bytes())
    return Bundle(folder, draft)


def _entry(path: Path) -> FileEntry:
    return FileEntry(path.name, manifests.sha256(path), path.stat().st_size)


def _outputs(native: Arrays) -> tuple[Tensor, ...]:
    return tuple(Tensor(name, "string" if a.dtype.kind in "OU" else str(a.dtype), (None, *a.shape[1:]))
                 for name, a in native.items())
