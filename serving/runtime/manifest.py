"""What is in a bundle, as its manifest.json says it; read with the standard library alone.

Records here are NamedTuples: importing dataclasses and making these four with it is a tenth of a cold start.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from stat import S_ISREG
from typing import Any, NamedTuple

from .block import CODES
from .errors import BundleBroken

SCHEMA = 2
READ = (1, 2)  # 1: verdicts and approvals were sentences
NAME = "manifest.json"
# As JSON holds them: a class for each would cost every cold start what only a reader wants.
Facts = dict[str, Any]
# Over the other files; written after them, and checked only where a key is configured.
SIGNATURE = "model.sig"


LISTS = ("labels", "trusted", "preprocessing", "requirements", "verdicts", "approvals")


class Tensor(NamedTuple):
    """What does one input or output look like?

    Attributes:
        name: the name that requests and the ONNX graph use.
        dtype: numpy's name of the type, such as ``float32``, or ``string``.
        shape: sizes, with None where any size will do; the first is the batch.
        seen: the smallest and largest value among the golden requests; None for text.
        bounds: what the model can take at all, such as the rows of an embedding; None where it can take any number.
        missing: whether a value may be missing: null, an empty CSV field.
        known: the categories that the model knows; empty where there are none to know.
        closed: whether the native model refuses a category that it does not know, so that we refuse it as well.
            Where it does not, the model's own fallback answers and the answer flags the value.
    """

    name: str
    dtype: str
    shape: tuple[int | None, ...]
    seen: tuple[float, float] | None = None
    bounds: tuple[int, int] | None = None
    missing: bool = False
    known: tuple[str | int, ...] = ()
    closed: bool = False


class Parity(NamedTuple):
    """How closely does the converted model follow the native one?

    Attributes:
        rows: golden requests compared.
        labels_equal: rows whose most likely label is the same; equals ``rows`` where there are no labels.
        max_abs_diff: the largest difference of any output: absolute up to 1, relative to the value above it.
        tolerance: the largest difference that passes.
        edge_rows, edge_labels_equal, edge_max_abs_diff: the same of requests made up to be awkward: empty text, unseen
            words and categories, missing values, extremes.
    """

    rows: int
    labels_equal: int
    max_abs_diff: float
    tolerance: float
    edge_rows: int = 0
    edge_labels_equal: int = 0
    edge_max_abs_diff: float = 0.0


class FileEntry(NamedTuple):
    """Which bytes must a file have?"""

    path: str
    sha256: str
    size: int


class Manifest(NamedTuple):
    """What is served, what it came from, and why it may be served?

    Attributes:
        name, version, run_id, digest: the approved MLflow version; the digest covers the bytes that were approved.
        kind: ``classification``, ``regression`` or ``ranking``.
        labels: the name of each class, in the order of the probabilities; empty when there are none.
        source: what was converted, and with which tools and opset; ``unconverted`` says why there is no ONNX.
        files: every other file of the bundle.
        engine: what runs the model: ``onnx``, or ``skops`` for scikit-learn itself.
        trusted: the types that scikit-learn's file may hold.
        licences: of each library that the runtime needs.
        builder: the versions of what built the bundle.

    The rest is for whoever wants to know why this may be served, and nothing here reads it; `serving.record` writes it:

    Attributes:
        preprocessing: what is done to the inputs first, in order, by the ``runtime`` or by the ``model``.
        requirements: of the model as it was trained: name, version, licence.
        evidence: who checked it, when, on which rows, and the ledger's entry.
        verdicts: each gate's outcome, reason and numbers.
        approvals: who agreed to which bytes and which evidence, when, with which comment.
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
    files: tuple[FileEntry, ...]
    engine: str = "onnx"
    trusted: tuple[str, ...] = ()
    licences: dict[str, str] = {}  # noqa: RUF012 - never changed, as nothing of a manifest is
    builder: dict[str, str] = {}  # noqa: RUF012 - as above
    preprocessing: tuple[Facts, ...] = ()
    requirements: tuple[Facts, ...] = ()
    evidence: Facts = {}  # noqa: RUF012 - as above
    verdicts: tuple[Facts, ...] = ()
    approvals: tuple[Facts, ...] = ()
    schema: int = SCHEMA

    def to_bytes(self) -> bytes:
        """What are the bytes of manifest.json? The same for equal manifests, whatever the machine."""
        plain = self._asdict() | {
            "inputs": [t._asdict() for t in self.inputs], "outputs": [t._asdict() for t in self.outputs],
            "parity": self.parity._asdict(), "files": [f._asdict() for f in self.files]}
        return (json.dumps(plain, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n").encode()


def parse(body: bytes) -> Manifest:
    """What does this manifest.json say?

    Raises:
        BundleBroken: it is not JSON, of another schema, or lacks a key.
    """
    try:
        raw: Any = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise BundleBroken(f"{NAME} is not JSON: {error}") from None
    schema = raw.get("schema") if isinstance(raw, dict) else None
    if schema not in READ:
        raise BundleBroken(f"{NAME} has schema {schema!r}; this runtime reads 1 to {SCHEMA}")
    try:
        if schema == 1:
            raw |= {"verdicts": [dict(zip(("gate", "outcome", "reason"), said.split(": ", 2), strict=False))
                                 for said in raw["verdicts"]],
                    "approvals": [dict(zip(("by", "at"), said.rsplit(" at ", 1), strict=False))
                                  for said in raw["approvals"]]}
        _require(raw)
        listed = {name: tuple(raw[name]) for name in LISTS if name in raw}
        return Manifest(
            **{**raw, **listed, "inputs": _tensors(raw["inputs"]), "outputs": _tensors(raw["outputs"]),
               "parity": Parity(**raw["parity"]), "files": tuple(FileEntry(**f) for f in raw["files"])}
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise BundleBroken(f"{NAME} is not a manifest: {error}") from None


def _is_word(value: Any) -> bool:
    """Is this text that may stand in a header and in a line of a log?"""
    return isinstance(value, str) and not any(c < " " or c == "\x7f" for c in value)


def _is_whole(value: Any) -> bool:
    return type(value) is int and value >= 0


def _is_pair(value: Any) -> bool:
    return value is None or (isinstance(value, list) and len(value) == 2 and {*map(type, value)} <= {int, float})


def _is_shape(value: Any) -> bool:
    return isinstance(value, list) and value != [] and all(size is None or _is_whole(size) for size in value)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_facts(value: Any) -> bool:
    return isinstance(value, dict)


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_text, value))


Check = Callable[[Any], bool]
WORDS: dict[str, Check] = {
    **dict.fromkeys(("name", "run_id", "digest", "task", "kind", "engine"), _is_word), "version": _is_whole,
    **dict.fromkeys(("source", "licences", "builder", "evidence"), _is_facts),
    "labels": _are_texts, "trusted": _are_texts}
FILE: dict[str, Check] = {"path": _is_text, "sha256": _is_text, "size": _is_whole}
TENSOR: dict[str, Check] = {
    "name": _is_text, "dtype": lambda value: isinstance(value, str) and (value == "string" or value in CODES),
    "shape": _is_shape, "seen": _is_pair, "bounds": _is_pair,
    "missing": lambda value: type(value) is bool, "closed": lambda value: type(value) is bool,
    "known": lambda value: isinstance(value, list) and {*map(type, value)} <= {str, int, float, bool}}
PARITY: dict[str, Check] = dict.fromkeys(Parity._fields, lambda value: type(value) in (int, float))


def _require(raw: dict[str, Any]) -> None:
    """Is everything that decides what is served of its type?

    Raises:
        BundleBroken: every fault, by its place.
    """
    parts: list[tuple[str, Any, dict[str, Check]]] = [("", raw, WORDS), ("parity", raw["parity"], PARITY)]
    for name, checks in (("files", FILE), ("inputs", TENSOR), ("outputs", TENSOR)):
        held = raw[name]
        if not isinstance(held, list):
            raise BundleBroken(f"{NAME} is not a manifest: {name} is no list")
        parts += [(f"{name}[{index}]", one, checks) for index, one in enumerate(held)]
    faults = [(place, one) for place, one, _ in parts if not isinstance(one, dict)]
    faults += [(f"{place}.{key}".lstrip("."), one[key]) for place, one, checks in parts if isinstance(one, dict)
               for key, fits in checks.items() if key in one and not fits(one[key])]
    faults += [(name, raw[name]) for name in ("inputs", "outputs") if not raw[name]]
    if faults:
        found = "; ".join(f"{place} holds {repr(value)[:60]}" for place, value in faults)
        raise BundleBroken(f"{NAME} is not a manifest: {found}, which no build writes there")
    paths = [file["path"] for file in raw["files"]]
    if twice := sorted({path for path in paths if paths.count(path) > 1}):
        raise BundleBroken(f"{NAME} names {', '.join(twice)} twice")


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
    there = [p for p in folder.rglob("*") if not p.is_dir() or p.is_symlink()]
    found = {p.relative_to(folder).as_posix() for p in there} - {NAME, SIGNATURE}
    faults = [f"{path} is missing" for path in sorted(wanted.keys() - found)]
    faults += [f"{path} is not in the manifest" for path in sorted(found - wanted.keys())]
    # Looked at before it is read: a link or a device may have no end.
    plain = {path for path in found & wanted.keys() if S_ISREG((folder / path).lstat().st_mode)}
    faults += [f"{path} is a link, or no file" for path in sorted((found & wanted.keys()) - plain)]
    faults += [f"{path} was changed" for path in sorted(plain) if sha256(folder / path) != wanted[path].sha256]
    return faults


def stamps(folder: Path) -> dict[str, tuple[int, ...]]:
    """What tells, without reading them, whether the files of a bundle were written or replaced in between?"""
    return {str(path): (stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)
            for path in folder.rglob("*") for stat in (path.lstat(),)}


def sha256(path: Path) -> str:
    """What is the SHA-256 of this file, in hexadecimal? Read piece by piece: a model may be larger than the memory."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _tensors(raw: list[dict[str, Any]]) -> tuple[Tensor, ...]:
    found: list[dict[str, Any]] = [{k: tuple(v) if isinstance(v, list) else v for k, v in t.items()} for t in raw]
    return tuple(Tensor(**t) for t in found)
