# mypy: disallow-untyped-calls=False
# MLflow's own functions carry no annotations.
"""The `slipway` MLflow app: MLflow's own server, and the ledger to read.

    mlflow server --registry-store-uri slipway:sqlite:///mlflow.db --backend-store-uri sqlite:///mlflow.db \
        --app-name slipway
"""

from __future__ import annotations

from flask import Flask, Response, request
from mlflow.environment_variables import _MLFLOW_SGI_NAME
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE
from mlflow.server import app as mlflow_app
from mlflow.server.handlers import _get_model_registry_store, _get_paths, catch_mlflow_exception

from registry.store import SCHEME, GovernedStore


def create_app(app: Flask = mlflow_app) -> object:
    """MLflow's entry point: its app with our routes, as whatever the server in front wants (ASGI under uvicorn)."""
    for path in _get_paths("/slipway/ledger"):
        app.add_url_rule(path, f"slipway_ledger {path}", read_ledger, methods=["GET"])
    if _MLFLOW_SGI_NAME.get() == "uvicorn":
        from mlflow.server.fastapi_app import create_fastapi_app

        return create_fastapi_app(app)
    return app


@catch_mlflow_exception  # type: ignore[untyped-decorator]  # MLflow's, without annotations
def read_ledger() -> Response:
    """GET .../slipway/ledger?model=&version=&after=: the next entries, and where the chain ends."""
    asked = request.args
    page = governed_store().ledger_page(asked.get("model"), _number("version"), _number("after") or 0)
    return Response(page.model_dump_json(), mimetype="application/json")


def governed_store() -> GovernedStore:
    """The server's registry store, if it is ours.

    Raises:
        MlflowException: 400, when the server was started with another.
    """
    store = _get_model_registry_store()
    if not isinstance(store, GovernedStore):
        raise MlflowException(
            f"this server's registry keeps no ledger. Next: start it with --registry-store-uri {SCHEME}<database>",
            error_code=INVALID_PARAMETER_VALUE,
        )
    return store


def _number(key: str) -> int | None:
    text = request.args.get(key)
    if text is None:
        return None
    if not text.isdecimal():
        raise MlflowException(f"{key}={text!r} is no number", error_code=INVALID_PARAMETER_VALUE)
    return int(text)
