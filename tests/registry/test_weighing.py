"""Every gate on what was measured: what passes, what fails, and what nobody knows."""

from __future__ import annotations

from dataclasses import replace

import pytest

from registry import weighing
from registry.gates import Champion, GateRules, judge
from registry.licences import Standing, spelled, weigh
from registry.measured import Calibration, Compatibility, Dependency, Figure, Measured, Overlap, Rehearsal, Scan, Slice
from registry.policy import load, parse
from registry.wire import EvidenceShape, read
from registry.words import Measure, Outcome, Stage, Verdict
from tests.registry import saying

RULES = parse("schema: 1", "built in").rules("any", Stage.PRODUCTION).gates.more
MEASURED = saying.evidence().measured
assert MEASURED is not None
GOOD: Measured = MEASURED
FILES = ["model.onnx"]


def verdicts(measured: Measured | None, champion: Champion | None = None, whole: float | None = None,
             files: list[str] = FILES) -> dict[str, Verdict]:
    return {verdict.gate: verdict for verdict in weighing.weigh(measured, RULES, champion, files, whole)}


def outcome(gate: str, measured: Measured, **how: object) -> Outcome:
    return verdicts(measured, **how)[gate].outcome  # type: ignore[arg-type]  # passed on as they are


def test_everything_good_passes_and_every_gate_speaks() -> None:
    found = verdicts(GOOD)
    assert {verdict.outcome for verdict in found.values()} == {Outcome.PASSED}
    assert set(found) == {"slices", "calibration", "overlap", "signature", "dependencies", "serving", "latency_p50",
                          "latency_p99", "memory", "bundle", "formats"}


def test_evidence_from_before_these_gates_still_reads_and_is_unknown() -> None:
    old = saying.evidence().model_dump(mode="json", by_alias=True)
    del old["measured"]
    again = read(EvidenceShape, EvidenceShape.model_validate(old).dump())
    assert again.measured is None
    (verdict,) = verdicts(again.measured).values()
    assert verdict.outcome is Outcome.UNKNOWN
    assert "calibration" in verdict.reason


def test_measurements_survive_the_journey_and_unknown_keys_do_not() -> None:
    shape = saying.evidence()
    assert read(EvidenceShape, shape.dump()).measured == GOOD
    text = shape.dump().replace('"answers":', '"surprise":1,"answers":')
    with pytest.raises(ValueError, match=r"measured\.surprise"):
        read(EvidenceShape, text)


@pytest.mark.parametrize("gate", ["overlap", "signature", "dependencies", "serving", "formats", "calibration"])
def test_what_was_not_measured_is_unknown(gate: str) -> None:
    blind = Measured("probabilities", unmeasured={"overlap": "digests were not logged"})
    assert outcome(gate, blind) is Outcome.UNKNOWN


# --- slices

NORTH = Slice("region", "north", 100, {"accuracy": 0.45})
SOUTH = Slice("region", "south", 900, {"accuracy": 0.95})


def test_one_bad_slice_fails_whatever_the_whole_is_worth() -> None:
    verdict = verdicts(replace(GOOD, slices=(NORTH, SOUTH)))["slices"]
    assert verdict.outcome is Outcome.FAILED
    assert verdict.reason == "accuracy 0.450 < 0.500 where region=north (100 rows)"


def test_a_slice_of_too_few_rows_is_said_and_not_judged_unless_its_column_is_required() -> None:
    few = replace(GOOD, slices=(replace(NORTH, rows=29), SOUTH))
    verdict = verdicts(few)["slices"]
    assert (verdict.outcome, "1 of 2 slices under 30 rows" in verdict.reason) == (Outcome.PASSED, True)
    required = weighing.SliceRule({"accuracy": 0.5}, None, 30, ("region",))
    assert weighing.slices(few.slices, required, None).outcome is Outcome.UNKNOWN
    assert weighing.slices((), required, None).outcome is Outcome.UNKNOWN


def test_a_slices_error_is_held_against_that_of_all_rows() -> None:
    bad = replace(GOOD, answers="numbers", slices=(Slice("time", "old", 50, {"mae": 2.1}),))
    assert outcome("slices", bad, whole=1.0) is Outcome.FAILED
    assert outcome("slices", bad, whole=1.1) is Outcome.PASSED


# --- calibration, overlap


