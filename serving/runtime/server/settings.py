"""Where the server listens and what it serves, from the variables that each place sets."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ..limits import Limits, whole


@dataclass(frozen=True, slots=True)
class Settings:
    """How does this server run?

    Attributes:
        bundle: the folder of the bundle.
        host, port: where it listens.
        answers, health: the paths of predictions and of the health check, beside /invocations and /ping.
        workers: how many processes share the port.
        wait: seconds that a request may have to wait; past that it is refused with 503.
        idle: seconds that a connection may be silent.
        slow: seconds that one request may take to arrive.
        drain: seconds that a stop waits for what is under way.
        pages: whether the description and the page to try it are served.
        limits: how much one request may ask for.
    """

    bundle: Path
    host: str = "0.0.0.0"  # noqa: S104 - a container's server is reached from outside it
    port: int = 8080
    answers: str = "/invocations"
    health: str = "/ping"
    workers: int = 1
    wait: float = 1.0
    idle: float = 75.0
    slow: float = 300.0
    drain: float = 20.0
    pages: bool = True
    limits: Limits = field(default_factory=Limits)

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> Settings:
        """Which settings does the environment ask for?

        SageMaker sets SAGEMAKER_BIND_TO_PORT and unpacks to /opt/ml/model; Vertex AI sets AIP_HTTP_PORT,
        AIP_PREDICT_ROUTE and AIP_HEALTH_ROUTE; Cloud Run sets PORT. Ours are SLIPWAY_BUNDLE, SLIPWAY_HOST,
        SLIPWAY_WORKERS, SLIPWAY_MAX_WAIT_MS, SLIPWAY_MAX_BODY, SLIPWAY_MAX_ROWS and SLIPWAY_PAGES.
        """
        named = next((n for n in ("SAGEMAKER_BIND_TO_PORT", "AIP_HTTP_PORT", "PORT") if environ.get(n)), "PORT")
        folder = Path(environ.get("SLIPWAY_BUNDLE") or environ.get("SM_MODEL_DIR") or "/opt/ml/model")
        return cls(
            bundle=folder / "bundle" if (folder / "bundle").is_dir() else folder,
            host=environ.get("SLIPWAY_HOST", "0.0.0.0"),  # noqa: S104 - as above
            port=whole(environ, named, 8080),
            answers=environ.get("AIP_PREDICT_ROUTE", "/invocations"),
            health=environ.get("AIP_HEALTH_ROUTE", "/ping"),
            workers=whole(environ, "SLIPWAY_WORKERS", len(os.sched_getaffinity(0))),
            wait=whole(environ, "SLIPWAY_MAX_WAIT_MS", 1000) / 1000,
            pages=environ.get("SLIPWAY_PAGES", "1") != "0",
            limits=Limits.of(environ))
