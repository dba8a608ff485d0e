"""What is registered for hosting: models, endpoint configurations, endpoints."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum
from typing import TYPE_CHECKING, Any

from serving.localaws.account import ACCOUNT
from serving.localaws.errors import AwsError

if TYPE_CHECKING:
    from serving.localaws.endpoints.deployment import Deployment

# Members of requests in AWS's own names and shapes, kept as they come and given back as they came.
Settings = Mapping[str, Any]


def now() -> datetime:
    """The time, as answers carry it."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Record:
    """A model or an endpoint configuration: never changed after it was made."""

    name: str
    arn: str
    settings: Settings
    created: datetime = field(default_factory=now)


class Status(Enum):
    """An endpoint's state, in SageMaker's words."""

    CREATING = "Creating"
    IN_SERVICE = "InService"
    UPDATING = "Updating"
    ROLLING_BACK = "RollingBack"
    DELETING = "Deleting"
    FAILED = "Failed"


@dataclass(frozen=True, slots=True)
class Variant:
    """One production or shadow variant as it is wanted now: what was configured, plus what was changed since."""

    name: str
    model: str
    count: int
    weight: float
    settings: Settings

    @classmethod
    def of(cls, settings: Settings) -> Variant:
        """Read it from an endpoint configuration."""
        return cls(
            name=settings["VariantName"],
            model=settings["ModelName"],
            count=int(settings.get("InitialInstanceCount") or 1),
            weight=float(settings.get("InitialVariantWeight", 1.0)),
            settings=settings,
        )

    @property
    def serverless(self) -> Settings | None:
        """The serverless settings, if it is serverless."""
        found: Settings | None = self.settings.get("ServerlessConfig")
        return found


@dataclass(slots=True)
class Endpoint:
    """An endpoint: its state, and the deployment that serves or is being made."""

    name: str
    arn: str
    config: Record
    status: Status = Status.CREATING
    failure: str = ""
    created: datetime = field(default_factory=now)
    modified: datetime = field(default_factory=now)
    serving: Deployment | None = None
    pending: Deployment | None = None
    percent: float = 0.0  # of the traffic that goes to the pending deployment
    guardrails: Settings | None = None  # the DeploymentConfig of the last update
    deleted: bool = False


class Shelf:
    """One region's records, tags included."""

    def __init__(self, region: str) -> None:
        self.region = region
        self.models: dict[str, Record] = {}
        self.configs: dict[str, Record] = {}
        self.endpoints: dict[str, Endpoint] = {}
        self.tags: dict[str, dict[str, str]] = {}

    def arn(self, kind: str, name: str) -> str:
        """The ARN of a model, endpoint-config, endpoint or transform-job."""
        return f"arn:aws:sagemaker:{self.region}:{ACCOUNT}:{kind}/{name.lower()}"

    def model(self, name: str) -> Record:
        """The model with this name.

        Raises:
            AwsError: There is none.
        """
        if name not in self.models:
            raise invalid(f'Could not find model "{self.arn("model", name)}".')
        return self.models[name]

    def config(self, name: str) -> Record:
        """The endpoint configuration with this name.

        Raises:
            AwsError: There is none.
        """
        if name not in self.configs:
            raise invalid(f'Could not find endpoint configuration "{self.arn("endpoint-config", name)}".')
        return self.configs[name]

    def endpoint(self, name: str) -> Endpoint:
        """The endpoint with this name.

        Raises:
            AwsError: There is none.
        """
        if name not in self.endpoints:
            raise invalid(f'Could not find endpoint "{self.arn("endpoint", name)}".')
        return self.endpoints[name]


def invalid(message: str) -> AwsError:
    """SageMaker's answer for a request that it will not take."""
    return AwsError("ValidationException", message)