@pytest.mark.parametrize(("error", "wanted"), [(0.2, Outcome.PASSED), (0.21, Outcome.FAILED)])
def test_probabilities_have_to_mean_what_they_say(error: float, wanted: Outcome) -> None:
    found = Calibration(15, Figure(error, 0.1, 0.3), Figure(0.2, 0.1, 0.3))
    assert outcome("calibration", replace(GOOD, answers="probabilities", calibration=found)) is wanted
    assert outcome("calibration", replace(GOOD, answers="probabilities", calibration=None)) is Outcome.UNKNOWN


def test_numbers_claim_no_probability_and_where_nothing_is_asked_nothing_is_said() -> None:
    assert outcome("calibration", replace(GOOD, answers="numbers", calibration=None)) is Outcome.PASSED
    assert not list(weighing.calibration(replace(GOOD, answers="classes"), weighing.CalibrationRule(None, None)))


@pytest.mark.parametrize(("golden", "noted"), [(0, False), (1, True), (7, True), (8, False), (32, False)])
def test_few_golden_requests_are_noted_and_block_nothing(golden: int, noted: bool) -> None:
    assert GOOD.rehearsal
    found = replace(GOOD, rehearsal=replace(GOOD.rehearsal, golden=golden, alike=golden))
    told = [said for gate, said in weighing.notes(found) if gate == "serving"]
    assert [said.startswith(f"{golden} golden request") for said in told] == [True] * noted
    assert outcome("serving", found) is (Outcome.PASSED if golden else Outcome.UNKNOWN)
    assert not list(weighing.notes(None))


@pytest.mark.parametrize(
    ("copies", "alike", "wanted"), [(0, 10, Outcome.PASSED), (1, 1, Outcome.FAILED), (0, 11, Outcome.FAILED)]
)
def test_one_held_out_row_that_also_trained_fails(copies: int, alike: int, wanted: Outcome) -> None:
    assert outcome("overlap", replace(GOOD, overlap=Overlap(100, 400, copies, alike, "d" * 64))) is wanted


# --- signature


def test_a_signature_is_held_against_the_champion_of_this_moment() -> None:
    champion, digest = Champion(2, "c" * 64), "c" * 64
    fits = Compatibility(1, 1, 2, digest, (), ("output score",))
    assert outcome("signature", replace(GOOD, compatibility=fits), champion=champion) is Outcome.PASSED
    broken = replace(fits, breaks=("input x is gone",))
    assert outcome("signature", replace(GOOD, compatibility=broken), champion=champion) is Outcome.FAILED
    for other in (replace(fits, champion=1), replace(fits, champion_digest="d" * 64), Compatibility(1, 1)):
        assert outcome("signature", replace(GOOD, compatibility=other), champion=champion) is Outcome.UNKNOWN


# --- dependencies

NUMPY = Dependency("numpy", "2.4.6", "BSD-3-Clause")


@pytest.mark.parametrize(
    ("dependency", "wanted"),
    [
        (NUMPY, Outcome.PASSED),
        (replace(NUMPY, version=None), Outcome.FAILED),
        (replace(NUMPY, licence="GPL-3.0-only"), Outcome.FAILED),
        (replace(NUMPY, licence="LGPL-3.0-only"), Outcome.UNKNOWN),
        (replace(NUMPY, licence=None), Outcome.UNKNOWN),
    ],
)
def test_dependencies_are_pinned_and_under_known_licences(dependency: Dependency, wanted: Outcome) -> None:
    assert outcome("dependencies", replace(GOOD, dependencies=(NUMPY, dependency))) is wanted


@pytest.mark.parametrize(
    ("expression", "standing"),
    [
        ("MIT", Standing.ALLOWED),
        ("MIT OR GPL-3.0-only", Standing.ALLOWED),
        ("MIT AND GPL-3.0-only", Standing.DENIED),
        ("MIT AND (Zlib OR Nobody-1.0)", Standing.ALLOWED),
        ("MIT AND Nobody-1.0", Standing.UNKNOWN),
        ("Apache-2.0 WITH LLVM-exception", Standing.ALLOWED),
        ("(MIT", Standing.UNKNOWN),
        ("MIT Zlib", Standing.UNKNOWN),
        ("", Standing.UNKNOWN),
    ],
)
def test_a_licence_expression_is_read_as_spdx_means_it(expression: str, standing: Standing) -> None:
    assert weigh(expression, ("MIT", "Zlib", "Apache-*"), ("GPL-*",)) is standing


