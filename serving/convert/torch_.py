"""From PyTorch to ONNX; an optional extra. Only exported programs, never pickled modules."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ..errors import Unconvertible
from . import graph
from .words import OPSET, Arrays, Converted, Wanted


def candidates(folder: Path, wanted: Wanted) -> Iterator[Converted]:
    """Which ONNX model answers as this exported PyTorch program does?

    Raises:
        Unconvertible: the extra is not installed, the file is a pickle, or an operator does not convert.
    """
    try:
        import torch
    except ModuleNotFoundError:
        raise Unconvertible("this is a pytorch model, and the extra that converts it is not installed; "
                            "Next: pip install torch onnxscript") from None
    found = sorted((folder / wanted.flavors["pytorch"].get("model_data", "data")).rglob("*.pt2"))
    if len(found) != 1:
        raise Unconvertible("a pickled PyTorch module runs code when it is read; Next: store the program instead: "
                            "torch.export.save(torch.export.export(model, example), 'model.pt2') beside it")
    if not wanted.inputs:
        raise Unconvertible("the model was logged without a signature, so nothing says what a request holds; "
                            "Next: log it with signature=infer_signature(...)")
    program = torch.export.load(found[0])
    names, outputs = [c.name for c in wanted.inputs], (wanted.output or "prediction",)
    source = {"format": "pytorch", "opset": str(OPSET), "torch": version("torch"),
              "onnxruntime": version("onnxruntime")}
    made = _exported(program, names, outputs)
    matched = graph.matching([t.name for t in made.graph.input], names)
    ready = graph.optimised(graph.canonical(made, matched, outputs))
    yield Converted(ready, _native(program, names, outputs[0]), source, wanted.inputs, outputs)


def _exported(program: Any, names: list[str], outputs: tuple[str, ...]) -> Any:
    import onnx
    import torch

    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "model.onnx"
        try:
            torch.onnx.export(program, (), path, input_names=names, output_names=list(outputs), opset_version=OPSET,
                              dynamo=True, external_data=False, verbose=False)
        except Exception as error:  # noqa: BLE001 - torch's exporter raises many kinds; its words name the operator
            raise Unconvertible(f"PyTorch does not export this program: {graph.first_line(error)}") from None
        return onnx.load(path)


def _native(program: Any, names: list[str], output: str) -> Any:
    import torch

    module = program.module()

    def native(arrays: Arrays) -> Arrays:
        with torch.no_grad():
            return {output: module(*(torch.from_numpy(arrays[n].copy()) for n in names)).numpy()}

    return native
