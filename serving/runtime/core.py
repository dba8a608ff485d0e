"""The one core behind every target: a verified bundle, a warm session, arrays in, arrays out."""

from __future__ import annotations

import json
import zipimport
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from . import answers, codec, fit, manifest, npy
from .errors import BadRequest, BundleBroken, ModelFault
from .fit import Arrays
from .limits import Limits

GOLDEN = "golden.npz"
MODEL = "model.onnx"
TEXTS = "text.json"


class Engine(Protocol):
    """What runs a model: arrays in, arrays out."""

    def run(self, names: list[str], inputs: Arrays) -> list[Any]:
        """What are the outputs of these names?

        Raises:
            ModelFault: the model fails on these inputs.
        """


class OnnxEngine:
    """onnxruntime's session, with as few threads as the machine can use.

    Args:
        path: an ONNX model, optimised when it was converted.
        threads: how many threads one prediction may use.

    Raises:
        BundleBroken: the model does not load.
    """

    def __init__(self, path: Path, threads: int) -> None:
        # The package's own __init__ imports what only training and tools need: 10 of its 35 ms.
        from . import session

        try:
            self._session = session.open_session(path, threads)
        except Exception as error:  # noqa: BLE001 - onnxruntime's exceptions share no base class of their own
            raise BundleBroken(f"{path.name} does not load: {str(error).splitlines()[0]}") from None
        self._run = self._session.run

    def run(self, names: list[str], inputs: Arrays) -> list[Any]:
        """What are the outputs of these names?

        Raises:
            ModelFault: the session fails; its words stay in the log, as they may name paths.
        """
        try:
            return self._run(names, inputs, None)  # type: ignore[no-any-return]  # no annotations
        except Exception as error:  # onnxruntime's exceptions share no base class of their own
            raise ModelFault("the model failed on these inputs") from error


class Predictor:
    """Answers for one bundle.

    Loading verifies every file's SHA-256 and answers the first golden request, so that a predictor that
    exists is one that works.

    Args:
        folder: an unpacked bundle.
        threads: how many threads one prediction may use; 1 where a process serves one request at a time.
        limits: how much one request may ask for.

    Raises:
        BundleBroken: a file was altered, is missing or extra, or the model does not load.
    """

    def __init__(self, folder: Path, *, threads: int = 1, limits: Limits | None = None) -> None:
        self.manifest = manifest.read(folder)
        self.limits = limits or Limits()
        self._readers = _readers(folder) if (folder / TEXTS).is_file() else {}
        self._engine = _engine(folder, self.manifest, threads)
        self._outputs = [t.name for t in self.manifest.outputs]
        self._may_be_unknown = any(t.known and not t.closed for t in self.manifest.inputs)
        self._warm_up(folder)

    def check(self, arrays: Arrays) -> Arrays:
        """The arrays, once they are seen to fit the signature.

        Raises:
            BadRequest: they do not.
        """
        return fit.check(arrays, self.manifest.inputs, self.limits.rows)

    def prepare(self, arrays: Arrays) -> tuple[Arrays, list[dict[str, Any]]]:
        """What does the session take for these arrays, and which of their values did the model never see?"""
        unknown = fit.unknown(arrays, self.manifest.inputs) if self._may_be_unknown else []
        if not self._readers:
            return arrays, unknown
        ready = dict(arrays)
        for name, reader in self._readers.items():
            ready[name], strange = reader.read(arrays[name].tolist())
            unknown += [{"row": row, "input": name, "words": [fit.clipped(w) for w in words[:20]]}
                        for row, words in enumerate(strange) if words]
        return ready, unknown

    def run(self, ready: Arrays) -> Arrays:
        """What does the model say to what `prepare` gave?

        Raises:
            ModelFault: it fails, or an answer is not finite.
        """
        said = self._engine.run(self._outputs, ready)
        for name, array in zip(self._outputs, said, strict=True):
            if array.dtype.kind == "f" and not np.isfinite(array).all():
                raise ModelFault(f"the model answered {name} with a value that is not finite")
        return dict(zip(self._outputs, said, strict=True))

    def predict(self, inputs: Arrays) -> Arrays:
        """What does the model say to these arrays, each of shape (rows, ...)?

        Raises:
            ModelFault: it fails, or an answer is not finite.
        """
        return self.run(self.prepare(inputs)[0])

    def answer(self, request: Any) -> dict[str, Any]:
        """What is the answer to a parsed JSON request?

        Raises:
            BadRequest: the request does not fit the signature.
            ModelFault: the model fails, or an answer is not finite.
        """
        ready, unknown = self.prepare(self.check(codec.decode(request, self.manifest.inputs)))
        return answers.as_json(self.run(ready), self.manifest, unknown)

    def _warm_up(self, folder: Path) -> None:
        self.predict(first_request(folder / GOLDEN))