def test_licences_as_people_write_them() -> None:
    told = {"Apache Software License": "Apache-2.0", "Apache 2.0": "Apache-2.0", "BSD 3-Clause License": "BSD-3-Clause",
            "new BSD": "BSD-3-Clause", "The MIT License (MIT)": "MIT", "GNU GPLv3": "GPL-3.0-only", "mine": None}
    assert {text: spelled(text) for text in told} == told


# --- serving and formats

SERVED = GOOD.rehearsal
assert SERVED is not None


@pytest.mark.parametrize(
    ("change", "gate", "wanted"),
    [
        ({"refused": "tf2onnx does not know it"}, "serving", Outcome.FAILED),
        ({"alike": 7}, "serving", Outcome.FAILED),
        ({"difference": 2e-4}, "serving", Outcome.FAILED),
        ({"golden": 0, "alike": 0}, "serving", Outcome.UNKNOWN),
        ({"p50_ms": 251.0}, "latency_p50", Outcome.FAILED),
        ({"p99_ms": 1001.0}, "latency_p99", Outcome.FAILED),
        ({"memory_mb": 1025.0}, "memory", Outcome.FAILED),
        ({"bundle_mb": 151.0}, "bundle", Outcome.FAILED),
    ],
)
def test_a_rehearsal_that_went_badly_fails(change: dict[str, object], gate: str, wanted: Outcome) -> None:
    assert isinstance(SERVED, Rehearsal)
    bad = replace(SERVED, **change)  # type: ignore[arg-type]  # each of its field's type
    assert outcome(gate, replace(GOOD, rehearsal=bad)) is wanted


@pytest.mark.parametrize(
    ("engines", "engine", "wanted"),
    [(("onnx",), "skops", Outcome.FAILED), (("onnx", "skops"), "skops", Outcome.PASSED), ((), "onnx", Outcome.FAILED),
     (("skops",), "onnx", Outcome.FAILED)],
)
def test_what_runs_the_model_must_be_allowed_even_where_nothing_else_of_serving_is_asked(
    engines: tuple[str, ...], engine: str, wanted: Outcome
) -> None:
    assert isinstance(SERVED, Rehearsal)
    measured = replace(GOOD, rehearsal=replace(SERVED, engine=engine, unconverted="KernelRidge does not convert"))
    rules = weighing.MeasuredRules(engines=engines)
    (verdict,) = weighing.weigh(measured, rules, None, (), None)
    assert (verdict.gate, verdict.outcome) == ("engine", wanted)
    assert "KernelRidge does not convert" in verdict.reason


def test_onnx_where_it_is_allowed_is_not_remarked_upon() -> None:
    assert not list(weighing.weigh(GOOD, weighing.MeasuredRules(), None, (), None))


def test_a_file_of_no_allowed_format_fails_and_one_not_looked_into_is_unknown() -> None:
    assert outcome("formats", replace(GOOD, scan=Scan(2)), files=["model.onnx", "code/x.py"]) is Outcome.FAILED
    assert outcome("formats", replace(GOOD, scan=Scan(1, ("model.keras: holds the Lambda layer",)))) is Outcome.FAILED
    assert outcome("formats", GOOD, files=["model.onnx", "other.onnx"]) is Outcome.UNKNOWN


def test_the_shipped_policy_has_every_gate_switched_on() -> None:
    rules = load().rules("any", Stage.PRODUCTION).gates
    assert all(getattr(rules.more, name) for name in weighing.MeasuredRules.__dataclass_fields__)


def test_null_takes_a_gate_away_for_one_model_alone() -> None:
    policy = parse("schema: 1\nmodels: {images: {gates: {serving: null, calibration: {error: null}}}}", "mine")
    mine, other = (policy.rules(name, Stage.PRODUCTION).gates.more for name in ("images", "texts"))
    assert mine.serving is None
    assert other.serving is not None
    assert mine.calibration == weighing.CalibrationRule(None, None)


def test_rules_without_these_gates_say_nothing_about_them() -> None:
    assert judge((Measure("accuracy", 1.0),), None, GateRules({}, {}, None), None) == ()


