"""What a deployment will do, as plain data: the plan printed is the plan run. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from .journal import Shipped


@dataclass(frozen=True, slots=True)
class Upload:
    """Put a file in S3 under a key that is still free."""

    bucket: str
    key: str
    path: Path
    sha256: str
    size: int

    def __str__(self) -> str:
        return f"upload      s3://{self.bucket}/{short(self.key)} ({_size(self.size)})"


@dataclass(frozen=True, slots=True)
class PublishLayer:
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
    runtime: str
    architecture: str
    handler: str
    memory: int
    timeout: int
    role: str
    layer: str | None


@dataclass(frozen=True, slots=True)
class CreateFunction:
    """Make the function."""

    spec: FunctionSpec
    bucket: str
    key: str

    def __str__(self) -> str:
        spec = self.spec
        return f"create      function {spec.name} ({spec.memory} MB, {spec.timeout} s, {spec.runtime})"


@dataclass(frozen=True, slots=True)
class UpdateCode:
    """Give the function this release's code; the versions already published stay as they are."""

    spec: FunctionSpec
    bucket: str
    key: str

    def __str__(self) -> str:
        return f"update      code of {self.spec.name}"


@dataclass(frozen=True, slots=True)
class UpdateConfiguration:
    """Give the function this configuration; the versions already published stay as they are."""

    spec: FunctionSpec

    def __str__(self) -> str:
        spec = self.spec
        return f"configure   {spec.name} ({spec.memory} MB, {spec.timeout} s, {spec.runtime})"


@dataclass(frozen=True, slots=True)
class PublishVersion:
    """Publish the function's code and configuration as a version that never changes again."""

    function: str
    code_sha256: str
    description: str

    def __str__(self) -> str:
        return f"publish     version of {self.function}: {short(self.description)}"


@dataclass(frozen=True, slots=True)
class AskGolden:
    """Ask the new version its golden requests before anybody else reaches it."""

    function: str
    version: str | None

    def __str__(self) -> str:
        return f"ask         golden requests of {self.function}:{self.version or '(the new version)'}"


@dataclass(frozen=True, slots=True)
class Shift:
    """Give the new version a share of the requests and watch it; at a breach the old one gets all of them back."""

    function: str
    alias: str
    version: str | None
    was: str
    share: float

    def __str__(self) -> str:
        new = f"version {self.version}" if self.version else "the new version"
        return f"shift       {self.share:.0%} of {self.function}:{self.alias} to {new}, and watch"


@dataclass(frozen=True, slots=True)
class PointAlias:
    """Let the alias name the new version. ``was`` is where it pointed, None when it is new: the way back."""

    function: str
    alias: str
    version: str | None
    was: str | None

    def __str__(self) -> str:
        return f"point       {self.function}:{self.alias} at {self.version or 'it'} (was {self.was or 'nowhere'})"


@dataclass(frozen=True, slots=True)
class Begin:
    """Note in the journal what is about to happen, so that nobody else begins and a killed deploy is seen.

    Attributes:
        seq: the number of the entry; taken by somebody else, the deploy ends before it changes anything more.
        published: the version in question when it is known already.
        previous: where the alias points now, empty when nowhere.
    """

    bucket: str
    prefix: str
    seq: int
    shipped: Shipped
    published: str
    previous: str

    def __str__(self) -> str:
        return f"note        that it begins: {self.prefix}{self.seq:06}.json"


@dataclass(frozen=True, slots=True)
class Done:
    """Note in the journal that it is in service."""

    begin: Begin

    def __str__(self) -> str:
        return f"note        that it is done: {self.begin.prefix}{self.begin.seq + 1:06}.json"


Step = (Begin | Upload | PublishLayer | CreateFunction | UpdateCode | UpdateConfiguration | PublishVersion | AskGolden
        | Shift | PointAlias | Done)


@dataclass(frozen=True, slots=True)
class Plan:
    """Which steps lead from what is there to what is wanted? Falsy when nothing is left to do."""

    title: str
    steps: tuple[Step, ...]

    def __bool__(self) -> bool:
        return bool(self.steps)

    def lines(self) -> list[str]:
        """How is it printed, one line for each step?"""
        return [f"{number:3}. {step}" for number, step in enumerate(self.steps, start=1)]


def _size(count: int) -> str:
    return f"{count / 1e6:.1f} MB" if count >= 1e5 else f"{count / 1e3:.1f} kB"


def short(text: str) -> str:
    """The text with every SHA-256 cut to the twelve digits that people compare."""
    return re.sub(r"\b([0-9a-f]{12})[0-9a-f]{52}\b", r"\1", text)
