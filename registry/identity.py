"""Who acts? A login proves it, a header or the environment only claims it."""

from __future__ import annotations

import getpass
import os
import re

from registry.words import Actor

HEADER = "X-Slipway-User"
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


def _clean(name: str) -> str:
    return name.strip() if _NAME.fullmatch(name.strip()) else NOBODY


class ClaimedNameHeader:
    """An MLflow request-header provider: sends the claimed name along with every call to a tracking server."""

    def in_context(self) -> bool:
        """Always; there is always a name to claim."""
        return True

    def request_headers(self) -> dict[str, str]:
        """The header that carries the name."""
        return {HEADER: claimed_name()}
