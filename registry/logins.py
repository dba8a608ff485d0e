"""How does a client prove itself to a tracking server? MLflow's own variables and file, read without MLflow."""

from __future__ import annotations

import configparser
import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Login:
    """What goes along with each request, as MLflow 3.17 sends it (`mlflow.utils.credentials`, `rest_utils`).

    `certificate` is False to check no server's certificate, a path to check it against, True for the usual ones.
    `signed`: requests are signed by MLflow's plugins (AWS's SigV4 among them), and only MLflow can make them.
    """

    name: str | None = None
    password: str | None = None
    token: str | None = None
    certificate: bool | str = True
    own_certificate: str | None = None
    signed: bool = False

    @property
    def basic(self) -> tuple[str, str] | None:
        """Name and password, when both are there; they go before a token."""
        return (self.name, self.password) if self.name and self.password else None

    @property
    def headers(self) -> dict[str, str]:
        """The header for a token, when that is what we have."""
        return {"Authorization": f"Bearer {self.token}"} if self.token and not self.basic else {}


def login() -> Login:
    """The login in force: environment variables, else ~/.mlflow/credentials."""
    kept = _kept()
    insecure = _yes("MLFLOW_TRACKING_INSECURE_TLS")
    return Login(
        name=os.environ.get("MLFLOW_TRACKING_USERNAME") or kept.get("mlflow_tracking_username"),
        password=os.environ.get("MLFLOW_TRACKING_PASSWORD") or kept.get("mlflow_tracking_password"),
        token=os.environ.get("MLFLOW_TRACKING_TOKEN"),
        certificate=False if insecure else os.environ.get("MLFLOW_TRACKING_SERVER_CERT_PATH") or True,
        own_certificate=os.environ.get("MLFLOW_TRACKING_CLIENT_CERT_PATH"),
        signed=_yes("MLFLOW_TRACKING_AWS_SIGV4") or bool(os.environ.get("MLFLOW_TRACKING_AUTH")),
    )


def _yes(variable: str) -> bool:
    return os.environ.get(variable, "").lower() in ("true", "1")


def _kept() -> dict[str, str]:
    parsed = configparser.ConfigParser()
    parsed.read(Path("~/.mlflow/credentials").expanduser())
    return dict(parsed["mlflow"]) if "mlflow" in parsed else {}