# --- each limit, and what a reviewer reads of it

REGION = weighing.SliceRule({"accuracy": 0.5}, 2.0, 30, ("region",))
BARE = weighing.SliceRule({"accuracy": 0.5}, None, 30)
OLD, NEW = Slice("time", "old", 50, {"mae": 2.0}), Slice("time", "new", 60, {"mae": 1.0})
ODD = Slice("time", "none", 60, {"r2": 0.1})


@pytest.mark.parametrize(
    ("found", "rule", "whole", "wanted", "told"),
    [
        ((NORTH, SOUTH), replace(REGION, floors={"accuracy": 0.45}), None, Outcome.PASSED,
         "2 slices, lowest accuracy 0.450 where region=north (100 rows)"),
        ((replace(NORTH, rows=30, measures={"accuracy": 0.5}), SOUTH), REGION, None, Outcome.PASSED,
         "2 slices, lowest accuracy 0.500 where region=north (30 rows)"),
        ((replace(NORTH, rows=29), SOUTH), REGION, None, Outcome.UNKNOWN,
         "region=north has 29 rows (wanted at least 30 rows each)"),
        ((replace(OLD, rows=29), SOUTH), REGION, None, Outcome.PASSED,
         "1 slices, lowest accuracy 0.950 where region=south (900 rows); 1 of 2 slices under 30 rows, not judged"),
        ((OLD,), REGION, None, Outcome.UNKNOWN, "no slices by region (wanted at least 30 rows each)"),
        ((replace(OLD, rows=29),), BARE, None, Outcome.PASSED, "1 of 1 slices under 30 rows, not judged"),
        ((), BARE, None, Outcome.PASSED, "no column to slice by was named"),
        ((OLD, NEW), replace(BARE, error_ratio=2.0), 1.0, Outcome.PASSED,
         "2 slices, largest mae 2 where time=old (50 rows), 2.00 x that of all rows"),
        ((OLD, NEW), replace(BARE, error_ratio=1.9), 1.0, Outcome.FAILED, "mae 2 > 1.9 x 1 where time=old (50 rows)"),
        ((OLD, NEW), BARE, 0.1, Outcome.PASSED, "2 slices, largest mae 2 where time=old (50 rows), 20.00 x that of all "
         "rows"),
        ((OLD, NEW), replace(BARE, error_ratio=2.0), None, Outcome.PASSED,
         "2 slices, largest mae 2 where time=old (50 rows)"),
        ((SOUTH, ODD), replace(BARE, error_ratio=2.0), 1.0, Outcome.PASSED,
         "2 slices, largest mae 0 where region=south (900 rows), 0.00 x that of all rows"),
        ((ODD, replace(OLD, measures={"mae": 0.5})), BARE, None, Outcome.PASSED,
         "2 slices, largest mae 0.5 where time=old (50 rows)"),
        ((NORTH,) * 3, BARE, None, Outcome.FAILED,
         "; ".join(["accuracy 0.450 < 0.500 where region=north (100 rows)"] * 3)),
        ((NORTH,) * 5, BARE, None, Outcome.FAILED,
         "; ".join(["accuracy 0.450 < 0.500 where region=north (100 rows)"] * 3) + "; and 2 more"),
    ],
)  # fmt: skip
def test_slices_are_judged_at_their_limits_and_told(
    found: tuple[Slice, ...], rule: weighing.SliceRule, whole: float | None, wanted: Outcome, told: str
) -> None:
    verdict = weighing.slices(found, rule, whole)
    assert (verdict.gate, verdict.outcome, verdict.reason) == ("slices", wanted, told)


@pytest.mark.parametrize(("brier", "wanted"), [(0.3, Outcome.PASSED), (0.31, Outcome.FAILED)])
def test_the_brier_score_is_a_gate_of_its_own(brier: float, wanted: Outcome) -> None:
    found = Calibration(15, Figure(0.1, 0.05, 0.2), Figure(brier, 0.2, 0.4))
    measured = replace(GOOD, answers="probabilities", calibration=found)
    error, score = weighing.calibration(measured, weighing.CalibrationRule(0.1, 0.3))
    assert (error.gate, error.outcome, error.found, error.interval) == ("calibration", Outcome.PASSED, 0.1, (0.05, 0.2))
    assert error.reason == "calibration error (15 bins) 0.100 (95 % 0.050 to 0.200) <= 0.100"
    assert (score.gate, score.outcome, score.wanted, score.interval) == ("brier", wanted, 0.3, (0.2, 0.4))
    assert score.reason.startswith(f"Brier score {brier:.3f} (95 % 0.200 to 0.400)")
    assert [v.gate for v in weighing.calibration(measured, weighing.CalibrationRule(None, 0.3))] == ["brier"]


