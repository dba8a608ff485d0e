"""`slipway token create | list | revoke`: logins for machines, which a server with `slipway-auth` takes."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from registry.commands import as_json

if TYPE_CHECKING:
    from registry.wire import TokenShape

_ROUTE = "/api/2.0/slipway/tokens"
_DAY = 24 * 60 * 60


@click.group(epilog="Example: slipway token create --days 90 --note 'GitHub Actions'")
def token() -> None:
    """Make, list or revoke a token: what CI sends as MLFLOW_TRACKING_TOKEN instead of a password."""


@token.command(epilog="Example: slipway token create --days 90 --note 'GitHub Actions'")
@click.option("--days", default=90, show_default=True, type=click.IntRange(1, 366), help="How long it lasts.")
@click.option("--note", default="", help="What it is for.")
@as_json
def create(days: int, note: str, as_json: bool) -> None:
    """Make a token of your own; it is shown this once. Takes a name and password: a token makes no tokens."""
    made = _ask("POST", "", {"seconds": days * _DAY, "note": note})
    secret, shape = made.pop("token"), _shape(made)
    if as_json:
        click.echo(json.dumps({**made, "token": secret}))
        return
    click.echo(secret)
    click.echo(f"token {shape.id} of {shape.owner}, until {shape.expires:%Y-%m-%d}; it cannot be shown again. "
               f"Next: keep it as CI's secret MLFLOW_TRACKING_TOKEN", err=True)  # fmt: skip


@token.command("list", epilog="Example: slipway token list --json")
@as_json
def list_(as_json: bool) -> None:
    """List your tokens, without what they open; an admin sees everybody's."""
    found = _ask("GET", "")["tokens"]
    if as_json:
        click.echo(json.dumps(found))
        return
    for shape in map(_shape, found):
        note = f"  {shape.note}" if shape.note else ""
        click.echo(f"{shape.id}  {shape.owner}  made {shape.created:%Y-%m-%d}, {_state(shape)}{note}")


@token.command(epilog="Example: slipway token revoke 5f0c2a9b71d4")
@click.argument("id")
@as_json
def revoke(id: str, as_json: bool) -> None:
    """Let a token log nobody in from now on; running it again changes nothing."""
    shape = _shape(told := _ask("DELETE", f"/{id}"))
    click.echo(json.dumps(told) if as_json else f"{shape.id}  {shape.owner}  {_state(shape)}")


def _state(shape: TokenShape) -> str:
    if shape.revoked:
        return f"revoked {shape.revoked:%Y-%m-%d}"
    return f"{'until' if datetime.now(UTC) < shape.expires else 'expired'} {shape.expires:%Y-%m-%d}"


def _shape(told: dict[str, Any]) -> TokenShape:
    from registry.wire import TokenShape

    return TokenShape.model_validate(told)


def _ask(method: str, path: str, said: dict[str, Any] | None = None) -> Any:
    """What the server that MLFLOW_TRACKING_URI names says to this.

    Raises:
        RegistryMisconfigured: when it is no server, lets us not in, or takes no tokens.
        RegistryError: when it refuses.
        RegistryUnreachable: when it does not answer.
    """
    import requests

    from registry.errors import RegistryError, RegistryMisconfigured, RegistryUnreachable
    from registry.logins import login
    from registry.whereabouts import HTTP, registry_uri, tracking_uri, unreachable

    uri, known = registry_uri(tracking_uri()), login()
    if not uri.startswith(HTTP):
        raise RegistryMisconfigured(f"{uri} has no logins. Next: set MLFLOW_TRACKING_URI to a server's address")
    try:
        answer = requests.request(
            method, f"{uri.rstrip('/')}{_ROUTE}{path}", json=said, headers=known.headers, auth=known.basic,
            verify=known.certificate, cert=known.own_certificate, timeout=30,
        )  # fmt: skip
    except requests.RequestException as error:
        raise RegistryUnreachable(unreachable(uri, str(error))) from error
    if answer.ok:
        return answer.json()
    if answer.status_code == 401:
        wanted = "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
        raise RegistryMisconfigured(f"{uri} does not let us in (401). Next: set {wanted}")
    kind = {403: RegistryError}.get(answer.status_code, RegistryMisconfigured)
    raise (RegistryUnreachable if answer.status_code >= 500 else kind)(f"{uri}: {_message(answer)}")


def _message(answer: Any) -> str:
    """The server's own words; a server without `slipway-auth` knows no such page."""
    if "json" in answer.headers.get("Content-Type", ""):
        return str(answer.json().get("message", answer.text))
    if answer.status_code == 404:
        return "it takes no tokens. Next: start it with --app-name slipway-auth"
    return str(answer.text)
