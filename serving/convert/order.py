"""One order for a graph's nodes and tables: exporters leave both to hash tables, and the same model came out otherwise.

Pure: a graph in, the same graph in another order out.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx


def settle(graph: onnx.GraphProto) -> None:
    """Order the nodes as they are needed, outputs and inputs taken in their own order; what nothing needs goes.

    Args:
        graph: changed in place, and the bodies of its loops and branches with it.
    """
    for node in graph.node:
        for body in bodies(node):
            settle(body)
        _settle_attributes(node)
    nodes = list(graph.node)
    kept = [nodes[place] for place in _needed(graph, nodes)]
    del graph.node[:]
    graph.node.extend(kept)


def bodies(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    """Which graphs does this node hold?"""
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def _needed(graph: onnx.GraphProto, nodes: list[onnx.NodeProto]) -> list[int]:
    """The places of the nodes, each after those that make its inputs: depth first from the outputs."""
    makers = {tensor: place for place, node in enumerate(nodes) for tensor in node.output if tensor}
    order: dict[int, None] = {}
    waiting = [(tensor.name, False) for tensor in reversed(graph.output)]
    while waiting:
        tensor, inputs_are_there = waiting.pop()
        place = makers.get(tensor)
        if place is None or place in order:
            continue
        if inputs_are_there:
            order[place] = None
            continue
        waiting.append((tensor, True))
        waiting += [(name, False) for name in reversed(_given(nodes[place]))]
    return list(order)


def _given(node: onnx.NodeProto) -> list[str]:
    """What a node reads, and what its bodies read of the tensors around them."""
    names = list(node.input)
    for body in bodies(node):
        names += [name for inner in body.node for name in _given(inner)]
        names += [value.name for value in body.output]
    return names


def _settle_attributes(node: onnx.NodeProto) -> None:
    ordered = sorted(node.attribute, key=lambda attribute: attribute.name)
    del node.attribute[:]
    node.attribute.extend(ordered)
    found = {attribute.name: attribute for attribute in node.attribute}
    if node.op_type == "CategoryMapper" and len(found) > 1:  # TensorFlow tells the rows of a table in no order
        numbers, words = found["cats_int64s"], found["cats_strings"]
        pairs = sorted(zip(numbers.ints, words.strings, strict=True))
        numbers.ints[:] = [number for number, _ in pairs]
        words.strings[:] = [word for _, word in pairs]
