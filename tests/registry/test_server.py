"""A real `mlflow server --app-name slipway`, spoken to as the registry UI and as clients do."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import mlflow
import pytest
import requests

from registry import ReleaseMissing, Stage, check, connect, mlflow_store, release
from registry.wire import WordShape
from tests.registry.world import World


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder, port = tmp_path_factory.mktemp("server"), free_port()
    address = f"http://127.0.0.1:{port}"
    with (folder / "server.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "mlflow", "server", "--port", str(port), "--workers", "1", "--app-name", "slipway",
             "--backend-store-uri", "sqlite:///mlflow.db", "--registry-store-uri", "slipway:sqlite:///mlflow.db"],
            cwd=folder, stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
            env={**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
        )  # fmt: skip
    try:
        wait_until_healthy(address, folder / "server.log", process)
        yield address
    finally:
        os.killpg(process.pid, 15)
        process.wait(timeout=30)


def wait_until_healthy(address: str, log: Path, process: subprocess.Popen[bytes]) -> None:
    for _ in range(240):
        try:
            if requests.get(f"{address}/health", timeout=1).ok:
                return
        except requests.ConnectionError:
            assert process.poll() is None, log.read_text()
            time.sleep(0.25)
    raise AssertionError(log.read_text())


@pytest.fixture
def remote(server: str, world: World) -> World:
    """Ana's client of the server; the world's own database is not touched."""
    world.monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    mlflow.set_tracking_uri(server)
    connect()
    return world


def move_in_the_ui(server: str, name: str, version: int, stage: str) -> requests.Response:
    """Exactly what the registry UI posts when a person picks a stage and presses OK."""
    return requests.post(
        f"{server}/ajax-api/2.0/mlflow/model-versions/transition-stage",
        json={"name": name, "version": str(version), "stage": stage, "archive_existing_versions": True},
        timeout=10,
    )


def test_the_ui_is_refused_with_a_reason_and_obeyed_once_checked_and_approved(server: str, remote: World) -> None:
    version = remote.candidate("digits")
    refused = move_in_the_ui(server, "digits", 1, "Production")
    assert refused.status_code == 403
    assert refused.json()["error_code"] == "PERMISSION_DENIED"
    assert refused.json()["message"] == (
        "digits/1 may not enter Production: never checked; no approval (author ana does not count). "
        "Next: slipway check digits/1"
    )
    assert check.check(version).passed
    remote.acting("bo")
    mlflow_store.send_approval(version, WordShape(comment="looked at it"))
    assert move_in_the_ui(server, "digits", 1, "Production").status_code == 200
    assert remote.stages("digits") == {1: (Stage.PRODUCTION, ("champion",))}
    assert release("digits").version == 1


def test_the_ledger_is_read_over_both_prefixes(server: str, remote: World) -> None:
    remote.candidate("both")
    for prefix in ("api", "ajax-api"):
        answer = requests.get(f"{server}/{prefix}/2.0/slipway/ledger", params={"model": "both"}, timeout=10)
        assert [entry["kind"] for entry in answer.json()["entries"]] == ["registered"]


def test_a_claimed_name_travels_in_the_header_and_is_recorded_as_claimed(remote: World) -> None:
    remote.acting("eve")
    remote.candidate("named")
    assert [str(entry.actor) for entry in mlflow_store.ledger("named")] == ["eve (claimed)"]


def test_without_a_name_an_approval_typed_into_the_ui_does_not_count(server: str, remote: World) -> None:
    version = remote.candidate("typed")
    check.check(version)
    answer = requests.post(
        f"{server}/ajax-api/2.0/mlflow/model-versions/set-tag",
        json={"name": "typed", "version": "1", "key": "slipway.approval", "value": "looks good"},
        timeout=10,
    )
    assert answer.status_code == 403
    assert "nobody is named" in answer.json()["message"]


def test_an_unreleased_model_is_missing_over_rest_too(remote: World) -> None:
    remote.candidate("waiting")
    with pytest.raises(ReleaseMissing):
        release("waiting")
