"""AWS's own container software, run here: sagemaker-inference and multi-model-server.

It needs Java and an environment of its own under the folder that SLIPWAY_PEERS names (default .slipway/peers):

    python -m venv .slipway/peers/sagemaker
    .slipway/peers/sagemaker/bin/pip install 'setuptools<80' wheel
    .slipway/peers/sagemaker/bin/pip install multi-model-server==1.1.11 sagemaker-inference==1.10.1

What only AWS could show (its image, its Python, its network) is not shown here.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import tarfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from serving import package
from serving.bundle import Bundle

from .small import Reply, ServerFront

PEER = Path(os.environ.get("SLIPWAY_PEERS", ".slipway/peers")).resolve() / "sagemaker"
START = Path(__file__).with_name("prebuilt_start.py")
SECONDS = 60


@dataclass(frozen=True)
class One:
    """One of several models in one such server, asked by its name."""

    front: ServerFront
    name: str

    def ask(self, body: bytes, **headers: str) -> Reply:
        """What does this model answer?"""
        named = {k.replace("_", "-"): v for k, v in headers.items()}
        return self.front.request("POST", f"/models/{self.name}/invoke", body, named)


@contextlib.contextmanager
def one_of_many(front: ServerFront, bundle: Bundle, folder: Path) -> Iterator[One]:
    """This bundle as one model of a server that holds many, loaded for as long as it is asked.

    The code is the one that the server was started with, so that only the bundle is put there.
    """
    shutil.copytree(bundle.folder, folder / "bundle")
    (folder / "MAR-INF").mkdir()
    (folder / "MAR-INF" / "MANIFEST.json").write_text(package.ARCHIVE_MANIFEST, encoding="utf-8")
    said = json.dumps({"model_name": folder.name, "url": str(folder)}).encode()
    reply = front.request("POST", "/models", said, {"content-type": "application/json"})
    assert reply.status == 200, reply.body
    try:
        yield One(front, folder.name)
    finally:
        front.request("DELETE", f"/models/{folder.name}")


@contextlib.contextmanager
def prebuilt(bundle: Bundle, folder: Path, *, many: bool = False) -> Iterator[ServerFront]:
    """AWS's server of this bundle's model.tar.gz; with `many`, a server of none, ready for `one_of_many`.

    Skips where there is no Java, or AWS's software is not there.
    """
    java, python = shutil.which("java"), PEER / "bin" / "python"
    if not java or not python.exists():
        pytest.skip(f"needs Java, and AWS's software in {PEER}; tests/serving/prebuilt.py says how")
    told = subprocess.run([python, "-c", "import sys; print(sys.version_info.minor)"], capture_output=True, text=True)
    layer = package.build_layer(package.layer_spec(f"python3.{told.stdout.strip()}", "x86_64"))
    with tarfile.open(package.build_model_archive(bundle, layer, folder)) as packed:
        packed.extractall(folder / "opt" / "model", filter="data")
    (folder / "opt" / "models").symlink_to("model")  # where it looks for code when it holds many
    port = _low_port()
    environ = _environment(folder, port, java) | ({"SAGEMAKER_MULTI_MODEL": "true"} if many else {})
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([python, START, folder / "mms.properties"], cwd=folder, stdout=log, stderr=log,
                                   env=environ, start_new_session=True)
    try:
        yield _answering(ServerFront(port), process, folder / "log")
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _environment(folder: Path, port: int, java: str) -> dict[str, str]:
    """What SageMaker tells a container, with every folder of its own, and no package index to be reached."""
    return {"PATH": f"{PEER / 'bin'}{os.pathsep}{os.environ['PATH']}", "HOME": str(folder), "TMPDIR": str(folder),
            "JAVA_HOME": str(Path(java).resolve().parents[1]), "SAGEMAKER_BASE_DIR": str(folder / "opt"),
            "SAGEMAKER_BIND_TO_PORT": str(port), "SAGEMAKER_MODEL_SERVER_WORKERS": "1", "PIP_NO_INDEX": "1",
            "SAGEMAKER_MODEL_SERVER_VMARGS": f"-XX:-UseContainerSupport -Djava.io.tmpdir={folder}"}


def _low_port() -> int:
    """A free port that multi-model-server takes: it keeps them in a signed short, so that 32,767 is the last."""
    for port in random.sample(range(20_000, 32_768), 50):
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            return port
    pytest.fail("no free port below 32,768")


def _answering(front: ServerFront, process: subprocess.Popen[bytes], log: Path) -> ServerFront:
    until = time.monotonic() + SECONDS
    while time.monotonic() < until and process.poll() is None:
        try:
            if front.request("GET", "/ping").status == 200:
                return front
        except OSError:
            pass
        time.sleep(0.2)
    pytest.fail(f"it did not start: {log.read_text(errors='replace')[-2000:]}")
