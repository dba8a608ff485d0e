# mypy: disallow-untyped-calls=False
# MLflow's own functions carry no annotations.
"""Logging in to the server by a token, through the door that MLflow's basic-auth leaves for it.

    [mlflow]
    authorization_function = registry.token_login:authenticate_request

in the file that MLFLOW_AUTH_CONFIG_PATH names. Names and passwords work as before.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated

from flask import Flask, Response, g, jsonify, make_response, request
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE, PERMISSION_DENIED, RESOURCE_DOES_NOT_EXIST
from mlflow.server import auth
from mlflow.server.handlers import _get_paths, catch_mlflow_exception
from pydantic import Field
from werkzeug.datastructures import Authorization

from registry import tokens
from registry.server import governed_store
from registry.tokens import Owner, Token
from registry.wire import Shape, TokenShape, read

SETTING = f"{__name__}:authenticate_request"
_REFUSED = "this token is unknown, has expired or was revoked. Next: slipway token create"


class Asked(Shape):
    """What a client says of the token that it wants."""

    note: Annotated[str, Field(max_length=200)] = ""
    seconds: Annotated[int, Field(ge=1, le=10**10)]  # how long at most, `tokens` says


def authenticate_request() -> Authorization | Response:
    """Who sends this request? The owner of its token, else whom MLflow's name and password prove."""
    said = request.authorization
    if said is None or said.type != "bearer":
        answer: Authorization | Response = auth.authenticate_request_basic_auth()
        return answer
    if "slipway_token_owner" not in g:  # MLflow asks several times for one request
        g.slipway_token_owner = _owner_of(said.token or "")
    if g.slipway_token_owner is None:
        return make_response(_REFUSED, 401, {"WWW-Authenticate": 'Bearer realm="mlflow", error="invalid_token"'})
    return Authorization("basic", {"username": g.slipway_token_owner})


def _owner_of(text: str) -> str | None:
    """The name behind a token, while MLflow still knows that login."""
    with governed_store().ManagedSessionMaker() as session:
        token = tokens.behind(session, text, datetime.now(UTC))
    if token is None or not auth.store.has_user(token.owner.name):
        return None
    return token.owner.name if _owner(token.owner.name)[0] == token.owner else None


def add_routes(app: Flask) -> tuple[str, ...]:
    """Add the routes that make, list and revoke tokens; answers with their paths."""
    paths = tuple(_get_paths("/slipway/tokens"))
    for path in paths:
        app.add_url_rule(path, f"slipway_tokens {path}", _tokens, methods=["GET", "POST"])
        app.add_url_rule(f"{path}/<which>", f"slipway_token {path}", _revoke, methods=["DELETE"])
    return paths


@catch_mlflow_exception  # type: ignore[untyped-decorator]  # MLflow's, without annotations
def _tokens() -> Response:
    """POST: a token for whoever is logged in by name and password. GET: one's own, an admin's: everybody's."""
    _require_setting()
    owner, admin = _owner(g.mlflow_authenticated_user)
    if request.method == "GET":
        with governed_store().ManagedSessionMaker() as session:
            found = tokens.listed(session, None if admin else owner.name)
        return jsonify({"tokens": [_shape(token).model_dump(mode="json") for token in found]})
    if not request.is_json:  # a form of another site cannot send that
        raise MlflowException("send JSON", error_code=INVALID_PARAMETER_VALUE)
    if request.authorization is None or request.authorization.type != "basic":
        raise MlflowException("a token makes no tokens. Next: log in by name and password", PERMISSION_DENIED)
    try:
        asked = read(Asked, request.get_data(as_text=True))
        with governed_store().ManagedSessionMaker(read_only=False) as session:
            lasting = timedelta(seconds=asked.seconds)
            token, secret = tokens.make(session, owner, asked.note, lasting, datetime.now(UTC))
    except ValueError as error:
        raise MlflowException(str(error), error_code=INVALID_PARAMETER_VALUE) from error
    return jsonify({**_shape(token).model_dump(mode="json"), "token": secret})


@catch_mlflow_exception  # type: ignore[untyped-decorator]  # MLflow's, without annotations
def _revoke(which: str) -> Response:
    """DELETE: one's own token; an admin's: anybody's."""
    _require_setting()
    owner, admin = _owner(g.mlflow_authenticated_user)
    with governed_store().ManagedSessionMaker(read_only=False) as session:
        token = tokens.revoke(session, which, None if admin else owner.name, datetime.now(UTC))
    if token is None:
        raise MlflowException(f"no token {which} of {owner.name}'s", error_code=RESOURCE_DOES_NOT_EXIST)
    return jsonify(_shape(token).model_dump(mode="json"))


def _owner(name: str) -> tuple[Owner, bool]:
    """MLflow's login of this name, and whether it is an admin's."""
    user = auth.store.get_user(name)
    return Owner(user.username, tokens.fingerprint(user.password_hash)), bool(user.is_admin)


def _require_setting() -> None:
    if auth.auth_config.authorization_function != SETTING:
        raise MlflowException(
            f"this server takes no tokens. Next: authorization_function = {SETTING} in its basic-auth configuration",
            error_code=INVALID_PARAMETER_VALUE,
        )


def _shape(token: Token) -> TokenShape:
    return TokenShape(
        id=token.id, owner=token.owner.name, note=token.note, created=token.created, expires=token.expires,
        revoked=token.revoked,
    )  # fmt: skip
