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
    known = [specs_of(entry.shipped, endpoint, bucket) for entry in entries]
    staying = [specs_of(entry.shipped, endpoint, bucket) for entry in kept(entries, keep)]
    needed = {spec.name for pair in staying for spec in pair} | _serving(aws, endpoint)
    tried = {name for name in aws.endpoints.configs("-shadow") if names.is_trial_of(endpoint, name)}
    configs = sorted(({config.name for _, config in known} | tried) - needed)
    models = sorted({model.name for model, _ in known} - needed)
    return [*(DeleteConfig(name) for name in configs if aws.endpoints.config(name)),
            *(DeleteModel(name) for name in models if aws.endpoints.model(name))]


def _serving(aws: Aws, endpoint: str) -> set[str]:
    """Which configuration serves, and which models does it name? Also what somebody moved there by hand."""
    now = aws.endpoints.endpoint(endpoint)
    config = aws.endpoints.config(now.config) if now else None
    return {config.name, *(variant.model for variant in config.variants)} if config else set()
