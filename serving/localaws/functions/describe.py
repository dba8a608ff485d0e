"""How does Lambda describe a function, an alias or a layer in its answers?"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from serving.localaws.functions.catalog import Alias
from serving.localaws.functions.revision import LayerVersion, Revision

_PASSED_ON = (
    "Runtime", "Role", "Handler", "Environment", "VpcConfig", "DeadLetterConfig", "KMSKeyArn", "FileSystemConfigs",
)  # fmt: skip


def _when(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}+0000"


def configuration(revision: Revision, now: float, *, arn: str | None = None) -> dict[str, Any]:
    """A function's configuration as its state is at a time; ``arn`` is the one it was asked for by."""
    settings = revision.settings
    given = {name: settings[name] for name in _PASSED_ON if settings.get(name)}
    return {
        "FunctionName": revision.name,
        "FunctionArn": arn or revision.qualified_arn,
        "Version": revision.version,
        "RevisionId": revision.revision_id,
        "Description": settings.get("Description", ""),
        "CodeSize": revision.package.size,
        "CodeSha256": revision.package.code_sha256,
        "Timeout": int(revision.timeout),
        "MemorySize": revision.memory,
        "LastModified": _when(revision.modified),
        "PackageType": "Zip",
        "Architectures": list(settings.get("Architectures") or ["x86_64"]),
        "TracingConfig": settings.get("TracingConfig") or {"Mode": "PassThrough"},
        "EphemeralStorage": settings.get("EphemeralStorage") or {"Size": 512},
        "SnapStart": {"ApplyOn": "None", "OptimizationStatus": "Off"},
        "LoggingConfig": {
            "LogFormat": "Text",
            "LogGroup": f"/aws/lambda/{revision.name}",
            **(settings.get("LoggingConfig") or {}),
        },
        **({"Layers": [layer_use(layer) for layer in revision.layers]} if revision.layers else {}),
        **given,
        **state(revision, now),
    }


def state(revision: Revision, now: float) -> dict[str, str]:
    """Is it usable already, and has its last change arrived?"""
    if now >= revision.settled_at:
        return {"State": "Active", "LastUpdateStatus": "Successful"}
    if revision.created:
        return {"State": "Pending", "StateReason": "The function is being created.", "StateReasonCode": "Creating"}
    return {"State": "Active", "LastUpdateStatus": "InProgress"}


def alias(found: Alias) -> dict[str, Any]:
    """An alias; RoutingConfig only when it sends traffic to a second version."""
    described: dict[str, Any] = {
        "AliasArn": found.arn,
        "Name": found.name,
        "FunctionVersion": found.version,
        "Description": found.description,
        "RevisionId": found.revision_id,
    }
    if found.weights:
        described["RoutingConfig"] = {"AdditionalVersionWeights": dict(found.weights)}
    return described


def layer_use(layer: LayerVersion) -> dict[str, Any]:
    """A layer as a function's configuration names it."""
    return {"Arn": layer.arn, "CodeSize": layer.package.size}


def layer_summary(layer: LayerVersion) -> dict[str, Any]:
    """A layer version as lists name it."""
    described: dict[str, Any] = {
        "LayerVersionArn": layer.arn,
        "Version": layer.version,
        "Description": layer.description,
        "CreatedDate": _when(layer.created),
        "CompatibleRuntimes": list(layer.runtimes),
        "CompatibleArchitectures": list(layer.architectures),
        "LicenseInfo": layer.license,
    }
    return {name: value for name, value in described.items() if value not in ("", [])}


def layer_version(layer: LayerVersion, endpoint: str) -> dict[str, Any]:
    """A layer version with where its zip can be fetched."""
    content = {
        "Location": f"{endpoint}/_slipway/packages/{layer.package.sha256}",
        "CodeSha256": layer.package.code_sha256,
        "CodeSize": layer.package.size,
    }
    return {**layer_summary(layer), "LayerArn": layer.arn.rpartition(":")[0], "Content": content}
