"""What nobody on Lambda needs anymore: versions that no alias and no kept release names, layers without a function."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from ...aws import Aws, FunctionState
from ...config import Settings
from ...journal import Entry, is_open, kept
from ...logbook import Logbook, bucket_of
from ...names import DEPLOYMENTS, deployed_models
from ...plan import DeleteObjects, Step
from . import names
from .shipped import LambdaShipped
from .steps import DeleteLayer, DeleteVersion

Journals = Mapping[str, Sequence[Entry[LambdaShipped]]]


def find(aws: Aws, settings: Settings, journals: Journals, keep: int) -> dict[str, list[Step]]:
    """By which steps goes what is left over? Layers, which models share, go last, with the last model."""
    if not journals:
        return {}
    versions = {model: _versions(aws, settings, model, kept(entries, keep)) for model, entries in journals.items()}
    going = {(step.function, step.version) for found in versions.values() for step in found}
    staying = [f for f in aws.functions.everything() if (f.name, f.version) not in going]
    steps: dict[str, list[Step]] = {model: list(found) for model, found in versions.items()}
    steps[list(steps)[-1]] += _layers(aws, settings, {**_others(aws, settings, journals), **journals}, staying, keep)
    return steps


def is_ours(version: FunctionState, model: str) -> bool:
    """Did a deploy publish this version? Told by its description, which hands rarely write like that."""
    return bool(re.fullmatch(rf"{re.escape(model)}/\d+ [0-9a-f]{{64}}", version.description))


def _versions(
    aws: Aws, settings: Settings, model: str, keeping: Sequence[Entry[LambdaShipped]]
) -> list[DeleteVersion]:
    function = names.function_name(settings, model)
    needed = {entry.published for entry in keeping}
    for alias in aws.functions.aliases(function):
        needed |= {alias.version, *(version for version, _ in alias.shares)}
    return [DeleteVersion(function, v.version, v.description) for v in aws.functions.versions(function)
            if v.version not in needed and is_ours(v, model)]


def _others(aws: Aws, settings: Settings, journals: Journals) -> dict[str, list[Entry[LambdaShipped]]]:
    """The journals of the models that are not pruned: they may use the same layers."""
    bucket = bucket_of(aws, settings)
    there = deployed_models(aws.storage.keys(bucket, DEPLOYMENTS))
    return {model: Logbook(aws, bucket, model, "lambda", LambdaShipped).read()
            for model, targets in there.items() if "lambda" in targets and model not in journals}


def _layers(
    aws: Aws, settings: Settings, journals: Journals, staying: Sequence[FunctionState], keep: int
) -> list[Step]:
    """Of the layers that these journals ever named: those that nothing which stays, and no open deployment, needs."""
    shipped = [entry.shipped for entries in journals.values() for entry in entries]
    known, used = {s.layer for s in shipped}, {arn for function in staying for arn in function.layers}
    needed = {e.shipped.layer for entries in journals.values() for e in kept(entries, keep)}
    needed |= {entries[-1].shipped.layer for entries in journals.values() if is_open(entries)}
    steps: list[Step] = []
    kinds = {(one.configuration.runtime, one.configuration.architecture) for one in shipped}
    for name, runtime in sorted((names.layer_name(settings, *kind), kind[0]) for kind in kinds):
        for layer in aws.functions.layers(name, runtime).layers:
            if layer.arn in used:
                needed.add(layer.description)
            elif layer.description in known - needed:
                steps.append(DeleteLayer(layer.arn))
    bucket = bucket_of(aws, settings)
    gone = {names.layer_key(identity) for identity in known - needed}
    keys = sorted(gone.intersection(aws.storage.keys(bucket, "layers/")))
    return [*steps, *(DeleteObjects(bucket, key, (key,)) for key in keys)]
