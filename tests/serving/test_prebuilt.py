"""AWS's own container software serves our model.tar.gz: sagemaker-inference on multi-model-server, no Docker.

Its environment is made once under ~/.cache/slipway by benchmarks or by hand; without it, or Java, the test is skipped.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import numpy as np
import pytest

from serving import bundle as bundles
from serving import package
from serving.runtime.core import GOLDEN, read_golden

from .small import ServerFront

ENVIRONMENT = Path(os.environ.get("SLIPWAY_PREBUILT_ENV", Path.home() / ".cache/slipway/benchmarks/prebuilt"))
BUNDLE = Path(__file__).parents[1] / "golden" / "bundles" / "0.1-tabular-forest-people"
START = "from sagemaker_inference import model_server; model_server.start_model_server(handler_service={!r})"


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("java"), reason="multi-model-server needs Java 17")
@pytest.mark.skipif(not (ENVIRONMENT / "bin" / "python").exists(), reason=f"no environment at {ENVIRONMENT}")
def test_awss_own_stack_answers_as_the_native_model(tmp_path: Path) -> None:
    here = f"python{sys.version_info.major}.{sys.version_info.minor}"
    made = package.build_model_archive(bundles.verify(BUNDLE), package.build_layer(package.layer_spec(here, "x86_64")),
                                       tmp_path)
    model, port = tmp_path / "ml" / "model", _low_port()
    with tarfile.open(made) as archive:
        archive.extractall(model, filter="data")
    env = {**os.environ, "SAGEMAKER_BASE_DIR": str(tmp_path / "ml"), "SAGEMAKER_BIND_TO_PORT": str(port),
           "SAGEMAKER_MODEL_SERVER_WORKERS": "1", "SAGEMAKER_PROGRAM": "inference.py",
           "PYTHONPATH": str(model / "code"), "PATH": f"{ENVIRONMENT / 'bin'}:{os.environ['PATH']}",
           "JAVA_HOME": str(Path(str(shutil.which("java"))).resolve().parents[1])}
    starter = START.format("sagemaker_inference.default_handler_service")
    log = (tmp_path / "log").open("wb")
    process = subprocess.Popen([ENVIRONMENT / "bin" / "python", "-c", starter], env=env, cwd=tmp_path,
                               start_new_session=True, stdout=log, stderr=log)
    try:
        front = ServerFront(port)
        _until_healthy(front)
        golden = read_golden(BUNDLE / GOLDEN)
        rows = {k: [None if v != v else v for v in rows.tolist()] for k, rows in golden.inputs.items()}
        reply = front.ask(json.dumps({"inputs": rows}).encode(), content_type="application/json")
        assert reply.status == 200, (tmp_path / "log").read_text()[-2000:]
        np.testing.assert_allclose(reply.json["predictions"], golden.outputs["probabilities"], atol=1e-4)
        assert front.ask(b"{", content_type="application/json").status == 400
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _low_port() -> int:
    """A free port below 32,768: multi-model-server keeps it in a Java short."""
    for port in range(20_000 + os.getpid() % 5000, 32_000):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)):
                return port
    raise AssertionError("no port is free")


def _until_healthy(front: ServerFront) -> None:
    for _ in range(60):
        try:
            if front.request("GET", "/ping").status == 200:
                return
        except OSError:
            pass
        time.sleep(0.5)
    raise AssertionError("never healthy")
