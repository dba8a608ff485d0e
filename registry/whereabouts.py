"""Where is the registry, is one there, and why does a server not answer? Knows nothing of MLflow."""

from __future__ import annotations

import os
from pathlib import Path

import sqlalchemy as sa

from registry.errors import RegistryMisconfigured

SCHEME = "slipway:"
HTTP = ("http://", "https://")
_DATABASES = ("sqlite:", "postgresql", "mysql", "mssql")

_REASONS = {
    "refused": "connection refused",
    "timed out": "no answer in time",
    "timeout": "no answer in time",
    "resolve": "no such host",
}


def tracking_uri() -> str:
    """Where are the runs? MLFLOW_TRACKING_URI, else what MLflow 3.17 takes (`_get_default_tracking_uri`)."""
    named = os.environ.get("MLFLOW_TRACKING_URI")
    return named or ("./mlruns" if any(Path("mlruns").glob("[0-9]*/meta.yaml")) else "sqlite:///mlflow.db")


def registry_uri(tracking: str) -> str:
    """Where are the versions? MLFLOW_REGISTRY_URI, else beside the runs; a database always through `slipway:`.

    Raises:
        RegistryMisconfigured: when it is a folder, which cannot hold a registry.
    """
    uri = os.environ.get("MLFLOW_REGISTRY_URI") or tracking
    if uri.startswith(_DATABASES):
        uri = SCHEME + uri
    if not uri.startswith((SCHEME, *HTTP)):
        raise RegistryMisconfigured(
            f"{uri} cannot hold the registry. Next: set MLFLOW_TRACKING_URI=sqlite:///mlflow.db, or a server's address"
        )
    return uri


def unreachable(uri: str, told: str) -> str:
    """What is said when a server does not answer: which one, why, and what to do."""
    variable = "MLFLOW_REGISTRY_URI" if uri == os.environ.get("MLFLOW_REGISTRY_URI") else "MLFLOW_TRACKING_URI"
    return f"cannot reach {uri}: {reason(told)}. Next: start the server, or unset {variable}"


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


def served_from() -> str:
    """Where the MLflow server that we are in keeps the artefacts that it serves; empty where there is none."""
    told = os.environ.get("_MLFLOW_SERVER_ARTIFACT_DESTINATION", "")  # set by `mlflow server` for its workers
    return told if "://" in told or not told else str(Path(told.removeprefix("file:")).absolute())
