"""What each step of a plan for Lambda is made of, and when it is left out: by value, without any AWS."""

from __future__ import annotations

import base64
from dataclasses import replace
from pathlib import Path

import pytest

from serving.aws import FunctionState, LayerState, Offer
from serving.config import Settings
from serving.errors import Refused
from serving.plan import Begin, Done, Plan, Step, Upload
from serving.runtime.manifest import Manifest, Parity
from serving.targets.lambda_ import planning
from serving.targets.lambda_.around import Around
from serving.targets.lambda_.planning import Observed, Wanted, choose_runtime, facts, require_fits, runs, spec_of
from serving.targets.lambda_.steps import (
    AskGolden,
    CreateFunction,
    PointAlias,
    PublishLayer,
    PublishVersion,
    Shift,
    UpdateCode,
    UpdateConfiguration,
)

from .test_plan import CONFIG, LOGBOOK, PUBLISHED, SHIPPED, SPEC, in_service, state
from .test_plan import wanted as wanted  # a fixture

ON_ARM = replace(CONFIG, architecture="arm64")


def planned(wanted: Wanted, observed: Observed) -> Plan:
    return planning.plan(wanted, observed, LOGBOOK, lambda: wanted.code.path)


def steps(wanted: Wanted, observed: Observed) -> list[Step]:
    return list(planned(wanted, observed).steps[1:-1])


def noted(wanted: Wanted, observed: Observed) -> Begin:
    first, *_, last = planned(wanted, observed).steps
    assert isinstance(first, Begin)
    assert last == Done(first)
    return first


def test_a_first_deploy_makes_everything_of_what_was_wanted(wanted: Wanted) -> None:
    *uploads, layer, create, publish, ask, point = steps(wanted, Observed(frozenset(), (), "", None, (), None))
    built = wanted.code.path
    assert uploads[:2] == [*wanted.bundle, wanted.code]
    (zipped,) = uploads[2:]
    assert isinstance(zipped, Upload)
    assert (zipped.bucket, zipped.key, zipped.path, zipped.size) == (
        "bucket", wanted.layer_key, built, built.stat().st_size)
    assert layer == PublishLayer("layer", "bucket", wanted.layer_key, "python3.12", "x86_64", "identity")
    assert create == CreateFunction(SPEC, "bucket", wanted.code.key)
    assert publish == PublishVersion("slipway-m", SPEC.code_sha256, SPEC.description)
    assert (ask, point) == (AskGolden("slipway-m", None), PointAlias("slipway-m", "production", None, None))
    begin = noted(wanted, Observed(frozenset(), (), "", None, (), None))
    assert begin.shipped == SHIPPED.model_copy(update={"layer_sha256": zipped.sha256})
    assert (begin.seq, begin.published, begin.previous) == (1, "", "")


def test_only_what_is_missing_is_uploaded(wanted: Wanted) -> None:
    there = in_service(wanted)
    for missing in (wanted.bundle[0], wanted.code):
        lacks = replace(there, stored=there.stored - {missing.key})
        assert steps(wanted, lacks) == [missing]


def test_a_layer_whose_zip_is_stored_is_published_from_it(wanted: Wanted) -> None:
    there = in_service(wanted)
    observed = replace(there, layers=(LayerState("arn:layer:9", "another"),), stored=there.stored | {wanted.layer_key})
    first, *rest = steps(wanted, observed)
    assert isinstance(first, PublishLayer)
    assert [type(step) for step in rest] == [UpdateConfiguration, PublishVersion, AskGolden, PointAlias]
    assert noted(wanted, observed).shipped.model_dump()["layer_sha256"] == "l", "what lies there"


def test_the_journal_says_which_version_serves_and_which_is_to_come(wanted: Wanted) -> None:
    begin = noted(wanted, replace(in_service(wanted), alias="2"))
    assert (begin.seq, begin.published, begin.previous, begin.bucket) == (3, "4", "2", "bucket")
    assert begin.shipped == SHIPPED.model_copy(update={"layer_sha256": "l"})


def test_what_the_journal_records_otherwise_is_noted_anew(wanted: Wanted) -> None:
    there = in_service(wanted)
    assert planned(wanted, there).steps == ()
    assert there.recorded
    other = there.recorded.model_copy(update={"layer_sha256": "other"})
    assert steps(wanted, replace(there, recorded=other)) == []
    assert len(planned(wanted, replace(there, recorded=other)).steps) == 2
    assert planned(wanted, there).title == "m/3 on Lambda as slipway-m:production"


@pytest.mark.parametrize(
    ("shares", "was", "kinds"),
    [
        ((), "2", [PointAlias]),
        ((1.0,), "2", [PointAlias]),
        ((0.1, 0.5, 1.0), "2", [Shift, Shift, PointAlias]),
        ((0.1, 0.5, 1.0), None, [PointAlias]),
        ((0.1, 0.5, 1.0), "4", [PointAlias]),
    ],
)
def test_a_new_version_takes_over_by_shares_where_another_one_serves(
    wanted: Wanted, shares: tuple[float, ...], was: str | None, kinds: list[type[Step]]
) -> None:
    slowly = replace(wanted, shares=shares, wait=9.0)
    observed = replace(in_service(wanted), alias=was, shared=was == "4")
    ask, *takeover = steps(slowly, observed)
    assert ask == AskGolden("slipway-m", "4")
    assert [type(step) for step in takeover] == kinds
    assert takeover[-1] == PointAlias("slipway-m", "production", "4", was)
    before = shares[: len(takeover) - 1]
    assert takeover[:-1] == [Shift("slipway-m", "production", "4", "2", share, 9.0) for share in before]