def test_an_overlap_tells_the_share_and_is_held_only_to_what_the_policy_limits() -> None:
    found = Overlap(100, 400, 5, 50, "d" * 64)
    for rule, wanted in ((weighing.OverlapRule(0.05, None), Outcome.PASSED),
                         (weighing.OverlapRule(0.04, None), Outcome.FAILED),
                         (weighing.OverlapRule(None, 0.5), Outcome.PASSED),
                         (weighing.OverlapRule(None, None), Outcome.PASSED)):  # fmt: skip
        verdict = weighing.overlap(found, rule, "")
        assert (verdict.outcome, verdict.found, verdict.wanted) == (wanted, 0.05, rule.copies), rule


def test_what_is_unknown_says_why_where_the_check_did() -> None:
    silent = verdicts(Measured("classes"))
    assert [silent[gate].reason for gate in ("overlap", "signature", "serving")] == [
        "overlap with the training rows: not measured", "signature: not compared", "not rehearsed: not rehearsed",
    ]  # fmt: skip
    told = verdicts(Measured("classes", unmeasured={"overlap": "a", "signature": "b", "serving": "c"}))
    assert [told[gate].reason[-3:] for gate in ("overlap", "signature", "serving")] == [": a", ": b", ": c"]


def test_a_signature_is_told_with_what_is_new_and_a_champion_without_digest_is_known_by_number() -> None:
    fits = Compatibility(1, 2, 2, "c" * 64, (), ("output score",))
    told = verdicts(replace(GOOD, compatibility=fits), Champion(2, None))["signature"]
    assert told.reason == "1 input, 2 outputs, as champion 2 takes and gives; new: output score"
    same = verdicts(replace(GOOD, compatibility=replace(fits, changes=())), Champion(2, None))["signature"]
    assert same.reason == "1 input, 2 outputs, as champion 2 takes and gives"


MINE = Dependency("mine", None, None)
ZLIB = Dependency("zlib", "1", "Zlib")


@pytest.mark.parametrize(
    ("dependency", "pinned", "blocks", "wanted", "told"),
    [
        (MINE, True, True, Outcome.FAILED, "mine is not pinned"),
        (MINE, False, True, Outcome.UNKNOWN, "mine: licence unknown"),
        (replace(MINE, licence="Own-1.0"), False, True, Outcome.UNKNOWN, "mine: Own-1.0 is neither allowed nor denied"),
        (MINE, False, False, Outcome.PASSED, "3: BSD-3-Clause, Zlib"),
        (replace(MINE, version="1"), True, False, Outcome.PASSED, "3, all pinned: BSD-3-Clause, Zlib"),
    ],
)
def test_pins_and_unknown_licences_block_where_the_policy_says(
    dependency: Dependency, pinned: bool, blocks: bool, wanted: Outcome, told: str
) -> None:
    rule = weighing.DependencyRule(pinned, ("BSD-*", "Zlib"), (), blocks)
    verdict = weighing.dependencies((ZLIB, NUMPY, dependency), rule)
    assert (verdict.outcome, verdict.reason) == (wanted, told)


def test_a_rehearsal_at_each_of_its_limits_passes() -> None:
    assert isinstance(SERVED, Rehearsal)
    brink = replace(SERVED, difference=SERVED.tolerance, p50_ms=5, p99_ms=6, memory_mb=7, bundle_mb=8)
    found = weighing.serving(brink, weighing.ServingRule(5, 6, 7, 8), "")
    assert [(v.gate, v.outcome) for v in found] == [
        (gate, Outcome.PASSED) for gate in ("serving", "latency_p50", "latency_p99", "memory", "bundle")
    ]


def test_of_what_cannot_be_served_no_engine_is_blamed() -> None:
    assert isinstance(SERVED, Rehearsal)
    assert not list(weighing.engine(replace(SERVED, refused="no converter", engine="skops"), ("onnx",)))
