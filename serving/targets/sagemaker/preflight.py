"""What can stand against a release on SageMaker, beside what its plan finds."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from difflib import get_close_matches

from ... import preflight
from ...aws import Aws, EndpointState, instance_types
from ...bundle import Bundle
from ...config import Settings
from ...preflight import Check
from ...sagemaker_settings import SageMakerSettings
from . import images, names, planning

# AWS's own processors are told by a g after the generation: ml.c7g.large, ml.m6gd.large; ml.g5.xlarge is none.
GRAVITON = re.compile(r"ml\.[cmrtx]\d+g[dn]?\.")


def look(aws: Aws, settings: Settings, bundle: Bundle, bucket: str) -> list[Check]:
    """What stands against this release, as far as AWS and slipway.yaml tell?

    Raises:
        PreflightFailed: what else there may be cannot be looked at: something may not be read, or the name is wrong.
    """
    model, chosen = bundle.manifest.name, settings.sagemaker
    endpoint = preflight.named(model, names.endpoint_name, settings)
    found = preflight.readable(_reads(aws, settings, endpoint, bucket), "sagemaker")
    if any(check.problem for check in found):
        preflight.require(found)
    found += preflight.changeable(aws, settings, model, "sagemaker")
    found.append(preflight.role(aws, chosen.role))
    found.append(_machine(chosen, instance_types()))
    found += [*preflight.key(aws, settings.kms_key, "kms_key"), *preflight.key(aws, chosen.kms, "sagemaker.kms")]
    if chosen.serverless:
        size = sum(file.size for file in bundle.manifest.files)
        found.append(preflight.loads(size, chosen.serverless.memory, "sagemaker.serverless.memory"))
    return found


def takes(aws: Aws, chosen: SageMakerSettings, endpoint: EndpointState | None, config: str) -> list[Check]:
    """Would SageMaker move requests to this configuration as slipway.yaml wants it?

    Args:
        aws: whose alarms are asked.
        chosen: alarms, and whether there are machines.
        endpoint: what serves; None when nothing does.
        config: the configuration that shall serve.
    """
    if endpoint is None or endpoint.status in planning.FAILED or endpoint.config == config:
        return []
    kinds = (("serverless", endpoint.serverless, bool(chosen.serverless)),
             ("asynchronous", bool(endpoint.answers_to), bool(chosen.asynchronous)))
    found = [Check(kind, str(now), f"{endpoint.name} is {'' if now else 'not '}{kind}, and SageMaker cannot change "
                                   f"that. Next: delete the endpoint, or leave sagemaker.{kind} as it was")
             for kind, now, wanted in kinds if now != wanted]
    variants = [name for name, _ in endpoint.weights]
    if chosen.alarms and variants != [names.VARIANT]:
        found.append(Check("variants", ", ".join(variants), f"{endpoint.name} has the variants {', '.join(variants)}; "
                           f"requests move in steps only between variants of the same name, {names.VARIANT}. Next: "
                           "deploy once without sagemaker.alarms"))
    return found + preflight.alarms(aws, chosen.alarms, "sagemaker.alarms")


def facts(chosen: SageMakerSettings) -> tuple[str, ...]:
    """By what will it cost?"""
    if chosen.serverless:
        return (f"serverless, {chosen.serverless.memory} MB, by the millisecond of a request",)
    many = chosen.autoscaling
    count = f"{many.least} to {many.most}" if many else str(chosen.instances)
    found = [f"{count} x {chosen.instance_type}, by the hour"]
    if chosen.alarms:
        found.append(f"twice as many while requests move, and {chosen.keep} s longer")
    if chosen.capture:
        found.append(f"{chosen.capture.share:.0%} of requests and answers kept in S3")
    if chosen.asynchronous:
        found.append("every request and answer kept in S3")
    if chosen.shadow:
        found.append(f"{chosen.shadow.instances} more while a new release is tried, and every request and answer of "
                     "that time kept in S3")
    return tuple(found)


def _machine(chosen: SageMakerSettings, known: Sequence[str]) -> Check:
    """Is there such a machine, and does the image run on it? Of an image of one's own that is not known."""
    image, kind = chosen.image, "serverless" if chosen.serverless else chosen.instance_type
    if not chosen.serverless and kind not in known:
        near = get_close_matches(kind, known, n=1, cutoff=0)[0]
        return Check("machine", kind, f"SageMaker's API has no {kind}, as the botocore installed here knows it; the "
                                      f"nearest is {near}. Next: sagemaker.instance_type, or a newer botocore")
    if image and not images.is_prebuilt(image):
        return Check("machine", f"{kind}; not known for which processor {image.rsplit('/', 1)[-1]} is built")
    if GRAVITON.match(kind):
        return Check("machine", kind, f"{kind} has an arm64 processor; AWS's image, and the libraries packed for it, "
                                      "are x86_64. Next: an instance without g after its generation, as ml.m7i.large, "
                                      "or an image of your own")
    return Check("machine", f"{kind}, x86_64 as AWS's image and the libraries packed for it")


def _reads(aws: Aws, settings: Settings, endpoint: str, bucket: str) -> dict[str, Callable[[], object]]:
    found: dict[str, Callable[[], object]] = {
        **preflight.stored(aws, bucket, endpoint),
        "sagemaker:DescribeEndpoint": lambda: aws.endpoints.endpoint(endpoint),
        "sagemaker:DescribeEndpointConfig": lambda: aws.endpoints.config(endpoint),
        "sagemaker:DescribeModel": lambda: aws.endpoints.model(endpoint),
        "application-autoscaling:DescribeScalableTargets": lambda: aws.scaling.scaling(endpoint, names.VARIANT),
    }
    if settings.sagemaker.alarms:
        found["cloudwatch:DescribeAlarms"] = lambda: aws.metrics.alarms(settings.sagemaker.alarms)
    if settings.sagemaker.shadow:
        now = datetime.now(UTC)
        found["cloudwatch:GetMetricStatistics"] = lambda: aws.metrics.variant(endpoint, names.SHADOW, now)
    return found
