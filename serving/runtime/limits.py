"""How much one request may ask for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from .errors import BundleBroken


class Limits(NamedTuple):
    """Where does a request end?

    Attributes:
        body: bytes of a body, unpacked. SageMaker and Lambda take some 6 MB, so 5 MiB fits everywhere.
        rows: rows of one request.
        pixels: of one picture, before it is unpacked.
    """

    body: int = 5 * 1024 * 1024
    rows: int = 8192
    pixels: int = 16_000_000

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> Limits:
        """Which limits does the environment set (SLIPWAY_MAX_BODY, SLIPWAY_MAX_ROWS)?

        Raises:
            BundleBroken: one is no positive whole number.
        """
        return cls(whole(environ, "SLIPWAY_MAX_BODY", cls().body), whole(environ, "SLIPWAY_MAX_ROWS", cls().rows))


def whole(environ: Mapping[str, str], name: str, default: int) -> int:
    """Which positive whole number does this variable hold?

    Raises:
        BundleBroken: it holds something else.
    """
    text = environ.get(name, "")
    if not text:
        return default
    if not text.isdecimal() or int(text) < 1:
        raise BundleBroken(f"{name} is {text!r}; wanted a positive whole number")
    return int(text)
