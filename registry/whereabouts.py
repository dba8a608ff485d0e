"""Is there a registry where the URI points, and why does a server not answer? Knows nothing of MLflow."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa

from registry.errors import RegistryMisconfigured

_REASONS = {
    "refused": "connection refused",
    "timed out": "no answer in time",
    "timeout": "no answer in time",
    "resolve": "no such host",
}


def require_file(uri: str) -> None:
    """Refuse a SQLite database that does not exist: opening it to read would make an empty one.

    Raises:
        RegistryMisconfigured: when its file is missing; databases on servers, and in memory, pass.
    """
    url = sa.make_url(uri)
    file = url.database or ""
    if url.get_backend_name() != "sqlite" or file in ("", ":memory:") or file.startswith("file:"):
        return
    if not Path(file).exists():
        raise RegistryMisconfigured(
            f"no registry at {uri}. Next: cd to the project's folder, or set MLFLOW_TRACKING_URI"
        )


def reason(told: str) -> str:
    """What an HTTP client's error comes down to, in few words."""
    return next((words for mark, words in _REASONS.items() if mark.lower() in told.lower()), told)
