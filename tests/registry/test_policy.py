from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from registry import PolicyInvalid, Stage
from registry.policy import load, parse
from registry.policy_file import BUILT_IN, PolicyShape

SHIPPED = Path(__file__).parents[2] / "policy.yaml"


def test_the_built_in_policy_says_what_the_shipped_file_says() -> None:
    assert yaml.safe_load(SHIPPED.read_text()) == BUILT_IN


def test_with_no_file_the_built_in_policy_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SLIPWAY_POLICY", raising=False)
    rules = load().rules("images", Stage.PRODUCTION)
    assert rules.gates.floors["accuracy"] == 0.80
    assert rules.approvals.needed == 1


def test_a_file_that_is_named_but_missing_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLIPWAY_POLICY", "nowhere.yaml")
    with pytest.raises(PolicyInvalid, match=r"nowhere\.yaml, which does not exist"):
        load()


def test_an_edited_file_counts_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "mine.yaml"
    monkeypatch.setenv("SLIPWAY_POLICY", str(path))
    for needed in (2, 3):
        path.write_text(f"schema: 1\ndefaults: {{approvals: {{needed: {needed}}}}}\n# {'x' * needed}\n")
        assert load().rules("images", Stage.PRODUCTION).approvals.needed == needed


def test_leaving_a_gate_out_does_not_open_it() -> None:
    rules = parse("schema: 1\ndefaults: {gates: {floors: {accuracy: 0.95}}}", "mine").rules("images", Stage.PRODUCTION)
    assert rules.gates.floors == {"accuracy": 0.95, "recall_macro": 0.75, "recall_lowest": 0.50, "r2": 0.0}


def test_null_takes_a_floor_away() -> None:
    rules = parse("schema: 1\nmodels: {images: {gates: {floors: {recall_lowest: null}}}}", "mine")
    assert "recall_lowest" not in rules.rules("images", Stage.PRODUCTION).gates.floors
    assert "recall_lowest" in rules.rules("texts", Stage.PRODUCTION).gates.floors


def test_a_models_rule_for_a_stage_wins() -> None:
    policy = parse(
        "schema: 1\nmodels: {images: {approvals: {needed: 2}, stages: {Staging: {approvals: {needed: 1}}}}}", "mine"
    )
    assert policy.rules("images", Stage.STAGING).approvals.needed == 1
    assert policy.rules("images", Stage.PRODUCTION).approvals.needed == 2
    assert policy.rules("texts", Stage.STAGING).approvals.needed == 0


def test_a_role_is_its_people() -> None:
    policy = parse(
        "schema: 1\nroles: {risk: [dee, eli]}\ndefaults: {approvals: {of: [risk, bo], at_least: {risk: 2}}}", "mine"
    )
    approvals = policy.rules("images", Stage.PRODUCTION).approvals
    assert approvals.of == frozenset({"bo", "dee", "eli"})
    assert approvals.at_least == (("risk", 2, frozenset({"dee", "eli"})),)
    assert approvals.needed == 2


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("schema: 1\ndefault: {}", "default: no such key; did you mean 'defaults'?"),
        ("schema: 1\ndefaults: {gates: {flors: {}}}", "defaults.gates.flors: no such key; did you mean 'floors'?"),
        ("schema: 1\ndefaults: {gates: {floors: {acuracy: 0.9}}}", "no measure is called 'acuracy'; did you mean 'acc"),
        ("schema: 1\ndefaults: {approvals: {needed: -1}}", "defaults.approvals.needed"),
        ("schema: 1\nroles: {risk: [dee]}\ndefaults: {approvals: {at_least: {risc: 1}}}", "did you mean 'risk'"),
        ("schema: 1\ndefaults: {gates: {engine: [skops]}}", "gates.engine: no such key; did you mean 'engines'?"),
        ("schema: 1\ndefaults: {gates: {engines: [pickle]}}", "gates.engines.0: found 'pickle', wanted onnx or skops"),
        ("schema: 2", "mine.yaml:1: schema: found 2, wanted 1"),
        ("- a list", "wanted a mapping"),
        ("a: [", "mine.yaml:1:5 is not YAML: it ends within a bracket"),
        ("schema: 1\n\tci: []", "mine.yaml:2:1 is not YAML: a tab"),
        ("schema: 1\nci: &a [*a]\nroles: &b {risk: *b}", "mine.yaml:3: roles.risk: found keys, wanted a list"),
        ("schema: 1\ndefaults: {approvals: {needed: no}}", "needed: found false, wanted a whole number"),
        ("schema: 1\ndefaults: {gates: {ceilings: {mae: .inf}}}", "mae: found inf, wanted a finite number, or null"),
        ("schema: 1\nmodels: {images: }", "models.images: found nothing, wanted keys below it: approvals, "),
        ("schema: 1\nmodels: {7: {}}", "models.7: found 7 as a key, wanted text; put it in quotes"),
        ("schema: 1\nmodels: {a: {stages: {Staging: {approvals: {at_least: {risc: 1}}}}}}", "at_least.risc: no role"),
        ("schema: 1\nmodels:\n  a: {}\n  b: {}\n  a: {}", "mine.yaml:5: models.a: stands in line 3 already"),
    ],
)
def test_what_is_not_understood_is_refused_by_name(text: str, told: str) -> None:
    with pytest.raises(PolicyInvalid) as caught:
        parse(text, "mine.yaml")
    said = str(caught.value)
    assert told in said
    assert said.startswith("mine.yaml")
    assert "Next: " in said
    assert "Input should" not in said


