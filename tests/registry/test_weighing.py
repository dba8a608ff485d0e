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


@pytest.mark.parametrize("gate", ["overlap", "signature", "dependencies", "serving", "formats"])
def test_what_was_not_measured_is_unknown(gate: str) -> None:
    blind = Measured("classes", unmeasured={"overlap": "digests were not logged"})
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
    assert outcome("calibration", replace(GOOD, answers="probabilities")) is Outcome.UNKNOWN


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
