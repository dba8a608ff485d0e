"""JPEG by Pillow, where Pillow is installed."""

from __future__ import annotations

import io
import warnings

from .. import images
from ..errors import BadRequest
from ..images import Pixels
from ..limits import Limits
from ..manifest import Tensor


def enable() -> bool:
    """Let the runtime read JPEG, if it can be read here; could it?"""
    try:
        import PIL.Image  # noqa: F401 - asked for, not used: is it there?
    except ModuleNotFoundError:
        return False
    images.jpeg = read
    return True


def read(body: bytes, tensor: Tensor, limits: Limits) -> Pixels:
    """Which pixels, of 1 or 3 channels, does this JPEG hold?

    Raises:
        BadRequest: 400 when it is damaged, 413 when it is too large, 422 when the model takes another size.
    """
    from PIL import Image

    try:
        # The filter stands before the picture is opened: what Pillow says of odd metadata would fill the log.
        with warnings.catch_warnings(action="ignore"), Image.open(io.BytesIO(body), formats=["JPEG"]) as picture:
            images.refuse_size(*picture.size, tensor, limits)
            plain = picture.convert("L" if picture.mode == "L" else "RGB")
            return Pixels(picture.height, picture.width, len(plain.getbands()), plain.tobytes())
    except Image.DecompressionBombError:  # Pillow's own limit lies above ours, and is looked at first
        raise BadRequest(f"the picture has far more than the {limits.pixels} pixels that are unpacked",
                         status=413) from None
    except (OSError, ValueError, SyntaxError) as error:
        raise BadRequest(f"the JPEG cannot be read: {type(error).__name__}") from None
