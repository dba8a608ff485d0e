"""Every call to AWS, typed, with AWS's errors turned into ours. The only package that imports boto3.

session -> clients and errors; storage -> S3; functions, surroundings -> Lambda; endpoints, transforms,
scaling -> SageMaker; metrics, logs -> CloudWatch; identity -> IAM and STS.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from .endpoints import (
    ConfigState,
    Endpoints,
    EndpointState,
    Guardrails,
    LaterState,
    ModelState,
    VariantState,
    instance_types,
)
from .functions import AliasState, FunctionConfig, Functions, FunctionState, LayerState, Offer
from .identity import Identity
from .keys import Keys
from .logs import Logs
from .metrics import Metrics
from .scaling import Scaling, ScalingState
from .session import client, mapped
from .storage import ObjectState, Storage
from .surroundings import Grant, Surroundings, UrlState
from .transforms import Transforms

if TYPE_CHECKING:
    from ..config import Settings

__all__ = [
    "AliasState", "Aws", "ConfigState", "EndpointState", "Endpoints", "FunctionConfig", "FunctionState", "Functions",
    "Grant", "Guardrails", "Identity", "LaterState", "LayerState", "Logs", "Metrics", "ModelState", "ObjectState",
    "Offer", "Scaling", "ScalingState", "Storage", "Surroundings", "Transforms", "UrlState", "VariantState",
    "instance_types",
]  # fmt: skip


class Aws:
    """AWS as this project uses it, a service at a time. Endpoint, region and credentials come from boto3's own chain.

    Each method maps botocore's errors: AwsMissing, AwsConflict, or AwsFailed with AWS's code and message.

    Args:
        kms_key: what encrypts the objects put in S3; None leaves it to the bucket's own default.
    """

    def __init__(self, kms_key: str | None = None) -> None:
        self._kms_key = kms_key

    @classmethod
    def of(cls, settings: Settings) -> Aws:
        """AWS as these settings want it used."""
        return cls(settings.kms_key)

    def require_credentials(self) -> None:
        """Are a region and credentials at hand? Looked at here, without asking AWS.

        Raises:
            AwsFailed: they are not.
        """
        import boto3
        from botocore.exceptions import NoCredentialsError

        with mapped("credentials"):
            if boto3.Session().get_credentials() is None:
                raise NoCredentialsError
            _ = self._sts

    def account(self) -> str:
        """Which account do these credentials belong to? Asked once."""
        return self.identity.account

    @property
    def region(self) -> str:
        """Which region is configured?"""
        return str(self._sts.meta.region_name)

    def role_arn(self, role: str) -> str:
        """What is the ARN of this role, given its name or its ARN?"""
        return role if role.startswith("arn:") else f"arn:aws:iam::{self.identity.account}:role/{role}"

    @cached_property
    def identity(self) -> Identity:
        """Who is asking."""
        return Identity()

    @cached_property
    def storage(self) -> Storage:
        """S3."""
        return Storage(self.account, self._kms_key)

    @cached_property
    def functions(self) -> Functions:
        """Lambda."""
        return Functions()

    @cached_property
    def surroundings(self) -> Surroundings:
        """Lambda, around the versions of its functions."""
        return Surroundings()

    @cached_property
    def endpoints(self) -> Endpoints:
        """SageMaker's hosting."""
        return Endpoints()

    @cached_property
    def transforms(self) -> Transforms:
        """SageMaker's batch transform."""
        return Transforms()

    @cached_property
    def scaling(self) -> Scaling:
        """Application Auto Scaling."""
        return Scaling()

    @cached_property
    def keys(self) -> Keys:
        """KMS."""
        return Keys()

    @cached_property
    def metrics(self) -> Metrics:
        """CloudWatch."""
        return Metrics()

    @cached_property
    def logs(self) -> Logs:
        """CloudWatch Logs."""
        return Logs()

    @cached_property
    def _sts(self) -> Any:
        return client("sts")
