"""From an approved release to a bundle: verified files, ONNX, golden requests, and the manifest that binds them."""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import convert, parity
from .convert.words import Arrays, Converted, Kept, Wanted
from .errors import BundleInvalid, ParityFailed, Refused, Unconvertible
from .golden import Asked, plain, requests_of, write_golden
from .record import recorded
from .runtime import manifest as manifests
from .runtime.core import GOLDEN, MODEL, TEXTS, Predictor, reader_of
from .runtime.errors import BundleBroken
from .runtime.manifest import FileEntry, Manifest, Parity, Tensor
from .runtime.native import SKOPS

if TYPE_CHECKING:
    import onnx

    from registry import Release


# What a bundle's licences are told of, where scikit-learn itself serves it.
NATIVE = ("joblib", "narwhals", "numpy", "pandas", "scikit-learn", "scipy", "skops", "threadpoolctl")


@dataclass(frozen=True, slots=True)
class Bundle:
    """Which folder holds what may be served, and what does its manifest say?"""

    folder: Path
    manifest: Manifest


@dataclass(frozen=True, slots=True)
class Source:
    """What is a bundle made from?

    Attributes:
        release: what was approved.
        files: its own files.
        described: its MLmodel file, parsed.
        asked: its golden requests.
    """

    release: Release
    files: Path
    described: dict[str, Any]
    asked: Asked

    @property
    def what(self) -> str:
        """`images/3`."""
        return f"{self.release.model}/{self.release.version}"


def build(release: Release, files: Path, into: Path, *, natively: bool | None = None) -> Bundle:
    """Which bundle does this release make?

    Args:
        release: what was approved.
        files: the release's own files, already hashed against its digest.
        into: an empty or missing folder.
        natively: whether scikit-learn itself may serve what does not convert; None: where it was rehearsed so and the
            gate `engine` passed.

    Raises:
        Unconvertible: there is no safe way to ONNX, or the version carries no requests to compare answers on.
        ParityFailed: every ONNX model tried answers differently from the native model.
    """
    described = _described(files)
    asked = requests_of(files, described)
    wanted = convert.wanted_of(described, asked.output)
    source = Source(release, files, described, asked)
    made = _converted(source, wanted, into)
    if isinstance(made, Bundle):
        return made
    if natively is None:
        natively = any(v.gate == "engine" and v.outcome.value == "passed" for v in release.evidence.verdicts)
    kept = _kept_or_refuse(source, wanted, made)
    if natively:
        return _bundled(source, kept, into)
    raise type(made)(f"{made}. Or let scikit-learn itself serve it: gates.engines: [onnx, skops] in the policy, and "
                     f"slipway check {source.what}") from made


def _kept_or_refuse(source: Source, wanted: Wanted, fault: Refused) -> Converted:
    """The model as its framework serves it, where it may be loaded at all."""
    try:
        kept = convert.kept(source.files, wanted, str(fault))
    except Unconvertible as error:
        more = "" if str(error) == str(fault) else f". Nor can scikit-learn itself serve it: {error}"
        raise type(fault)(f"{fault}{more}") from error
    if kept is None:
        raise fault
    return kept


def _converted(source: Source, wanted: Wanted, into: Path) -> Bundle | Refused:
    """The bundle of the first conversion that answers as the native model does; or why there is none."""
    fault: Refused | None = None
    try:
        for converted in convert.candidates(source.files, wanted):
            try:
                return _bundled(source, converted, into)
            except ParityFailed as error:
                fault = fault or error
    except Unconvertible as error:
        fault = error
    return fault or Unconvertible(f"{source.what}: nothing was converted")


