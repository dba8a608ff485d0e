"""SageMaker's batch transform: a model over the objects under an S3 prefix."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from .session import client, mapped


@dataclass(frozen=True, slots=True)
class Transform:
    """What is one batch?

    Attributes:
        source, to: S3 addresses; the answer to ``source``NAME lies at ``to``/NAME.out.
        kind: content type of every object, and of every answer.
    """

    name: str
    model: str
    source: str
    to: str
    kind: str
    instance_type: str
    instances: int


class Transforms:
    """Batch transform as this project uses it."""

    def start(self, wanted: Transform) -> None:
        """Begin a batch; each object is one request."""
        with mapped(f"sagemaker:CreateTransformJob {wanted.name}"):
            self._sagemaker.create_transform_job(
                TransformJobName=wanted.name, ModelName=wanted.model,
                TransformInput={"DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": wanted.source}},
                                "ContentType": wanted.kind},
                TransformOutput={"S3OutputPath": wanted.to, "Accept": wanted.kind},
                TransformResources={"InstanceType": wanted.instance_type, "InstanceCount": wanted.instances})

    def state(self, name: str) -> tuple[str, str]:
        """How is this batch, in SageMaker's words, and why did it fail?"""
        with mapped(f"sagemaker:DescribeTransformJob {name}"):
            found = self._sagemaker.describe_transform_job(TransformJobName=name)
            return found["TransformJobStatus"], found.get("FailureReason", "")

    def stop(self, name: str) -> None:
        """Begin to end a batch; what was answered stays."""
        with mapped(f"sagemaker:StopTransformJob {name}"):
            self._sagemaker.stop_transform_job(TransformJobName=name)

    @cached_property
    def _sagemaker(self) -> Any:
        return client("sagemaker")
