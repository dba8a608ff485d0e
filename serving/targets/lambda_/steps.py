"""The steps of a deployment that only Lambda knows. Pure."""

from __future__ import annotations

from dataclasses import dataclass, fields

from ...aws import FunctionConfig
from ...plan import Step, short


@dataclass(frozen=True, slots=True)
class PublishLayer(Step):
    """Publish the dependency layer from S3."""

    name: str
    bucket: str
    key: str
    runtime: str
    architecture: str
    description: str

    def __str__(self) -> str:
        return f"publish     layer {self.name} for {self.runtime} on {self.architecture}"


@dataclass(frozen=True, slots=True)
class FunctionSpec:
    """How shall the function be? ``layer`` is None while it is still to be published."""

    name: str
    description: str
    code_sha256: str
    configuration: FunctionConfig
    layer: str | None

    def __str__(self) -> str:
        chosen = self.configuration
        return f"{self.name} ({chosen.memory} MB, {chosen.timeout} s, {chosen.runtime})"


def changes(was: FunctionConfig, now: FunctionConfig, arrow: str = "->") -> list[str]:
    """What differs, as in ``memory 512 -> 1024``? Variables are named without their values, which may be secrets."""
    found = [f"{one.name.replace('_', ' ')} {_told(getattr(was, one.name))} {arrow} {_told(getattr(now, one.name))}"
             for one in fields(FunctionConfig)
             if one.name != "environment" and getattr(was, one.name) != getattr(now, one.name)]
    before, after = dict(was.environment), dict(now.environment)
    return found + [
        f"variable {name} {'added' if name not in before else 'removed' if name not in after else 'changed'}"
        for name in sorted(before.keys() | after.keys()) if before.get(name) != after.get(name)]


def _told(value: object) -> str:
    return ", ".join(map(str, value)) or "none" if isinstance(value, tuple) else str(value) or "none"


@dataclass(frozen=True, slots=True)
class CreateFunction(Step):
    """Make the function."""

    spec: FunctionSpec
    bucket: str
    key: str

    def __str__(self) -> str:
        return f"create      function {self.spec}"


@dataclass(frozen=True, slots=True)
class UpdateCode(Step):
    """Give the function this release's code; the versions already published stay as they are."""

    spec: FunctionSpec
    bucket: str
    key: str

    def __str__(self) -> str:
        return f"update      code of {self.spec.name}"


@dataclass(frozen=True, slots=True)
class UpdateConfiguration(Step):
    """Give the function this configuration; the versions already published stay as they are."""

    spec: FunctionSpec
    was: FunctionConfig

    def __str__(self) -> str:
        changed = changes(self.was, self.spec.configuration) or ["for another release"]
        return f"configure   {self.spec.name}: {', '.join(changed)}"


@dataclass(frozen=True, slots=True)
class PublishVersion(Step):
    """Publish the function's code and configuration as a version that never changes again."""

    function: str
    code_sha256: str
    description: str

    def __str__(self) -> str:
        return f"publish     version of {self.function}: {short(self.description)}"


@dataclass(frozen=True, slots=True)
class AskGolden(Step):
    """Ask the new version its golden requests before anybody else reaches it."""

    function: str
    version: str | None

    def __str__(self) -> str:
        return f"ask         golden requests of {self.function}:{self.version or '(the new version)'}"


@dataclass(frozen=True, slots=True)
class Shift(Step):
    """Give the new version a share of the requests and watch it; at a breach the old one gets all of them back."""

    function: str
    alias: str
    version: str | None
    was: str
    share: float
    wait: float = 0.0

    def __str__(self) -> str:
        new = f"version {self.version}" if self.version else "the new version"
        lasts = f" for {self.wait:g} s" if self.wait else ""
        return f"shift       {self.share:.0%} of {self.function}:{self.alias} to {new}, and watch{lasts}"


@dataclass(frozen=True, slots=True)
class PointAlias(Step):
    """Let the alias name the new version. ``was`` is where it pointed, None when it is new: the way back."""

    function: str
    alias: str
    version: str | None
    was: str | None

    def __str__(self) -> str:
        return f"point       {self.function}:{self.alias} at {self.version or 'it'} (was {self.was or 'nowhere'})"


@dataclass(frozen=True, slots=True)
class DeleteVersion(Step):
    """Delete a published version that no alias names."""

    function: str
    version: str
    description: str

    def __str__(self) -> str:
        return f"delete      version {self.version} of {self.function} ({short(self.description)})"


@dataclass(frozen=True, slots=True)
class DeleteLayer(Step):
    """Delete a version of the dependency layer that no function uses."""

    arn: str

    def __str__(self) -> str:
        name, number = self.arn.rsplit(":", 2)[1:]
        return f"delete      version {number} of layer {name}"
