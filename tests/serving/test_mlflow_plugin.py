"""`mlflow deployments` with our targets: MLflow's own command line, the real registry, the local AWS."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import mlflow.deployments.cli
import numpy as np
import pytest
from click.testing import CliRunner, Result
from mlflow.exceptions import MlflowException

from serving import Aws
from serving.aws import ScalingState
from serving.golden import read_golden

from .small import ServerFront, free_port
from .test_deploy import logged, registered, registry_and_aws
from .test_sagemaker_deploy import IMAGE

NAME = ("--name", "images", "-t", "lambda")


def deployments(*words: str) -> Result:
    """What `mlflow deployments` says, in this process: starting MLflow takes seconds."""
    return CliRunner().invoke(mlflow.deployments.cli.commands, list(words))


def refused(*words: str) -> str:
    result = deployments(*words)
    assert isinstance(result.exception, MlflowException), (result.output, result.exception)
    return str(result.exception)


@pytest.fixture(scope="module")
def created(tmp_path_factory: pytest.TempPathFactory, network_files: Path) -> Iterator[str]:
    """images/1, approved, was deployed by MLflow's command; images/2 is a candidate. What the command said."""
    with registry_and_aws(tmp_path_factory.mktemp("plugin")):
        registered(network_files)
        logged(network_files)
        words = ["deployments", "create", *NAME, "-m", "models:/images/1"]
        done = subprocess.run([str(Path(sys.executable).parent / "mlflow"), *words], env=os.environ,
                              capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-3000:]
        yield done.stdout


def test_an_approved_version_is_deployed_and_told(created: str) -> None:
    assert "keras deployment images is created" in created
    assert "'name': 'images'" in deployments("list", "-t", "lambda").output
    told = deployments("get", *NAME).output
    assert "version: 1\n" in told and "drift: []\n" in told and "slipway-images:production" in told


def answers_its_golden_requests(where: tuple[str, ...], network_files: Path, tmp_path: Path) -> None:
    golden = read_golden(network_files / "golden.npz")
    asked = tmp_path / "golden.json"
    asked.write_text(json.dumps({"image": golden.inputs["image"].tolist()}))
    said = json.loads(deployments("predict", *where, "-I", str(asked)).output)
    np.testing.assert_allclose(said["predictions"], golden.outputs["probabilities"], atol=1e-5)


def test_it_answers_a_frame_of_tensors_and_a_frame_of_rows_is_sent_as_rows(
    created: str, network_files: Path, tmp_path: Path
) -> None:
    answers_its_golden_requests(NAME, network_files, tmp_path)
    asked = tmp_path / "asked.json"
    asked.write_text(json.dumps([[1, 2], [3, 4]]))
    assert "row 0: found shape [2]; wanted [6, 6, 1]" in refused("predict", *NAME, "-I", str(asked))


@pytest.mark.parametrize(("uri", "reason"), [
    ("models:/images/2", "models:/images/2 is not what stands approved in Production, which is images/1"),
    ("models:/images@challenger", "is not what stands approved in Production"),
    ("models:/images/Staging", "is not what stands approved in Production"),
    ("runs:/0123/model", "names no registered version"),
    ("models:/others/1", "a deployment has its model's name"),
])
def test_what_is_not_approved_is_refused_with_the_reason(created: str, uri: str, reason: str) -> None:
    assert reason in refused("update", *NAME, "-m", uri)


@pytest.mark.parametrize("uri", ["models:/images/1", "models:/images@champion", "models:/images/Production"])
def test_every_name_of_the_approved_version_is_taken(created: str, uri: str) -> None:
    assert "Deployment images is updated (with flavor keras)" in deployments("update", *NAME, "-m", uri).output


def test_what_serves_is_not_created_again_and_an_unknown_option_is_named(created: str) -> None:
    assert "in service on lambda already" in refused("create", *NAME, "-m", "models:/images/1")
    assert "unknown option -C confg; the nearest is config" in refused("update", *NAME, "-C", "confg=x")


def test_deleted_it_is_out_of_service_and_created_it_is_back(created: str) -> None:
    for _ in range(2):  # the second time there is nothing to do
        assert deployments("delete", *NAME).exit_code == 0
    assert deployments("list", "-t", "lambda").output == "List of all deployments:\n[]\n"
    assert Aws().functions.alias("slipway-images", "production") is None
    assert "is not in service on lambda" in refused("update", *NAME)
    assert deployments("create", *NAME, "-m", "models:/images/1").exit_code == 0
    assert "version: 1\n" in deployments("get", *NAME).output


