"""Other emulators of AWS, started as their users would start them: what they agree on is more than one opinion.

Each lives in a virtual environment of its own under the folder that SLIPWAY_PEERS names (default .slipway/peers);
`make peers` makes them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from serving.localaws import running
from serving.localaws.endpoints.container import free_port
from serving.localaws.processes import Nursery
from tests.localaws.clients import client_for

PEERS = Path(os.environ.get("SLIPWAY_PEERS", ".slipway/peers")).resolve()
_START_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Peer:
    """An emulator: how it is started, and what it plays."""

    name: str
    services: frozenset[str]
    command: Callable[[int, Path], tuple[list[str], dict[str, str]]]


def installed(name: str, program: str) -> str:
    """A program of a peer's environment; the test is skipped where there is none."""
    path = PEERS / name / "bin" / program
    if not path.exists():
        pytest.skip(f"{name} is not installed in {PEERS}; tests/localaws/peers.py says how")
    return str(path)


def _moto(port: int, folder: Path) -> tuple[list[str], dict[str, str]]:
    return [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)], {}


def _ministack(port: int, folder: Path) -> tuple[list[str], dict[str, str]]:
    settings = {"GATEWAY_PORT": str(port), "BIND_HOST": "127.0.0.1", "IOT_MTLS_ENABLED": "0", "HOME": str(folder)}
    return [installed("ministack", "ministack")], settings


def _seaweedfs(port: int, folder: Path) -> tuple[list[str], dict[str, str]]:
    key = {"accessKey": "local", "secretKey": "local"}
    identities = [{"name": "local", "credentials": [key], "actions": ["Admin"]}]
    (folder / "s3.json").write_text(json.dumps({"identities": identities}))
    unused = [f"{part}.port{kind}" for part in ("master", "volume", "filer") for kind in ("", ".grpc")]
    options = {
        **{name: free_port() for name in [*unused, "s3.port.grpc"]},
        **{"dir": folder, "ip": "127.0.0.1", "ip.bind": "127.0.0.1", "volume.max": 20, "volume.preStopSeconds": 0},
        **{"s3.port": port, "s3.config": folder / "s3.json", "s3.port.iceberg": 0, "s3.port.lance": 0},
        **{"s3.autoCreateBucket": "false", "master.telemetry": "false"},
    }
    program = installed("seaweedfs", "weed")
    return [program, "server", "-s3", "-filer", *(f"-{name}={value}" for name, value in options.items())], {}


MOTO = Peer("moto", frozenset({"s3", "lambda"}), _moto)
MINISTACK = Peer("ministack", frozenset({"s3", "lambda"}), _ministack)
SEAWEEDFS = Peer("seaweedfs", frozenset({"s3"}), _seaweedfs)


@contextmanager
def started(peer: Peer, folder: Path) -> Iterator[dict[str, str]]:
    """The peer, answering; yields the variables for a client."""
    port = free_port()
    argv, settings = peer.command(port, folder)
    nursery = Nursery()
    try:
        environment = {"PATH": os.environ["PATH"], "HOME": str(folder), **settings}
        with (folder / "log").open("wb") as log:
            process = nursery.spawn(argv, env=environment, cwd=folder, output=log)
        reach = {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
            "AWS_ACCESS_KEY_ID": "local",
            "AWS_SECRET_ACCESS_KEY": "local",
            "AWS_REGION": "us-east-1",
        }
        _wait(reach, process, folder / "log")
        yield reach
    finally:
        nursery.close()


@contextmanager
def ours(folder: Path) -> Iterator[dict[str, str]]:
    """The local AWS itself, held to the same laws."""
    with running("--state", str(folder / "state"), "--auth") as environment:
        yield environment


def _wait(reach: dict[str, str], process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            client_for(reach, "s3").create_bucket(Bucket="peers")
        except (BotoCoreError, ClientError):
            time.sleep(0.2)
        else:
            return
    pytest.fail(f"it did not start: {log.read_text(errors='replace')[-2000:]}")
