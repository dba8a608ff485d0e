"""PNG and JPEG pictures: every usual kind is its pixels; what is no picture is refused, and harms nobody."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from serving.runtime import images
from serving.runtime.errors import BadRequest
from serving.runtime.limits import Limits
from serving.runtime.manifest import Tensor
from serving.runtime.server import jpeg

from .small import LambdaFront, ServerFront, bundle_of, server
from .test_bad_requests import npy, png

Image = pytest.importorskip("PIL.Image", reason="JPEG is read where Pillow is installed")
GREY, COLOUR = (Tensor("image", "float32", (None, 8, 8, n), (0.0, 255.0)) for n in (1, 3))
DOTS = np.random.default_rng(1).integers(0, 256, (8, 8, 3), np.uint8)


def packed(picture: Any, kind: str, **options: Any) -> bytes:
    body = io.BytesIO()
    picture.save(body, kind, **options)
    return body.getvalue()


def photo(mode: str = "L", size: tuple[int, int] = (8, 8), **options: Any) -> bytes:
    return packed(Image.fromarray(DOTS).resize(size).convert(mode), "JPEG", quality=95, **options)


def claiming(width: int, height: int) -> bytes:
    """A small JPEG whose header promises so many pixels."""
    body = bytearray(photo())
    place = body.index(b"\xff\xc0") + 5
    body[place : place + 4] = height.to_bytes(2, "big") + width.to_bytes(2, "big")
    return bytes(body)


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerFront]:
    with server(bundle_of("pixels", tmp_path_factory.mktemp("pixels") / "bundle")) as (front, _):
        yield front


@pytest.fixture(scope="module")
def function(tmp_path_factory: pytest.TempPathFactory) -> LambdaFront:
    folder = tmp_path_factory.mktemp("function")
    bundle_of("pixels", folder / "bundle")
    return LambdaFront(folder)


@pytest.mark.parametrize(("mode", "options"), [
    ("L", {}), ("RGB", {}), ("RGB", {"progressive": True}), ("CMYK", {}), ("L", {"comment": b"x" * 1000})])
def test_a_jpeg_is_answered_as_its_pixels_are(mode: str, options: dict[str, Any], front: ServerFront) -> None:
    body = photo(mode, **options)
    opened = Image.open(io.BytesIO(body))
    pixels = np.asarray((opened if mode == "L" else opened.convert("RGB")).convert("L"), np.float32)
    wanted = front.ask(npy((pixels / 255 * 16)[None, ..., None]), content_type="application/x-npy").json
    reply = front.ask(body, content_type="image/jpeg")
    assert reply.status == 200, reply.body
    # Grey is weighed in floats here, in fixed point by Pillow: at most one step of 255 apart.
    np.testing.assert_allclose(reply.json["predictions"], wanted["predictions"], atol=0.0 if mode == "L" else 0.02)
    assert reply.json["labels"] == wanted["labels"]


@pytest.mark.parametrize(("name", "body", "status", "said"), [
    ("cut off", photo()[:-60], 400, "JPEG cannot be read"),
    ("a header alone", photo()[:24], 400, "JPEG cannot be read"),
    ("noise after the mark", b"\xff\xd8\xff" + bytes(500), 400, "JPEG cannot be read"),
    ("of another size", photo(size=(9, 8)), 422, "9 x 8 pixels; wanted 8 x 8"),
    ("of 400 Mpx", claiming(20_000, 20_000), 413, "pixels that are unpacked"),
    ("of 20 Mpx", claiming(5_000, 4_000), 413, "20000000 pixels"),
    ("without pixels", claiming(0, 8), 400, ""),
    ("another format", packed(Image.fromarray(DOTS), "BMP"), 400, "neither PNG nor JPEG"),
])
def test_a_jpeg_that_cannot_be_answered_is_refused_and_harms_nobody(
        name: str, body: bytes, status: int, said: str, front: ServerFront) -> None:
    reply = front.ask(body, content_type="image/jpeg")
    assert reply.status == status, (name, reply.body)
    assert said in reply.json["error"]
    assert "/" not in reply.json["error"].replace("image/", "")
    assert front.ask(photo(), content_type="image/jpeg").status == 200


def test_where_pillow_is_not_jpeg_is_refused_by_name(function: LambdaFront, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "jpeg", None)
    reply = function.ask(photo(), content_type="image/jpeg")
    assert reply.status == 415
    assert "wanted image/png" in reply.json["error"]


@pytest.mark.parametrize("tensor", [GREY, COLOUR], ids=["grey", "colour"])
@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGB", "RGBA"])
def test_every_usual_png_is_the_pixels_that_pillow_finds(mode: str, tensor: Tensor) -> None:
    picture = Image.fromarray(np.dstack([DOTS, np.roll(DOTS[..., :1], 3)]), "RGBA").convert(mode)
    shown = Image.new("RGBA", picture.size, (0, 0, 0, 255))  # what is not opaque lies over black
    shown.alpha_composite(picture.convert("RGBA"))
    wanted = np.asarray(shown.convert("L" if tensor is GREY else "RGB"), np.float32).reshape(1, 8, 8, -1)
    found = np.asarray(images.read(packed(picture, "PNG"), tensor, Limits()))
    np.testing.assert_allclose(found, wanted, atol=0 if mode in ("L", "RGB") and tensor is COLOUR else 2)


@pytest.mark.parametrize("mode", ["1", "I;16"])
def test_a_png_of_another_depth_is_refused_with_what_is_wanted(mode: str) -> None:
    picture = Image.new("1", (8, 8)) if mode == "1" else Image.fromarray(np.zeros((8, 8), np.uint16))
    with pytest.raises(BadRequest, match="wanted 8 bits") as refused:
        images.read(packed(picture, "PNG"), GREY, Limits())
    assert refused.value.status == 415


def test_a_colour_jpeg_keeps_its_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "jpeg", jpeg.read)
    body = photo("RGB")
    wanted = np.asarray(Image.open(io.BytesIO(body)))[None]
    np.testing.assert_array_equal(np.asarray(images.read(body, COLOUR, Limits())), wanted)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int32", "uint8"])
def test_pixels_become_numbers_of_the_type_that_the_model_takes(dtype: str) -> None:
    tensor = Tensor("image", dtype, (None, 8, 8, 3), (0.0, 255.0))
    read = images.read(packed(Image.fromarray(DOTS), "PNG"), tensor, Limits())
    assert read.dtype == dtype
    np.testing.assert_array_equal(np.asarray(read)[0], DOTS.astype(dtype))


def test_a_grey_picture_is_three_times_its_grey_where_the_model_takes_colour() -> None:
    grey = Image.fromarray(DOTS).convert("L")
    read = images.read(packed(grey, "PNG"), COLOUR, Limits())
    np.testing.assert_array_equal(np.asarray(read)[0], np.asarray(grey)[..., None].repeat(3, -1))


def test_a_png_of_any_size_is_unpacked_only_as_far_as_python_is_fast_enough() -> None:
    anything = Tensor("image", "float32", (None, None, None, 3), (0.0, 255.0))
    assert images.read(packed(Image.fromarray(DOTS), "PNG"), anything, Limits()).shape == (1, 8, 8, 3)
    with pytest.raises(BadRequest, match="1440000 pixels; at most 1000000") as refused:
        images.read(png(1200, 1200, b""), anything, Limits())
    assert refused.value.status == 413


def test_odd_metadata_in_a_jpeg_leaves_nothing_in_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "jpeg", jpeg.read)
    told = Image.Exif()
    told[0x011A] = 300.0  # dots an inch, which Pillow looks for as it opens the file
    body = photo(exif=told.tobytes()[:-9])
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        images.read(body, GREY, Limits())
    assert said == []
