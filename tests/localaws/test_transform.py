"""Batch transform runs a model over every object of a prefix."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from serving.localaws.endpoints.transform import records
from tests.localaws.conftest import BUCKET
from tests.localaws.hosting import Hosting, unique
from tests.localaws.test_endpoints import hosting, refusal  # noqa: F401 - the fixture


def start(hosting: Hosting, prefix: str, *, split: str = "None", **settings: Any) -> str:  # noqa: F811
    """A transform job over a prefix; its name."""
    name = unique("job")
    source = {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://{BUCKET}/{prefix}/in"}}
    hosting.sagemaker.create_transform_job(
        TransformJobName=name,
        ModelName=settings.pop("model", None) or hosting.model({"answer.txt": "batch"}),
        TransformInput={"DataSource": source, "ContentType": "application/json", "SplitType": split},
        TransformOutput={"S3OutputPath": f"s3://{BUCKET}/{prefix}/out", "AssembleWith": "Line"},
        TransformResources={"InstanceType": "ml.m5.large", "InstanceCount": 1},
        **settings,
    )
    return name


def finished(hosting: Hosting, name: str) -> dict[str, Any]:  # noqa: F811
    """The job's description once it has ended."""
    found: dict[str, Any] = hosting.until(
        lambda: hosting.sagemaker.describe_transform_job(TransformJobName=name),
        lambda job: job["TransformJobStatus"] != "InProgress",
    )
    return found


def test_every_object_gets_an_answer_beside_its_name(hosting: Hosting, s3: Any) -> None:  # noqa: F811
    prefix = unique("batch")
    for name in ("a.json", "b.json"):
        s3.put_object(Bucket=BUCKET, Key=f"{prefix}/in/{name}", Body=b"{}")
    job = finished(hosting, start(hosting, prefix))
    assert job["TransformJobStatus"] == "Completed"
    for name in ("a.json", "b.json"):
        answer = s3.get_object(Bucket=BUCKET, Key=f"{prefix}/out/in/{name}.out")["Body"].read()
        assert json.loads(answer)["answer"] == "batch"


def test_lines_are_sent_one_by_one_when_asked(hosting: Hosting, s3: Any) -> None:  # noqa: F811
    prefix = unique("batch")
    s3.put_object(Bucket=BUCKET, Key=f"{prefix}/in/a.jsonl", Body=b'{"n": 1}\n{"n": 22}\n{"n": 3}\n')
    finished(hosting, start(hosting, prefix, split="Line", BatchStrategy="SingleRecord"))
    text = s3.get_object(Bucket=BUCKET, Key=f"{prefix}/out/in/a.jsonl.out")["Body"].read().decode()
    assert [json.loads(line)["length"] for line in text.splitlines()] == [9, 10, 9]


def test_an_answer_that_is_none_fails_the_job(hosting: Hosting, s3: Any) -> None:  # noqa: F811
    prefix = unique("batch")
    s3.put_object(Bucket=BUCKET, Key=f"{prefix}/in/a.json", Body=b'{"fail": 500}')
    job = finished(hosting, start(hosting, prefix))
    assert job["TransformJobStatus"] == "Failed"
    assert "500" in job["FailureReason"]


def test_an_empty_prefix_fails_the_job(hosting: Hosting) -> None:  # noqa: F811
    assert "No S3 objects found" in finished(hosting, start(hosting, unique("batch")))["FailureReason"]


def test_a_job_of_the_same_name_or_an_unknown_one_is_refused(hosting: Hosting, s3: Any) -> None:  # noqa: F811
    model = hosting.model({"answer.txt": "batch"})
    job = hosting.sagemaker.describe_transform_job(TransformJobName=start(hosting, unique("batch"), model=model))
    kept = ("TransformJobName", "ModelName", "TransformInput", "TransformOutput", "TransformResources")
    again = {name: job[name] for name in kept}
    assert refusal(hosting.sagemaker.create_transform_job, **again).startswith("ResourceInUse")
    with pytest.raises(ClientError, match="ResourceNotFound"):
        hosting.sagemaker.describe_transform_job(TransformJobName="never-made")


def test_lines_are_packed_up_to_the_payload_limit() -> None:
    settings = {"TransformInput": {"SplitType": "Line"}, "MaxPayloadInMB": 1}
    line = b"x" * 400_000 + b"\n"
    assert [len(batch) for batch in records(line * 5, settings)] == [800_002, 800_002, 400_001]
