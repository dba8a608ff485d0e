"""What nobody on SageMaker needs anymore: configurations and models without an endpoint or kept release."""

from __future__ import annotations

from collections.abc import Sequence

from ...aws import Aws
from ...journal import Entry, kept
from ...plan import Step
from . import names
from .planning import specs_of
from .shipped import SageMakerShipped
from .steps import DeleteConfig, DeleteModel


def find(aws: Aws, endpoint: str, bucket: str, entries: Sequence[Entry[SageMakerShipped]], keep: int) -> list[Step]:
    """By which steps goes what deployments of this model left, as its journal tells? Configurations before models."""
    start = names.start_of(endpoint)
    staying = [specs_of(entry.shipped, endpoint, bucket) for entry in kept(entries, keep)]
    needed = {spec.name for pair in staying for spec in pair} | _serving(aws, endpoint)
    configs = [name for name in sorted(aws.endpoints.configs(start)) if name not in needed]
    models = [name for name in sorted(aws.endpoints.models(start)) if name not in needed]
    tried = {name for name in configs if names.is_trial_of(endpoint, name)}
    loose = {name for name in (*configs, *models) if names.may_be_of(endpoint, name)}
    known = tried | _made(loose, entries, endpoint, bucket)
    return [*(DeleteConfig(name) for name in configs if name in known),
            *(DeleteModel(name) for name in models if name in known)]


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
