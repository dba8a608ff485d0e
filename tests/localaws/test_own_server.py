"""This project's own server and bundle, on the local SageMaker: no option of the local AWS is needed for that."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.localaws.conftest import BUCKET
from tests.localaws.hosting import ROLE, Hosting, unique
from tests.localaws.test_endpoints import hosting  # noqa: F401 - the fixture
from tests.serving.small import bundle_of

IMAGE = "123456789012.dkr.ecr.us-east-1.amazonaws.com/slipway-server:0.1"


def test_a_bundle_answers_behind_our_own_image(hosting: Hosting, s3: Any, tmp_path: Path) -> None:  # noqa: F811
    prefix = unique("releases")
    for path in bundle_of("rows", tmp_path / "bundle").iterdir():
        s3.put_object(Bucket=BUCKET, Key=f"{prefix}/{path.name}", Body=path.read_bytes())
    source = {"S3Uri": f"s3://{BUCKET}/{prefix}/", "S3DataType": "S3Prefix", "CompressionType": "None"}
    name = unique("model")
    container = {"Image": IMAGE, "ModelDataSource": {"S3DataSource": source}, "Environment": {"SLIPWAY_WORKERS": "2"}}
    hosting.sagemaker.create_model(
        ModelName=name, ExecutionRoleArn=ROLE, PrimaryContainer=container, EnableNetworkIsolation=True
    )
    endpoint = hosting.endpoint(hosting.config(hosting.variant("", ModelName=name)))
    response = hosting.client("sagemaker-runtime").invoke_endpoint(
        EndpointName=endpoint, Body=json.dumps({"inputs": {"x": [[1, 1, 1, 1]]}}), ContentType="application/json"
    )
    answer = json.loads(response["Body"].read())
    assert len(answer["predictions"][0]) == 2
    assert (answer["model"]["name"], answer["model"]["version"]) == ("rows", 3)
