"""From the bytes of a picture to the array that an image model takes.

PNG needs nothing but zlib. JPEG needs Pillow (7 MB zipped), which would take the Lambda layer past its 30 MB: the
container server reads it where Pillow is installed; elsewhere it is answered with 415.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator
from itertools import accumulate
from typing import NamedTuple

from .block import CODES, Block
from .errors import BadRequest
from .limits import Limits
from .manifest import Tensor

SIGNATURE = b"\x89PNG\r\n\x1a\n"
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by PNG's colour type: grey, RGB, palette, grey+alpha, RGB+alpha


class Pixels(NamedTuple):
    """Which values has a picture: height times width times channels bytes, line by line?"""

    height: int
    width: int
    channels: int
    data: bytes


jpeg: Callable[[bytes, Tensor, Limits], Pixels] | None = None  # the server sets it, where Pillow is installed


def is_image(tensors: tuple[Tensor, ...]) -> bool:
    """Does the model take one picture: (rows, height, width, 1 or 3)?"""
    return len(tensors) == 1 and len(tensors[0].shape) == 4 and tensors[0].shape[3] in (1, 3)


def read(body: bytes, tensor: Tensor, limits: Limits) -> Block:
    """Which block of shape (1, height, width, channels) is this picture?

    Its pixels, 0 to 255, are scaled to the range of values that the model saw.

    Raises:
        BadRequest: 400 when it is no picture, 413 when it is too large, 415 when it cannot be read here,
            422 when it has another size than the model takes.
    """
    pixels = _png(body, tensor, limits) if body[:8] == SIGNATURE else _jpeg(body, tensor, limits)
    coloured = _coloured(pixels, tensor.shape[3] or 1)
    shape = (1, coloured.height, coloured.width, coloured.channels)
    if tensor.dtype == "uint8":
        return Block("uint8", shape, coloured.data)
    low, high = tensor.seen or (0.0, 255.0)
    scale = [low + value * ((high - low) / 255.0) for value in range(256)]
    if not tensor.dtype.startswith("float"):
        scale = [int(value) for value in scale]
    return Block(tensor.dtype, shape, _looked_up(coloured.data, struct.pack(f"<256{CODES[tensor.dtype]}", *scale)))


def _looked_up(data: bytes, table: bytes) -> bytes:
    """For each byte its entry of a table of 256, in C; one byte of all entries after the other, which is fast."""
    size = len(table) // 256
    found = bytearray(size * len(data))
    for lane in range(size):
        found[lane::size] = data.translate(table[lane::size])
    return bytes(found)


def _coloured(pixels: Pixels, channels: int) -> Pixels:
    data = pixels.data
    if pixels.channels == channels:
        return pixels
    if channels == 3:
        tripled = bytearray(3 * len(data))
        tripled[::3] = tripled[1::3] = tripled[2::3] = data
        return pixels._replace(channels=3, data=bytes(tripled))
    # ITU-R 601, as Pillow converts to grey.
    grey = bytes([round(0.299 * r + 0.587 * g + 0.114 * b)
                  for r, g, b in zip(data[::3], data[1::3], data[2::3], strict=True)])
    return pixels._replace(channels=1, data=grey)


def _png(body: bytes, tensor: Tensor, limits: Limits) -> Pixels:
    chunks = list(_chunks(body))
    if not chunks or chunks[0][0] != b"IHDR" or len(chunks[0][1]) != 13:
        raise BadRequest("the PNG has no header")
    if chunks[-1][0] != b"IEND":
        raise BadRequest("the PNG is cut off or damaged")
    head = chunks[0][1]
    width, height = int.from_bytes(head[:4], "big"), int.from_bytes(head[4:8], "big")
    depth, colour, interlaced = head[8], head[9], head[12]
    # Its lines are undone in Python, some bytes in a microsecond: many only where the model itself takes so many.
    most = limits.pixels if all(tensor.shape[1:3]) else limits.pixels // 16
    refuse_size(width, height, tensor, limits._replace(pixels=most))
    if depth != 8 or colour not in CHANNELS or interlaced:
        raise BadRequest("the PNG is interlaced or has not 8 bits a channel; wanted 8 bits, not interlaced", status=415)
    size = CHANNELS[colour]
    packed = b"".join(data for kind, data in chunks if kind == b"IDAT")
    lines = _unfiltered(_inflated(packed, height * (width * size + 1)), height, width * size, size)
    return _without_alpha(Pixels(height, width, size, lines), colour, chunks)


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


def _unfiltered(body: bytes, height: int, width: int, step: int) -> bytes:
    """PNG's five line filters undone (PNG specification, 9.2)."""
    lines, above = [], bytes(width)
    for start in range(0, height * (width + 1), width + 1):
        kind, line = body[start], body[start + 1 : start + 1 + width]
        if kind == 1:
            line = _summed(line, step)
        elif kind == 2:
            line = bytes([(a + b) & 255 for a, b in zip(line, above, strict=True)])
        elif kind in (3, 4):
            line = bytes(_predicted(line, above, step, paeth=kind == 4))
        elif kind:
            raise BadRequest("the PNG has a line filter that does not exist")
        lines.append(line)
        above = line
    return b"".join(lines)


