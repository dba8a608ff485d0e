"""Where bubblewrap works, functions and containers have AWS's own paths, and cannot write where AWS's cannot."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from serving.localaws import running
from serving.localaws.sandbox import Folders, Sandbox
from tests.localaws.conftest import ROLE, SERVER, client_for, zipped
from tests.localaws.hosting import Hosting

WORKS = Sandbox.find().bwrap is not None
LOOK = """
import os, sys, layered
def writes(folder):
    try:
        open(os.path.join(folder, "mark"), "w").close()
        return True
    except OSError:
        return False
def handler(event, context):
    places = (os.path.dirname(__file__), os.path.dirname(layered.__file__), "/tmp", "/etc")
    return {"file": __file__, "layer": layered.__file__, "root": os.environ["LAMBDA_TASK_ROOT"], "path": sys.path,
            "writes": {place: writes(place) for place in places},
            "cwd": os.getcwd(), "room": os.statvfs("/tmp").f_blocks * os.statvfs("/tmp").f_frsize}
"""
HANDLER = """
import os
def model_fn(folder):
    return folder
def predict_fn(data, model):
    return [model, os.environ["SM_MODEL_DIR"]]
"""


@pytest.fixture(scope="module", params=["--sandbox", "--no-sandbox"])
def placed(request: pytest.FixtureRequest) -> Iterator[tuple[bool, dict[str, str]]]:
    """A local AWS with bubblewrap and one without."""
    if request.param == "--sandbox" and not WORKS:
        pytest.skip("bubblewrap (bwrap) is not installed, or user namespaces are forbidden here")
    command = f"{{python}} {SERVER} {{port}} {{model_dir}}"
    with running(request.param, "--image", f"test-server={command}") as environment:
        yield request.param == "--sandbox", environment


def look(environment: dict[str, str], runtime: str) -> dict[str, Any]:
    """What a function with a layer sees."""
    lambdas = client_for(environment, "lambda")
    layer = lambdas.publish_layer_version(LayerName="l", Content={"ZipFile": zipped({"python/layered.py": ""})})
    lambdas.create_function(
        FunctionName="look", Runtime=runtime, Role=ROLE, Handler="main.handler", Layers=[layer["LayerVersionArn"]],
        Code={"ZipFile": zipped({"main.py": LOOK})}, EphemeralStorage={"Size": 600},
    )  # fmt: skip
    answer: dict[str, Any] = json.loads(lambdas.invoke(FunctionName="look")["Payload"].read())
    return answer


def test_a_function_finds_its_files_where_aws_has_them(placed: tuple[bool, dict[str, str]], runtime: str) -> None:
    boxed, environment = placed
    seen = look(environment, runtime)
    assert (seen["root"] == "/var/task") == boxed
    assert seen["file"] == f"{seen['root']}/main.py"
    assert seen["cwd"] == seen["root"]
    assert seen["layer"].endswith("/python/layered.py")
    order = [place for place in seen["path"] if "zip" not in place]
    assert order.index(seen["root"]) < order.index(os.path.dirname(seen["layer"]))  # noqa: PTH120
    if boxed:
        assert seen["layer"] == "/opt/python/layered.py"
        assert "/var/runtime" in seen["path"]
        assert seen["writes"] == {"/var/task": False, "/opt/python": False, "/tmp": True, "/etc": False}  # noqa: S108
        assert seen["room"] == 600 * 1024 * 1024


def test_a_container_finds_its_model(placed: tuple[bool, dict[str, str]]) -> None:
    _, environment = placed
    hosting = Hosting(lambda service: client_for(environment, service))
    name = hosting.endpoint(hosting.config(hosting.variant("placed")))
    assert hosting.ask(name)["answer"] == "placed"
    image = "763104351884.dkr.ecr.us-east-1.amazonaws.com/pytorch-inference:2.6-cpu-py312"
    other = hosting.endpoint(
        hosting.config(hosting.variant("", ModelName=hosting.model({"code/inference.py": HANDLER}, image=image)))
    )
    response = client_for(environment, "sagemaker-runtime").invoke_endpoint(
        EndpointName=other, Body="[]", ContentType="application/json"
    )
    folder, variable = json.loads(response["Body"].read())
    assert folder == variable
    assert (folder == "/opt/ml/model") == placed[0]


def test_without_bubblewrap_a_command_is_what_it_was() -> None:
    folders = Folders(Path("/a"), Path("/b"), None, Path("/c"), frozenset())
    assert Sandbox().function(["python"], folders, scratch_mib=512).argv == ("python",)
    assert Sandbox().container(["serve"], Path("/model"), []) == ("serve",)
    assert Sandbox().model_dir(Path("/model")) == Path("/model")


def test_a_bubblewrap_that_fails_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "bwrap"
    broken.write_text("#!/bin/sh\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert Sandbox.find() == Sandbox()
