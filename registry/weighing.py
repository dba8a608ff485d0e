"""What do the other measurements say? Slices, calibration, overlap, signature, dependencies, serving, formats.

Each gate turns what was measured and its rule into a verdict; None as a rule takes the gate away. No I/O happens here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from registry import licences
from registry.measured import Calibration, Compatibility, Dependency, Measured, Overlap, Rehearsal, Slice
from registry.patterns import fitting
from registry.words import Outcome, Verdict

if TYPE_CHECKING:
    from registry.gates import Champion

_SHOWN = 3
# So many golden requests at least say something of all others; training logs 32.
FEW_GOLDEN, ENOUGH_GOLDEN = 8, 32
_NO_PROBABILITIES = ("calibration not measured: it answers with classes alone (log it with its probabilities, or say "
                     "`calibration: {probabilities: where_given}` for it in policy.yaml)")


@dataclass(frozen=True, slots=True)
class SliceRule:
    """Floors by measure on every slice of at least `smallest` rows; of numbers, the error against that of all rows.

    `required` columns must be there, and each of their slices large enough.
    """

    floors: Mapping[str, float]
    error_ratio: float | None
    smallest: int
    required: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CalibrationRule:
    """The largest calibration error and Brier score; None: any. `required`: of classes without probabilities too."""

    error: float | None
    brier: float | None
    required: bool = True


@dataclass(frozen=True, slots=True)
class OverlapRule:
    """The largest share of held-out rows that the training may have seen: as they are, and with inputs alike."""

    copies: float | None
    alike: float | None


@dataclass(frozen=True, slots=True)
class DependencyRule:
    """Are versions pinned, and licences among those allowed (patterns)? `unknown_blocks`: one that nobody knows."""

    pinned: bool
    allow: tuple[str, ...]
    deny: tuple[str, ...]
    unknown_blocks: bool


@dataclass(frozen=True, slots=True)
class ServingRule:
    """The budgets of the rehearsal; None: any."""

    latency_p50_ms: float | None
    latency_p99_ms: float | None
    memory_mb: float | None
    bundle_mb: float | None


@dataclass(frozen=True, slots=True)
class MeasuredRules:
    """One rule for each of these gates; None takes a gate away.

    `formats`: the files that a model may consist of; `engines`: what may run it where it serves.
    """

    slices: SliceRule | None = None
    calibration: CalibrationRule | None = None
    overlap: OverlapRule | None = None
    compatible: bool = False
    dependencies: DependencyRule | None = None
    serving: ServingRule | None = None
    formats: tuple[str, ...] | None = None
    engines: tuple[str, ...] = ("onnx",)


def weigh(
    measured: Measured | None,
    rules: MeasuredRules,
    champion: Champion | None,
    files: Sequence[str],
    whole: float | None,
) -> Iterator[Verdict]:
    """The verdicts of every gate that has a rule; `whole` is the mean absolute error on all rows, if there is one."""
    names = [name for name in MeasuredRules.__dataclass_fields__ if getattr(rules, name) and name != "engines"]
    if measured is None:
        if names:
            yield _unknown("measured", f"checked before these were gates: {', '.join(names)}")
        return
    why = measured.unmeasured
    if rules.slices:
        yield slices(measured.slices, rules.slices, whole)
    if rules.calibration:
        yield from calibration(measured, rules.calibration)
    if rules.overlap:
        yield overlap(measured.overlap, rules.overlap, why.get("overlap", "not measured"))
    if rules.compatible:
        yield compatibility(measured.compatibility, champion, why.get("signature", "not compared"))
    if rules.dependencies:
        yield dependencies(measured.dependencies, rules.dependencies)
    if rules.serving:
        yield from serving(measured.rehearsal, rules.serving, why.get("serving", "not rehearsed"))
    if measured.rehearsal:
        yield from engine(measured.rehearsal, rules.engines)
    if rules.formats is not None:
        yield formats(measured, files, rules.formats)


def slices(found: Sequence[Slice], rule: SliceRule, whole: float | None) -> Verdict:
    """Is every group of rows served well enough? Too small a group says too little, and blocks where it is required."""
    gone = [name for name in rule.required if not any(one.column == name for one in found)]
    thin = [one for one in found if one.rows < rule.smallest and one.column in rule.required]
    if gone or thin:
        told = [f"no slices by {name}" for name in gone] + [f"{one} has {one.rows} rows" for one in thin]
        return _unknown("slices", f"{_some(told)} (wanted at least {rule.smallest} rows each)")
    judged = [one for one in found if one.rows >= rule.smallest]
    if not found:
        return _passed("slices", "no column to slice by was named")
    aside = f"{len(found) - len(judged)} of {len(found)} slices under {rule.smallest} rows, not judged"
    if not judged:
        return _passed("slices", aside)
    bad = [text for one in judged for text in _below(one, rule, whole)]
    if bad:
        return Verdict("slices", Outcome.FAILED, _some(bad))
    return _passed("slices", f"{len(judged)} slices, {_lowest(judged, whole)}" + (
        f"; {aside}" if len(judged) < len(found) else ""))


def _below(one: Slice, rule: SliceRule, whole: float | None) -> Iterator[str]:
    for name, floor in rule.floors.items():
        value = one.measures.get(name)
        if value is not None and value < floor:
            yield f"{name} {value:.3f} < {floor:.3f} where {one} ({one.rows} rows)"
    error = one.measures.get("mae")
    if rule.error_ratio is not None and error is not None and whole and error > rule.error_ratio * whole:
        yield f"mae {error:.3g} > {rule.error_ratio:g} x {whole:.3g} where {one} ({one.rows} rows)"


def _lowest(judged: Sequence[Slice], whole: float | None) -> str:
    if all("accuracy" in one.measures for one in judged):
        worst = min(judged, key=lambda one: one.measures["accuracy"])
        return f"lowest accuracy {worst.measures['accuracy']:.3f} where {worst} ({worst.rows} rows)"
    worst = max(judged, key=lambda one: one.measures.get("mae", 0.0))
    error = worst.measures.get("mae", 0.0)
    beside = f", {error / whole:.2f} x that of all rows" if whole else ""
    return f"largest mae {error:.3g} where {worst} ({worst.rows} rows){beside}"


def calibration(measured: Measured, rule: CalibrationRule) -> Iterator[Verdict]:
    """Do probabilities mean what they say? Numbers claim none; classes without them leave it unknown."""
    if rule.error is None and rule.brier is None:
        return
    if measured.answers == "numbers":
        yield _passed("calibration", "answers with numbers, which claim no probability")
        return
    if measured.answers == "classes":
        yield _passed("calibration", "answers with classes alone, which the policy lets be (where_given)") \
            if not rule.required else _unknown("calibration", _NO_PROBABILITIES)
        return
    found: Calibration | None = measured.calibration
    if found is None:
        yield _unknown("calibration", "calibration not measured")
        return
    for gate, figure, most in (("calibration", found.error, rule.error), ("brier", found.brier, rule.brier)):
        if most is not None:
            name = f"calibration error ({found.bins} bins)" if gate == "calibration" else "Brier score"
            interval = f"(95 % {figure.low:.3f} to {figure.high:.3f})"
            good = figure.value <= most
            text = f"{name} {figure.value:.3f} {interval} {'<=' if good else '>'} {most:.3f}"
            outcome = Outcome.PASSED if good else Outcome.FAILED
            yield Verdict(gate, outcome, text, figure.value, most, (figure.low, figure.high))


def overlap(found: Overlap | None, rule: OverlapRule, why: str) -> Verdict:
    """Was the model judged on rows that it was trained on?"""
    if found is None:
        return _unknown("overlap", f"overlap with the training rows: {why}")
    shares = {"copies": (found.copies, rule.copies), "alike": (found.alike, rule.alike)}
    over = [name for name, (count, most) in shares.items() if most is not None and count > most * found.rows]
    if over:
        told = {"copies": f"{found.copies} of {found.rows} held-out rows also trained the model",
                "alike": f"{found.alike} of {found.rows} held-out rows have inputs like a training row's"}
        return Verdict("overlap", Outcome.FAILED,
                       "; ".join(f"{told[name]} (at most {shares[name][1]:.1%})" for name in over),
                       found.copies / found.rows, rule.copies)
    return Verdict("overlap", Outcome.PASSED, f"{found.copies} of {found.rows} held-out rows among {found.trained} "
                   f"that trained, {found.alike} alike", found.copies / found.rows, rule.copies)


def compatibility(found: Compatibility | None, champion: Champion | None, why: str) -> Verdict:
    """Does whoever calls the champion of this moment get along with the candidate?"""
    if found is None:
        return _unknown("signature", f"signature: {why}")
    told = f"{_counted(found.inputs, 'input')}, {_counted(found.outputs, 'output')}"
    if champion is None:
        return _passed("signature", f"{told}; no champion to agree with")
    if (found.champion, found.champion_digest) != (champion.number, champion.digest or found.champion_digest):
        return _unknown("signature", f"signature compared with {found.champion}, but {champion.number} is champion now")
    if found.breaks:
        return Verdict("signature", Outcome.FAILED, f"breaks callers of {champion.number}: {_some(found.breaks)}")
    changes = f"; new: {_some(found.changes)}" if found.changes else ""
    return _passed("signature", f"{told}, as champion {champion.number} takes and gives{changes}")


def dependencies(found: Sequence[Dependency] | None, rule: DependencyRule) -> Verdict:
    """Is each dependency pinned, and under a licence that the policy allows?"""
    if found is None:
        return _unknown("dependencies", "the model lists no requirements.txt")
    bad = [f"{one.name} is not pinned" for one in found if rule.pinned and one.version is None]
    strange = []
    for one in found:
        standing = licences.weigh(one.licence, rule.allow, rule.deny)
        if standing is licences.Standing.DENIED:
            bad.append(f"{one.name} is under {one.licence}")
        elif standing is licences.Standing.UNKNOWN and rule.unknown_blocks:
            strange.append(f"{one.name}: {one.licence} is neither allowed nor denied" if one.licence
                           else f"{one.name}: licence unknown")
    if bad:
        return Verdict("dependencies", Outcome.FAILED, _some(bad))
    if strange:
        return _unknown("dependencies", _some(strange))
    named = ", ".join(sorted({one.licence for one in found if one.licence}))
    return _passed("dependencies", f"{len(found)}, all pinned: {named}" if rule.pinned else f"{len(found)}: {named}")


def serving(found: Rehearsal | None, rule: ServingRule, why: str) -> Iterator[Verdict]:
    """Does it load and answer its golden requests where it will serve, and within the budgets?"""
    if found is None:
        yield _unknown("serving", f"not rehearsed: {why}")
        return
    if found.refused:
        yield Verdict("serving", Outcome.FAILED, f"cannot be served: {found.refused}")
        return
    text = (f"{found.alike} of {found.golden} golden requests answered alike, difference {found.difference:.1e} "
            f"(at most {found.tolerance:.0e})")
    if not found.golden:
        yield _unknown("serving", f"no golden requests to compare answers on (log it with an input_example of "
                       f"{ENOUGH_GOLDEN} rows)")
        return
    good = found.alike == found.golden and found.difference <= found.tolerance
    yield Verdict("serving", Outcome.PASSED if good else Outcome.FAILED, text, found.difference, found.tolerance)
    budgets = (("latency_p50", found.p50_ms, rule.latency_p50_ms, "ms"),
               ("latency_p99", found.p99_ms, rule.latency_p99_ms, "ms"),
               ("memory", found.memory_mb, rule.memory_mb, "MB"), ("bundle", found.bundle_mb, rule.bundle_mb, "MB"))
    for gate, value, most, unit in budgets:
        if most is not None:
            within = value <= most
            text = f"{gate} {value:.4g} {unit} {'<=' if within else '>'} {most:g} {unit}"
            yield Verdict(gate, Outcome.PASSED if within else Outcome.FAILED, text, value, most)


def engine(found: Rehearsal, allowed: Sequence[str]) -> Iterator[Verdict]:
    """May what ran the rehearsal serve? Says nothing of ONNX, which every policy means unless it says otherwise."""
    if found.refused or (found.engine == "onnx" and "onnx" in allowed):
        return
    told = f"{found.engine} runs it: {found.unconverted or 'asked for'}"
    if found.engine in allowed:
        yield _passed("engine", f"{told}; allowed by `engines`")
        return
    only = ", ".join(allowed) or "nothing"
    yield Verdict("engine", Outcome.FAILED,
                  f"{told}; `engines` in the policy allows {only}: use another estimator, or add {found.engine} there")


def formats(measured: Measured, files: Sequence[str], allowed: Sequence[str]) -> Verdict:
    """Is every file of a format on the list, and did a look inside find nothing that could run code?"""
    if measured.scan is None or measured.scan.files != len(files):
        return _unknown("formats", "not every file was looked into")
    fits = fitting(allowed)
    strange = [path for path in files if not fits(path.rpartition("/")[2])]
    bad = [f"{path} is of no allowed format" for path in strange] + list(measured.scan.findings)
    if bad:
        return Verdict("formats", Outcome.FAILED, _some(bad))
    return _passed("formats", f"{len(files)} files looked into: allowed formats, no code, no custom objects")


def notes(measured: Measured | None) -> Iterator[tuple[str, str]]:
    """What is worth saying of a gate whatever its verdict, and what to do about it? Decides nothing."""
    rehearsed = measured.rehearsal if measured else None
    if rehearsed and 0 < rehearsed.golden < FEW_GOLDEN:
        yield "serving", (f"{_counted(rehearsed.golden, 'golden request')} tell little of how it answers all others; "
                          f"log it with an input_example of {ENOUGH_GOLDEN} rows")


def _passed(gate: str, reason: str) -> Verdict:
    return Verdict(gate, Outcome.PASSED, reason)


def _unknown(gate: str, reason: str) -> Verdict:
    return Verdict(gate, Outcome.UNKNOWN, reason)


def _counted(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"


def _some(told: Sequence[str]) -> str:
    more = f"; and {len(told) - _SHOWN} more" if len(told) > _SHOWN else ""
    return "; ".join(told[:_SHOWN]) + more
