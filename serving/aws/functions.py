"""Lambda: functions, their published versions, aliases and layers."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ..errors import AwsFailed, AwsMissing
from .session import client, mapped

_BLOCK = 1 << 20
UNKNOWN_VALUE = {"InvalidParameterValueException", "ValidationException"}


@dataclass(frozen=True, slots=True)
class FunctionConfig:
    """How is a function configured, whatever its code and layers are? A published version keeps all of it.

    Attributes:
        memory: MB.
        timeout: seconds.
        role: the execution role's ARN.
        environment: names and values, sorted by name.
        storage: MB of /tmp.
        subnets, security_groups: sorted; empty outside of any VPC.
        dead_letter: ARN of the queue or topic that failed asynchronous events go to, empty without one.
        tracing: ``Active`` or ``PassThrough``, as Lambda calls them.
    """

    runtime: str
    architecture: str
    handler: str
    memory: int
    timeout: int
    role: str
    environment: tuple[tuple[str, str], ...] = ()
    storage: int = 512
    subnets: tuple[str, ...] = ()
    security_groups: tuple[str, ...] = ()
    dead_letter: str = ""
    tracing: str = "PassThrough"


@dataclass(frozen=True, slots=True)
class FunctionState:
    """What is a Lambda function or one published version of it?

    Attributes:
        code_sha256: base64, as Lambda gives it.
        revision: changes with every change; sent back so that nobody else's change is overwritten.
    """

    name: str
    version: str
    description: str
    code_sha256: str
    configuration: FunctionConfig
    layers: tuple[str, ...]
    revision: str


@dataclass(frozen=True, slots=True)
class AliasState:
    """Which version does an alias point at? ``shares`` are the versions beside it with their share of the requests."""

    name: str
    version: str
    revision: str
    shares: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class LayerState:
    """What is one published version of a layer?"""

    arn: str
    description: str


@dataclass(frozen=True, slots=True)
class Offer:
    """Does Lambda offer a runtime? ``instead`` names those it offers when it does not."""

    layers: tuple[LayerState, ...]
    instead: tuple[str, ...] = ()


class Functions:
    """Lambda as this project uses it."""

    def function_zip(self, name: str, qualifier: str, into: Path) -> str:
        """Which code does this version run? Writes the zip as Lambda gives it back, and tells its SHA-256.

        Constant memory: a function may have 250 MB.
        """
        with mapped(f"lambda:GetFunction {name}:{qualifier}"):
            where = self._lambda.get_function(FunctionName=name, Qualifier=qualifier)["Code"]["Location"]
        with into.open("wb") as file:
            return _hashed(fetched(where), file.write)

    def layer_zip_sha256(self, arn: str) -> str:
        """What does this version of a layer hold? The SHA-256 of the zip as Lambda gives it back, which is not kept."""
        with mapped(f"lambda:GetLayerVersionByArn {arn}"):
            where = self._lambda.get_layer_version_by_arn(Arn=arn)["Content"]["Location"]
        return _hashed(fetched(where))

    def layer_sha256(self, arn: str) -> str:
        """What is the SHA-256 of the zip of this version of a layer, hexadecimal, as Lambda says? Fetches nothing.

        Raises:
            AwsMissing: it was deleted; functions that use it keep it.
        """
        with mapped(f"lambda:GetLayerVersionByArn {arn}"):
            return base64.b64decode(self._lambda.get_layer_version_by_arn(Arn=arn)["Content"]["CodeSha256"]).hex()

    def layers(self, name: str, runtime: str) -> Offer:
        """Which versions of a layer are published for this runtime, oldest first; is the runtime offered at all?"""
        try:
            with mapped(f"lambda:ListLayerVersions {name}"):
                pages = self._lambda.get_paginator("list_layer_versions").paginate(
                    LayerName=name, CompatibleRuntime=runtime)
                found = [LayerState(v["LayerVersionArn"], v.get("Description", ""))
                         for page in pages for v in page["LayerVersions"]]
        except AwsMissing:
            return Offer(())
        except AwsFailed as error:
            if error.code in UNKNOWN_VALUE and "enum value set" in str(error):
                named = str(error).rsplit("[", 1)[-1].split("]")[0]
                return Offer((), tuple(sorted(n.strip() for n in named.split(",") if "python" in n)))
            raise
        return Offer(tuple(sorted(found, key=lambda layer: int(layer.arn.rpartition(":")[2]))))

    def publish_layer(self, name: str, *, bucket: str, key: str, runtime: str, architecture: str,
                      description: str) -> str:
        """Publish a layer from S3 and give its ARN.

        Lambda publishes as often as it is asked, so where no answer came it is looked at before it is asked again.
        """
        for last in (False, False, True):
            try:
                with mapped(f"lambda:PublishLayerVersion {name}"):
                    return str(self._asked_once.publish_layer_version(
                        LayerName=name, Content={"S3Bucket": bucket, "S3Key": key}, Description=description,
                        CompatibleRuntimes=[runtime], CompatibleArchitectures=[architecture])["LayerVersionArn"])
            except AwsFailed:
                found = [one.arn for one in self.layers(name, runtime).layers if one.description == description]
                if found:
                    return found[0]
                if last:
                    raise
            time.sleep(1)
        raise AssertionError

    def state(self, name: str, qualifier: str | None = None) -> FunctionState | None:
        """What is this function, or the version that the qualifier names? None when there is none."""
        chosen = {"Qualifier": qualifier} if qualifier else {}
        with contextlib.suppress(AwsMissing), mapped(f"lambda:GetFunctionConfiguration {name}"):
            return _function(self._lambda.get_function_configuration(FunctionName=name, **chosen))
        return None

    def versions(self, name: str) -> tuple[FunctionState, ...]:
        """Which versions of this function are published, oldest first?"""
        with contextlib.suppress(AwsMissing), mapped(f"lambda:ListVersionsByFunction {name}"):
            pages = self._lambda.get_paginator("list_versions_by_function").paginate(FunctionName=name)
            return tuple(_function(v) for page in pages for v in page["Versions"] if v["Version"] != "$LATEST")
        return ()

    def alias(self, function: str, name: str) -> AliasState | None:
        """Where does this alias point? None when there is none."""
        with contextlib.suppress(AwsMissing), mapped(f"lambda:GetAlias {function}:{name}"):
            return _alias(self._lambda.get_alias(FunctionName=function, Name=name))
        return None

    def aliases(self, function: str) -> tuple[AliasState, ...]:
        """Which aliases does this function have, ours and others'?"""
        with contextlib.suppress(AwsMissing), mapped(f"lambda:ListAliases {function}"):
            pages = self._lambda.get_paginator("list_aliases").paginate(FunctionName=function)
            return tuple(_alias(alias) for page in pages for alias in page["Aliases"])
        return ()

    def everything(self) -> tuple[FunctionState, ...]:
        """Which functions, and which versions of them, does this account have in this region, whoever made them?"""
        with mapped("lambda:ListFunctions"):
            pages = self._lambda.get_paginator("list_functions").paginate(FunctionVersion="ALL")
            return tuple(_function(f) for page in pages for f in page["Functions"] if f.get("PackageType") != "Image")

    def delete_alias(self, function: str, name: str) -> None:
        """Delete an alias; the versions stay. One that is gone already is no fault."""
        with contextlib.suppress(AwsMissing), mapped(f"lambda:DeleteAlias {function}:{name}"):
            self._lambda.delete_alias(FunctionName=function, Name=name)

    def delete_version(self, function: str, version: str) -> None:
        """Delete a published version; one that is gone already is no fault.

        Raises:
            AwsConflict: an alias names it.
        """
        if not version.isdecimal():  # without a number the whole function would go
            raise ValueError(f"{version!r} is no number of a version")
        with contextlib.suppress(AwsMissing), mapped(f"lambda:DeleteFunction {function}:{version}"):
            self._lambda.delete_function(FunctionName=function, Qualifier=version)

    def delete_layer(self, arn: str) -> None:
        """Delete a version of a layer; functions that use it keep it. One that is gone already is no fault."""
        name, number = arn.rsplit(":", 2)[1:]
        with contextlib.suppress(AwsMissing), mapped(f"lambda:DeleteLayerVersion {arn}"):
            self._lambda.delete_layer_version(LayerName=name, VersionNumber=int(number))

    def create_function(self, wanted: FunctionState, *, bucket: str, key: str) -> FunctionState:
        """Create a function from code in S3 and wait until it is active."""
        with mapped(f"lambda:CreateFunction {wanted.name}"):
            made = self._lambda.create_function(
                FunctionName=wanted.name, Code={"S3Bucket": bucket, "S3Key": key},
                Architectures=[wanted.configuration.architecture], **_first_configuration(wanted))
            self._lambda.get_waiter("function_active_v2").wait(
                FunctionName=wanted.name, WaiterConfig={"Delay": 1, "MaxAttempts": 120})
            return _function(made)

    def update_code(self, wanted: FunctionState, *, bucket: str, key: str, revision: str) -> FunctionState:
        """Give a function other code; refused when it is no longer at this revision."""
        with mapped(f"lambda:UpdateFunctionCode {wanted.name}"):
            made = self._lambda.update_function_code(
                FunctionName=wanted.name, S3Bucket=bucket, S3Key=key, RevisionId=revision,
                Architectures=[wanted.configuration.architecture])
            return self._updated(_function(made))

    def update_configuration(self, wanted: FunctionState, *, revision: str) -> FunctionState:
        """Give a function another configuration; refused when it is no longer at this revision."""
        with mapped(f"lambda:UpdateFunctionConfiguration {wanted.name}"):
            made = self._lambda.update_function_configuration(
                FunctionName=wanted.name, RevisionId=revision, **_configuration(wanted))
            return self._updated(_function(made))

    def publish_version(self, function: str, *, code_sha256: str, description: str) -> FunctionState:
        """Publish the function as it is, if its code is what it should be."""
        with mapped(f"lambda:PublishVersion {function}"):
            return _function(self._lambda.publish_version(
                FunctionName=function, CodeSha256=code_sha256, Description=description))

    def create_alias(self, function: str, name: str, version: str) -> None:
        """Make an alias that points at a version."""
        with mapped(f"lambda:CreateAlias {function}:{name}"):
            self._lambda.create_alias(FunctionName=function, Name=name, FunctionVersion=version)

    def move_alias(self, function: str, name: str, version: str, *, revision: str,
                   shares: Mapping[str, float] | None = None) -> None:
        """Point an alias elsewhere, and a share of its requests beside; refused when it moved since it was read."""
        with mapped(f"lambda:UpdateAlias {function}:{name}"):
            self._lambda.update_alias(FunctionName=function, Name=name, FunctionVersion=version, RevisionId=revision,
                                      RoutingConfig={"AdditionalVersionWeights": dict(shares or {})})

    def invoke(self, function: str, qualifier: str, payload: bytes) -> bytes:
        """What does the function answer to this JSON?

        Raises:
            AwsFailed: the function raised, ran out of time or of memory.
        """
        return self._invoke(function, qualifier, payload)[0]

    def invoke_logged(self, function: str, qualifier: str, payload: bytes) -> tuple[bytes, str]:
        """What does it answer, and what are the last 4 KB of the log of this request?

        Raises:
            AwsFailed: as `invoke`.
        """
        body, log = self._invoke(function, qualifier, payload, LogType="Tail")
        return body, base64.b64decode(log).decode("utf-8", "replace")

    def _invoke(self, function: str, qualifier: str, payload: bytes, **options: str) -> tuple[bytes, str]:
        with mapped(f"lambda:Invoke {function}:{qualifier}"):
            answer = self._lambda.invoke(FunctionName=function, Qualifier=qualifier, Payload=payload, **options)
            body: bytes = answer["Payload"].read()
        if "FunctionError" in answer:
            raise AwsFailed(f"{function}:{qualifier} failed: {fault_of(body)}", code="FunctionError")
        return body, answer.get("LogResult", "")

    def _updated(self, state: FunctionState) -> FunctionState:
        self._lambda.get_waiter("function_updated_v2").wait(
            FunctionName=state.name, WaiterConfig={"Delay": 1, "MaxAttempts": 120})
        return self.state(state.name) or state

    @cached_property
    def _lambda(self) -> Any:
        return client("lambda")

    @cached_property
    def _asked_once(self) -> Any:
        return client("lambda", retries={"total_max_attempts": 1})


