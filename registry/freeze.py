"""Which artefacts may not change any more? Paths only; no I/O happens here.

MLflow's server writes artefacts for its clients under `.../mlflow-artifacts/artifacts/<path>` (PUT, DELETE) and, in
parts, under `.../mlflow-artifacts/mpu/<verb>/<path>`. A version's files, once approved, stay as they were approved.
"""

from __future__ import annotations

import posixpath
import re
from urllib.parse import unquote, urlsplit

_WRITES = frozenset({"PUT", "POST", "DELETE", "PATCH"})
_ROUTE = re.compile(r"/mlflow-artifacts/(?:artifacts|mpu/[a-z]+)(?:/(?P<path>.*))?$", re.DOTALL)
_ANCHOR = "/mlflow-artifacts/artifacts/"


def stored_at(location: str) -> str | None:
    """The path under which the server's artefact routes reach a version's files; None when they do not.

    Files in a bucket that clients write to directly are out of the server's reach: there the bucket's policy must hold
    them, and the digest shows what it did not.
    """
    parts = urlsplit(location)
    if parts.scheme == "mlflow-artifacts":
        return _plain(parts.path)
    if parts.scheme in ("http", "https") and _ANCHOR in parts.path:
        return _plain(parts.path.split(_ANCHOR, 1)[1])
    return None


def written_to(method: str, path: str, query_path: str | None = None) -> str | None:
    """The artefact path that a request would change; None when it changes none.

    `query_path` is the `path` parameter, by which MLflow's DELETE names a folder.
    """
    if method.upper() not in _WRITES:
        return None
    found = _ROUTE.search(path)
    if not found:
        return None
    return _plain(found["path"] or query_path or "")


def ancestors(path: str) -> tuple[str, ...]:
    """The path and every folder above it, down to the first."""
    parts = path.split("/")
    return tuple("/".join(parts[:end]) for end in range(len(parts), 0, -1))


def _plain(path: str) -> str:
    """One spelling: escapes undone however often they were applied, no dots, no doubled or outer slashes."""
    for _ in range(5):
        undone = unquote(path)
        if undone == path:
            break
        path = undone
    return posixpath.normpath("/" + path.replace("\\", "/")).strip("/")