def test_of_versions_alike_the_newest_serves_and_any_of_equal_layers_will_do(wanted: Wanted) -> None:
    versions = (state(version="2"), state(version="3"), state(version="5", code_sha256="b2xk"))
    assert steps(wanted, replace(in_service(wanted), versions=versions, alias="3")) == []
    twice = (PUBLISHED, LayerState("arn:layer:2", "identity"))
    for layer in ("arn:layer:1", "arn:layer:2"):
        has = state(layers=(layer,))
        observed = replace(in_service(wanted), layers=twice, versions=(has,), latest=replace(has, version="$LATEST"))
        assert steps(wanted, observed) == [], layer


def test_a_new_version_keeps_the_equal_layer_that_the_function_has(wanted: Wanted) -> None:
    twice = (PUBLISHED, LayerState("arn:layer:2", "identity"))
    for has, kept in ((("arn:layer:2",), "arn:layer:2"), (("arn:layer:9",), "arn:layer:1"), ((), "arn:layer:1")):
        old = state(code_sha256="b2xk", layers=has)
        observed = replace(in_service(wanted), layers=twice, versions=(old,), latest=replace(old, version="$LATEST"))
        update = steps(wanted, observed)[0]
        assert isinstance(update, UpdateCode)
        assert update.spec.layer == kept


@pytest.mark.parametrize(
    ("latest", "kinds"),
    [
        (state(version="$LATEST"), [PublishVersion]),
        (state(code_sha256="b2xk"), [UpdateCode, PublishVersion]),
        (state(description="m/2"), [UpdateConfiguration, PublishVersion]),
        (state(layers=()), [UpdateConfiguration, PublishVersion]),
        (state(code_sha256="b2xk", description="m/2"), [UpdateCode, UpdateConfiguration, PublishVersion]),
        (state(configuration=ON_ARM), [UpdateCode, UpdateConfiguration, PublishVersion]),
    ],
)
def test_of_a_function_only_what_differs_is_changed(
    wanted: Wanted, latest: FunctionState, kinds: list[type[Step]]
) -> None:
    made = steps(wanted, replace(in_service(wanted), latest=latest, versions=()))
    assert [type(step) for step in made] == [*kinds, AskGolden, PointAlias]
    spec = replace(SPEC, layer="arn:layer:1")
    whole = {UpdateCode: UpdateCode(spec, "bucket", wanted.code.key),
             UpdateConfiguration: UpdateConfiguration(spec, latest.configuration),
             PublishVersion: PublishVersion("slipway-m", SPEC.code_sha256, SPEC.description)}
    assert made[: len(kinds)] == [whole[kind] for kind in kinds]


@pytest.mark.parametrize("change", [{"code_sha256": "b2xk"}, {"description": "m/2"}, {"configuration": ON_ARM},
                                    {"layers": ()}, {"layers": ("arn:layer:1", "arn:layer:2")}])
def test_a_function_runs_a_release_when_code_name_configuration_and_its_one_layer_are_those(
    change: dict[str, object]
) -> None:
    spec = replace(SPEC, layer="arn:layer:1")
    assert runs(state(version="99"), spec)
    assert not runs(state(**change), spec)


def test_a_function_is_named_after_its_release_and_known_by_the_bytes_of_its_code() -> None:
    shipped = SHIPPED.model_copy(update={"code": "00ff", "digest": "abc"})
    spec = spec_of(shipped, "f", layer="arn")
    assert (spec.name, spec.description, spec.layer, spec.configuration) == ("f", "m/3 abc", "arn", CONFIG)
    assert base64.b64decode(spec.code_sha256) == b"\x00\xff"


def test_what_it_costs_is_told_and_no_more() -> None:
    assert facts(SHIPPED) == ("1024 MB on x86_64, by the millisecond, at most 30 s a request",)
    rich = SHIPPED.model_copy(update={"configuration": replace(CONFIG, storage=513), "around": Around(provisioned=2)})
    assert [fact.split()[0] for fact in facts(rich)] == ["1024", "513", "2"]
    assert len(facts(SHIPPED.model_copy(update={"configuration": replace(CONFIG, storage=512)}))) == 1


def test_what_scikit_learn_itself_has_to_serve_fits_no_function() -> None:
    parity = Parity(1, 1, 0.0, 0.0)
    told = Manifest("m", 3, "r", "d", "t", "k", (), (), (), {"unconverted": "KernelRidge"}, parity, ())
    require_fits(told)
    with pytest.raises(Refused, match=r"m/3 is served by scikit-learn itself.* KernelRidge$"):
        require_fits(told._replace(engine="skops"))


def test_the_python_that_is_offered_is_taken_as_asked_or_as_preferred() -> None:
    offer = Offer((PUBLISHED,))
    assert choose_runtime(Settings(), lambda runtime: offer) == ("python3.12", offer)
    named = Settings.model_validate({"lambda": {"runtime": "python3.13"}})
    assert choose_runtime(named, lambda runtime: offer) == ("python3.13", offer)
    newest = choose_runtime(Settings(), lambda runtime: Offer((), ("python3.10", "python3.11")))
    assert newest[0] == "python3.11"


def test_nothing_is_built_that_is_there(wanted: Wanted) -> None:
    def never() -> Path:
        raise AssertionError("asked for the layer's zip")

    assert planning.plan(wanted, in_service(wanted), LOGBOOK, never).steps == ()
