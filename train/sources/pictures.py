"""Pictures with labels: idx files (the MNIST layout), .npz arrays, or a folder with one folder per class.

All come back as float32 of shape (rows, height, width, channels) with the number that bounds a pixel.
"""

from __future__ import annotations

import gzip
import math
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..checks import class_indices
from ..errors import BadData
from ..words import Array

SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff"}
IDX_TYPES = {8: ">u1", 9: ">i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}
PIXELS, LABELS = ("x", "images", "image", "data", "X"), ("y", "labels", "label", "target", "Y")
HELD_OUT_NAMES = ("test", "held_out", "t10k")


@dataclass(frozen=True, slots=True)
class Pictures:
    """Pixels and labels as words; `held_out` where the source brings its own."""

    pixels: Array
    words: list[str]
    scale: float
    held_out: Pictures | None = None

    def targets(self, file: str) -> tuple[Array, tuple[str, ...]]:
        """Class indices and labels.

        Raises:
            BadData: one class only, or too few rows.
        """
        return class_indices(self.words, file=file, column="label")


def read_pictures(path: str, *, size: int) -> Pictures:
    """Read whichever of the three layouts `path` is; `size` 0 keeps the first picture's size (folders only).

    Raises:
        BadData: it is none of them, or something in it cannot be read.
    """
    place = Path(path)
    if not place.exists():
        raise BadData("there is no such file or folder", file=path)
    if place.is_dir():
        idx = [file for file in place.iterdir() if "-idx3" in file.name or ".idx3" in file.name]
        return _idx_folder(place) if idx else _folder(place, size)
    if place.suffix == ".npz":
        return _npz(place)
    if "idx" in place.name:
        return _idx_pair(place)
    raise BadData("is neither an idx file, an .npz file nor a folder with one folder per class", file=path)


def _idx_folder(folder: Path) -> Pictures:
    files = sorted(file for file in folder.iterdir() if "images" in file.name and "idx3" in file.name)
    held_out = [file for file in files if file.name.startswith(HELD_OUT_NAMES)]
    train = [file for file in files if file not in held_out]
    if not train:
        raise BadData("has no idx file of training pictures", file=str(folder))
    made = _idx_pair(train[0])
    return Pictures(made.pixels, made.words, made.scale, _idx_pair(held_out[0]) if held_out else None)


def _idx_pair(images: Path) -> Pictures:
    labels = images.with_name(images.name.replace("images", "labels").replace("idx3", "idx1"))
    if labels == images or not labels.is_file():
        raise BadData(f"its labels are not beside it as {labels.name}", file=str(images))
    return _checked(read_idx(images), read_idx(labels), images)


def read_idx(path: Path) -> Array:
    """An idx array (http://yann.lecun.com/exdb/mnist), gzipped or not.

    Raises:
        BadData: it is not one, or is cut short.
    """
    try:
        raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error):
        raise BadData("is not a readable gzip file", file=str(path)) from None
    if len(raw) < 4 or raw[:2] != b"\0\0" or raw[2] not in IDX_TYPES:
        raise BadData("is not an idx file", file=str(path))
    dtype, start = np.dtype(IDX_TYPES[raw[2]]), 4 + 4 * raw[3]
    shape = tuple(int(n) for n in np.frombuffer(raw[4:start], dtype=">u4"))
    wanted = math.prod(shape) * dtype.itemsize
    if len(raw) - start != wanted:
        raise BadData(f"holds {len(raw) - start} bytes of data where its header says {wanted}", file=str(path))
    return np.frombuffer(raw, dtype=dtype, offset=start).reshape(shape)


def _npz(path: Path) -> Pictures:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            found = {name: arrays[name] for name in arrays.files}
    except (OSError, ValueError, zipfile.BadZipFile):
        raise BadData("cannot be read as .npz without pickle", file=str(path)) from None
    if "x_train" in found:
        held_out = _pair(found, "_test", path) if "x_test" in found else None
        made = _pair(found, "_train", path)
        return Pictures(made.pixels, made.words, made.scale, held_out)
    return _pair(found, "", path)


