"""What nobody on Lambda needs anymore: versions that no alias and no kept release names, layers without a function."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ...at_once import at_once
from ...aws import Aws, FunctionState, LayerState
from ...config import Settings
from ...journal import Entry, is_open, kept
from ...logbook import Logbook, bucket_of, deployed_in
from ...plan import DeleteObjects, Step
from . import names
from .shipped import LambdaShipped
from .steps import DeleteLayer, DeleteVersion

Journals = Mapping[str, Sequence[Entry[LambdaShipped]]]
# Whose layers are looked for beside those that are in use, so that a prune that was cut off before its layers is
# finished: the Pythons that Lambda ever offered while there was a Slipway.
PYTHONS, MACHINES = tuple(f"python3.{minor}" for minor in range(10, 15)), ("x86_64", "arm64")


def find(aws: Aws, settings: Settings, journals: Journals, keep: int) -> dict[str, list[Step]]:
    """By which steps goes what is left over? Layers, which models share, go last, with the last model."""
    if not journals:
        return {}
    found = at_once(lambda model: _versions(aws, settings, model, kept(journals[model], keep)), journals)
    versions = dict(zip(journals, found, strict=True))
    everything = aws.functions.everything()
    going = {(step.function, step.version) for found in versions.values() for step in found}
    steps: dict[str, list[Step]] = {model: list(found) for model, found in versions.items()}
    layers = _Layers.of({**journals, **_others(aws, settings, journals)}, keep, everything, going)
    steps[list(steps)[-1]] += layers.steps(aws, settings)
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


def _others(aws: Aws, settings: Settings, journals: Journals) -> dict[str, Sequence[Entry[LambdaShipped]]]:
    """The journals of the models that are not pruned: they may use the same layers."""
    bucket = bucket_of(aws, settings)
    there = [model for model, targets in deployed_in(aws, bucket).items() if "lambda" in targets]
    others = [model for model in there if model not in journals]
    read = at_once(lambda model: Logbook(aws, bucket, model, "lambda", LambdaShipped).history(), others)
    return dict(zip(others, read, strict=True))


@dataclass(frozen=True, slots=True)
class _Layers:
    """What of the layers stays?

    Attributes:
        used: ARNs that something which stays has.
        needed: identities that a kept release has.
        opened: identities that an open deployment has, or is about to use: of these nothing goes.
        kinds: Python and machine of all that there is.
    """

    journals: Journals
    used: frozenset[str]
    needed: frozenset[str]
    opened: frozenset[str]
    kinds: frozenset[tuple[str, str]]

    @classmethod
    def of(
        cls, journals: Journals, keep: int, everything: Iterable[FunctionState], going: set[tuple[str, str]]
    ) -> _Layers:
        """What do these journals and functions need, once those versions are gone? Reads several journals at once."""
        staying = at_once(lambda entries: kept(entries, keep), journals.values())
        keeping = [entry.shipped for found in staying for entry in found]
        opened = [entries[-1].shipped for entries in journals.values() if is_open(entries)]
        has = [f.configuration for f in everything] + [shipped.configuration for shipped in (*keeping, *opened)]
        return cls(
            journals,
            used=frozenset(arn for f in everything if (f.name, f.version) not in going for arn in f.layers),
            needed=frozenset(shipped.layer for shipped in keeping),
            opened=frozenset(shipped.layer for shipped in opened),
            kinds=frozenset((one.runtime, one.architecture) for one in has if one.runtime.startswith("python")))

    def steps(self, aws: Aws, settings: Settings) -> list[Step]:
        """What goes of what there is? Only what a journal named: the rest is somebody else's."""
        kinds = sorted(self.kinds | {(python, machine) for python in PYTHONS for machine in MACHINES})
        wanted = [(names.layer_name(settings, *kind), kind[0]) for kind in kinds]
        there = [layer for offer in at_once(lambda one: aws.functions.layers(*one), wanted) for layer in offer.layers]
        held = self.needed | self.opened | {layer.description for layer in there if layer.arn in self.used}
        bucket = bucket_of(aws, settings)
        zips = {key.removeprefix("layers/").removesuffix(".zip"): key for key in aws.storage.keys(bucket, "layers/")}
        loose = [layer for layer in there if layer.arn not in self.used and layer.description not in self.opened]
        surplus = [layer for layer in loose if layer.description not in held or self._is_double(layer, there)]
        known = self._named({layer.description for layer in surplus} | (zips.keys() - held))
        keys = sorted(zips[identity] for identity in zips.keys() & (known - held))
        return [*(DeleteLayer(layer.arn) for layer in surplus if layer.description in known),
                *(DeleteObjects(bucket, key, (key,)) for key in keys)]

    def _is_double(self, layer: LayerState, there: Sequence[LayerState]) -> bool:
        """Is there another version of the same layer to be kept: one that is used, or else the oldest?

        Lambda publishes once more where the answer to the first request was late or lost.
        """
        name = layer.arn.rpartition(":")[0]
        same = [one.arn for one in there if one.description == layer.description and one.arn.rpartition(":")[0] == name]
        return layer.arn != next((arn for arn in same if arn in self.used), same[0])

    def _named(self, layers: set[str]) -> set[str]:
        """Which of these did a deployment name? Looks no further back than until all are found."""
        found: set[str] = set()
        for entries in self.journals.values():
            for entry in reversed(entries):
                if found >= layers:
                    return found
                found |= {entry.shipped.layer} & layers
        return found
