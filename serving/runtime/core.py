"""The one core behind every target: a verified bundle, a warm session, arrays in, arrays out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from . import codec, manifest
from .errors import BundleBroken, ModelFault

GOLDEN = "golden.npz"
MODEL = "model.onnx"


class Predictor:
    """Answers for one bundle.

    Loading verifies every file's SHA-256 and answers the first golden request, so that a predictor that
    exists is one that works.

    Args:
        folder: an unpacked bundle.
        threads: how many threads one prediction may use; 1 where a process serves one request at a time.

    Raises:
        BundleBroken: a file was altered, is missing or extra, or the model does not load.
    """

    def __init__(self, folder: Path, *, threads: int = 1) -> None:
        self.manifest = manifest.read(folder)
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # The graph was optimised once, when it was converted.
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        try:
            self._session = ort.InferenceSession(
                str(folder / MODEL), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # noqa: BLE001 - onnxruntime's exceptions share no base class of their own
            raise BundleBroken(f"{MODEL} does not load: {error}") from None
        self._outputs = [t.name for t in self.manifest.outputs]
        self._warm_up(folder)

    def predict(self, inputs: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """What does the model say to these arrays, each of shape (rows, ...)?

        Raises:
            ModelFault: an answer is not finite.
        """
        answers = self._session.run(self._outputs, inputs)
        for name, array in zip(self._outputs, answers, strict=True):
            if array.dtype.kind == "f" and not np.isfinite(array).all():
                raise ModelFault(f"the model answered {name} with a value that is not finite")
        return dict(zip(self._outputs, answers, strict=True))

    def answer(self, request: Any) -> dict[str, Any]:
        """What is the answer to a parsed JSON request?

        Raises:
            BadRequest: the request does not fit the signature.
            ModelFault: an answer is not finite.
        """
        return codec.encode(self.predict(codec.decode(request, self.manifest)), self.manifest)

    def _warm_up(self, folder: Path) -> None:
        golden = read_golden(folder / GOLDEN)
        self.predict({name: rows[:1] for name, rows in golden.inputs.items()})


class Golden:
    """Requests with the answers that the native model gave to them.

    Attributes:
        inputs: input name -> array of shape (rows, ...).
        outputs: output name -> array of shape (rows, ...).
    """

    __slots__ = ("inputs", "outputs")

    def __init__(self, inputs: dict[str, NDArray[Any]], outputs: dict[str, NDArray[Any]]) -> None:
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
    try:
        with np.load(path, allow_pickle=False) as arrays:
            named = {key: arrays[key] for key in arrays.files}
    except (OSError, ValueError) as error:
        raise BundleBroken(f"{path.name} cannot be read: {error}") from None
    inputs = {k[3:]: _text_as_objects(v) for k, v in named.items() if k.startswith("in.")}
    outputs = {k[4:]: v for k, v in named.items() if k.startswith("out.")}
    if not inputs or not outputs or len(inputs) + len(outputs) != len(named):
        raise BundleBroken(f"{path.name} holds {sorted(named)}; wanted in.NAME and out.NAME")
    return Golden(inputs, outputs)


def _text_as_objects(array: NDArray[Any]) -> NDArray[Any]:
    return array.astype(object) if array.dtype.kind == "U" else array
