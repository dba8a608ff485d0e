"""From PyTorch to ONNX; an optional extra. Only exported programs, never pickled modules."""

from __future__ import annotations

import logging
import re
import tempfile
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ..errors import Unconvertible
from . import graph, pt2
from .words import OPSET, Arrays, Converted, Wanted

AGAIN = "mlflow.pytorch.log_model(model.eval(), input_example=rows, signature=infer_signature(rows))"
MANY = 8192  # rows; a program that takes these takes any number


def candidates(folder: Path, wanted: Wanted) -> Iterator[Converted]:
    """Which ONNX model answers as this exported PyTorch program does?

    Raises:
        Unconvertible: the extra is not installed, the file is a pickle, or an operator does not convert.
    """
    try:
        import onnxscript  # noqa: F401 - torch's exporter needs it
        import torch
    except ModuleNotFoundError as error:
        raise Unconvertible(f"this is a pytorch model, and what converts it is not installed (no {error.name}); "
                            "Next: pip install torch onnxscript") from None
    found = sorted((folder / wanted.flavors["pytorch"].get("model_data", "data")).rglob("*.pt2"))
    if len(found) != 1:
        raise Unconvertible("a pickled PyTorch module runs code when it is read; "
                            f"Next: log the program instead, without serialization_format='pickle': {AGAIN}")
    if not wanted.inputs:
        raise Unconvertible("the model was logged without a signature, so nothing says what a request holds; "
                            "Next: log it with signature=infer_signature(...)")
    pt2.refuse_code(found[0])
    program = torch.export.load(found[0])
    _refuse_unfit(program)
    names, outputs = [c.name for c in wanted.inputs], _outputs(program, wanted)
    source = {"format": "pytorch", "opset": str(OPSET), "torch": version("torch"),
              "onnxruntime": version("onnxruntime")}
    made = _exported(program, names, outputs)
    matched = graph.matching([t.name for t in made.graph.input], names)
    ready = graph.optimised(graph.canonical(made, matched, outputs))
    yield Converted(ready, _native(program, names, outputs), source, wanted.inputs, outputs)


def _refuse_unfit(program: Any) -> None:
    """Training mode and a fixed number of rows are caught here, where it can be said what to do about them."""
    for node in program.graph.nodes:
        name = str(node.target).split(".")[1:2]
        if (name == ["dropout"] and node.args[2]) or (name == ["batch_norm"] and node.args[5]):
            raise Unconvertible(f"the program was exported in training mode ({name[0]} is at work); Next: {AGAIN}")
        if node.op == "placeholder" and node.name in program.graph_signature.user_inputs:
            rows = _rows(program, node.meta["val"])
            if rows is not None:
                raise Unconvertible(f"{node.name}: the program was exported for at most {rows} rows at once; "
                                    "Next: log it with an input_example of two rows or more, in a model that asks no "
                                    "question about their number")


def _rows(program: Any, value: Any) -> int | None:
    """How many rows does it take at most; None for any number?"""
    size = value.shape[0]
    if isinstance(size, int):
        return size
    limits = program.range_constraints.get(size.node.expr)
    return int(limits.upper) if limits is not None and bool(limits.upper < MANY) else None


def _outputs(program: Any, wanted: Wanted) -> tuple[str, ...]:
    many = len(program.graph_signature.user_outputs)
    return (wanted.output or "prediction",) if many == 1 else tuple(f"output_{i}" for i in range(many))


def _exported(program: Any, names: list[str], outputs: tuple[str, ...]) -> Any:
    import onnx
    import torch

    # It warns of torchvision's absence on every export.
    logging.getLogger("torch.onnx._internal.exporter._registration").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "model.onnx"
        try:
            torch.onnx.export(program, (), path, input_names=names, output_names=list(outputs), opset_version=OPSET,
                              dynamo=True, external_data=False, verbose=False)
        except Exception as error:  # noqa: BLE001 - torch's exporter raises many kinds; its words name the operator
            raise Unconvertible(f"PyTorch does not export this program to ONNX: {_why(error)}") from None
        return onnx.load(path)


def _why(error: BaseException) -> str:
    """The operator, which stands in the first of a chain of errors; else what the last one says."""
    cause = error
    while cause.__cause__:
        cause = cause.__cause__
    named = re.search(r"op='(aten\.\w+)'", str(cause))
    return f"no ONNX function is known for {named[1]}" if named else graph.first_line(cause)


def _native(program: Any, names: list[str], outputs: tuple[str, ...]) -> Any:
    import torch
    from torch.utils import _pytree

    module = program.module()

    def native(arrays: Arrays) -> Arrays:
        with torch.no_grad():
            said = _pytree.tree_leaves(module(*(torch.from_numpy(arrays[n].copy()) for n in names)))
        return {name: tensor.numpy() for name, tensor in zip(outputs, said, strict=True)}

    return native
