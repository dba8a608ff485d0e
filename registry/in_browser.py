"""Where does a reviewer decide who has only MLflow's registry UI, and no terminal?"""

from __future__ import annotations

from urllib.parse import quote, urlsplit

# The registry UI's calls, and nobody else's: MLflow's clients use /api/.
UI = "/ajax-api/"


def page(about: str) -> str:
    """What does a refusal about `images/3` add where the UI shows it? The approvals page, as this browser calls it.

    Empty where no request is answered, or not one of the UI's.
    """
    from flask import has_request_context, request

    if not about or not has_request_context():
        return ""
    prefix, ours, _ = request.path.partition(UI)
    if not ours:
        return ""
    # The browser's own words for scheme and host, which a proxy that ends TLS does not pass on.
    called = urlsplit(request.headers.get("Origin") or request.host_url)
    return f"; in a browser: {called.scheme}://{called.netloc}{prefix}/slipway/approvals/{quote(about)}"
