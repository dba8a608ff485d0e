"""What no release that is kept needs anymore, and the steps by which it goes.

A prune holds each model's journal as a deployment does, so that nobody deploys what it is about to remove: it notes
what serves, begun and done, with the reason `journal.PRUNE`. Killed, it is finished by the next one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from .at_once import at_once
from .aws import Aws
from .errors import NotDeployed, Refused
from .execution import Hands, Report
from .journal import PRUNE, Entry, Kind, finishes, is_open, kept, newest_deployed, serving
from .logbook import Logbook, note
from .names import release_prefix
from .plan import AbortUpload, Begin, DeleteObjects, Done, Step
from .target import Prunable, Target

Journals = Mapping[str, Sequence[Entry[Any]]]
# A deploy goes on with its own upload that was cut off, and takes hours at most.
GIVEN_UP = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Removal:
    """Which target's hands do a step? None does the ones that all share."""

    step: Step
    target: str = ""


@dataclass(frozen=True, slots=True)
class Pruning:
    """What goes, in which order, and which models are left alone, with the reason?"""

    removals: tuple[Removal, ...]
    skipped: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """How is it printed, one line for each step?"""
        return [f"{number:3}. {removal.step}" for number, removal in enumerate(self.removals, start=1)]


def plan(
    aws: Aws, models: Mapping[str, Sequence[str]], open_target: Callable[[str], Target], *, keep: int, named: bool,
    now: datetime, looked: Callable[[], None] = lambda: None,
) -> Pruning:
    """What would go? Reads AWS, changes nothing.

    Args:
        aws: where releases and journals lie.
        models: the targets of each model that may be pruned.
        open_target: gives a target by its name.
        keep: how many releases of each model must be able to serve.
        named: somebody asked for just this model, so that what stands against it is an error.
        now: the time; an upload that was begun a day before and not completed is taken for given up.
        looked: called twice for each model that is looked at, from several threads.

    Raises:
        NotDeployed: the model that was named was never in service.
        Refused: somebody is deploying the model that was named, or was interrupted.
    """
    targets = {name: open_target(name) for name in sorted({t for found in models.values() for t in found})}
    asked = _Asked(aws, keep, now)
    journals: dict[str, dict[str, Sequence[Entry[Any]]]] = {}
    skipped = []
    reads = at_once(lambda model: _journals(model, models[model], targets), models, looked)
    for model, read in zip(models, reads, strict=True):
        if isinstance(read, dict):
            journals[model] = read
        elif named:
            raise read
        else:
            skipped.append(str(read))
    own = {name: target.leftovers({m: j[name] for m, j in journals.items() if name in j}, keep)
           for name, target in targets.items() if isinstance(target, Prunable)}
    going = at_once(lambda model: _of_model(asked, model, journals[model], targets, own), journals, looked)
    removals = [removal for found in going for removal in found]
    return Pruning(tuple(removals), tuple(skipped))


def run(pruning: Pruning, aws: Aws, hands: Callable[[str], Hands], report: Report) -> None:
    """Do the steps in their order.

    Raises:
        AwsConflict: somebody began to deploy in between, or an alias was moved to what should go.
        AwsFailed: AWS refused; the same prune, run again, goes on from there.
    """
    for removal in pruning.removals:
        started = time.monotonic()
        match removal.step:
            case Begin() as begin:
                note(aws, begin, Kind.BEGAN, published=begin.published)
            case Done(begin):
                note(aws, begin, Kind.DONE, published=begin.published)
            case DeleteObjects() as step:
                aws.storage.delete(step.bucket, step.keys)
            case AbortUpload() as step:
                aws.storage.abort(step.bucket, step.key, step.number)
            case step:
                hands(removal.target).do(step)
        report(removal.step, time.monotonic() - started)


def _journals(
    model: str, where: Sequence[str], targets: Mapping[str, Target]
) -> dict[str, Sequence[Entry[Any]]] | NotDeployed | Refused:
    """A model's journals, or why it is left alone."""
    try:
        return {name: _journal(targets[name].logbook(model)) for name in where}
    except (NotDeployed, Refused) as error:
        return error


def _journal(logbook: Logbook[Any]) -> Sequence[Entry[Any]]:
    entries = logbook.read_free()
    if serving(entries) is None:
        raise NotDeployed(f"{logbook.model} was never in service on {logbook.target}: there is nothing to prune. "
                          f"Next: slipway deploy {logbook.model} --target {logbook.target}")
    if is_open(entries):
        raise Refused(f"the deployment of {logbook.model}/{entries[-1].shipped.version} to {logbook.target} was "
                      "interrupted, and what it left may be needed. "
                      f"Next: {finishes(entries, logbook.target)}, then prune")
    return entries


@dataclass(frozen=True, slots=True)
class _Asked:
    """What every model is asked."""

    aws: Aws
    keep: int
    now: datetime


def _of_model(
    asked: _Asked, model: str, journals: Journals, targets: Mapping[str, Target],
    own: Mapping[str, Mapping[str, list[Step]]],
) -> list[Removal]:
    """All that goes of one model, between the entries that say so; nothing when nothing does."""
    needed = [start for name, entries in journals.items()
              for start in _needed(model, targets[name], entries, asked.keep)]
    found = [Removal(step, name) for name in journals for step in own.get(name, {}).get(model, ())]
    bucket = targets[next(iter(journals))].logbook(model).bucket
    found += [Removal(step) for step in (*_objects(asked.aws, bucket, model, needed), *_given_up(asked, bucket, model))]
    interrupted = any(entries[-1].kind is Kind.BEGAN for entries in journals.values())
    if not found and not interrupted:
        return []
    begins = [_begin(targets[name].logbook(model), entries) for name, entries in journals.items()]
    return [*map(Removal, begins), *found, *(Removal(Done(begin)) for begin in begins)]


def _needed(model: str, target: Target, entries: Sequence[Entry[Any]], keep: int) -> list[str]:
    """How do the S3 keys start that must stay, for this target's sake?"""
    if not isinstance(target, Prunable):
        return [release_prefix(model, entry.shipped.digest) + "/" for entry in entries]
    return [start for entry in kept(entries, keep) for start in target.needs(entry.shipped)]


def _objects(aws: Aws, bucket: str, model: str, needed: Sequence[str]) -> list[DeleteObjects]:
    """What of the model's releases is not needed, a step for each release.

    Manifests go first: what is left of a bundle when this is cut off has none, and is no bundle.
    """
    going: dict[str, list[str]] = {}
    for key in aws.storage.keys(bucket, release_prefix(model, "")):
        if not key.startswith(tuple(needed)):
            going.setdefault("/".join(key.split("/")[:3]), []).append(key)
    return [DeleteObjects(bucket, prefix, tuple(sorted(keys, key=lambda key: not key.endswith("/manifest.json"))))
            for prefix, keys in going.items()]


def _given_up(asked: _Asked, bucket: str, model: str) -> list[AbortUpload]:
    """Which uploads of the model's releases did somebody begin and, for a day, not complete?"""
    return [AbortUpload(bucket, one.key, one.number, one.began)
            for one in asked.aws.storage.unfinished(bucket, release_prefix(model, ""))
            if asked.now - one.began > GIVEN_UP]


def _begin(logbook: Logbook[Any], entries: Sequence[Entry[Any]]) -> Begin:
    last = next(newest_deployed(entries))
    return logbook.begin(entries[-1].seq, last.shipped, published=last.published, previous=last.previous, reason=PRUNE)
