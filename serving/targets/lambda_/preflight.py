"""What can stand against a release on Lambda, beside what its plan finds."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from ... import limits, preflight
from ...aws import Aws
from ...bundle import Bundle
from ...config import Settings
from ...preflight import Check
from . import names

# The dependency layer unpacks to a quarter of this: only beside larger code is it built to be measured exactly.
ROOM = 120_000_000


def look(aws: Aws, settings: Settings, bundle: Bundle, bucket: str) -> list[Check]:
    """What stands against this release, as far as AWS and slipway.yaml tell?

    Raises:
        PreflightFailed: what else there may be cannot be looked at: something may not be read, or the name is wrong.
    """
    model, chosen = bundle.manifest.name, settings.lambda_
    function = preflight.named(model, names.function_name, settings)
    found = preflight.readable(_reads(aws, settings, function, bucket), "lambda")
    found += preflight.alarms(aws, chosen.alarms, "lambda.alarms")
    if any(check.problem for check in found):
        preflight.require(found)
    found += preflight.changeable(aws, settings, model, "lambda")
    found.append(preflight.role(aws, chosen.role))
    found += preflight.key(aws, settings.kms_key, "kms_key")
    found.append(preflight.loads(sum(file.size for file in bundle.manifest.files), chosen.memory, "lambda.memory"))
    return found + _concurrency(aws, settings, function)


def unpacked(code: Path, layer: Callable[[], Path], advice: str) -> Check:
    """Do code and layer fit, unpacked? The layer is built only where the code leaves little room."""
    total = _unpacked(code)
    if total > limits.UNZIPPED.most - ROOM:
        return preflight.size("unpacked size", total + _unpacked(layer()), limits.UNZIPPED, advice)
    return preflight.size("unpacked size without the layer", total, limits.UNZIPPED, advice)


def _unpacked(path: Path) -> int:
    with zipfile.ZipFile(path) as archive:
        return sum(entry.file_size for entry in archive.infolist())


def _reads(aws: Aws, settings: Settings, function: str, bucket: str) -> dict[str, Callable[[], object]]:
    chosen, held, shipped = settings.lambda_, aws.surroundings, aws.functions
    layer = names.layer_name(settings, chosen.runtime or "python3.12", chosen.architecture)
    found: dict[str, Callable[[], object]] = {
        **preflight.stored(aws, bucket, function),
        "lambda:GetFunctionConfiguration": lambda: shipped.state(function),
        "lambda:GetAlias": lambda: shipped.alias(function, names.ALIAS),
        "lambda:ListVersionsByFunction": lambda: shipped.versions(function),
        "lambda:ListLayerVersions": lambda: shipped.layers(layer, chosen.runtime or "python3.12"),
        "lambda:GetFunctionConcurrency": lambda: held.reserved(function),
        "lambda:ListProvisionedConcurrencyConfigs": lambda: held.provisioned(function),
        "lambda:GetFunctionUrlConfig": lambda: held.url(function, names.ALIAS),
        "lambda:GetPolicy": lambda: held.grants(function, names.ALIAS),
    }
    if chosen.takeover:
        found["cloudwatch:GetMetricStatistics"] = lambda: aws.metrics.answered(
            function, names.ALIAS, "1", datetime.now(UTC))
    if chosen.alarms:
        found["cloudwatch:DescribeAlarms"] = lambda: aws.metrics.alarms(chosen.alarms)
    if chosen.log_retention is not None:
        found["logs:DescribeLogGroups"] = lambda: aws.logs.retention(f"/aws/lambda/{function}")
    return found


def _concurrency(aws: Aws, settings: Settings, function: str) -> list[Check]:
    wanted = settings.lambda_.reserved
    if wanted is None:
        return []
    left = aws.surroundings.unreserved() + (aws.surroundings.reserved(function) or 0) - wanted
    found = f"{left} requests at once are left to the account's other functions"
    if left >= limits.UNRESERVED.most:
        return [Check("reserved concurrency", found)]
    return [Check("reserved concurrency", found, f"{found}, and Lambda keeps {limits.UNRESERVED.most} for them. Next: "
                                                 "a smaller lambda.reserved, or a higher quota")]
