"""One model on one target of the local AWS, deployed by processes of their own; and whether all is as it should be."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3

from serving import Aws, Bundle, Settings
from serving.errors import AwsFailed, NotDeployed
from serving.golden import read_golden
from serving.journal import Entry, Kind, deployed
from serving.runtime import manifest as manifests
from serving.target import Prunable
from serving.targets import open_target
from serving.targets.lambda_ import names as on_lambda
from serving.targets.sagemaker.planning import specs_of

from .deployers import Forker, Task

IMAGE = "123456789012.dkr.ecr.us-east-1.amazonaws.com/slipway-server:0.1"


def service(name: str) -> Any:
    """A plain client of the local AWS."""
    return boto3.client(name, endpoint_url=os.environ["AWS_ENDPOINT_URL"])


class Asking:
    """Somebody who asks an endpoint all the time, whatever it answers."""

    def __init__(self, endpoint: str, rows: Any) -> None:
        self._endpoint, self._done = endpoint, threading.Event()
        self._bodies = [json.dumps({"instances": [row.tolist()]}).encode() for row in rows]
        self._thread = threading.Thread(target=self._ask, daemon=True)
        self._thread.start()

    def _ask(self) -> None:
        aws, turn = Aws(), 0
        while not self._done.is_set():
            turn += 1
            with contextlib.suppress(AwsFailed):
                aws.endpoints.invoke(self._endpoint, self._bodies[turn % len(self._bodies)])
            time.sleep(0.03)

    def end(self) -> None:
        """Ask no more."""
        self._done.set()
        self._thread.join(20)


@dataclass(slots=True)
class World:
    """Where releases of one model are deployed; everything in it begins with ``prefix``.

    Attributes:
        options: of the target, as in slipway.yaml.
        probed: whether canaries ask probes.
    """

    forker: Forker
    bundle: Bundle
    target: str
    prefix: str
    options: dict[str, Any] = field(default_factory=dict)
    probed: bool = False
    version: int = 0
    folders: dict[int, Path] = field(default_factory=dict)
    _asking: Asking | None = None

    def __post_init__(self) -> None:
        service("s3").create_bucket(Bucket=f"{self.prefix}-bucket")

    @property
    def settings(self) -> dict[str, Any]:
        """slipway.yaml."""
        options = {"image": IMAGE, **self.options} if self.target == "sagemaker" else self.options
        return {"prefix": self.prefix, "bucket": f"{self.prefix}-bucket", self.target: options}

    @property
    def place(self) -> Prunable:
        """The target, for looking."""
        found = open_target(self.target, Aws(), Settings.model_validate(self.settings))
        assert isinstance(found, Prunable)
        return found

    def release(self) -> None:
        """From now on another version is the one in Production."""
        self.version = max(self.folders, default=0) + 1
        folder = Path(shutil.copytree(self.bundle.folder, self.forker.home / f"{self.prefix}-{self.version}"))
        made = self.bundle.manifest._replace(version=self.version, digest=self.wanted)
        (folder / manifests.NAME).write_bytes(made.to_bytes())
        self.folders[self.version] = folder

    def task(self, act: str = "deploy", *, waits: bool = False) -> Task:
        """What a deployer is to do about the version that is wanted now."""
        return Task(act, self.target, self.settings, str(self.folders[self.version]), self.version, self.probed,
                    waits=waits)

    def run(self, act: str = "deploy") -> int:
        """Let a deployer do it; how many steps it took."""
        return self.forker.run(self.task(act))

    def let_ask(self, *, all_the_time: bool) -> None:
        """From now on somebody asks the endpoint all the time, or nobody does."""
        if all_the_time and self._asking is None:
            rows = read_golden(self.bundle.folder / "golden.npz").inputs["image"]
            self._asking = Asking(f"{self.prefix}-images", rows)
        elif not all_the_time and self._asking is not None:
            self._asking.end()
            self._asking = None

    def served(self) -> set[str]:
        """The digests of all that answers anybody now."""
        aws, where = Aws(), self.place.place("images")
        if self.target == "lambda":
            function = where.split(":")[0]
            alias = aws.functions.alias(function, on_lambda.ALIAS)
            versions = [alias.version, *(version for version, _ in alias.shares)] if alias else []
            states = [aws.functions.state(function, version) for version in versions]
            return {state.description.split()[1] for state in states if state}
        endpoint = aws.endpoints.endpoint(where)
        config = aws.endpoints.config(endpoint.config) if endpoint and endpoint.status != "Creating" else None
        models = [aws.endpoints.model(variant.model) for variant in config.variants] if config else []
        return {model.data.split("/")[5] for model in models if model}

    def stored(self) -> int:
        """How many releases lie in S3?"""
        return len({key.split("/")[2] for key in Aws().storage.keys(f"{self.prefix}-bucket", "releases/")})

    @staticmethod
    def digest(version: int) -> str:
        """Which digest has a version?"""
        return hashlib.sha256(str(version).encode()).hexdigest()

    @property
    def wanted(self) -> str:
        """The digest of what should serve."""
        return self.digest(self.version)

    def require_whole(self) -> None:
        """The wanted release serves, the journal says so, nothing was made twice, nothing is left over."""
        found = self.place.in_service("images", thoroughly=False)
        assert [finding for finding in found.findings if not finding.right] == []
        assert (found.entry.shipped.version, self.served()) == (self.version, {self.wanted})
        self.require_tidy()

    def require_withdrawn(self) -> None:
        """Nobody reaches the model, and what was shipped is still there."""
        try:
            found = self.place.in_service("images", thoroughly=False)
        except NotDeployed:
            return self.require_tidy()
        raise AssertionError(f"it still serves: {found.place}")

    def require_tidy(self) -> None:
        """The journal is closed, nothing was made twice, nothing is left over."""
        entries = self.place.logbook("images").read()
        kinds = [entry.kind for entry in entries if entry.kind is not Kind.RENEWED]
        assert kinds[-2:] == [Kind.BEGAN, Kind.DONE]
        assert [entry.seq for entry in entries] == list(range(1, len(entries) + 1))
        needed = tuple(start for entry in deployed(entries) for start in self.place.needs(entry.shipped))
        bucket = f"{self.prefix}-bucket"
        left = [key for key in Aws().storage.keys(bucket, "releases/") if not key.startswith(needed)]
        assert left == [], "nothing is left over"
        assert "Uploads" not in service("s3").list_multipart_uploads(Bucket=bucket)
        (self._functions_tidy if self.target == "lambda" else self._endpoints_tidy)(entries)

    def _functions_tidy(self, entries: list[Entry[Any]]) -> None:
        functions, shipped = Aws().functions, entries[-1].shipped.configuration
        versions = [version.description for version in functions.versions(f"{self.prefix}-images")]
        assert len(set(versions)) == len(versions), "a release was published twice"
        layer = on_lambda.layer_name(Settings.model_validate(self.settings), shipped.runtime, shipped.architecture)
        assert len(functions.layers(layer, shipped.runtime).layers) == 1, "a layer was published twice"

    def _endpoints_tidy(self, entries: list[Entry[Any]]) -> None:
        hosting, name = service("sagemaker"), f"{self.prefix}-images"
        known = {spec.name for entry in deployed(entries)
                 for spec in specs_of(entry.shipped, name, f"{self.prefix}-bucket")}
        there = hosting.list_models(NameContains=name, MaxResults=100)["Models"]
        assert {model["ModelName"] for model in there} <= known
        there = hosting.list_endpoint_configs(NameContains=name, MaxResults=100)["EndpointConfigs"]
        assert {config["EndpointConfigName"] for config in there} <= known
        assert len(hosting.list_endpoints(NameContains=name)["Endpoints"]) <= 1

    def end(self) -> None:
        """Delete what runs: its processes end."""
        self.let_ask(all_the_time=False)
        if self.target == "lambda":
            if Aws().functions.state(f"{self.prefix}-images"):
                service("lambda").delete_function(FunctionName=f"{self.prefix}-images")
        elif Aws().endpoints.endpoint(f"{self.prefix}-images"):
            service("sagemaker").delete_endpoint(EndpointName=f"{self.prefix}-images")
