"""From the bytes of a picture to the array that an image model takes.

PNG needs nothing but zlib. JPEG needs Pillow (7 MB zipped), which would take the Lambda layer past its 30 MB: the
container server reads it where Pillow is installed; elsewhere it is answered with 415.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import BadRequest
from .limits import Limits
from .manifest import Tensor

SIGNATURE = b"\x89PNG\r\n\x1a\n"
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by PNG's colour type: grey, RGB, palette, grey+alpha, RGB+alpha
Pixels = NDArray[np.uint8]
jpeg: Callable[[bytes, Limits], Pixels] | None = None  # the server sets it, where Pillow is installed


def is_image(tensors: tuple[Tensor, ...]) -> bool:
    """Does the model take one picture: (rows, height, width, 1 or 3)?"""
    return len(tensors) == 1 and len(tensors[0].shape) == 4 and tensors[0].shape[3] in (1, 3)


def read(body: bytes, tensor: Tensor, limits: Limits) -> NDArray[Any]:
    """Which array of shape (1, height, width, channels) is this picture?

    Its pixels, 0 to 255, are scaled to the range of values that the model saw.

    Raises:
        BadRequest: 400 when it is no picture, 413 when it is too large, 415 when it cannot be read here,
            422 when it has another size than the model takes.
    """
    pixels = _png(body, limits) if body[:8] == SIGNATURE else _jpeg(body, limits)
    height, width, channels = tensor.shape[1:]
    if (height or pixels.shape[0], width or pixels.shape[1]) != pixels.shape[:2]:
        raise BadRequest(f"{tensor.name}: found a picture of {pixels.shape[1]} x {pixels.shape[0]} pixels; wanted "
                         f"{width} x {height}", status=422)
    coloured = _coloured(pixels, channels or 1)
    low, high = tensor.seen or (0.0, 255.0)
    if tensor.dtype == "uint8":
        return coloured[None]
    return np.asarray(low + coloured[None].astype(np.float64) * ((high - low) / 255.0), tensor.dtype)


def _coloured(pixels: Pixels, channels: int) -> Pixels:
    if pixels.shape[2] == channels:
        return pixels
    if channels == 3:
        return np.asarray(np.repeat(pixels, 3, axis=2))
    # ITU-R 601, as Pillow converts to grey.
    grey = np.asarray(pixels @ np.array([0.299, 0.587, 0.114]))
    return np.asarray(np.rint(grey)[..., None], np.uint8)


def _png(body: bytes, limits: Limits) -> Pixels:
    chunks = list(_chunks(body))
    if not chunks or chunks[0][0] != b"IHDR" or len(chunks[0][1]) != 13:
        raise BadRequest("the PNG has no header")
    if chunks[-1][0] != b"IEND":
        raise BadRequest("the PNG is cut off or damaged")
    head = chunks[0][1]
    width, height = int.from_bytes(head[:4], "big"), int.from_bytes(head[4:8], "big")
    depth, colour, interlaced = head[8], head[9], head[12]
    refuse_large(width, height, limits)
    if depth != 8 or colour not in CHANNELS or interlaced:
        raise BadRequest("the PNG is interlaced or has not 8 bits a channel; wanted 8 bits, not interlaced", status=415)
    size = CHANNELS[colour]
    packed = b"".join(data for kind, data in chunks if kind == b"IDAT")
    lines = _unfiltered(_inflated(packed, height * (width * size + 1)), height, width * size, size)
    return _without_alpha(lines.reshape(height, width, size), colour, chunks)


def _chunks(body: bytes) -> Iterator[tuple[bytes, bytes]]:
    place = 8
    while place + 12 <= len(body):
        size = int.from_bytes(body[place : place + 4], "big")
        kind, data = body[place + 4 : place + 8], body[place + 8 : place + 8 + size]
        check = body[place + 8 + size : place + 12 + size]
        if len(data) < size or zlib.crc32(kind + data) != int.from_bytes(check, "big"):
            raise BadRequest("the PNG is cut off or damaged")
        yield kind, data
        place += 12 + size


def _inflated(packed: bytes, size: int) -> bytes:
    try:
        stream = zlib.decompressobj()
        lines = stream.decompress(packed, size + 1)
    except zlib.error:
        raise BadRequest("the PNG's pixels cannot be unpacked") from None
    if len(lines) != size:
        raise BadRequest("the PNG holds more or fewer pixels than its header says")
    return lines


def _unfiltered(body: bytes, height: int, width: int, step: int) -> Pixels:
    """PNG's five line filters undone (PNG specification, 9.2)."""
    raw = np.frombuffer(body, np.uint8).reshape(height, width + 1)
    lines = np.zeros((height + 1, width), np.uint8)
    for row in range(height):
        above, line = lines[row], raw[row, 1:]
        kind = int(raw[row, 0])
        if kind == 0:
            lines[row + 1] = line
        elif kind == 1:
            summed = np.cumsum(line.reshape(-1, step), axis=0, dtype=np.uint64)
            lines[row + 1] = summed.astype(np.uint8).reshape(-1)
        elif kind == 2:
            lines[row + 1] = line + above
        elif kind in (3, 4):
            lines[row + 1] = _predicted(line.tolist(), above.tolist(), step, paeth=kind == 4)
        else:
            raise BadRequest("the PNG has a line filter that does not exist")
    return lines[1:]


def _predicted(line: list[int], above: list[int], step: int, *, paeth: bool) -> list[int]:
    out = [0] * step + line
    corner = [0] * step + above
    for i, value in enumerate(line):
        left, up, diagonal = out[i], above[i], corner[i]
        out[i + step] = (value + (_paeth(left, up, diagonal) if paeth else (left + up) // 2)) & 255
    return out[step:]


def _paeth(left: int, up: int, diagonal: int) -> int:
    guess = left + up - diagonal
    return min((left, up, diagonal), key=lambda v: abs(guess - v))


def _without_alpha(pixels: Pixels, colour: int, chunks: list[tuple[bytes, bytes]]) -> Pixels:
    if colour == 3:
        palette = next((data for kind, data in chunks if kind == b"PLTE"), b"")
        table = np.frombuffer(palette[: len(palette) // 3 * 3], np.uint8).reshape(-1, 3)
        if not len(table) or pixels.max(initial=0) >= len(table):
            raise BadRequest("the PNG names colours that its palette does not hold")
        return np.asarray(table[pixels[..., 0]])
    if colour in (4, 6):
        alpha = pixels[..., -1:].astype(np.uint16)
        return ((pixels[..., :-1] * alpha + 127) // 255).astype(np.uint8)  # over black, as an empty canvas is
    return pixels


def _jpeg(body: bytes, limits: Limits) -> Pixels:
    if body[:3] != b"\xff\xd8\xff":
        raise BadRequest("the body is neither PNG nor JPEG")
    if jpeg is None:
        raise BadRequest("JPEG is not read here; wanted image/png", status=415)
    return jpeg(body, limits)


def refuse_large(width: int, height: int, limits: Limits) -> None:
    """Say no before anything is unpacked.

    Raises:
        BadRequest: 413, or 400 for a picture without pixels.
    """
    if width * height > limits.pixels:
        raise BadRequest(f"the picture has {width * height} pixels; at most {limits.pixels} are unpacked", status=413)
    if not width or not height:
        raise BadRequest("the picture has no pixels")
