"""One body in, one body out: what the Lambda function and the container server have in common.

Records here are NamedTuples, which a cold start makes four times faster than frozen, slotted dataclasses.

decode -> validate -> preprocess -> session -> postprocess -> encode, once, for every target.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple, Protocol

from . import answers, codec, npy
from .block import Block, Blocks
from .core import Predictor
from .errors import BadRequest, RuntimeFault
from .fit import refit

JSON, CSV, NPY, TEXT = "application/json", "text/csv", "application/x-npy", "text/plain"
PICTURES = ("image/png", "image/jpeg")
OFFERED = (JSON, CSV, NPY)
HEADS = 256  # of npy bodies, that are remembered


class Request(NamedTuple):
    """What was asked?

    Attributes:
        body: the bytes, as they came.
        kind: the Content-Type header; empty means JSON.
        accept: the Accept header; empty means JSON.
        encoding: the Content-Encoding header.
    """

    body: bytes
    kind: str = ""
    accept: str = ""
    encoding: str = ""


class Response(NamedTuple):
    """What is answered?"""

    status: int
    kind: str
    body: bytes


class Asked(NamedTuple):
    """A request that was understood: what the session takes, and how to answer.

    Attributes:
        blocks: the request's own values.
        ready: what the session takes.
        unknown: values that the model never saw.
        kind: the content type of the answer.
        rows: how many predictions are asked for.
    """

    blocks: Blocks
    ready: Blocks
    unknown: list[dict[str, Any]]
    kind: str
    rows: int


class Quick(Protocol):
    """A faster JSON that a server may bring along; what it cannot read is read again by the exact one."""

    def read(self, body: bytes) -> Blocks | None:
        """Which blocks does this JSON hold? None where this reader does not say."""

    def write(self, outputs: Blocks, unknown: list[dict[str, Any]]) -> bytes:
        """What is the answer as JSON?"""


Capture = Callable[[Blocks, Blocks], None]


class Counts(Protocol):
    """Who is told what happened, beyond statuses: rows, unknown, model_faults, capture_failures?"""

    def count(self, counter: str, amount: int = 1) -> None:
        """Count something."""


class Kept:
    """Counts in this process's own memory."""

    def __init__(self) -> None:
        self.counted = {"rows": 0, "unknown": 0, "model_faults": 0, "capture_failures": 0}

    def count(self, counter: str, amount: int = 1) -> None:
        """Count something."""
        self.counted[counter] += amount


class Exchange:
    """Reads requests and writes answers for one predictor.

    Attributes:
        predictor: what answers.
        quick: a faster JSON, where there is one.
        capture: is given every request and answer; an OSError of its own is counted and changes no answer.
    """

    def __init__(self, predictor: Predictor, quick: Quick | None = None, capture: Capture | None = None,
                 counts: Counts | None = None) -> None:
        self.predictor = predictor
        self.quick = quick
        self.capture = capture
        self.counts: Counts = counts or Kept()
        self._heads: dict[bytes, tuple[int, str, str, tuple[int, ...]]] = {}

    def respond(self, request: Request) -> Response:
        """What is the answer to this request? Never raises a RuntimeFault."""
        try:
            asked = self.read(request)
            return self.write(asked, self.predictor.run(asked.ready))
        except RuntimeFault as fault:
            return self.refuse(fault)

    def read(self, request: Request) -> Asked:
        """What does this request ask for?

        Raises:
            BadRequest: the status and message say why it cannot be answered.
        """
        kind = accepted(request.accept)
        if kind == NPY and self.predictor.manifest.outputs[0].dtype == "string":
            raise BadRequest(f"the answers are text, which npy does not hold; wanted {JSON} or {CSV}", status=406)
        plain = request.kind == NPY and not request.encoding
        blocks = self._again(request.body) if plain else None
        if blocks is None:
            blocks = self.predictor.check(self._blocks(request))
            if plain:
                self._remember(request.body, blocks)
        ready, unknown = self.predictor.prepare(blocks)
        return Asked(blocks, ready, unknown, kind, len(next(iter(blocks.values()))))

    def write(self, asked: Asked, outputs: Blocks) -> Response:
        """What is the answer, once the model has spoken?"""
        self.counts.count("rows", asked.rows)
        if asked.unknown:
            self.counts.count("unknown", len(asked.unknown))
        if self.capture:
            try:
                self.capture(asked.blocks, outputs)
            except OSError:
                self.counts.count("capture_failures")
        manifest = self.predictor.manifest
        if asked.kind == NPY:
            return Response(200, NPY, npy.dump(outputs[manifest.outputs[0].name]))
        if asked.kind == CSV:
            return Response(200, CSV, answers.as_csv(outputs, manifest))
        if self.quick:
            return Response(200, JSON, self.quick.write(outputs, asked.unknown))
        return Response(200, JSON, json.dumps(answers.as_json(outputs, manifest, asked.unknown)).encode())

    def refuse(self, fault: RuntimeFault) -> Response:
        """What is answered instead?"""
        if fault.status >= 500:
            self.counts.count("model_faults")
        return Response(fault.status, JSON, json.dumps({"error": str(fault)}).encode())

    def _blocks(self, request: Request) -> Blocks:
        tensors, limits = self.predictor.manifest.inputs, self.predictor.limits
        body = unpacked(request.body, request.encoding, limits.body)
        if len(body) > limits.body:
            raise BadRequest(f"the body has {len(body)} bytes; at most {limits.body} are taken", status=413)
        kind = request.kind if request.kind in OFFERED else request.kind.partition(";")[0].strip().lower()
        if kind in ("", JSON):
            _refuse_charset(request.kind)
            found = self.quick.read(body) if self.quick else None
            return codec.decode(codec.parse_json(body), tensors) if found is None else found
        if kind == NPY:
            return _read_npy(body, self.predictor)
        if kind == CSV:
            from . import tables

            _refuse_charset(request.kind)
            return tables.read_csv(body, tensors)
        if kind in PICTURES:
            return _picture(body, kind, self.predictor)
        if kind == TEXT:
            _refuse_charset(request.kind)
            return _text(body, self.predictor)
        wanted = ", ".join(taken(self.predictor))
        raise BadRequest(f"content type {kind[:60]!r} is not taken; wanted one of {wanted}", status=415)

    def _again(self, body: bytes) -> Blocks | None:
        """The block of an npy body with a head that was taken before: it is looked at no further than for NaN."""
        end = 10 + int.from_bytes(body[8:10], "little")
        seen = self._heads.get(body[:end])
        if seen is None or len(body) != seen[0]:
            return None
        block = Block(seen[2], seen[3], body[end:])
        return {seen[1]: block} if block.is_finite() else None

    def _remember(self, body: bytes, blocks: Blocks) -> None:
        """Keep the head of an npy body that was taken, where its values are neither turned nor bounded."""
        (name, block), = blocks.items()
        if self.predictor.any_values and npy.holds(body, block.dtype):
            if len(self._heads) >= HEADS:
                self._heads.clear()
            self._heads[body[: len(body) - len(block.data)]] = (len(body), name, block.dtype, block.shape)