@pytest.mark.parametrize("target", ["lambda", "slipway-sagemaker"])
def test_both_targets_say_what_can_be_said_to_them(target: str) -> None:
    assert "-C config=FILE" in deployments("help", "-t", target).output


# From here on SageMaker, in this order: what each leaves there the next one finds.
ON_SAGEMAKER = ("--name", "images", "-t", "slipway-sagemaker")
SCALED = {"image": IMAGE, "autoscaling": {"most": 2, "invocations": 50}}


@pytest.fixture(scope="module")
def on_sagemaker(created: str) -> str:
    """Nothing serves there, a version without an approval is refused, and the approved one is deployed: what was said.

    Scaled, by the slipway.yaml of this folder.
    """
    assert deployments("list", "-t", "slipway-sagemaker").output == "List of all deployments:\n[]\n"
    Path("slipway.yaml").write_text(json.dumps({"sagemaker": SCALED}))
    assert "images/2 is not what stands approved" in refused("create", *ON_SAGEMAKER, "-m", "models:/images/2")
    assert "images is not in service on sagemaker" in refused("update", *ON_SAGEMAKER)
    assert Aws().endpoints.endpoint("slipway-images") is None
    done = deployments("create", *ON_SAGEMAKER, "-m", "models:/images@champion")
    assert done.exit_code == 0, done.exception
    return done.output


def test_an_approved_version_is_deployed_to_sagemaker_listed_and_told(on_sagemaker: str) -> None:
    assert "keras deployment images is created" in on_sagemaker
    assert "'target': 'sagemaker', 'version': 1" in deployments("list", "-t", "slipway-sagemaker").output
    told = deployments("get", *ON_SAGEMAKER).output
    assert "version: 1\n" in told and "drift: []\n" in told and "slipway-images -> slipway-images-" in told


def test_on_sagemaker_too_it_answers_and_only_what_is_approved_updates_it(
    on_sagemaker: str, network_files: Path, tmp_path: Path
) -> None:
    answers_its_golden_requests(ON_SAGEMAKER, network_files, tmp_path)
    assert "images/2 is not what stands approved" in refused("update", *ON_SAGEMAKER, "-m", "models:/images/2")
    assert "is updated (with flavor keras)" in deployments("update", *ON_SAGEMAKER, "-m", "models:/images/1").output


def test_deleted_from_sagemaker_it_is_out_of_service_and_what_scaled_it_is_gone(on_sagemaker: str) -> None:
    assert Aws().scaling.scaling("slipway-images", "production") == ScalingState(1, 2, 50.0)
    for _ in range(2):  # the second time there is nothing to do
        assert deployments("delete", *ON_SAGEMAKER).exit_code == 0
    assert Aws().endpoints.endpoint("slipway-images") is None
    assert Aws().scaling.scaling("slipway-images", "production") is None
    assert deployments("list", "-t", "slipway-sagemaker").output == "List of all deployments:\n[]\n"
    assert "is not in service on sagemaker" in refused("get", *ON_SAGEMAKER)
    assert deployments("create", *ON_SAGEMAKER, "-m", "models:/images/1").exit_code == 0
    assert Aws().scaling.scaling("slipway-images", "production") == ScalingState(1, 2, 50.0)


def test_what_scales_is_taken_away_also_where_somebody_deleted_the_endpoint_by_hand(on_sagemaker: str) -> None:
    Aws().endpoints.delete_endpoint("slipway-images")
    assert deployments("delete", *ON_SAGEMAKER).exit_code == 0
    assert Aws().scaling.scaling("slipway-images", "production") is None


@pytest.mark.parametrize("where", [NAME, ON_SAGEMAKER], ids=["lambda", "sagemaker"])
def test_run_local_serves_the_approved_version_on_this_machine_and_no_other(
    created: str, network_files: Path, where: tuple[str, ...]
) -> None:
    golden, port = read_golden(network_files / "golden.npz"), free_port()
    assert "images/2 is not what stands approved" in refused("run-local", *where, "-m", "models:/images/2")
    words = ["deployments", "run-local", *where, "-m", "models:/images/1", "-C", f"port={port}"]
    process = subprocess.Popen([str(Path(sys.executable).parent / "mlflow"), *words], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        ready = next((line for line in process.stdout if line.startswith("serving on")), "it ended")
        assert ready == f"serving on http://127.0.0.1:{port}/\n"
        body = json.dumps({"instances": golden.inputs["image"].tolist()}).encode()
        said = ServerFront(port).request("POST", "/invocations", body, {"Content-Type": "application/json"}).json
        np.testing.assert_allclose(said["predictions"], golden.outputs["probabilities"], atol=1e-5)
        assert said["model"]["version"] == 1
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(30)
        assert process.stdout is not None
        process.stdout.close()