def _pair(found: Mapping[str, Array], end: str, path: Path) -> Pictures:
    pixels = next((found[name + end] for name in PIXELS if name + end in found), None)
    labels = next((found[name + end] for name in LABELS if name + end in found), None)
    if pixels is None or labels is None:
        wanted = f"{PIXELS[0]}{end} and {LABELS[0]}{end}"
        raise BadData(f"has arrays {', '.join(sorted(found))}, wanted {wanted}", file=str(path))
    return _checked(pixels, labels, path)


def _checked(pixels: Array, labels: Array, path: Path) -> Pictures:
    labels = labels.reshape(-1) if labels.ndim == 2 and 1 in labels.shape else labels
    if pixels.ndim not in (3, 4) or labels.ndim != 1 or not np.issubdtype(pixels.dtype, np.number):
        raise BadData(f"pictures of shape {pixels.shape} with labels of shape {labels.shape}", file=str(path))
    if len(pixels) != len(labels):
        raise BadData(f"{len(pixels)} pictures but {len(labels)} labels", file=str(path))
    if not len(pixels):
        raise BadData("the file has no rows", file=str(path))
    _refuse_unknown(pixels, "a pixel", path)
    _refuse_unknown(labels, "the label", path)
    words = [str(int(v)) if isinstance(v, float) and v.is_integer() else str(v) for v in labels.tolist()]
    shaped = pixels if pixels.ndim == 4 else pixels[..., np.newaxis]
    return Pictures(shaped.astype(np.float32), words, _bound(pixels))


def _refuse_unknown(values: Array, what: str, path: Path) -> None:
    if values.dtype.kind == "f":
        bad = np.flatnonzero(~np.isfinite(values.reshape(len(values), -1)).all(axis=1))
        if len(bad):
            raise BadData(f"{what} is not a number", file=str(path), row=int(bad[0]) + 1)


def _bound(pixels: Array) -> float:
    """What a pixel of this format reaches at most: 255 for bytes, 1 for fractions."""
    if np.issubdtype(pixels.dtype, np.integer):
        return 255.0 if pixels.max(initial=0) > 16 else 16.0
    return 1.0 if pixels.max(initial=0.0) <= 1 else 255.0


def _folder(folder: Path, size: int) -> Pictures:
    parts = {part.name: part for part in folder.iterdir() if part.is_dir()}
    held_out = next((parts[name] for name in HELD_OUT_NAMES if name in parts and "train" in parts), None)
    train = parts["train"] if held_out else folder
    files = _class_files(train)
    shape = _shape(files[0][0], size)
    made = _read_files(files, shape)
    others = _read_files(_class_files(held_out), shape) if held_out else None
    return Pictures(made.pixels, made.words, 255.0, others)


def _class_files(folder: Path) -> list[tuple[Path, str]]:
    found = [
        (file, part.name)
        for part in sorted(folder.iterdir())
        if part.is_dir()
        for file in sorted(part.iterdir())
        if file.suffix.lower() in SUFFIXES
    ]
    if not found:
        raise BadData("holds no folder with pictures", file=str(folder))
    return found


def _shape(first: Path, size: int) -> tuple[int, int, str]:
    with _opened(first) as picture:
        width, height = (size, size) if size else picture.size
        return width, height, "L" if picture.mode in ("1", "L", "I;16", "LA") else "RGB"


def _opened(path: Path) -> Any:
    from PIL import Image, UnidentifiedImageError

    try:
        picture = Image.open(path)
        picture.load()
    except (UnidentifiedImageError, OSError, SyntaxError, Image.DecompressionBombError):
        raise BadData("is not a readable picture", file=str(path)) from None
    return picture


def _read_files(files: list[tuple[Path, str]], shape: tuple[int, int, str]) -> Pictures:
    width, height, mode = shape
    pixels = np.empty((len(files), height, width, 1 if mode == "L" else 3), dtype=np.float32)
    for row, (file, _) in enumerate(files):
        with _opened(file) as picture:
            sized = picture.convert(mode)
            sized = sized if sized.size == (width, height) else sized.resize((width, height))
            pixels[row] = np.asarray(sized, dtype=np.float32).reshape(pixels.shape[1:])
    return Pictures(pixels, [label for _, label in files], 255.0)
