"""The requests that a conversion is judged by: logged with the model, or made of its input example."""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .convert import wanted_of
from .convert.words import Arrays
from .errors import Unconvertible
from .runtime import codec
from .runtime.block import Blocks
from .runtime.core import GOLDEN
from .runtime.errors import BundleBroken, RuntimeFault
from .runtime.manifest import Tensor

EXAMPLE = "serving_input_example.json"  # MLflow writes it where a model is logged with an input_example


@dataclass(frozen=True, slots=True)
class Golden:
    """Requests with the answers that the native model gave to them.

    Attributes:
        inputs: input name -> array of shape (rows, ...).
        outputs: output name -> array of shape (rows, ...).
    """

    inputs: Arrays
    outputs: Arrays

    @property
    def rows(self) -> int:
        """How many requests are there?"""
        return len(next(iter(self.inputs.values())))


def read_golden(path: Path) -> Golden:
    """Which golden requests does this file hold? Never unpickles.

    Raises:
        BundleBroken: the file is missing, or holds anything but ``in.NAME`` and ``out.NAME`` arrays.
    """
    import numpy as np

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


def _text_as_objects(array: Any) -> Any:
    return array.astype(object) if array.dtype.kind == "U" else array


@dataclass(frozen=True, slots=True)
class Asked:
    """Which requests is the converted model compared on?

    Attributes:
        inputs: input name -> array of shape (rows, ...).
        outputs: what the native model answered when it was trained; empty where nobody wrote that down.
    """

    inputs: Arrays
    outputs: Arrays

    @property
    def output(self) -> str | None:
        """What is the single output called; None where it is not known or there are several?"""
        return next(iter(self.outputs)) if len(self.outputs) == 1 else None


def requests_of(files: Path, described: dict[str, Any]) -> Asked:
    """Which requests came with these files?

    Raises:
        Unconvertible: none did, or they cannot be read.
    """
    if (files / GOLDEN).is_file() or not (files / EXAMPLE).is_file():
        try:
            golden = read_golden(files / GOLDEN)
            return Asked(golden.inputs, golden.outputs)
        except BundleBroken as error:
            raise Unconvertible(
                f"{error}. Without golden requests nothing proves that the converted model answers as the native one: "
                f"log {GOLDEN} with the model (slipway train does), or an input_example") from None
    tensors = tuple(Tensor(c.name, c.dtype, c.shape, missing=len(c.shape) == 1)
                    for c in wanted_of(described, None).inputs)
    if not tensors:
        raise Unconvertible("the model was logged without a signature, so nothing says what a request holds; "
                            "Next: log it with signature=infer_signature(...)")
    try:
        # MLflow writes NaN, which is no JSON, where a value is missing.
        example = json.loads((files / EXAMPLE).read_bytes(), parse_constant=lambda _: None)
        return Asked(plain(codec.decode(example, tensors)), {})
    except (RuntimeFault, ValueError) as error:
        raise Unconvertible(f"{EXAMPLE} does not fit the model's signature: {error}") from None


def plain(blocks: Blocks) -> Arrays:
    """The runtime's blocks as numpy's arrays."""
    import numpy as np

    return {name: np.asarray(block) for name, block in blocks.items()}


def write_golden(path: Path, inputs: Arrays, outputs: Arrays) -> None:
    """Write golden.npz, its bytes depending on nothing but the arrays."""
    import numpy as np

    named = {f"in.{k}": v for k, v in inputs.items()} | {f"out.{k}": v for k, v in outputs.items()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, array in named.items():
            body = io.BytesIO()
            np.lib.format.write_array(body, _storable(array), allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy", (1980, 1, 1, 0, 0, 0)), body.getvalue())


def _storable(array: Any) -> Any:
    import numpy as np

    return np.ascontiguousarray(array.astype(str) if array.dtype == object else array)