class Golden:
    """Requests with the answers that the native model gave to them.

    Attributes:
        inputs: input name -> array of shape (rows, ...).
        outputs: output name -> array of shape (rows, ...).
    """

    __slots__ = ("inputs", "outputs")

    def __init__(self, inputs: Arrays, outputs: Arrays) -> None:
        self.inputs = inputs
        self.outputs = outputs

    @property
    def rows(self) -> int:
        """How many requests are there?"""
        return len(next(iter(self.inputs.values())))


def read_golden(path: Path) -> Golden:
    """Which golden requests does this file hold? Never unpickles.

    Raises:
        BundleBroken: the file is missing, or holds anything but ``in.NAME`` and ``out.NAME`` arrays.
    """
    import zipfile

    try:
        with np.load(path, allow_pickle=False) as arrays:
            named = {key: arrays[key] for key in arrays.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise BundleBroken(f"{path.name} cannot be read: {error}") from None
    inputs = {k[3:]: _text_as_objects(v) for k, v in named.items() if k.startswith("in.")}
    outputs = {k[4:]: v for k, v in named.items() if k.startswith("out.")}
    if not inputs or not outputs or len(inputs) + len(outputs) != len(named):
        raise BundleBroken(f"{path.name} holds {sorted(named)}; wanted in.NAME and out.NAME")
    return Golden(inputs, outputs)


def first_request(path: Path) -> Arrays:
    """What is the first golden request? Read without importing zipfile, which a cold start would pay for."""
    try:
        archive = zipimport.zipimporter(str(path))
        names = [n for n in archive._files if n.startswith("in.")]  # type: ignore[attr-defined]  # its directory
        rows = {n[3:-4]: _first_row(archive.get_data(n)) for n in names}
    except (OSError, zipimport.ZipImportError, BadRequest):
        rows = {name: array[:1] for name, array in read_golden(path).inputs.items()}
    return rows


def _first_row(body: bytes) -> Any:
    return npy.load(body)[:1]


def _text_as_objects(array: Any) -> Any:
    return array.astype(object) if array.dtype.kind == "U" else array


def _engine(folder: Path, described: manifest.Manifest, threads: int) -> Engine:
    if described.engine != "onnx":
        raise BundleBroken(f"{manifest.NAME} wants the engine {described.engine!r}, which this runtime does not have")
    return OnnxEngine(folder / MODEL, threads)


def _readers(folder: Path) -> dict[str, Any]:
    try:
        stored = json.loads((folder / TEXTS).read_bytes())
        return {name: reader_of(one) for name, one in stored.items()}
    except (ValueError, TypeError, KeyError) as error:
        raise BundleBroken(f"{TEXTS} cannot be read: {error}") from None


def reader_of(stored: dict[str, Any]) -> Any:
    """What reads texts as this entry of text.json says?"""
    if stored.get("kind") == "bag":
        from .bag import Bag, BagReader

        return BagReader(Bag.of(stored))
    from .text import Reader, Tokeniser

    return Reader(Tokeniser.of(stored))