def _summed(line: bytes, step: int) -> bytes:
    summed = bytearray(len(line))
    for channel in range(step):
        summed[channel::step] = bytes([value & 255 for value in accumulate(line[channel::step])])
    return bytes(summed)


def _predicted(line: bytes, above: bytes, step: int, *, paeth: bool) -> list[int]:
    out, lefts = [0] * step + list(line), range(len(line))
    if not paeth:
        for i, value, up in zip(lefts, line, above, strict=True):
            out[i + step] = (value + ((out[i] + up) >> 1)) & 255
        return out[step:]
    corners = bytes(step) + above
    for i, value, up, corner in zip(lefts, line, above, corners, strict=False):
        left = out[i]
        # Written out, as this line runs for each byte of most pictures: the nearest of the three to left + up - corner.
        by_left, by_up, by_corner = abs(up - corner), abs(left - corner), abs(left + up - 2 * corner)
        near = left if by_left <= by_up and by_left <= by_corner else up if by_up <= by_corner else corner
        out[i + step] = (value + near) & 255
    return out[step:]


def _without_alpha(pixels: Pixels, colour: int, chunks: list[tuple[bytes, bytes]]) -> Pixels:
    data = pixels.data
    if colour == 3:
        palette = next((part for kind, part in chunks if kind == b"PLTE"), b"")
        if not palette[2:] or max(data) >= len(palette) // 3:
            raise BadRequest("the PNG names colours that its palette does not hold")
        clear = next((part for kind, part in chunks if kind == b"tRNS"), b"")
        alphas = clear + b"\xff" * (len(palette) // 3 - len(clear))
        table = b"".join(bytes([(v * a + 127) // 255 for v in palette[i * 3 : i * 3 + 3]])  # over black, as below
                         for i, a in enumerate(alphas[: min(256, len(palette) // 3)]))
        return pixels._replace(channels=3, data=_looked_up(data, table.ljust(3 * 256, b"\0")))
    if colour in (4, 6):  # over black, as an empty canvas is
        left = pixels.channels - 1
        plain, alpha = bytearray(left * pixels.height * pixels.width), data[left :: left + 1]
        for channel in range(left):
            plain[channel::left] = bytes(
                [(v * a + 127) // 255 for v, a in zip(data[channel :: left + 1], alpha, strict=True)])
        return pixels._replace(channels=left, data=bytes(plain))
    return pixels


def _jpeg(body: bytes, tensor: Tensor, limits: Limits) -> Pixels:
    if body[:3] != b"\xff\xd8\xff":
        raise BadRequest("the body is neither PNG nor JPEG")
    if jpeg is None:
        raise BadRequest("JPEG is not read here; wanted image/png", status=415)
    return jpeg(body, tensor, limits)


def refuse_size(width: int, height: int, tensor: Tensor, limits: Limits) -> None:
    """Say no before anything is unpacked: a picture of many pixels may have few bytes, and takes seconds.

    Raises:
        BadRequest: 413, 400 for a picture without pixels, or 422 for one of another size than the model takes.
    """
    if width * height > limits.pixels:
        raise BadRequest(f"the picture has {width * height} pixels; at most {limits.pixels} are unpacked", status=413)
    if not width or not height:
        raise BadRequest("the picture has no pixels")
    high, wide = tensor.shape[1:3]
    if (high or height, wide or width) != (height, width):
        raise BadRequest(f"{tensor.name}: found a picture of {width} x {height} pixels; wanted {wide} x {high}",
                         status=422)
