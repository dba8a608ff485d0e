"""What a manifest says for a reader: how inputs are prepared, what the model requires, who checked and approved it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .convert.words import Converted, Step
from .runtime import images
from .runtime.bag import Bag
from .runtime.core import TEXTS
from .runtime.manifest import Facts, Manifest, Tensor
from .runtime.text import Tokeniser

if TYPE_CHECKING:
    from registry import Actor, Release


def recorded(draft: Manifest, release: Release, converted: Converted, files: Path, described: Facts) -> Manifest:
    """The same manifest, with all of that.

    Args:
        draft: with its inputs, as they were found out.
        release: what was approved.
        converted: what serves it.
        files: the release's own files.
        described: its MLmodel file, parsed.
    """
    evidence = release.evidence
    return draft._replace(
        preprocessing=tuple(preprocessing(draft.inputs, converted)),
        requirements=requirements(files, described),
        evidence={**_who(evidence.by), "at": evidence.at.isoformat(), "digest": evidence.digest,
                  "entry": evidence.entry, "rows": evidence.rows, "held_out": evidence.held_out},
        verdicts=tuple({"gate": v.gate, "outcome": v.outcome.value, "reason": v.reason, "found": v.found,
                        "wanted": v.wanted, "interval": list(v.interval) if v.interval else None}
                       for v in evidence.verdicts),
        approvals=tuple({**_who(a.approver), "at": a.at.isoformat(), "comment": a.comment, "digest": a.digest,
                         "evidence": a.evidence, "entry": a.entry} for a in release.approvals))


def _who(actor: Actor) -> Facts:
    return {"by": actor.name, "proven": actor.verified}


def requirements(files: Path, described: Mapping[str, Any]) -> tuple[Facts, ...]:
    """What did the model need where it was trained, and under which licences?"""
    from registry import required

    return tuple({"name": one.name, "version": one.version, "licence": one.licence}
                 for one in required(files, described) or ())


def preprocessing(inputs: tuple[Tensor, ...], converted: Converted) -> Iterator[Facts]:
    """What is done to the inputs before the model predicts, in order, and by whom?"""
    for name, text in sorted(converted.texts.items()):
        yield _told("runtime", _reading(name, text))
    if images.is_image(inputs) and inputs[0].dtype != "uint8":
        low, high = inputs[0].seen or (0.0, 255.0)
        scaled: dict[str, float] = {"from_low": 0, "from_high": 255, "to_low": low, "to_high": high}
        yield _told("runtime", Step("scale_pixels", (inputs[0].name,), scaled))
    for step in converted.steps:
        yield _told("model", step)


def _told(by: str, step: Step) -> Facts:
    return {"by": by, "step": step.name, "inputs": list(step.inputs), "how": dict(step.facts)}


def _reading(name: str, text: Tokeniser | Bag) -> Step:
    if isinstance(text, Tokeniser):
        return Step("tokenise", (name,), {
            "words": len(text.vocabulary), "length": text.length, "lower": text.lower,
            "strip_punctuation": text.strip, "characters": text.characters, "file": TEXTS})
    return Step("count_words", (name,), {
        "words": len(text.vocabulary), "pattern": text.pattern, "analyzer": text.analyzer, "shortest": text.spans[0],
        "longest": text.spans[1], "lower": text.lower, "accents": text.accents, "stop_words": len(text.stop),
        "binary": text.binary, "sublinear": text.sublinear, "weighted": bool(text.weights), "norm": text.norm,
        "file": TEXTS})
