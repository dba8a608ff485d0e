# mypy: disallow-untyped-calls=False
# MLflow's own functions carry no annotations.
"""The `slipway` and `slipway-auth` MLflow apps: MLflow's own server, the ledger to read, approved artefacts frozen.

    mlflow server --registry-store-uri slipway:sqlite:///mlflow.db --backend-store-uri sqlite:///mlflow.db \
        --app-name slipway

`slipway-auth` puts MLflow's basic-auth in front, so that names are proven.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from flask import Flask, Response, request
from mlflow.environment_variables import _MLFLOW_SGI_NAME
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE, PERMISSION_DENIED
from mlflow.server import app as mlflow_app
from mlflow.server.constants import REGISTRY_STORE_URI_ENV_VAR
from mlflow.server.handlers import (
    _add_static_prefix,
    _get_model_registry_store,
    _get_paths,
    _get_tracking_store,
    _is_servable_proxied_run_artifact_root,
    _list_artifacts_for_proxied_run_artifact_root,
    catch_mlflow_exception,
)

from registry import policy
from registry.errors import PolicyInvalid, RegistryError
from registry.guarded import guard
from registry.pages import RunShown, Server, pages
from registry.read_database import DatabaseReader
from registry.store import GovernedStore
from registry.whereabouts import SCHEME

_log = logging.getLogger(__name__)


def create_app(app: Flask = mlflow_app) -> object:
    """MLflow's entry point `slipway`: its app with ours in it, names claimed."""
    _add_to(app)
    if _MLFLOW_SGI_NAME.get() != "uvicorn":
        return app
    from mlflow.server.fastapi_app import create_fastapi_app

    made: object = create_fastapi_app(app)
    return made


def create_app_auth(app: Flask = mlflow_app) -> object:
    """MLflow's entry point `slipway-auth`: behind its basic-auth, names proven by a login."""
    from mlflow.server import auth

    from registry import token_login

    made: object = auth.create_app(app)
    ledger, theirs = _add_to(app), auth._find_validator
    pages_and_tokens = (_add_static_prefix("/slipway/approvals"), *token_login.add_routes(app))

    def find_validator(req: Any) -> Callable[[], bool] | None:
        # basic-auth asks for a validator by path; whoever is logged in may read what the ledger says.
        ours = req.path in ledger or req.path.startswith(pages_and_tokens)
        return auth._allow_authenticated if ours else theirs(req)

    auth._find_validator = find_validator  # it offers no door for routes that it does not know
    return made


def _add_to(app: Flask) -> frozenset[str]:
    """Add our routes and the freeze to MLflow's Flask app; answers with the routes' paths."""
    paths = frozenset(_get_paths("/slipway/ledger"))
    for path in paths:
        app.add_url_rule(path, f"slipway_ledger {path}", read_ledger, methods=["GET"])
    guard(refuse_frozen)
    _warn_of_policy()
    app.register_blueprint(pages(Server(governed_store, run_shown, _add_static_prefix(""))))
    return paths


def _warn_of_policy() -> None:
    """Say at the start what is wrong with the policy, rather than at the first move that it stands in the way of."""
    uri = os.environ.get(REGISTRY_STORE_URI_ENV_VAR, "")
    if not uri.startswith(SCHEME):
        return
    database = DatabaseReader(uri.removeprefix(SCHEME))  # the store itself is made later, and makes tables
    try:
        for warning in policy.load().strangers(lambda: [model.name for model in database.models()]):
            _log.warning("%s", warning)
    except PolicyInvalid as error:
        _log.warning("until this is mended nothing can be moved: %s", error)
    except RegistryError as error:
        _log.warning("%s", error)


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
    if not text.isdecimal() or len(text) > 18:  # what a database's largest column holds
        raise MlflowException(f"{key}={text!r} is no number", error_code=INVALID_PARAMETER_VALUE)
    return int(text)


# --- the run behind a version, for the approvals page

_DATA = "slipway.data."  # training's tags: what the rows of each part hash to


def run_shown(run_id: str) -> RunShown | None:
    """What the tracking store knows of a run; None when it is gone, for a version may outlive its run."""
    try:
        run = _get_tracking_store().get_run(run_id) if run_id else None
    except MlflowException:
        return None
    if run is None:
        return None
    tags = run.data.tags
    return RunShown(
        experiment=run.info.experiment_id,
        trainer=tags.get("mlflow.user", ""),
        started=datetime.fromtimestamp(run.info.start_time / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC"),
        commit=tags.get("slipway.git.commit") or tags.get("mlflow.source.git.commit", ""),
        dirty=tags.get("slipway.git.dirty") == "true",
        data=tuple(sorted((key.removeprefix(_DATA), value) for key, value in tags.items() if key.startswith(_DATA))),
        parameters=tuple(sorted(run.data.params.items())),
        plots=_plots(run.info.artifact_uri),
    )


def _plots(root: str) -> tuple[str, ...]:
    if not _is_servable_proxied_run_artifact_root(root):
        return ()
    try:
        found = _list_artifacts_for_proxied_run_artifact_root(root, "plots")
    except (MlflowException, OSError):
        return ()
    return tuple(item.path for item in found if item.path.endswith((".png", ".svg", ".jpg")))


# --- approved artefacts are frozen


def refuse_frozen(path: str | None, address: str) -> None:
    """Would this write change the files of an approved version? `path`: as this server serves it, if it does.

    Raises:
        MlflowException: 403, naming the version.
    """
    store = _get_model_registry_store()
    if not isinstance(store, GovernedStore):
        return
    version = store.approved_at(address) if path is None else store.frozen_by(path)
    if version:
        raise MlflowException(
            f"{path or address} cannot be changed: the files of {version} are approved. Next: log a new model",
            error_code=PERMISSION_DENIED,
        )
