"""The one core behind every target: a verified bundle, a warm session, blocks in, blocks out."""

from __future__ import annotations

import json
import zipimport
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from . import answers, codec, fit, manifest, npy
from .block import Block, Blocks
from .errors import BadRequest, BundleBroken, ModelFault
from .limits import Limits

GOLDEN = "golden.npz"
MODEL = "model.onnx"
TEXTS = "text.json"


class Engine(Protocol):
    """What runs a model: blocks in, blocks out."""

    def run(self, names: list[str], inputs: Blocks) -> list[Block]:
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
        from .session import Session, SessionFailed

        try:
            self._run = Session(path, threads).run
        except SessionFailed as error:
            raise BundleBroken(f"{path.name} does not load: {str(error).splitlines()[0]}") from None
        self._failed = SessionFailed

    def run(self, names: list[str], inputs: Blocks) -> list[Block]:
        """What are the outputs of these names?

        Raises:
            ModelFault: the session fails; its words stay in the log, as they may name paths.
        """
        try:
            return self._run(names, inputs)
        except self._failed as error:
            raise ModelFault("the model failed on these inputs") from error


class Predictor:
    """Answers for one bundle.

    Loading verifies every file's SHA-256 and answers the first golden request, so that a predictor that
    exists is one that works.

    Args:
        folder: an unpacked bundle.
        threads: how many threads one prediction may use; 1 where a process serves one request at a time.
        limits: how much one request may ask for.

    Attributes:
        any_values: whether a request of the right shape and type may hold any finite values.

    Raises:
        BundleBroken: a file was altered, is missing or extra, or the model does not load.
    """

    def __init__(self, folder: Path, *, threads: int = 1, limits: Limits | None = None) -> None:
        stamps = manifest.stamps(folder)
        self.manifest = manifest.read(folder)
        self.limits = limits or Limits()
        self._readers = _readers(folder) if (folder / TEXTS).is_file() else {}
        self._engine = _engine(folder, self.manifest, threads)
        self._outputs = [t.name for t in self.manifest.outputs]
        self._contract = fit.Contract(self.manifest.inputs, self.limits.rows)
        self.any_values = self._contract.any_values
        self._warm_up(folder)
        # The files were hashed first and loaded by their names after that.
        if manifest.stamps(folder) != stamps:
            raise BundleBroken(f"the bundle of {self.manifest.name}/{self.manifest.version} was changed while it was "
                               "loaded")

    def check(self, blocks: Blocks) -> Blocks:
        """The blocks, once they are seen to fit the signature.

        Raises:
            BadRequest: they do not.
        """
        return self._contract.check(blocks)

    def prepare(self, blocks: Blocks) -> tuple[Blocks, list[dict[str, Any]]]:
        """What does the session take for these blocks, and which of their values did the model never see?"""
        unknown = self._contract.unknown(blocks)
        if not self._readers:
            return blocks, unknown
        ready = dict(blocks)
        for name, reader in self._readers.items():
            ready[name], strange = reader.read(blocks[name].flat())
            unknown += [{"row": row, "input": name, "words": [fit.clipped(w) for w in words[:20]]}
                        for row, words in enumerate(strange) if words]
        return ready, unknown

    def run(self, ready: Blocks) -> Blocks:
        """What does the model say to what `prepare` gave?

        Raises:
            BadRequest: 422, an answer is not finite, and a number lies beyond those that the model was tried on.
            ModelFault: it fails, or an answer to numbers such as those is not finite.
        """
        said = dict(zip(self._outputs, self._engine.run(self._outputs, ready), strict=True))
        for name, block in said.items():
            if not block.is_finite():
                raise fit.not_finite(name, ready, self.manifest.inputs)
        return said

    def predict(self, inputs: Mapping[str, Any]) -> Blocks:
        """What does the model say to these arrays or blocks, each of shape (rows, ...)?

        Raises:
            ModelFault: it fails, or an answer is not finite.
        """
        return self.run(self.prepare({name: Block.of(values) for name, values in inputs.items()})[0])

    def answer(self, request: Any) -> dict[str, Any]:
        """What is the answer to a parsed JSON request?

        Raises:
            BadRequest: the request does not fit the signature.
            ModelFault: the model fails, or an answer is not finite.
        """
        ready, unknown = self.prepare(self.check(codec.decode(request, self.manifest.inputs)))
        return answers.as_json(self.run(ready), self.manifest, unknown)

    def _warm_up(self, folder: Path) -> None:
        try:
            self.predict(first_request(folder / GOLDEN))
        except (BadRequest, ModelFault) as fault:
            raise BundleBroken(f"the first golden request is not answered: {fault}") from fault


def golden_inputs(path: Path) -> Blocks:
    """Which requests does this file of golden requests hold? Read without zipfile, which a cold start would pay for.

    Raises:
        BundleBroken: the file cannot be read, or holds no requests.
    """
    try:
        archive = zipimport.zipimporter(str(path))
        names = [n for n in archive._files if n.startswith("in.")]  # type: ignore[attr-defined]  # its directory
        found = {n[3:-4]: npy.load(archive.get_data(n), texts=True) for n in names}
    except (OSError, zipimport.ZipImportError, BadRequest) as error:
        raise BundleBroken(f"{path.name} cannot be read: {error}") from None
    if not found:
        raise BundleBroken(f"{path.name} holds no requests")
    return found


def first_request(path: Path) -> Blocks:
    """What is the first golden request?"""
    return {name: block.rows(0, 1) for name, block in golden_inputs(path).items()}


def _engine(folder: Path, described: manifest.Manifest, threads: int) -> Engine:
    if described.engine == "onnx":
        return OnnxEngine(folder / MODEL, threads)
    if described.engine == "skops":
        from . import native

        return native.SkopsEngine(folder / native.SKOPS, described)
    raise BundleBroken(f"{manifest.NAME} wants the engine {described.engine!r}, which this runtime does not have")


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