def taken(predictor: Predictor) -> list[str]:
    """Which content types can requests to this model have?"""
    from . import images

    tensors = predictor.manifest.inputs
    kinds = [JSON]
    if len(tensors) > 1 or tensors[0].dtype != "string":
        kinds.append(CSV)
    if len(tensors) == 1 and tensors[0].dtype != "string":
        kinds.append(NPY)
    if images.is_image(tensors):
        kinds += PICTURES
    if len(tensors) == 1 and tensors[0].dtype == "string":
        kinds += [CSV, TEXT]
    return kinds


@lru_cache(maxsize=256)
def accepted(header: str) -> str:
    """Which of the content types that we can answer with does this Accept header like best?

    Raises:
        BadRequest: 406, none of them.
    """
    if not header or header in ("*/*", JSON):
        return JSON
    best, liking = "", 0.0
    for part in header.split(","):
        name, _, options = part.strip().partition(";")
        name, quality = name.strip().lower(), _quality(options)
        offered = {"*/*": JSON, "application/*": JSON, "text/*": CSV}.get(name, name)
        if offered in OFFERED and quality > liking:
            best, liking = offered, quality
    if not best:
        raise BadRequest(f"cannot answer as {header[:60]!r}; wanted one of {', '.join(OFFERED)}", status=406)
    return best


def _quality(options: str) -> float:
    for option in options.split(";"):
        name, _, value = option.strip().partition("=")
        if name == "q":
            try:
                return float(value)
            except ValueError:
                return 0.0
    return 1.0


def unpacked(body: bytes, encoding: str, limit: int) -> bytes:
    """The body as it was before it was compressed, unpacked no further than the limit.

    Raises:
        BadRequest: 413 past the limit, 400 when it is no gzip, 415 for another encoding.
    """
    if not encoding or (name := encoding.strip().lower()) in ("", "identity"):
        return body
    if name != "gzip":
        raise BadRequest(f"content encoding {name[:60]!r} is not taken; wanted gzip", status=415)
    try:
        stream = zlib.decompressobj(16 + zlib.MAX_WBITS)
        plain = stream.decompress(body, limit + 1)
    except zlib.error:
        raise BadRequest("the body says it is gzip and is not") from None
    if len(plain) > limit:
        raise BadRequest(f"the body has more than {limit} bytes unpacked; at most {limit} are taken", status=413)
    if not stream.eof or stream.unused_data:
        raise BadRequest("the gzip body is cut off, or something follows it")
    return plain


def _refuse_charset(header: str) -> None:
    if ";" not in header:
        return
    for option in header.split(";")[1:]:
        name, _, value = option.strip().partition("=")
        if name.lower() == "charset" and value.strip('" ').lower() not in ("utf-8", "utf8", "us-ascii"):
            raise BadRequest(f"charset {value[:60]!r} is not taken; wanted utf-8", status=415)


def _read_npy(body: bytes, predictor: Predictor) -> Blocks:
    tensors = predictor.manifest.inputs
    if len(tensors) != 1 or tensors[0].dtype == "string":
        raise BadRequest(f"npy holds one array of numbers; this model takes {[t.name for t in tensors]}", status=415)
    tensor, block = tensors[0], npy.load(body)
    if not npy.rows_of(block.shape, tensor.shape):
        raise BadRequest(f"{tensor.name}: found shape {list(block.shape)}; wanted {['rows', *tensor.shape[1:]]}",
                         status=422)
    return {tensor.name: refit(block, tensor)}


def _picture(body: bytes, kind: str, predictor: Predictor) -> Blocks:
    from . import images

    tensors = predictor.manifest.inputs
    if not images.is_image(tensors):
        raise BadRequest(f"{kind} is not taken: this model takes no pictures", status=415)
    return {tensors[0].name: images.read(body, tensors[0], predictor.limits)}


def _text(body: bytes, predictor: Predictor) -> Blocks:
    tensors = predictor.manifest.inputs
    if len(tensors) != 1 or tensors[0].dtype != "string":
        raise BadRequest(f"{TEXT} is not taken: this model takes no single text", status=415)
    try:
        return {tensors[0].name: codec.block_of([body.decode("utf-8")], tensors[0])}
    except UnicodeDecodeError as error:
        raise BadRequest(f"the body is not UTF-8: byte {error.start}") from None
