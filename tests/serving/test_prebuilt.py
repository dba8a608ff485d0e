"""AWS's own container software serves our model.tar.gz: sagemaker-inference and multi-model-server, run here.

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
from pathlib import Path

import numpy as np
import pytest

from serving import bundle as bundles
from serving import package
from serving.golden import read_golden
from serving.runtime.core import GOLDEN
from serving.runtime.exchange import CSV, JSON

from .small import ServerFront

PEER = Path(os.environ.get("SLIPWAY_PEERS", ".slipway/peers")).resolve() / "sagemaker"
BUNDLE = Path(__file__).parents[1] / "golden" / "bundles" / "0.1-text-gru"
START = Path(__file__).with_name("prebuilt_start.py")
SECONDS = 60


def environment(folder: Path, port: int, java: str) -> dict[str, str]:
    """What SageMaker tells a container, with every folder of its own, and no package index to be reached."""
    return {"PATH": f"{PEER / 'bin'}{os.pathsep}{os.environ['PATH']}", "HOME": str(folder), "TMPDIR": str(folder),
            "JAVA_HOME": str(Path(java).resolve().parents[1]), "SAGEMAKER_BASE_DIR": str(folder / "opt"),
            "SAGEMAKER_BIND_TO_PORT": str(port), "SAGEMAKER_MODEL_SERVER_WORKERS": "1", "PIP_NO_INDEX": "1",
            "SAGEMAKER_MODEL_SERVER_VMARGS": f"-XX:-UseContainerSupport -Djava.io.tmpdir={folder}"}


def low_port() -> int:
    """A free port that multi-model-server takes: it keeps them in a signed short, so that 32,767 is the last."""
    for port in random.sample(range(20_000, 32_768), 50):
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            return port
    pytest.fail("no free port below 32,768")


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerFront]:
    java, python = shutil.which("java"), PEER / "bin" / "python"
    if not java or not python.exists():
        pytest.skip(f"needs Java, and AWS's software in {PEER}; this file says how")
    told = subprocess.run([python, "-c", "import sys; print(sys.version_info.minor)"], capture_output=True, text=True)
    folder = tmp_path_factory.mktemp("mms")
    layer = package.build_layer(package.layer_spec(f"python3.{told.stdout.strip()}", "x86_64"))
    archive = package.build_model_archive(bundles.verify(BUNDLE), layer, folder)
    with tarfile.open(archive) as packed:
        packed.extractall(folder / "opt" / "model", filter="data")
    port = low_port()
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([python, START, folder / "mms.properties"], cwd=folder, stdout=log, stderr=log,
                                   env=environment(folder, port, java), start_new_session=True)
    try:
        yield _answering(ServerFront(port), process, folder / "log")
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


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


def test_golden_requests_are_answered_as_the_native_model_did(front: ServerFront) -> None:
    golden = read_golden(BUNDLE / GOLDEN)
    (wanted,) = golden.outputs.values()
    reply = front.ask(json.dumps({"instances": golden.inputs["text"].tolist()}).encode(), Content_Type=JSON)
    assert reply.status == 200, reply.body
    np.testing.assert_allclose(reply.json["predictions"], wanted, atol=1e-5)
    assert reply.json["model"]["digest"] == bundles.verify(BUNDLE).manifest.digest


def test_the_answer_has_the_form_that_was_asked_for(front: ServerFront) -> None:
    reply = front.ask(b"good", Content_Type="text/plain", Accept=CSV)
    assert reply.headers["content-type"] == CSV
    assert reply.body.startswith(b"label,probabilities.")


@pytest.mark.parametrize(("body", "status", "said"), [
    (b'{"instances": [7]}', 422, b"text, row 0: found a number; wanted text"),
    (b'{"instances": [', 400, b"not JSON")])
def test_a_bad_request_keeps_its_status_and_harms_nobody(
        body: bytes, status: int, said: bytes, front: ServerFront) -> None:
    reply = front.ask(body, Content_Type=JSON)
    assert reply.status == status
    assert said in reply.body
    assert front.ask(b'{"instances": ["good"]}', Content_Type=JSON).status == 200
