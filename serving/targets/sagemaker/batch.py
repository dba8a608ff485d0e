"""Many requests at once: the release in service over the objects under an S3 prefix, by batch transform."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from ...aws import Aws
from ...aws.transforms import Transform
from ...config import Settings
from ...errors import ConfigurationInvalid, Refused
from ...target import Say
from . import proof
from .target import SageMakerTarget

RUNNING = ("InProgress", "Stopping")
FIRST_LOOK, LONGEST_LOOK = 0.5, 30.0


@dataclass(frozen=True, slots=True)
class Batch:
    """What shall be answered, and where to?

    Attributes:
        model: whose release answers.
        source: S3 prefix of the requests, each an object.
        to: S3 address under which the answers lie, as NAME.out.
        kind: content type of requests and answers.
    """

    model: str
    source: str
    to: str
    kind: str = "application/json"


def run(asked: Batch, aws: Aws, settings: Settings, say: Say, sleep: Callable[[float], None] = time.sleep) -> Transform:
    """Let the release in service answer every object under a prefix, and wait until it has.

    Whoever ends the waiting (Ctrl-C) ends the batch as well: it would go on costing its instances.

    Args:
        asked: what, and where to.
        aws, settings: where, and on which instances.
        say: told what is going on.
        sleep: the clock, for tests.

    Raises:
        NotDeployed: nothing is in service.
        Refused: what is in service is not what was approved, or SageMaker did not finish the batch.
    """
    if wrong := [address for address in (asked.source, asked.to) if not address.startswith("s3://")]:
        raise ConfigurationInvalid(f"{wrong[0]} is no S3 address. Next: s3://BUCKET/PREFIX/")
    job = _job(asked, aws, settings)
    aws.transforms.start(job)
    say(f"batch       {job.name} by {job.model}")
    try:
        status, reason = _ended(job.name, aws, sleep)
    except KeyboardInterrupt:
        aws.transforms.stop(job.name)
        say(f"stopped     {job.name}")
        raise
    if status != "Completed":
        raise Refused(f"{job.name} is {status}: {reason}. Next: its log, /aws/sagemaker/TransformJobs")
    return job


def _ended(name: str, aws: Aws, sleep: Callable[[float], None]) -> tuple[str, str]:
    look = FIRST_LOOK
    while True:
        status, reason = aws.transforms.state(name)
        if status not in RUNNING:
            return status, reason
        sleep(look)
        look = min(look * 1.5, LONGEST_LOOK)


def _job(asked: Batch, aws: Aws, settings: Settings) -> Transform:
    model, target, chosen = asked.model, SageMakerTarget(aws, settings), settings.sagemaker
    logbook, endpoint = target.logbook(model), target.place(model)
    service = proof.in_service(aws, endpoint, logbook.history())
    if wrong := [finding.what for finding in proof.look(aws, service, logbook.bucket) if not finding.right]:
        raise Refused(f"what serves {model} is not what was approved: {', '.join(wrong)}. Next: slipway verify {model}")
    assert service.model is not None  # noqa: S101 - it was just looked at
    name = f"{endpoint[:36].rstrip('-')}-{datetime.now(UTC):%Y%m%d-%H%M%S}-{uuid.uuid4().hex[:8]}"
    return Transform(name, service.model.name, asked.source, asked.to, asked.kind, chosen.instance_type,
                     chosen.instances)