def fault_of(body: bytes) -> str:
    """What did a function that failed say? Its error's message; as it stands where it is not told the usual way."""
    try:
        said = json.loads(body)
    except ValueError:
        return body.decode(errors="replace")
    return str(said.get("errorMessage", said) if isinstance(said, dict) else said)


def _hashed(blocks: Iterator[bytes], keep: Callable[[bytes], object] = lambda block: None) -> str:
    """The SHA-256 of all blocks, each of them kept as it comes."""
    found = hashlib.sha256()
    for block in blocks:
        found.update(block)
        keep(block)
    return found.hexdigest()


def fetched(url: str) -> Iterator[bytes]:
    """What lies at a URL that Lambda gave, block by block.

    Raises:
        AwsFailed: it could not be fetched whole.
    """
    import http.client
    import urllib.request

    if not url.startswith(("https://", "http://127.0.0.1:", "http://localhost:")):
        raise AwsFailed(f"will not fetch code from {url.split('?')[0]}: not https")
    try:
        with urllib.request.urlopen(url, timeout=60) as answer:  # noqa: S310 - the scheme was looked at above
            left = int(answer.headers.get("Content-Length") or 0)
            while block := answer.read(_BLOCK):
                left -= len(block)
                yield block
        if left > 0:  # read in blocks, a connection that broke looks like an end
            raise http.client.IncompleteRead(b"", left)
    except (OSError, http.client.HTTPException) as error:
        raise AwsFailed(f"{url.split('?')[0]}: {error}") from None


