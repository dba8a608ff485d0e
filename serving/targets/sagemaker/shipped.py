"""What the journal keeps of a deployment to SageMaker."""

from __future__ import annotations

from ...aws import LaterState
from ...journal import Shipped


class SageMakerShipped(Shipped):
    """Which bytes was SageMaker given, and how was the endpoint configured?

    Attributes:
        archive: SHA-256 of the model.tar.gz.
        image, role, environment, isolated: of the model.
        instance_type, instances, memory, concurrency: of the variant; memory is 0 unless it is serverless.
        capture, capture_to, kms: of the configuration.
        least, most, invocations, backlog: of autoscaling; 0 when there is none.
        later: how it answers to S3; None when it answers at once.
    """

    archive: str
    image: str
    role: str
    environment: dict[str, str]
    isolated: bool
    instance_type: str
    instances: int
    memory: int
    concurrency: int
    capture: int
    capture_to: str
    kms: str
    least: int = 0
    most: int = 0
    invocations: float = 0.0
    backlog: float = 0.0
    later: LaterState | None = None