def _bundled(source: Source, converted: Converted, into: Path) -> Bundle:
    what, facts, asked = source.what, (source.described.get("metadata") or {}).get("slipway", {}), source.asked
    labels = tuple(facts.get("labels") or converted.labels)
    _fit_or_refuse(asked.inputs, converted)
    native = converted.native(asked.inputs)
    _require_rows(native, len(next(iter(asked.inputs.values()))), what)
    if asked.outputs:
        parity.require(parity.compare(asked.outputs, native, labels=bool(labels)),
                       what=f"{what} reloaded from its approved files")
    from .convert.probe import probe

    probed = probe(converted, asked.inputs)
    said = _written_model(converted, asked, into)
    draft = _draft(source.release, converted, facts, into)
    draft = draft._replace(labels=labels, inputs=probed.inputs, outputs=_outputs(said))
    draft = recorded(draft, source.release, converted, source.files, source.described)
    predictor = Predictor(_written(into, draft).folder)
    golden = parity.require(parity.compare(native, plain(predictor.predict(asked.inputs)), labels=bool(labels)),
                            what=f"{what} as {draft.engine}")
    edges = Parity(0, 0, 0.0, parity.TOLERANCE)
    if probed.answers:
        edges = parity.require(
            parity.compare(probed.answers, plain(predictor.predict(probed.edges)), labels=bool(labels)),
            what=f"{what} as {draft.engine}, asked awkward requests (empty, unseen, missing, extreme),")
    return _written(into, draft._replace(parity=parity.recorded(golden, edges)))


def verify(folder: Path) -> Bundle:
    """Is this a bundle whose every file is the one its manifest names?

    Raises:
        BundleInvalid: missing, changed and extra files are named together; or it lacks what every bundle has.
    """
    try:
        found = manifests.read(folder)
    except BundleBroken as error:
        raise BundleInvalid(str(error)) from None
    needed = {GOLDEN, SKOPS if found.engine == "skops" else MODEL}
    if lacking := sorted(needed - {file.path for file in found.files}):
        raise BundleInvalid(f"the bundle of {found.name}/{found.version} holds no {' and no '.join(lacking)}, which "
                            "every bundle has. Next: slipway bundle MODEL -o DIR builds one anew")
    return Bundle(folder, found)


def _written_model(converted: Converted, asked: Asked, into: Path) -> Arrays:
    """Write the model and its golden requests; its own answers to them."""
    shutil.rmtree(into, ignore_errors=True)
    into.mkdir(parents=True)
    if isinstance(converted.model, Kept):
        shutil.copyfile(converted.model.path, into / SKOPS)
        said = converted.native(asked.inputs)
    else:
        said = _saved(converted.model, converted, asked.inputs, into)
    write_golden(into / GOLDEN, asked.inputs, asked.outputs or said)
    return said


def _described(files: Path) -> dict[str, Any]:
    import yaml

    described: dict[str, Any] = yaml.safe_load((files / "MLmodel").read_text(encoding="utf-8"))
    return described


def _saved(model: onnx.ModelProto, converted: Converted, inputs: Arrays, into: Path) -> Arrays:
    """The converted model's own answers, which, unlike the native one's, are the same bytes every time.

    Only where nobody wrote the native answers down; that both agree is shown before anything is shipped.
    """
    import numpy as np
    import onnx
    import onnxruntime as ort

    onnx.save_model(model, into / MODEL)
    if converted.texts:
        _write_json(into / TEXTS, {name: t.to_dict() for name, t in sorted(converted.texts.items())})
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(into / MODEL, options, providers=["CPUExecutionProvider"])
    readers = {name: reader_of(text.to_dict()) for name, text in converted.texts.items()}
    ready = {name: np.asarray(readers[name].read(rows.tolist())[0]) if name in readers else rows
             for name, rows in inputs.items()}
    return dict(zip(converted.outputs, session.run(list(converted.outputs), ready), strict=True))


def _require_rows(answers: Arrays, rows: int, what: str) -> None:
    if wrong := [name for name, values in answers.items() if values.shape[:1] != (rows,)]:
        raise Unconvertible(f"{what} answers {', '.join(wrong)} not with a row for each of the {rows} asked")


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
        files=tuple(_entry(folder / name) for name in (GOLDEN, MODEL, SKOPS, TEXTS) if (folder / name).is_file()),
        engine="skops" if isinstance(converted.model, Kept) else "onnx",
        trusted=converted.model.trusted if isinstance(converted.model, Kept) else (),
        licences=_licences(NATIVE if isinstance(converted.model, Kept) else ("onnxruntime",)),
        builder={"numpy": version("numpy"), "onnx": version("onnx"), "slipway": version("slipway"),
                 "python": f"{sys.version_info.major}.{sys.version_info.minor}"},
    )


def _licences(names: tuple[str, ...]) -> dict[str, str]:
    from registry import licences_of

    return dict.fromkeys(names, "unknown") | licences_of(names)


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