def _configuration(wanted: FunctionState) -> dict[str, Any]:
    chosen = wanted.configuration
    return {"Runtime": chosen.runtime, "Handler": chosen.handler, "MemorySize": chosen.memory, "Role": chosen.role,
            "Timeout": chosen.timeout, "Layers": list(wanted.layers), "Description": wanted.description,
            "Environment": {"Variables": dict(chosen.environment)}, "EphemeralStorage": {"Size": chosen.storage},
            "VpcConfig": {"SubnetIds": list(chosen.subnets), "SecurityGroupIds": list(chosen.security_groups)},
            "DeadLetterConfig": {"TargetArn": chosen.dead_letter}, "TracingConfig": {"Mode": chosen.tracing}}


def _first_configuration(wanted: FunctionState) -> dict[str, Any]:
    """The same where there is nothing yet that an empty value could take away."""
    empty = {"DeadLetterConfig": not wanted.configuration.dead_letter, "VpcConfig": not wanted.configuration.subnets}
    return {name: value for name, value in _configuration(wanted).items() if not empty.get(name)}


def _function(raw: dict[str, Any]) -> FunctionState:
    vpc = raw.get("VpcConfig") or {}
    configuration = FunctionConfig(
        runtime=raw["Runtime"], architecture=(raw.get("Architectures") or ["x86_64"])[0], handler=raw["Handler"],
        memory=int(raw["MemorySize"]), timeout=int(raw["Timeout"]), role=raw["Role"],
        environment=tuple(sorted((raw.get("Environment") or {}).get("Variables", {}).items())),
        storage=int((raw.get("EphemeralStorage") or {}).get("Size", 512)),
        subnets=tuple(sorted(vpc.get("SubnetIds") or ())),
        security_groups=tuple(sorted(vpc.get("SecurityGroupIds") or ())),
        dead_letter=(raw.get("DeadLetterConfig") or {}).get("TargetArn", ""),
        tracing=(raw.get("TracingConfig") or {}).get("Mode", "PassThrough"))
    return FunctionState(
        name=raw["FunctionName"], version=raw.get("Version", "$LATEST"), description=raw.get("Description", ""),
        code_sha256=raw["CodeSha256"], configuration=configuration,
        layers=tuple(layer["Arn"] for layer in raw.get("Layers") or ()), revision=raw.get("RevisionId", ""))


def _alias(raw: dict[str, Any]) -> AliasState:
    shares = (raw.get("RoutingConfig") or {}).get("AdditionalVersionWeights") or {}
    return AliasState(raw["Name"], raw["FunctionVersion"], raw.get("RevisionId", ""), tuple(sorted(shares.items())))
