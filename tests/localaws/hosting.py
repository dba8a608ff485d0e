"""What the tests of endpoints do over and over: models, configurations, endpoints, and asking them."""

from __future__ import annotations

import io
import json
import tarfile
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.localaws.conftest import BUCKET

ROLE = "arn:aws:iam::123456789012:role/slipway-exec-sagemaker"
IMAGE = "123456789012.dkr.ecr.us-east-1.amazonaws.com/test-server:1"


def tarred(files: dict[str, str]) -> bytes:
    """A model.tar.gz of these files."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for name, text in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(text.encode())
            archive.addfile(entry, io.BytesIO(text.encode()))
    return out.getvalue()


def unique(prefix: str) -> str:
    """A name that no other test uses."""
    return f"{prefix}-{uuid.uuid4().hex[:10]}"


@dataclass(slots=True)
class Hosting:
    """SageMaker through plain boto3 clients."""

    client: Callable[[str], Any]
    seconds: float = 20.0

    @property
    def sagemaker(self) -> Any:
        """The control plane."""
        return self.client("sagemaker")

    def model(self, files: dict[str, str], *, image: str = IMAGE, **settings: Any) -> str:
        """Register a model of these files; returns its name."""
        name, key = unique("model"), f"models/{uuid.uuid4().hex}/model.tar.gz"
        self.client("s3").put_object(Bucket=BUCKET, Key=key, Body=tarred(files))
        container = {"Image": image, "ModelDataUrl": f"s3://{BUCKET}/{key}", **settings.pop("container", {})}
        self.sagemaker.create_model(ModelName=name, ExecutionRoleArn=ROLE, PrimaryContainer=container, **settings)
        return name

    def variant(self, answer: str, **settings: Any) -> dict[str, Any]:
        """A production variant whose model answers so."""
        defaults = {"VariantName": "main", "InstanceType": "ml.m7i.large", "InitialInstanceCount": 1}
        return {**defaults, "InitialVariantWeight": 1.0, "ModelName": self.model({"answer.txt": answer}), **settings}

    def config(self, *variants: dict[str, Any], **settings: Any) -> str:
        """Register an endpoint configuration; returns its name."""
        name = unique("config")
        self.sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=list(variants), **settings)
        return name

    def endpoint(self, config: str) -> str:
        """Create an endpoint and wait until it is in service; returns its name."""
        name = unique("endpoint")
        self.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=config)
        assert self.settled(name)["EndpointStatus"] == "InService"
        return name

    def describe(self, name: str) -> dict[str, Any]:
        """DescribeEndpoint."""
        answer: dict[str, Any] = self.sagemaker.describe_endpoint(EndpointName=name)
        return answer

    def settled(self, name: str) -> dict[str, Any]:
        """Wait until nothing more changes; returns the description."""
        busy = ("Creating", "Updating", "RollingBack")
        answer: dict[str, Any] = self.until(
            lambda: self.describe(name), lambda found: found["EndpointStatus"] not in busy
        )
        return answer

    def until(self, look: Callable[[], Any], good: Callable[[Any], bool]) -> Any:
        """Look until it is good."""
        deadline = time.monotonic() + self.seconds
        while True:
            found = look()
            if good(found):
                return found
            assert time.monotonic() < deadline, f"still {found} after {self.seconds} s"
            time.sleep(0.05)

    def ask(self, name: str, event: Any = None, **options: Any) -> dict[str, Any]:
        """The model's answer to a JSON request."""
        body = json.dumps(event if event is not None else {})
        defaults = {"ContentType": "application/json"}
        response = self.client("sagemaker-runtime").invoke_endpoint(
            EndpointName=name, Body=body, **{**defaults, **options}
        )
        answer: dict[str, Any] = json.loads(response["Body"].read())
        return {**answer, "variant": response["InvokedProductionVariant"], "response": response}
