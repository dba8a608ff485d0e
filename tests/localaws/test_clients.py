"""Clients that people use, unchanged: SageMaker's own SDK, MLflow's deployment plugin, the AWS command line."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.localaws.conftest import BUCKET
from tests.localaws.hosting import IMAGE, ROLE, tarred, unique
from tests.localaws.peers import installed

SDK = """
import os
from sagemaker.core.resources import Endpoint, EndpointConfig, Model
from sagemaker.core.shapes import (BlueGreenUpdatePolicy, CapacitySize, ContainerDefinition, DeploymentConfig,
                                   ProductionVariant, TrafficRoutingConfig)
container = ContainerDefinition(image=os.environ["IMAGE"], model_data_url=os.environ["MODEL"])
model = Model.create(model_name="core", primary_container=container, execution_role_arn=os.environ["ROLE"])
variant = ProductionVariant(variant_name="main", model_name="core", initial_instance_count=1,
                            instance_type="ml.m7i.large", initial_variant_weight=1.0)
configs = [EndpointConfig.create(endpoint_config_name=name, production_variants=[variant])
           for name in ("core-1", "core-2")]
endpoint = Endpoint.create(endpoint_name="core", endpoint_config_name="core-1")
endpoint.wait_for_status("InService", poll=1)
print(endpoint.invoke(body=b"{}", content_type="application/json").body.read().decode())
endpoint.endpoint_config_name = "core-2"
routing = TrafficRoutingConfig(type="CANARY", wait_interval_in_seconds=50,
                               canary_size=CapacitySize(type="CAPACITY_PERCENT", value=50))
policy = BlueGreenUpdatePolicy(traffic_routing_configuration=routing)
endpoint.update(deployment_config=DeploymentConfig(blue_green_update_policy=policy))
endpoint.refresh()
print(endpoint.endpoint_status, endpoint.pending_deployment_summary.endpoint_config_name)
endpoint.wait_for_status("InService", poll=1)
print(Endpoint.get("core").endpoint_config_name)
for made in (endpoint, *configs, model):
    made.delete()
"""
MLFLOW = """
import os
from mlflow.deployments import get_deploy_client
client = get_deploy_client("sagemaker:/us-east-1")
config = dict(execution_role_arn=os.environ["ROLE"], bucket=os.environ["BUCKET"], image_url=os.environ["IMAGE"],
              region_name="us-east-1", archive=True, instance_type="ml.m5.xlarge", instance_count=1, synchronous=False)
client.create_deployment("by-mlflow", os.environ["FOLDER"], flavor="python_function", config=config)
print([one["EndpointName"] for one in client.list_deployments()], client.get_deployment("by-mlflow")["EndpointStatus"])
import boto3
boto3.client("sagemaker").get_waiter("endpoint_in_service").wait(EndpointName="by-mlflow", WaiterConfig={"Delay": 1})
runtime = boto3.client("sagemaker-runtime")
answer = runtime.invoke_endpoint(EndpointName="by-mlflow", Body=b"{}", ContentType="application/json")
print(answer["Body"].read().decode())
client.delete_deployment("by-mlflow", config=dict(archive=True, synchronous=False, region_name="us-east-1"))
"""
MLMODEL = """
flavors:
  python_function: {loader_module: nothing, python_version: 3.11.0, env: conda.yaml}
model_uuid: 0123
utc_time_created: '2026-01-01 00:00:00'
"""


def run(aws: dict[str, str], argv: list[str], folder: Path, **variables: str) -> list[str]:
    """Run a program with nothing but the variables of the local AWS; the lines it printed."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "NO_PROXY": "127.0.0.1", **aws, **variables}
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False, timeout=110, cwd=folder)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout.splitlines()


@pytest.mark.skipif(find_spec("sagemaker") is None, reason="the sagemaker SDK is not installed")
def test_the_sagemaker_sdk_deploys_updates_and_deletes(aws: dict[str, str], s3: Any, tmp_path: Path) -> None:
    key = f"{unique('sdk')}/model.tar.gz"
    s3.put_object(Bucket=BUCKET, Key=key, Body=tarred({"answer.txt": "by the sdk"}))
    variables = {"ROLE": ROLE, "IMAGE": IMAGE, "MODEL": f"s3://{BUCKET}/{key}"}
    lines = run(aws, [sys.executable, "-c", SDK], tmp_path, **variables)
    found = [line for line in lines if line.startswith(("{", "Updating", "core"))]
    assert '"answer": "by the sdk"' in found[0]
    assert found[1:] == ["Updating core-2", "core-2"]


@pytest.mark.skipif(find_spec("mlflow") is None, reason="MLflow is not installed")
def test_mlflows_own_sagemaker_client_deploys(aws: dict[str, str], tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    for name, text in (("MLmodel", MLMODEL), ("conda.yaml", "name: none\n"), ("answer.txt", "by mlflow")):
        (folder / name).write_text(text)
    variables = {"ROLE": ROLE, "IMAGE": IMAGE, "BUCKET": BUCKET, "FOLDER": str(folder)}
    lines = run(aws, [sys.executable, "-c", MLFLOW], tmp_path, **variables)
    assert lines[0].startswith("['by-mlflow'] ")
    assert '"answer": "by mlflow"' in lines[1]


def test_the_aws_command_line_finds_it(aws: dict[str, str], tmp_path: Path) -> None:
    program = installed("awscli", "aws")
    assert BUCKET in "\n".join(run(aws, [program, "s3", "ls"], tmp_path))
    answer = run(aws, [program, "lambda", "get-account-settings", "--output", "text"], tmp_path)
    assert "262144000" in "\n".join(answer)
