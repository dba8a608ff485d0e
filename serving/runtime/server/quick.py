"""JSON by msgspec: typed for the model's own signature, several times faster than the exact reader.

It takes a request or says nothing: whatever it does not take, the exact reader reads again and explains.
"""

from __future__ import annotations

from array import array
from itertools import chain
from typing import Any

import msgspec

from ..answers import labels, predictions
from ..block import CODES, Block, Blocks
from ..manifest import Manifest, Tensor

KEYS = (b'"instances"', b'"inputs"')


class QuickJson:
    """Reads and writes JSON for one manifest.

    Args:
        manifest: whose single input of numbers it reads; for any other signature it reads nothing.
    """

    def __init__(self, manifest: Manifest) -> None:
        self._manifest = manifest
        self._first = manifest.outputs[0].name
        self._tensor = _readable(manifest)
        self._decoders = _decoders(self._tensor) if self._tensor else {}
        self._encode = msgspec.json.Encoder().encode
        facts = {"name": manifest.name, "version": manifest.version, "digest": manifest.digest}
        self._tail = b',"model":' + self._encode(facts) + b"}"

    def read(self, body: bytes) -> Blocks | None:
        """Which array does this JSON hold? None where this reader does not say."""
        tensor = self._tensor
        if tensor is None or b"\\" in body:  # an escape may hide a second key of the same name
            return None
        for key, decoder in self._decoders.items():
            # A key that stands twice is no JSON of ours, and msgspec would take the last.
            if body.count(key) == 1:
                try:
                    rows = decoder.decode(body)
                except (msgspec.MsgspecError, ValueError, RecursionError):
                    return None
                return self._narrowed(getattr(rows, key[1:-1].decode()), tensor)
        return None

    def write(self, outputs: Blocks, unknown: list[dict[str, Any]]) -> bytes:
        """What is the answer as JSON?"""
        parts = [b'{"predictions":', self._encode(predictions(outputs))]
        named = labels(outputs[self._first], self._manifest)
        if named is not None:
            parts += [b',"labels":', self._encode(named)]
        if unknown:
            parts += [b',"unknown":', self._encode(unknown)]
        return b"".join((*parts, self._tail))

    def _narrowed(self, rows: list[Any], tensor: Tensor) -> Blocks | None:
        level, shape = rows, [len(rows)]
        for wanted in tensor.shape[1:]:
            if len(sizes := set(map(len, level))) != 1 or wanted not in (None, *sizes):
                return None
            shape += sizes
            level = level[0] if len(level) == 1 else list(chain.from_iterable(level))
        block = Block(tensor.dtype, tuple(shape), array(CODES[tensor.dtype], level).tobytes())
        return {tensor.name: block} if block.is_finite() else None


def _readable(manifest: Manifest) -> Tensor | None:
    tensors = manifest.inputs
    if len(tensors) == 1 and tensors[0].dtype in ("float32", "float64") and not tensors[0].missing:
        return tensors[0]
    return None


def _decoders(tensor: Tensor) -> dict[bytes, Any]:
    kind: Any = float
    for _ in tensor.shape:
        kind = list[kind]
    found = {}
    for key in KEYS:
        fields = [(key[1:-1].decode(), kind)]
        struct = msgspec.defstruct("Asked", fields, forbid_unknown_fields=True, gc=False)
        found[key] = msgspec.json.Decoder(struct, strict=True)
    return found
