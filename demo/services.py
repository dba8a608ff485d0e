"""The MLflow server that the demo starts on a free loopback port, and stops again."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

START_LIMIT = 120.0  # seconds; 11 to 25 are usual on two cores

QUIET = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}


def server_command(home: Path, port: int) -> list[str]:
    """Which command starts MLflow with the enforcing registry on what lies in this folder?"""
    database = f"sqlite:///{home / 'mlflow.db'}"
    return ["mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
            "--backend-store-uri", database, "--registry-store-uri", f"slipway:{database}",
            "--artifacts-destination", str(home / "artifacts"), "--app-name", "slipway"]


def end_as_by_ctrl_c() -> None:
    """Let SIGTERM and a closed terminal end this process as Ctrl-C does, so that its servers end with it."""
    others = [one for one in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(one) is not signal.SIG_IGN]  # nohup

    def end(number: int, frame: object) -> None:
        for one in others:
            signal.signal(one, signal.SIG_IGN)  # `make` and its terminal may both say it: the stopping is not stopped
        raise KeyboardInterrupt

    for one in others:
        signal.signal(one, end)


@contextmanager
def mlflow_server(home: Path, environment: Mapping[str, str] | None = None) -> Iterator[str]:
    """Run an MLflow server while the block lasts; give its address.

    Raises:
        RuntimeError: it did not answer in time; its log is named.
    """
    home.mkdir(parents=True, exist_ok=True)
    port = free_port()
    command = server_command(home, port)
    log = home / "mlflow-server.log"
    with log.open("wb") as sink:
        process = subprocess.Popen(  # noqa: S603 - our own arguments, no shell
            [str(Path(sys.executable).parent / command[0]), *command[1:]], stdout=sink, stderr=subprocess.STDOUT,
            start_new_session=True, env={**os.environ, **QUIET, **(environment or {})})
        try:
            _await_health(f"http://127.0.0.1:{port}", process, log)
            yield f"http://127.0.0.1:{port}"
        finally:
            _stop(process)


def free_port() -> int:
    """Which loopback port is free now?"""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _await_health(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + START_LIMIT
    while time.monotonic() < end:
        if process.poll() is not None:
            raise RuntimeError(f"mlflow server ended with {process.returncode}; see {log}")
        try:
            with urllib.request.urlopen(f"{address}/health", timeout=2):  # noqa: S310 - http on loopback
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    raise RuntimeError(f"mlflow server did not answer within {START_LIMIT:.0f} s; see {log}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    # The server's workers share its process group: none may outlive the demo.
    for sign, patience in ((signal.SIGTERM, 10), (signal.SIGKILL, 5)):
        try:
            os.killpg(process.pid, sign)
            process.wait(patience)
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue
    process.wait()
