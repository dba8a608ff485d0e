"""Real MLflow servers for the tests: started on a free port, stopped at the end, nothing left behind."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import requests

ADMIN = ("root", "root-password-of-one-test")
PASSWORD = "password-of-one-test"
POLICY = "roles: {reviewers: [bo, cy]}\ndefaults: {approvals: {of: [reviewers]}}\nbreak_glass: [root]\n"
AUTH_INI = """[mlflow]
default_permission = MANAGE
database_uri = sqlite:///basic_auth.db
admin_username = root
authorization_function = registry.token_login:authenticate_request
grant_default_workspace_access = true
auth_cache_ttl_seconds = 300
"""


@contextmanager
def running(folder: Path, app: str | None, env: Mapping[str, str] | None = None, workers: int = 1) -> Iterator[str]:
    """An `mlflow server --app-name APP` over a SQLite database in `folder`; gives its address. None: MLflow's own."""
    port = _free_port()
    address = f"http://127.0.0.1:{port}"
    command = [
        sys.executable, "-m", "mlflow", "server", "--port", str(port), "--workers", str(workers),
        "--backend-store-uri", "sqlite:///mlflow.db",
        *(("--app-name", app, "--registry-store-uri", "slipway:sqlite:///mlflow.db") if app else ()),
    ]  # fmt: skip
    settings = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", **(env or {})}
    for said in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"):
        settings.pop(said, None)
    with (folder / "server.log").open("w") as log:
        process = subprocess.Popen(
            command, cwd=folder, stdout=log, stderr=subprocess.STDOUT, start_new_session=True, env=settings
        )
    try:
        _wait(address, folder / "server.log", process)
        yield address
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=30)


@contextmanager
def killable(folder: Path) -> Iterator[tuple[str, Callable[[signal.Signals], None]]]:
    """MLflow's own server over the database in `folder`: its address, and what ends it with all its workers."""
    port = _free_port()
    command = [sys.executable, "-m", "mlflow", "server", "--port", str(port), "--workers", "1",
               "--backend-store-uri", "sqlite:///mlflow.db"]
    settings = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
    with (folder / "server.log").open("w") as log, subprocess.Popen(
        command, cwd=folder, stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
        env={**settings, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
    ) as process:

        def kill(number: signal.Signals) -> None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, number)
            process.wait(timeout=30)

        try:
            _wait(f"http://127.0.0.1:{port}", folder / "server.log", process)
            yield f"http://127.0.0.1:{port}", kill
        finally:
            kill(signal.SIGKILL)


@contextmanager
def running_with_logins(folder: Path, people: tuple[str, ...], policy: str = "") -> Iterator[str]:
    """The same behind MLflow's basic-auth, with an account for each of these people."""
    (folder / "auth.ini").write_text(AUTH_INI)
    (folder / "policy.yaml").write_text(f"schema: 1\n{policy}")
    env = {
        "PYTHONPATH": str(_entry_point(folder)),
        "MLFLOW_AUTH_CONFIG_PATH": str(folder / "auth.ini"),
        "MLFLOW_AUTH_ADMIN_PASSWORD": ADMIN[1],
        "MLFLOW_FLASK_SERVER_SECRET_KEY": "secret-of-one-test",
        "SLIPWAY_POLICY": str(folder / "policy.yaml"),
    }
    with running(folder, "slipway-auth", env) as address:
        for name in people:
            account = {"username": name, "password": PASSWORD}
            made = requests.post(f"{address}/api/2.0/mlflow/users/create", json=account, auth=ADMIN, timeout=30)
            made.raise_for_status()
        yield address


def _entry_point(folder: Path) -> Path:
    """The `slipway-auth` app, where the installed package does not declare it yet."""
    declared = folder / "declared" / "slipway_auth_app-0.dist-info"
    declared.mkdir(parents=True)
    (declared / "METADATA").write_text("Metadata-Version: 2.1\nName: slipway-auth-app\nVersion: 0\n")
    (declared / "entry_points.txt").write_text("[mlflow.app]\nslipway-auth = registry.server:create_app_auth\n")
    return declared.parent


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait(address: str, log: Path, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        try:
            if requests.get(f"{address}/health", timeout=1).ok:
                return
        except requests.RequestException:
            assert process.poll() is None, log.read_text()
        time.sleep(0.2)
    raise AssertionError(log.read_text())
