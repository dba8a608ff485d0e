"""The Dockerfile's steps, followed without Docker: what it copies into an empty folder starts, and answers rightly."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from serving.golden import read_golden

from .small import ServerFront, free_port

ROOT = Path(__file__).parents[2]
BUNDLE = ROOT / "tests" / "golden" / "bundles" / "0.1-images-cnn"


def steps() -> list[tuple[str, str]]:
    """The instructions with their arguments, in order."""
    lines = re.findall(r"^[^#\n].*", (ROOT / "Dockerfile").read_text(encoding="utf-8"), re.M)
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in lines)]


class Image:
    """What building the image leaves in an empty root folder, and how it is started."""

    def __init__(self, root: Path, context: Path) -> None:
        self.root, self.context = root, context
        self.folder, self.env, self.entry = root, {"PATH": os.environ["PATH"]}, list[str]()
        for word, rest in steps():
            getattr(self, f"_{word.lower()}", lambda rest: None)(rest)

    def _place(self, path: str) -> Path:
        return self.root / path[1:] if path.startswith("/") else self.folder / path

    def _workdir(self, rest: str) -> None:
        self.folder = self._place(rest)
        self.folder.mkdir(parents=True)

    def _copy(self, rest: str) -> None:
        source, into = rest.split()
        shutil.copytree(self.context / source, self._place(into), ignore=shutil.ignore_patterns("__pycache__"))

    def _run(self, rest: str) -> None:
        if not rest.startswith("pip install"):  # the pins are compared in test_architecture.py
            done = subprocess.run(["sh", "-ec", rest], cwd=self.folder, capture_output=True, text=True, check=False,
                                  env={"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"})
            assert done.returncode == 0, done.stderr

    def _env(self, rest: str) -> None:
        self.env |= dict(re.findall(r"(\w+)=(\S+)", rest))

    def _entrypoint(self, rest: str) -> None:
        self.entry = json.loads(rest)


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ServerFront, Image]]:
    """The image's command with SageMaker's argument `serve`, in this environment's Python."""
    context = tmp_path_factory.mktemp("context")
    shutil.copytree(ROOT / "serving" / "runtime", context / "serving" / "runtime")
    shutil.copytree(BUNDLE, context / "bundle")
    image, port = Image(tmp_path_factory.mktemp("image"), context), free_port()
    assert image.entry[0] == "python"
    # `-m` looks in the image's folder before it looks among what is installed here.
    env = {**image.env, "SAGEMAKER_BIND_TO_PORT": str(port), "SM_MODEL_DIR": str(image.root / "opt/ml/model"),
           "SLIPWAY_WORKERS": "1"}
    process = subprocess.Popen([sys.executable, *image.entry[1:], "serve"], cwd=image.folder, env=env,
                               stderr=subprocess.PIPE)
    try:
        assert process.stderr is not None
        said = process.stderr.readline()
        assert b"serving on port" in said, said
        yield ServerFront(port), image
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0


def test_ping_answers(started: tuple[ServerFront, Image]) -> None:
    reply = started[0].request("GET", "/ping")
    assert reply.status == 200
    assert reply.headers["x-model"] == "images/1"


def test_a_golden_request_is_answered_as_when_it_was_approved(started: tuple[ServerFront, Image]) -> None:
    golden, body = read_golden(BUNDLE / "golden.npz"), io.BytesIO()
    np.save(body, golden.inputs["image"])
    reply = started[0].ask(body.getvalue(), content_type="application/x-npy", accept="application/x-npy")
    assert reply.status == 200, reply.body
    np.testing.assert_allclose(np.load(io.BytesIO(reply.body)), golden.outputs["probabilities"], atol=1e-4)


def test_the_image_holds_the_runtime_compiled_and_nothing_else_of_the_project(
        started: tuple[ServerFront, Image]) -> None:
    held = {path.relative_to(started[1].folder).parts[:2] for path in started[1].folder.rglob("*.py")}
    assert held == {("serving", "__init__.py"), ("serving", "runtime")}
    for source in started[1].folder.rglob("*.py"):
        assert list(source.parent.glob(f"__pycache__/{source.stem}.*.pyc")), source


def test_the_bundle_lies_where_the_server_looks_by_itself() -> None:
    from serving.runtime.server.settings import Settings

    assert ("COPY", f"bundle {Settings.of({}).bundle}") in steps()
