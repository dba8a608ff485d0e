"""What a plan for Lambda holds, decided without any AWS."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from serving import package
from serving.aws import Aws, FunctionConfig, FunctionState, LayerState, Offer
from serving.config import Settings
from serving.errors import ConfigurationInvalid
from serving.logbook import Logbook
from serving.plan import Upload
from serving.targets.lambda_ import planning
from serving.targets.lambda_.planning import Observed, Wanted
from serving.targets.lambda_.shipped import LambdaShipped
from serving.targets.lambda_.steps import FunctionSpec

CONFIG = FunctionConfig("python3.12", "x86_64", package.HANDLER, 1024, 30, "role")
SPEC = FunctionSpec("slipway-m", "m/3 sha256:d", "c29kZQ==", CONFIG, None)
SHIPPED = LambdaShipped(model="m", version=3, digest="d", bundle="b", code="c", layer="identity", layer_sha256="",
                        configuration=CONFIG)
LOGBOOK = Logbook(Aws(), "bucket", "m", "lambda", LambdaShipped)
LAYER = package.LayerSpec("python3.12", "x86_64", "identity")
PUBLISHED = LayerState("arn:layer:1", "identity")


@pytest.fixture
def wanted(tmp_path: Path) -> Wanted:
    file = tmp_path / "file.zip"
    package.write_zip(tmp_path / "nothing", file)
    upload = Upload("bucket", "releases/m/d/bundles/b/manifest.json", file, "0" * 64, 10)
    code = replace(upload, key="releases/m/d/lambda/c.zip")
    return Wanted("m/3", (upload,), code, "layer", LAYER, SPEC, SHIPPED)


def state(**changes: object) -> FunctionState:
    found = FunctionState("slipway-m", "4", SPEC.description, SPEC.code_sha256, CONFIG, ("arn:layer:1",), "r")
    return replace(found, **changes)  # type: ignore[arg-type]  # names and types come from the tests below


def in_service(wanted: Wanted) -> Observed:
    keys = frozenset(u.key for u in (*wanted.bundle, wanted.code))
    recorded = SHIPPED.model_copy(update={"layer_sha256": "l"})
    return Observed(keys, (PUBLISHED,), "l", state(version="$LATEST"), (state(),), "4", seq=2, recorded=recorded)


def kinds(wanted: Wanted, observed: Observed) -> list[str]:
    planned = planning.plan(wanted, observed, LOGBOOK, lambda: wanted.code.path)
    named = [type(step).__name__ for step in planned.steps]
    if named:
        assert (named[0], named[-1]) == ("Begin", "Done"), "what changes anything stands between two notes"
    return named[1:-1]


def test_what_serves_but_was_never_noted_is_noted(wanted: Wanted) -> None:
    planned = planning.plan(wanted, replace(in_service(wanted), recorded=None), LOGBOOK, lambda: wanted.code.path)
    assert [type(step).__name__ for step in planned.steps] == ["Begin", "Done"]


def test_what_is_in_service_needs_nothing(wanted: Wanted) -> None:
    assert kinds(wanted, in_service(wanted)) == []


def test_a_first_deploy_uploads_before_it_publishes_and_points_last(wanted: Wanted) -> None:
    nothing = Observed(frozenset(), (), "", None, (), None)
    assert kinds(wanted, nothing) == ["Upload", "Upload", "Upload", "PublishLayer", "CreateFunction", "PublishVersion",
                                      "AskGolden", "PointAlias"]


def test_a_new_release_reuses_the_layer_and_leaves_the_configuration(wanted: Wanted) -> None:
    older = state(code_sha256="b2xk", version="3")
    observed = Observed(frozenset(), (PUBLISHED,), "l", replace(older, version="$LATEST"), (older,), "3")
    assert kinds(wanted, observed) == ["Upload", "Upload", "UpdateCode", "PublishVersion", "AskGolden", "PointAlias"]


def test_an_alias_moved_by_hand_is_moved_back_without_publishing(wanted: Wanted) -> None:
    assert kinds(wanted, replace(in_service(wanted), alias="2")) == ["AskGolden", "PointAlias"]


@pytest.mark.parametrize("change", [
    {"configuration": replace(CONFIG, memory=512)}, {"configuration": replace(CONFIG, timeout=3)},
    {"layers": ("arn:layer:0",)}, {"configuration": replace(CONFIG, role="other")}])
def test_another_configuration_is_another_version(wanted: Wanted, change: dict[str, object]) -> None:
    changed = state(**change)
    observed = replace(in_service(wanted), latest=replace(changed, version="$LATEST"), versions=(changed,))
    assert kinds(wanted, observed) == ["UpdateConfiguration", "PublishVersion", "AskGolden", "PointAlias"]


def test_a_runtime_that_is_not_offered_is_replaced_by_the_newest_that_is() -> None:
    def offers(runtime: str) -> Offer:
        return Offer((PUBLISHED,)) if runtime == "python3.11" else Offer((), ("python3.11",))

    assert planning.choose_runtime(Settings(), offers) == ("python3.11", Offer((PUBLISHED,)))


def test_a_runtime_that_was_asked_for_is_never_replaced() -> None:
    settings = Settings.model_validate({"lambda": {"runtime": "python3.13"}})
    with pytest.raises(ConfigurationInvalid, match=r"python3.13 is not offered here; offered: python3.11"):
        planning.choose_runtime(settings, lambda runtime: Offer((), ("python3.11",)))


def test_a_missing_number_is_asked_as_null() -> None:
    from serving.asking import as_json

    assert as_json(np.array([[1.5, np.nan]], np.float32)) == [[1.5, None]]
    assert as_json(np.array(["a"], object)) == ["a"]
