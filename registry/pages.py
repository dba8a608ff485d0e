"""The approvals page: what waits, candidate beside champion, and a reviewer's yes or no; without JavaScript.

Cross-site requests are refused by a token that the page puts both into its form and into a cookie which no other site
can read or make the browser send (SameSite=Strict).
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from flask import Blueprint, Response, g, make_response, redirect, request
from jinja2 import Environment, FileSystemLoader
from mlflow.exceptions import MlflowException

from registry import telling
from registry.identity import current_actor
from registry.ledger import Entry
from registry.views import Refusal, Shown, side_by_side, slices
from registry.weighing import notes
from registry.wire import WordShape

_PAGES = Environment(loader=FileSystemLoader(Path(__file__).parent / "templates"), autoescape=True)
_COOKIE = "slipway_form"
_LARGEST = 2**31 - 1  # of a version's number, in MLflow's tables
_WORDS = ("approval", "rejection", "withdrawal")
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; img-src 'self'; form-action 'self'; "
    "frame-ancestors 'none'; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}


@dataclass(frozen=True, slots=True)
class RunShown:
    """What the page tells about the run behind a version."""

    experiment: str = ""
    trainer: str = ""
    started: str = ""
    commit: str = ""
    dirty: bool = False
    data: tuple[tuple[str, str], ...] = ()
    parameters: tuple[tuple[str, str], ...] = ()
    differences: tuple[tuple[str, str, str], ...] = ()
    plots: tuple[str, ...] = ()


class Registry(Protocol):
    """What the page asks of the registry; the governed store is one."""

    def waiting(self) -> list[Shown]:
        """The versions that wait for an approval."""

    def shown(self, name: str, version: int) -> tuple[Shown, Shown | None] | None:
        """One version and the champion beside it; None when there is no such version."""

    def strangers(self) -> list[str]:
        """What is said of each model that the policy names and nobody registered."""

    def said_of(self, name: str) -> list[Entry]:
        """The ledger's entries of one model, all its versions."""

    def say(self, name: str, version: int, word: str, said: WordShape) -> Refusal | None:
        """Write down an approval, a rejection or a withdrawal; why not, when it is refused."""


@dataclass(frozen=True, slots=True)
class Server:
    """What the page is told of the server around it: the registry, what is known of a run, and its own root."""

    registry: Callable[[], Registry]
    run: Callable[[str], RunShown | None]
    root: str


def pages(server: Server) -> Blueprint:
    """The page's routes; the registry is asked for at each request, as MLflow makes it late."""
    made = Blueprint("slipway_pages", __name__, url_prefix=f"{server.root}/slipway/approvals")

    @made.get("", strict_slashes=False)
    def waiting() -> Response:
        """What waits for an approval?"""
        return _waiting(server)

    @made.get(f"/<path:model>/<int(max={_LARGEST}):number>")
    def version(model: str, number: int) -> Response:
        """Everything a reviewer needs to decide about one version."""
        return _version(server, model, number, "")

    @made.post(f"/<path:model>/<int(max={_LARGEST}):number>")
    def decide(model: str, number: int) -> Response:
        """Write down a reviewer's word; a refusal is shown, not raised."""
        return _decided(server, model, number)

    @made.errorhandler(MlflowException)
    def cannot(error: MlflowException) -> Response:
        """What stands in the way of every page, as a policy that is not understood does, and what to do?"""
        return _page(server, "cannot.html", 500, said=str(error.message))

    return made


def _waiting(server: Server, status: int = 200) -> Response:
    registry = server.registry()
    return _page(server, "waiting.html", status, rows=registry.waiting(), strangers=registry.strangers())


def _decided(server: Server, model: str, number: int) -> Response:
    form, cookie = request.form, request.cookies.get(_COOKIE, "")
    if not cookie or not hmac.compare_digest(cookie.encode(), form.get("token", "").encode()):
        return _version(server, model, number, "This form is not ours, or too old. Please decide again.", 403)
    if form.get("word") not in _WORDS:
        return _version(server, model, number, "Approve, reject or withdraw?", 400)
    g.slipway_claimed_name = form.get("name", "")
    said = WordShape(digest=form.get("digest") or None, comment=form.get("comment", "").strip()[:2000])
    refused = server.registry().say(model, number, form["word"], said)
    if refused:
        return _version(server, model, number, refused.reason, refused.status)
    made = make_response(redirect(request.path, code=303))
    made.headers.update(_HEADERS)
    return made


def _version(server: Server, model: str, number: int, said: str, status: int = 200) -> Response:
    registry = server.registry()
    found = registry.shown(model, number)
    if found is None:
        return _waiting(server, 404)
    (row, champion), entries = found, registry.said_of(model)
    return _page(
        server, "version.html", status, row=row, champion=champion, said=said,
        measures=side_by_side(row, champion), slices=slices(row),
        run=_run_of(server, row, champion), history=[(entry, telling.told(entry)) for entry in entries],
        glass=telling.GLASS, notes=list(notes(row.standing.evidence.measured)) if row.standing.evidence else [],
    )  # fmt: skip


def _page(server: Server, template: str, status: int = 200, **values: object) -> Response:
    token = request.cookies.get(_COOKIE) or secrets.token_urlsafe(32)
    root = server.root
    text = _PAGES.get_template(template).render(root=root, actor=current_actor(), token=token, **values)
    made = make_response(text, status)
    made.headers.update(_HEADERS)
    made.set_cookie(_COOKIE, token, httponly=True, samesite="Strict", secure=request.is_secure, path=f"{root}/slipway")
    return made


def _run_of(server: Server, row: Shown, champion: Shown | None) -> RunShown:
    run = server.run(row.found.version.run_id)
    other = server.run(champion.found.version.run_id) if champion and champion.found != row.found else None
    if run is None or other is None:
        return run or RunShown()
    mine, theirs = dict(run.parameters), dict(other.parameters)
    differ = [name for name in sorted(mine.keys() | theirs.keys()) if mine.get(name) != theirs.get(name)]
    return replace(run, differences=tuple((name, mine.get(name, ""), theirs.get(name, "")) for name in differ))
