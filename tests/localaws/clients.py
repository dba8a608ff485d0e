"""Plain boto3 clients that only know an endpoint's variables."""

from __future__ import annotations

from typing import Any

import boto3
from botocore.config import Config

from serving.localaws.protocol import violations


def client_for(environment: dict[str, str], service: str, *, checked: bool = True) -> Any:
    """A client as a user's would be, but with no retries: a refusal is to be seen at once."""
    made = boto3.client(
        service,
        endpoint_url=environment["AWS_ENDPOINT_URL"],
        aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
        region_name=environment["AWS_REGION"],
        config=Config(retries={"total_max_attempts": 1}, read_timeout=60, max_pool_connections=50),
    )
    if checked and service in ("lambda", "sagemaker"):
        made.meta.events.register("after-call.*.*", _as_modelled)
    return made


def _as_modelled(model: Any, http_response: Any, parsed: dict[str, Any], **_: Any) -> None:
    """Every answer of our own services has what AWS's service model requires, and no value that it does not know."""
    if http_response.status_code < 300 and model.output_shape is not None:
        answer = {name: value for name, value in parsed.items() if not hasattr(value, "read")}
        problems = [problem.text for problem in violations(model.output_shape, answer)]
        assert problems == [], f"{model.name} answered {answer}"
