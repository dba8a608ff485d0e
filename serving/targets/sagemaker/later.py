"""How an endpoint is asked: one that answers at once, or one that answers later, to S3, and is waited for."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable
from functools import partial

from ...asking import Ask
from ...aws import Aws, EndpointState
from ...errors import AwsFailed, AwsMissing
from .names import answered_later

# Seconds between two looks for an answer, and after which nobody waits anymore: SageMaker works on one for 15 minutes
# at most, unless it is asked for longer (InvokeEndpointAsync, API reference, read 2026-11), and as long again may pass
# until an endpoint without an instance has one.
FIRST_LOOK, LONGEST_LOOK = 0.1, 5.0
PATIENCE = 1800.0
Sleep = Callable[[float], None]


def ask_of(aws: Aws, endpoint: EndpointState, sleep: Sleep = time.sleep) -> Ask:
    """How is this endpoint asked?"""
    if not endpoint.answers_to:
        return partial(aws.endpoints.invoke, endpoint.name)
    return partial(_ask_later, aws, endpoint, sleep)


def _ask_later(aws: Aws, endpoint: EndpointState, sleep: Sleep, payload: bytes) -> bytes:
    """Put the request in S3, and wait until its answer, or why there is none, lies there.

    Raises:
        AwsFailed: the container failed, or nothing came in time.
    """
    source = f"{answered_later(endpoint.answers_to).requests}/{uuid.uuid4().hex}.json"
    aws.storage.create_bytes(*_place(source), payload)
    answer, failure = aws.endpoints.invoke_later(endpoint.name, source)
    look, ends = FIRST_LOOK, time.monotonic() + PATIENCE
    while time.monotonic() < ends:
        if (said := _read(aws, answer)) is not None:
            return said
        if failure and (said := _read(aws, failure)) is not None:
            return _refusal(endpoint.name, said, failure)
        sleep(look)
        look = min(look * 1.5, LONGEST_LOOK)
    raise AwsFailed(f"{endpoint.name} has not answered in {PATIENCE / 60:.0f} minutes. Next: look for {answer}, or at "
                    f"its log, /aws/sagemaker/Endpoints/{endpoint.name}")


def _read(aws: Aws, address: str) -> bytes | None:
    try:
        return aws.storage.read(*_place(address))
    except AwsMissing:
        return None


def _refusal(endpoint: str, said: bytes, where: str) -> bytes:
    """What our own server says of a request is an answer as well; whatever else lies there is a failure."""
    try:
        told = json.loads(said)
    except ValueError:
        told = None
    if isinstance(told, dict) and "error" in told:
        return said
    raise AwsFailed(f"{endpoint} failed: {said[:300].decode('utf-8', 'replace')} ({where})", code="ModelError")


def _place(address: str) -> tuple[str, str]:
    bucket, _, key = address.removeprefix("s3://").partition("/")
    return bucket, key
