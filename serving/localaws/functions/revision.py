"""What a function is at one moment: $LATEST or a published version."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from serving.localaws.functions.packages import Package

LATEST = "$LATEST"

# Members of a function's configuration in AWS's own names and shapes: they come in and go out over AWS's protocol
# unread, and a class per nested shape would only repeat botocore's service model.
Settings = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class LayerVersion:
    """One published version of a layer."""

    name: str
    version: int
    arn: str
    package: Package
    created: datetime
    description: str = ""
    runtimes: tuple[str, ...] = ()
    architectures: tuple[str, ...] = ()
    license: str = ""


@dataclass(frozen=True, slots=True)
class Revision:
    """A function's code and configuration; published ones never change.

    Attributes:
        arn: Without a version.
        version: ``$LATEST`` or a number.
        settings: Handler, Role, MemorySize and so on, in AWS's names.
        settled_at: From when on State is Active and LastUpdateStatus is Successful; seconds since the epoch.
    """

    name: str
    arn: str
    version: str
    package: Package
    layers: tuple[LayerVersion, ...]
    settings: Settings
    modified: datetime
    settled_at: float = 0.0
    created: bool = False
    revision_id: str = field(default_factory=lambda: str(uuid.uuid4()))

    @property
    def qualified_arn(self) -> str:
        """The ARN with its version, as published versions have it."""
        return self.arn if self.version == LATEST else f"{self.arn}:{self.version}"

    @property
    def runtime(self) -> str:
        """Lambda's name for the runtime."""
        return str(self.settings["Runtime"])

    @property
    def timeout(self) -> float:
        """Seconds for one invocation; Lambda's default is 3."""
        return float(self.settings.get("Timeout", 3))

    @property
    def memory(self) -> int:
        """MiB; Lambda's default is 128."""
        return int(self.settings.get("MemorySize", 128))

    @property
    def variables(self) -> dict[str, str]:
        """The function's environment variables."""
        return dict((self.settings.get("Environment") or {}).get("Variables") or {})

    @property
    def log_format(self) -> str:
        """Text, which is Lambda's default, or JSON."""
        return str((self.settings.get("LoggingConfig") or {}).get("LogFormat", "Text"))

    def same_content(self, other: Revision) -> bool:
        """Would publishing this make a version no different from the other one?"""
        return (self.package.sha256, self._settings(), self.layers) == (
            other.package.sha256, other._settings(), other.layers,
        )  # fmt: skip

    def _settings(self) -> dict[str, Any]:
        return {name: value for name, value in self.settings.items() if name != "Description"}

    def changed(self, *, settled_at: float, **changes: Any) -> Revision:
        """A later $LATEST, with a revision id of its own."""
        stamps = {"modified": datetime.now(UTC), "revision_id": str(uuid.uuid4()), "created": False}
        return replace(self, settled_at=settled_at, **stamps, **changes)  # type: ignore[arg-type]  # replace() of a mixed dict
