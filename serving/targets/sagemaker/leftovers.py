"""What nobody on SageMaker needs anymore: configurations and models without an endpoint or kept release."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date

from ...aws import Aws
from ...journal import Entry, kept
from ...plan import DeleteObjects, Step
from . import names
from .planning import specs_of
from .shipped import SageMakerShipped
from .steps import DeleteConfig, DeleteModel
from .trial import CAPTURED


def find(
    aws: Aws, endpoint: str, bucket: str, entries: Sequence[Entry[SageMakerShipped]], *, keep: int, before: date
) -> list[Step]:
    """By which steps goes what deployments of this model left, as its journal tells? Configurations before models.

    Args:
        aws: where it is looked for.
        endpoint, bucket: the model's.
        entries: of its journal.
        keep: how many releases stay.
        before: which day what was captured of a trial must be from to go; none goes of one that is going on.
    """
    start = names.start_of(endpoint)
    staying = [specs_of(entry.shipped, endpoint, bucket) for entry in kept(entries, keep)]
    needed = {spec.name for pair in staying for spec in pair} | _serving(aws, endpoint)
    configs = [name for name in sorted(aws.endpoints.configs(start)) if name not in needed]
    models = [name for name in sorted(aws.endpoints.models(start)) if name not in needed]
    tried = {name for name in configs if names.is_trial_of(endpoint, name)}
    loose = {name for name in (*configs, *models) if names.may_be_of(endpoint, name)}
    known = tried | _made(loose, entries, endpoint, bucket)
    return [*(DeleteConfig(name) for name in configs if name in known),
            *(DeleteModel(name) for name in models if name in known),
            *_captured(aws, endpoint, bucket, needed, before)]


def _captured(aws: Aws, endpoint: str, bucket: str, needed: set[str], before: date) -> list[DeleteObjects]:
    """What was captured so long ago of trials that have ended, a step for each?

    SageMaker puts it under CONFIGURATION/ENDPOINT/VARIANT/year/month/day/hour/.
    """
    ended: dict[str, list[str]] = {}
    captured = re.compile(rf"{CAPTURED}/([^/]+)/{re.escape(endpoint)}/[^/]+/(\d{{4}}/\d\d/\d\d)/.+")
    for key in aws.storage.keys(bucket, f"{CAPTURED}/{names.start_of(endpoint)}"):
        found = captured.fullmatch(key)
        if (found and names.is_trial_of(endpoint, found[1]) and found[1] not in needed
                and found[2] < f"{before:%Y/%m/%d}"):
            ended.setdefault(found[1], []).append(key)
    return [DeleteObjects(bucket, f"{CAPTURED}/{config}", tuple(keys)) for config, keys in ended.items()]


def _made(loose: set[str], entries: Sequence[Entry[SageMakerShipped]], endpoint: str, bucket: str) -> set[str]:
    """Which of these names did a deployment make? Looks no further back than until all are found."""
    found: set[str] = set()
    for entry in reversed(entries):
        if found >= loose:
            break
        found |= loose & {spec.name for spec in specs_of(entry.shipped, endpoint, bucket)}
    return found


def _serving(aws: Aws, endpoint: str) -> set[str]:
    """Which configuration serves, and which models does it name? Also what somebody moved there by hand."""
    now = aws.endpoints.endpoint(endpoint)
    config = aws.endpoints.config(now.config) if now else None
    return {config.name, *(variant.model for variant in config.variants)} if config else set()
