"""Which artefacts may not change any more? Paths only; no I/O happens here.

MLflow's server keeps artefacts for its clients under paths of its own, whatever store is behind it. A version's files,
once approved, stay as they were approved.
"""

from __future__ import annotations

import posixpath
from urllib.parse import unquote, urlsplit

_ANCHOR = "/mlflow-artifacts/artifacts/"


def stored_at(location: str, served_from: str = "") -> str | None:
    """The path by which the server reaches a version's files for its clients; None when it does not.

    `served_from`: where the server keeps what it serves (`--artifacts-destination`), so that a version registered by
    that address is the same files. Files elsewhere, in a bucket that clients write to directly, are out of the server's
    reach: there the bucket's policy must hold them, and the digest shows what it did not.
    """
    parts = urlsplit(location)
    if parts.scheme == "mlflow-artifacts":
        return plain(parts.path)
    if parts.scheme in ("http", "https") and _ANCHOR in parts.path:
        return plain(parts.path.split(_ANCHOR, 1)[1])
    if not served_from:
        return None
    root, place = whole(served_from), whole(location)
    return place.removeprefix(root).strip("/") if f"{place}/".startswith(f"{root}/") else None


def whole(location: str) -> str:
    """One spelling of an address outside the server: scheme, host and path; a file's path has none of the first two."""
    parts = urlsplit(location)
    scheme = parts.scheme if parts.scheme != "file" else ""
    return f"{scheme}:{plain(f'{parts.netloc}/{parts.path}')}"


def overlap(one: str, other: str) -> bool:
    """Is one of two addresses at, above or below the other?"""
    return f"{one}/".startswith(f"{other}/") or f"{other}/".startswith(f"{one}/")


def ancestors(path: str) -> tuple[str, ...]:
    """The path and every folder above it, down to the first."""
    parts = path.split("/")
    return tuple("/".join(parts[:end]) for end in range(len(parts), 0, -1))


def plain(path: str) -> str:
    """One spelling: escapes undone however often they were applied, no dots, no doubled or outer slashes."""
    while (undone := unquote(path)) != path:
        path = undone
    return posixpath.normpath("/" + path.replace("\\", "/")).strip("/")
