"""Dense networks of 64 inputs and 10 outputs, as bundles made by hand: what the servers are compared with."""

from __future__ import annotations

import hashlib
from itertools import pairwise
from pathlib import Path

import numpy as np

from serving.convert.graph import optimised
from serving.golden import write_golden
from serving.runtime.manifest import FileEntry, Manifest, Parity, Tensor

WIDTH, OUTPUTS = 64, 10


def bundle(folder: Path, hidden: tuple[int, ...]) -> Path:
    """The ONNX file in a new bundle of a network with these hidden layers (units of each).

    Its golden requests are zeros; their answers are not checked.
    """
    from onnx import TensorProto, helper, numpy_helper, save_model

    draw, sizes = np.random.default_rng(0), (WIDTH, *hidden, OUTPUTS)
    nodes, weights, last = [], [], "x"
    for layer, (above, below) in enumerate(pairwise(sizes)):
        weights += [numpy_helper.from_array(draw.normal(0, 0.1, (above, below)).astype(np.float32), f"W{layer}"),
                    numpy_helper.from_array(np.zeros(below, np.float32), f"b{layer}")]
        nodes.append(helper.make_node("Gemm", [last, f"W{layer}", f"b{layer}"], [f"s{layer}"]))
        last = "probabilities" if layer == len(hidden) else f"r{layer}"
        nodes.append(helper.make_node("Softmax" if layer == len(hidden) else "Relu", [f"s{layer}"], [last]))
    value = helper.make_tensor_value_info
    graph = helper.make_graph(nodes, "dense", [value("x", TensorProto.FLOAT, ["batch", WIDTH])],
                              [value("probabilities", TensorProto.FLOAT, ["batch", OUTPUTS])], weights)
    folder.mkdir(parents=True)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    save_model(optimised(made), folder / "model.onnx")
    write_golden(folder / "golden.npz", {"x": np.zeros((32, WIDTH), np.float32)},
                 {"probabilities": np.zeros((32, OUTPUTS), np.float32)})
    (folder / "manifest.json").write_bytes(_manifest(folder).to_bytes())
    return folder / "model.onnx"


def _manifest(folder: Path) -> Manifest:
    files = tuple(FileEntry(p.name, hashlib.sha256(p.read_bytes()).hexdigest(), p.stat().st_size)
                  for p in sorted(folder.iterdir()))
    return Manifest(
        name="dense", version=1, run_id="r", digest="0" * 64, task="tabular", kind="classification", labels=(),
        inputs=(Tensor("x", "float32", (None, WIDTH)),), outputs=(Tensor("probabilities", "float32", (None, OUTPUTS)),),
        source={"format": "onnx"}, parity=Parity(32, 32, 0.0, 1e-4), verdicts=(), approvals=(), files=files)
