"""What do the numbers say? Each gate turns measurements and its rule into a verdict. No I/O happens here."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from registry import weighing
from registry.measured import Measured
from registry.patterns import fitting
from registry.weighing import MeasuredRules
from registry.words import Measure, Outcome, Paired, Verdict

NUMERIC = frozenset({"mae", "rmse", "r2"})


@dataclass(frozen=True, slots=True)
class NotWorse:
    """How much worse than the champion a candidate may be.

    `margin` in accuracy (0.01 is one point), `significance` of a drop in it; `error_margin` as a share of mean error.
    """

    margin: float
    significance: float
    error_margin: float = 0.05


@dataclass(frozen=True, slots=True)
class GateRules:
    """Which gates apply: floors and ceilings by measure, the comparison with the champion, files that may not be."""

    floors: Mapping[str, float]
    ceilings: Mapping[str, float]
    not_worse: NotWorse | None
    forbidden_files: tuple[str, ...] = ()
    more: MeasuredRules = field(default_factory=MeasuredRules)


@dataclass(frozen=True, slots=True)
class Champion:
    """The version in Production now; its digest is None when nobody recorded it."""

    number: int
    digest: str | None


def rival(champion: Champion | None, number: int) -> Champion | None:
    """The champion that version `number` has to stand up to; none, when it is the champion itself."""
    return champion if champion and champion.number != number else None


def judge(
    measures: tuple[Measure, ...],
    paired: Paired | None,
    rules: GateRules,
    champion: Champion | None,
    files: Sequence[str] = (),
    measured: Measured | None = None,
) -> tuple[Verdict, ...]:
    """Weigh one version's measurements; a measure that is missing gives an unknown verdict, which blocks."""
    found = {measure.name: measure.value for measure in measures}
    verdicts = [_floor(name, floor, found.get(name)) for name, floor in rules.floors.items() if _fits(name, found)]
    verdicts += [_ceiling(name, limit, found.get(name)) for name, limit in rules.ceilings.items() if _fits(name, found)]
    if rules.not_worse:
        verdicts.append(not_worse(paired, champion, rules.not_worse))
    if rules.forbidden_files:
        verdicts.append(_files(files, rules.forbidden_files))
    verdicts += weighing.weigh(measured, rules.more, champion, files, found.get("mae"))
    return tuple(verdicts)


def _files(files: Sequence[str], forbidden: Sequence[str]) -> Verdict:
    """Some formats run code while they are loaded; a version that is to be served has none of them."""
    fits = fitting(forbidden)
    found = [path for path in files if fits(path.lower())]
    if not files:
        return Verdict("files", Outcome.UNKNOWN, "files not listed")
    if found:
        return Verdict("files", Outcome.FAILED, f"files that may run code: {', '.join(found)}")
    return Verdict("files", Outcome.PASSED, f"{len(files)} files, none that may run code")


def _fits(name: str, found: Mapping[str, float]) -> bool:
    """Does this rule speak of this kind of model? Where nothing was measured every rule does, and blocks."""
    return not found or (name in NUMERIC) == (found.keys() >= NUMERIC)


def _floor(name: str, floor: float, found: float | None) -> Verdict:
    if found is None:
        return Verdict(name, Outcome.UNKNOWN, f"{name} not measured (wanted >= {floor:.3f})", None, floor)
    if found >= floor:
        return Verdict(name, Outcome.PASSED, f"{name} {found:.3f} >= {floor:.3f}", found, floor)
    return Verdict(name, Outcome.FAILED, f"{name} {found:.3f} < {floor:.3f}", found, floor)


def _ceiling(name: str, ceiling: float, found: float | None) -> Verdict:
    if found is None:
        return Verdict(name, Outcome.UNKNOWN, f"{name} not measured (wanted <= {ceiling:.3f})", None, ceiling)
    if found <= ceiling:
        return Verdict(name, Outcome.PASSED, f"{name} {found:.3f} <= {ceiling:.3f}", found, ceiling)
    return Verdict(name, Outcome.FAILED, f"{name} {found:.3f} > {ceiling:.3f}", found, ceiling)


