"""A client for each service, and AWS's errors turned into ours."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from typing import Any

from ..errors import AwsConflict, AwsFailed, AwsMissing, ConfigurationInvalid

MISSING = {"404", "NoSuchEntity", "NoSuchKey", "NoSuchBucket", "NoSuchUpload", "NotFound", "NotFoundException",
           "ResourceNotFound", "ResourceNotFoundException", "ProvisionedConcurrencyConfigNotFoundException"}
CONFLICT = {"412", "PreconditionFailed", "PreconditionFailedException", "ResourceConflictException",
            "ResourceAlreadyExistsException", "ConditionalRequestConflict"}


_MAKING = threading.Lock()  # boto3's default session makes one client at a time (boto3 1.43, guide "Multithreading")


def client(service: str, **options: Any) -> Any:
    """A boto3 client, made as this project wants it; endpoint, region and credentials are boto3's own chain.

    Args:
        service: boto3's name of it.
        options: of botocore's Config, where this service needs others than the rest.
    """
    import boto3
    from botocore.config import Config

    # How often is retried is boto3's own setting (AWS_MAX_ATTEMPTS); `standard` also retries throttling, which the
    # legacy default partly does not.
    mode = {} if "AWS_RETRY_MODE" in os.environ else {"retries": {"mode": "standard"}}
    config = Config(connect_timeout=5, read_timeout=_patience(), **{**mode, **options})
    with mapped(service), _MAKING:
        return boto3.client(service, config=config, endpoint_url=os.environ.get("AWS_ENDPOINT_URL") or None)


def _patience() -> float:
    """How long is an answer waited for, in seconds? 60 outlast an invocation with our default timeout of 30."""
    said = os.environ.get("SLIPWAY_READ_TIMEOUT", "60")
    try:
        return float(said)
    except ValueError:
        raise ConfigurationInvalid(f"SLIPWAY_READ_TIMEOUT: found {said!r}, wanted seconds, such as 60") from None


@contextlib.contextmanager
def mapped(what: str) -> Iterator[None]:
    """Raise AwsMissing, AwsConflict or AwsFailed for what botocore raises inside; `what` says what was asked."""
    from botocore.exceptions import (
        BotoCoreError,
        ClientError,
        EndpointConnectionError,
        NoCredentialsError,
        NoRegionError,
    )

    try:
        yield
    except ClientError as error:
        code = str(error.response.get("Error", {}).get("Code", ""))
        message = f"{what}: {code}: {error.response.get('Error', {}).get('Message', '')}"
        kind = AwsMissing if code in MISSING else AwsConflict if code in CONFLICT else AwsFailed
        raise kind(message, code=code) from None
    except NoRegionError:
        raise AwsFailed(f"{what}: no region is set. Next: export AWS_DEFAULT_REGION=us-east-1, or another") from None
    except NoCredentialsError:
        raise AwsFailed(f"{what}: no credentials. Next: `aws configure`; or `slipway local`, and export "
                        "what it prints") from None
    except EndpointConnectionError as error:
        local = "start `slipway local`, or unset AWS_ENDPOINT_URL" if "AWS_ENDPOINT_URL" in os.environ else "try again"
        raise AwsFailed(f"{what}: {error}. Next: {local}") from None
    except BotoCoreError as error:
        raise AwsFailed(f"{what}: {error}") from None
