"""Who acts? A login proves it, a header or the environment only claims it."""

from __future__ import annotations

import getpass
import os
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from registry.words import Actor

HEADER = "X-Slipway-User"
CALL_HEADER = "X-Slipway-Call"
_CALL = re.compile(r"[0-9a-f]{32}")
_call: ContextVar[str | None] = ContextVar("slipway_call", default=None)
_NAME = re.compile(r"[\w.@+\-\[\] ]{1,120}")
NOBODY = "anonymous"


def claimed_name() -> str:
    """The name this process claims: SLIPWAY_USER, else the operating system's user."""
    name = os.environ.get("SLIPWAY_USER", "").strip()
    if name:
        return _clean(name)
    try:
        return _clean(getpass.getuser())
    except (KeyError, OSError):
        return NOBODY


def current_actor() -> Actor:
    """Who is behind this call: the login of the request, else the name claimed in its form or header."""
    from flask import g, has_request_context, request

    if not has_request_context():
        return Actor(claimed_name())
    login = getattr(g, "mlflow_authenticated_user", None)
    if login:
        return Actor(str(login), verified=True)
    return Actor(_clean(getattr(g, "slipway_claimed_name", "") or request.headers.get(HEADER, "")))


@contextmanager
def calling() -> Iterator[str]:
    """Name what is asked for in here: its entry can be told from the same asked elsewhere by the same person."""
    call = uuid.uuid4().hex
    token = _call.set(call)
    try:
        yield call
    finally:
        _call.reset(token)


def current_call() -> str | None:
    """Which call is this? What the request's header or `calling` says; None where nobody named it."""
    from flask import has_request_context, request

    said = request.headers.get(CALL_HEADER, "") if has_request_context() else _call.get() or ""
    return said if _CALL.fullmatch(said) else None


def _clean(name: str) -> str:
    return name.strip() if _NAME.fullmatch(name.strip()) else NOBODY


class ClaimedNameHeader:
    """An MLflow request-header provider: the claimed name and the call's, with every request to a tracking server."""

    def in_context(self) -> bool:
        """Always; there is always a name to claim."""
        return True

    def request_headers(self) -> dict[str, str]:
        """The headers that carry them."""
        call = _call.get()
        return {HEADER: claimed_name(), **({CALL_HEADER: call} if call else {})}
