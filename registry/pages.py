# mypy: disallow-untyped-calls=False
# MLflow's own functions carry no annotations.
"""The approvals page: what waits, candidate beside champion, and a reviewer's yes or no; without JavaScript.

Cross-site requests are refused by a token that the page puts both into its form and into a cookie which no other site
can read or make the browser send (SameSite=Strict).
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from flask import Blueprint, Response, g, make_response, redirect, request
from jinja2 import Environment, FileSystemLoader
from mlflow.entities import Run
from mlflow.entities.model_registry import ModelVersionTag
from mlflow.exceptions import MlflowException
from mlflow.server.handlers import (
    _add_static_prefix,
    _get_tracking_store,
    _is_servable_proxied_run_artifact_root,
    _list_artifacts_for_proxied_run_artifact_root,
)

from registry import telling
from registry.identity import current_actor
from registry.store import GovernedStore
from registry.views import Shown
from registry.wire import WordShape

_PAGES = Environment(loader=FileSystemLoader(Path(__file__).parent / "templates"), autoescape=True)
_COOKIE = "slipway_form"
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
    commit: str = ""
    data: str = ""
    differences: tuple[tuple[str, str, str], ...] = ()
    plots: tuple[str, ...] = ()


def pages(opened: Callable[[], GovernedStore]) -> Blueprint:
    """The page's routes over a store, which is asked for at each request: MLflow makes it late."""
    made = Blueprint("slipway_pages", __name__, url_prefix=_add_static_prefix("/slipway/approvals"))

    @made.get("", strict_slashes=False)
    def waiting() -> Response:
        """What waits for an approval?"""
        return _page("waiting.html", rows=opened().waiting())

    @made.get("/<path:model>/<int:number>")
    def version(model: str, number: int) -> Response:
        """Everything a reviewer needs to decide about one version."""
        return _version(opened(), model, number, "")

    @made.post("/<path:model>/<int:number>")
    def decide(model: str, number: int) -> Response:
        """Write down a reviewer's word; a refusal is shown, not raised."""
        return _decided(opened(), model, number)

    return made


def _decided(store: GovernedStore, model: str, number: int) -> Response:
    form, cookie = request.form, request.cookies.get(_COOKIE, "")
    if not cookie or not hmac.compare_digest(cookie.encode(), form.get("token", "").encode()):
        return _version(store, model, number, "This form came from elsewhere, or is too old. Please decide again.", 403)
    if form.get("word") not in _WORDS:
        return _version(store, model, number, "Approve, reject or withdraw?", 400)
    g.slipway_claimed_name = form.get("name", "")
    said = WordShape(digest=form.get("digest") or None, comment=form.get("comment", "").strip()[:2000])
    try:
        store.set_model_version_tag(model, number, ModelVersionTag(f"slipway.{form['word']}", said.dump()))
    except MlflowException as refused:
        return _version(store, model, number, str(refused.message), refused.get_http_status_code())
    made = make_response(redirect(request.path, code=303))
    made.headers.update(_HEADERS)
    return made


def _version(store: GovernedStore, model: str, number: int, said: str, status: int = 200) -> Response:
    try:
        row, champion = store.shown(model, number)
    except MlflowException as missing:
        return _page("waiting.html", missing.get_http_status_code(), rows=store.waiting())
    entries = [shape.entry() for shape in store.ledger_page(model, number).entries]
    return _page(
        "version.html", status, row=row, champion=champion, said=said, measures=_side_by_side(row, champion),
        run=_run_of(row, champion), history=[(entry, telling.told(entry)) for entry in entries], glass=telling.GLASS,
    )  # fmt: skip


def _page(template: str, status: int = 200, **values: object) -> Response:
    token = request.cookies.get(_COOKIE) or secrets.token_urlsafe(32)
    root = _add_static_prefix("")
    text = _PAGES.get_template(template).render(root=root, actor=current_actor(), token=token, **values)
    made = make_response(text, status)
    made.headers.update(_HEADERS)
    made.set_cookie(_COOKIE, token, httponly=True, samesite="Strict", secure=request.is_secure, path=f"{root}/slipway")
    return made


def _side_by_side(row: Shown, champion: Shown | None) -> list[tuple[str, float | None, float | None]]:
    mine = {m.name: m.value for m in row.standing.evidence.measures} if row.standing.evidence else {}
    evidence = champion.standing.evidence if champion else None
    theirs = {m.name: m.value for m in evidence.measures} if evidence else {}
    return [(name, mine.get(name), theirs.get(name)) for name in sorted(mine.keys() | theirs.keys())]


def _run_of(row: Shown, champion: Shown | None) -> RunShown:
    run = _run(row.found.version.run_id)
    if run is None:
        return RunShown()
    other = _run(champion.found.version.run_id) if champion and champion.found.number != row.found.number else None
    mine, theirs = run.data.params, other.data.params if other else {}
    names = sorted(mine.keys() | theirs.keys()) if other else []
    return RunShown(
        experiment=run.info.experiment_id,
        commit=run.data.tags.get("mlflow.source.git.commit", ""),
        data=run.data.tags.get("slipway.data", ""),
        differences=tuple((n, mine.get(n, ""), theirs.get(n, "")) for n in names if mine.get(n) != theirs.get(n)),
        plots=_plots(run),
    )


def _run(run_id: str) -> Run | None:
    try:
        return _get_tracking_store().get_run(run_id) if run_id else None
    except MlflowException:
        return None  # a version may outlive its run; the page then shows the version alone


def _plots(run: Run) -> tuple[str, ...]:
    root = run.info.artifact_uri
    if not _is_servable_proxied_run_artifact_root(root):
        return ()
    try:
        found = _list_artifacts_for_proxied_run_artifact_root(root, "plots")
    except (MlflowException, OSError):
        return ()
    return tuple(item.path for item in found if item.path.endswith((".png", ".svg", ".jpg")))