def test_all_faults_are_told_together_each_with_its_line() -> None:
    text = """schema: 1
defaults:
  gates:
    floors: {accuracy: high}
    slices: {smallest: 1.5}
  approvals: {of: bo, claimed_name: refuse}
"""
    with pytest.raises(PolicyInvalid) as caught:
        parse(text, "mine.yaml")
    assert str(caught.value) == """\
mine.yaml:4: defaults.gates.floors.accuracy: found 'high', wanted a number, or null to take it away;
  mine.yaml:5: defaults.gates.slices.smallest: found 1.5, wanted a whole number;
  mine.yaml:6: defaults.approvals.claimed_name: no such key; did you mean 'claimed_names'?;
  mine.yaml:6: defaults.approvals.of: found 'bo', wanted a list, as in [ana, bo]. Next: correct lines 4, 5 and 6"""


def test_a_policy_that_is_no_text_is_refused_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "mine.yaml"
    path.write_bytes(b"schema: 1 # \xff")
    for named in (path, tmp_path):
        monkeypatch.setenv("SLIPWAY_POLICY", str(named))
        with pytest.raises(PolicyInvalid, match=r"cannot be read: .* Next: correct "):
            load()


def keys(schema: dict[str, Any], kind: dict[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every key that the file may have, with those above it; `NAME` stands for a model's."""
    for one in (kind, *kind.get("anyOf", ())):
        shape = schema["$defs"][one["$ref"].rsplit("/", 1)[1]] if "$ref" in one else one
        for key, below in shape.get("properties", {}).items():
            yield (*path, key)
            yield from keys(schema, below, (*path, key))
        named = shape.get("additionalProperties")
        if isinstance(named, dict) and "$ref" in named:
            yield from keys(schema, named, (*path, "NAME"))


SCHEMA = PolicyShape.model_json_schema()
KEYS = sorted(set(keys(SCHEMA, SCHEMA)))


def test_every_key_of_the_built_in_policy_is_among_those_of_the_schema() -> None:
    def named(value: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
        for key, below in value.items():
            yield (*path, key)
            if isinstance(below, Mapping) and key not in ("floors", "ceilings"):  # under these stand measures
                yield from named(below, (*path, key))

    assert set(named(BUILT_IN)) <= set(KEYS)
    assert ("models", "NAME", "stages", "Staging", "gates", "serving", "latency_p99_ms") in KEYS


@pytest.mark.parametrize("path", KEYS, ids=".".join)
def test_every_key_that_is_misspelt_is_refused_and_the_right_one_named(path: tuple[str, ...]) -> None:
    *above, right = path
    wrong = f"{right[:-1]}x"
    said: dict[str, Any] = {wrong: None}
    for key in reversed(above):
        said = {key: said}
    with pytest.raises(PolicyInvalid) as caught:
        parse(yaml.safe_dump({"schema": 1, **said}), "mine.yaml")
    told = f"{'.'.join([*above, wrong])}: no such key; did you mean {right!r}?"
    assert told in str(caught.value)


def test_approvals_expire_when_the_file_says() -> None:
    rules = parse("schema: 1\ndefaults: {approvals: {expire_after_days: 7}}", "mine").rules("images", Stage.PRODUCTION)
    assert rules.approvals.last == timedelta(days=7)


def test_the_rules_of_one_model_are_never_anothers_in_whatever_order_they_are_asked_for() -> None:
    text = "schema: 1\nmodels: {images: {approvals: {needed: 2}}, texts: {approvals: {needed: 3}}}"
    wanted = {"images": 2, "texts": 3, "ratings": 1, "tables": 1}
    for names in (list(wanted), list(reversed(wanted))):
        policy = parse(text, "mine")
        asked = [*names, *names]
        found = [policy.rules(name, Stage.PRODUCTION).approvals.needed for name in asked]
        assert found == [wanted[name] for name in asked]
        assert policy.rules("images", Stage.STAGING).approvals.needed == 2
        assert policy == parse(text, "mine"), "what was asked of it is no part of it"


def test_every_gate_in_the_file_is_a_rule() -> None:
    gates = parse("""schema: 1
defaults:
  gates:
    forbidden_files: ["*.PKL", "*.pt"]
    slices: {floors: {accuracy: 0.6}, error_ratio: 3, smallest: 7, required: [region]}
    dependencies: {pinned: false, allow: [MIT], deny: [GPL-*], unknown: accept}
    engines: [skops]
    formats: ["*.onnx"]
    signature: null
""", "mine").rules("images", Stage.PRODUCTION).gates  # fmt: skip
    assert gates.forbidden_files == ("*.pkl", "*.pt"), "as files are compared: without regard to case"
    cut, needs = gates.more.slices, gates.more.dependencies
    assert cut
    assert (cut.floors["accuracy"], cut.error_ratio, cut.smallest, cut.required) == (0.6, 3, 7, ("region",))
    assert needs
    assert (needs.pinned, needs.allow, needs.deny, needs.unknown_blocks) == (False, ("MIT",), ("GPL-*",), False)
    assert (gates.more.engines, gates.more.formats, gates.more.compatible) == (("skops",), ("*.onnx",), False)
    usual = parse("schema: 1", "mine").rules("images", Stage.PRODUCTION).gates
    assert usual.forbidden_files
    assert usual.more.dependencies
    assert usual.more.dependencies.unknown_blocks


def test_the_file_of_one_folder_is_not_that_of_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SLIPWAY_POLICY", raising=False)
    for needed in (2, 3):
        path = tmp_path / str(needed) / "policy.yaml"
        path.parent.mkdir()
        path.write_text(f"schema: 1\ndefaults: {{approvals: {{needed: {needed}}}}}")
        os.utime(path, (1, 1))  # alike in name and age
        monkeypatch.chdir(path.parent)
        assert load().rules("images", Stage.PRODUCTION).approvals.needed == needed