def not_worse(paired: Paired | None, champion: Champion | None, rule: NotWorse) -> Verdict:
    """Is the candidate no worse than the champion of this moment, on the same rows?

    Fails on a significant drop (exact McNemar test, one-sided: only a drop can fail) or one beyond the margin.
    With no champion there is nothing to be worse than: passed, and said.
    """
    gate = "not_worse"
    if champion is None:
        return Verdict(gate, Outcome.PASSED, "no champion to compare with")
    if paired is None:
        return Verdict(gate, Outcome.UNKNOWN, f"not compared with champion {champion.number}")
    if (paired.champion, paired.champion_digest) != (champion.number, champion.digest or paired.champion_digest):
        return Verdict(gate, Outcome.UNKNOWN, f"compared with {paired.champion}, but {champion.number} is champion now")
    if paired.relative:
        return _not_worse_in_error(paired.relative, champion, rule)
    gain = (paired.only_candidate - paired.only_champion) / paired.rows
    interval = paired_interval(paired.only_candidate, paired.only_champion, paired.rows)
    told = f"accuracy {gain:+.3f} against champion {champion.number} (95 % {interval[0]:+.3f} to {interval[1]:+.3f})"
    told += f" on the {paired.rows} rows it did not train on" if paired.left_out else ""
    p_worse = binomial_tail(paired.only_champion, paired.only_candidate + paired.only_champion)
    outcome, why = Outcome.PASSED, _leaning(paired, rule)
    if gain < -rule.margin:
        outcome, why = Outcome.FAILED, f"beyond the margin {rule.margin:.3f}"
    elif gain < 0 and p_worse < rule.significance:
        outcome, why = Outcome.FAILED, f"worse (p {p_worse:.3f})"
    return Verdict(gate, outcome, f"{told}: {why}", gain, -rule.margin, interval)


def _not_worse_in_error(relative: tuple[float, float, float], champion: Champion, rule: NotWorse) -> Verdict:
    gain, low, high = relative
    told = f"mean error {-gain:+.1%} against champion {champion.number} (90 % {-high:+.1%} to {-low:+.1%})"
    outcome, why = Outcome.PASSED, "smaller" if low > 0 else "within noise"
    if high < 0:
        outcome, why = Outcome.FAILED, "larger beyond noise"
    elif gain < -rule.error_margin:
        outcome, why = Outcome.FAILED, f"beyond the margin {rule.error_margin:.0%}"
    return Verdict("not_worse", outcome, f"{told}: {why}", gain, -rule.error_margin, (low, high))


def _leaning(paired: Paired, rule: NotWorse) -> str:
    better = binomial_tail(paired.only_candidate, paired.only_candidate + paired.only_champion)
    return f"better (p {better:.3f})" if better < rule.significance else "within noise"


def binomial_tail(at_least: int, trials: int) -> float:
    """P(X >= at_least) for X ~ Binomial(trials, 1/2), exact: the one-sided McNemar test on discordant pairs."""
    term = total = math.comb(trials, at_least)
    for k in range(at_least, trials):
        term = term * (trials - k) // (k + 1)
        total += term
    return float(total / 2**trials)


def paired_interval(only_candidate: int, only_champion: int, rows: int) -> tuple[float, float]:
    """The 95 % interval of a difference between paired proportions.

    Agresti and Min (2005), "Simple improved confidence intervals for comparing matched proportions",
    Statistics in Medicine 24: half an observation is added to each of the four cells.
    """
    b, c, n = only_candidate + 0.5, only_champion + 0.5, rows + 2
    middle = (b - c) / n
    half = 1.959964 * math.sqrt(b + c - (b - c) ** 2 / n) / n
    return max(-1.0, middle - half), min(1.0, middle + half)
