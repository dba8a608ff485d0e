"""What may a policy file say? Its keys, their limits, and what is said of what is not understood."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from registry import policy_faults
from registry.errors import PolicyInvalid

Share = Annotated[float, Field(ge=0, le=1)]
Budget = Annotated[float, Field(gt=0)] | None
_MEASURES = ("accuracy", "recall_macro", "recall_lowest", "r2", "mae", "rmse")
_MEASURE = re.compile(r"accuracy|recall_macro|recall_lowest|recall\..+|r2|mae|rmse")

# The shipped policy.yaml says the same; a policy file is laid over this, so leaving a key out never opens a gate.
BUILT_IN: Mapping[str, Any] = {
    "schema": 1,
    "ci": ["ci", "github-actions", "gitlab-ci"],
    "defaults": {
        "gates": {
            "floors": {"accuracy": 0.80, "recall_macro": 0.75, "recall_lowest": 0.50, "r2": 0.0},
            "ceilings": {},
            "not_worse": {"margin": 0.01, "significance": 0.05, "error_margin": 0.05},
            "evidence_max_age_days": 30,
            "evidence_by": [],
            "forbidden_files": ["*.pkl", "*.pickle", "*.joblib", "*.dill", "*.h5", "*.hdf5", "*.pt", "*.pth"],
            "formats": [
                "MLmodel", "*.yaml", "*.yml", "*.json", "*.txt", "*.md", "*.csv", "*.npy", "*.npz", "*.keras",
                "*.skops", "*.onnx", "*.ubj", "*.lgb",
            ],
            "slices": {"floors": {"accuracy": 0.50}, "error_ratio": 2.0, "smallest": 30, "required": []},
            "calibration": {"error": 0.20, "brier": None, "probabilities": "required"},
            "overlap": {"copies": 0.0, "alike": 0.10},
            "signature": "compatible",
            "dependencies": {
                "pinned": True,
                "allow": [
                    "0BSD", "Apache-2.0", "BSD-*", "BSL-1.0", "CC0-1.0", "HPND", "ISC", "MIT", "MIT-*", "MPL-2.0",
                    "PSF-2.0", "Python-2.0*", "Unlicense", "Zlib",
                ],
                "deny": ["AGPL-*", "GPL-*", "SSPL-*", "BUSL-*", "CC-BY-NC-*"],
                "unknown": "block",
            },
            "serving": {"latency_p50_ms": 250, "latency_p99_ms": 1000, "memory_mb": 1024, "bundle_mb": 150},
            "engines": ["onnx"],
        },
        "approvals": {"needed": 1, "of": [], "at_least": {}, "expire_after_days": 30, "claimed_names": "accept"},
    },
    "roles": {},
    "break_glass": [],
    "stages": {"Staging": {"approvals": {"needed": 0}}},
    "models": {},
}


class _Shape(BaseModel):
    # Strict: a word where a number is wanted, or `needed: no`, is a slip of the pen and not a number.
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


def _known_measure(name: str) -> str:
    if _MEASURE.fullmatch(name):
        return name
    near = difflib.get_close_matches(name, _MEASURES, 1, 0.3)
    raise ValueError(f"no measure is called {name!r}{f'; did you mean {near[0]!r}?' if near else ''}")


Limits = dict[Annotated[str, AfterValidator(_known_measure)], float | None]


class NotWorseShape(_Shape):
    """`gates.not_worse`."""

    margin: Share = 0.01
    significance: Annotated[float, Field(gt=0, lt=1)] = 0.05
    error_margin: Share = 0.05


class SlicesShape(_Shape):
    """`gates.slices`."""

    floors: Limits = {}
    error_ratio: Annotated[float, Field(ge=1)] | None = 2.0
    smallest: Annotated[int, Field(ge=1)] = 30
    required: list[str] = []


class CalibrationShape(_Shape):
    """`gates.calibration`."""

    error: Share | None = 0.20
    brier: Annotated[float, Field(ge=0, le=2)] | None = None
    probabilities: Literal["required", "where_given"] = "required"


class OverlapShape(_Shape):
    """`gates.overlap`."""

    copies: Share | None = 0.0
    alike: Share | None = 0.10


class DependenciesShape(_Shape):
    """`gates.dependencies`."""

    pinned: bool = True
    allow: list[str] = []
    deny: list[str] = []
    unknown: Literal["block", "accept"] = "block"


class ServingShape(_Shape):
    """`gates.serving`."""

    latency_p50_ms: Budget = 250
    latency_p99_ms: Budget = 1000
    memory_mb: Budget = 1024
    bundle_mb: Budget = 150


class GatesShape(_Shape):
    """`gates`: floors and ceilings by measure (null takes one away), comparison with the champion, age of evidence."""

    floors: Limits = {}
    ceilings: Limits = {}
    not_worse: NotWorseShape | None = None
    evidence_max_age_days: Annotated[float, Field(gt=0)] = 30
    evidence_by: list[str] = []
    forbidden_files: list[str] = []
    formats: list[str] | None = None
    slices: SlicesShape | None = None
    calibration: CalibrationShape | None = None
    overlap: OverlapShape | None = None
    signature: Literal["compatible"] | None = None
    dependencies: DependenciesShape | None = None
    serving: ServingShape | None = None
    engines: list[Literal["onnx", "skops"]] = ["onnx"]


class ApprovalsShape(_Shape):
    """`approvals`: how many, of whom (people or roles; empty: anybody), how many at least of a role, for how long."""

    needed: Annotated[int, Field(ge=0)] = 1
    of: list[str] = []
    at_least: dict[str, Annotated[int, Field(ge=1)]] = {}
    expire_after_days: Annotated[float, Field(gt=0)] = 30
    claimed_names: Literal["accept", "refuse"] = "accept"


class RulesShape(_Shape):
    """What must hold for one stage; `enter_from`: from which stages only it may be entered (null: from any)."""

    enter_from: list[Literal["None", "Staging", "Production", "Archived"]] | None = None
    gates: GatesShape = GatesShape()
    approvals: ApprovalsShape = ApprovalsShape()


class StagesShape(_Shape):
    """Rules by stage, laid over the defaults."""

    Staging: RulesShape = RulesShape()
    Production: RulesShape = RulesShape()


class ModelShape(RulesShape):
    """Rules of one model, laid over the stage's."""

    stages: StagesShape = StagesShape()


class PolicyShape(_Shape):
    """The whole file."""

    schema_: Literal[1] = Field(alias="schema")
    ci: list[str] = []
    defaults: RulesShape = RulesShape()
    stages: StagesShape = StagesShape()
    models: dict[str, ModelShape] = {}
    roles: dict[str, list[str]] = {}
    break_glass: list[str] = []


def laid_over(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Both, where the upper one wins key by key."""
    merged = dict(under)
    for key, value in over.items():
        below = merged.get(key)
        merged[key] = laid_over(below, value) if isinstance(value, dict) and isinstance(below, Mapping) else value
    return merged


def read(text: str, source: str) -> PolicyShape:
    """A policy file's text, laid over the built-in policy.

    Raises:
        PolicyInvalid: naming every fault: its line, its key, what is found and what is wanted there.
    """
    try:
        node, raw = yaml.compose(text, Loader=yaml.SafeLoader), yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        raise PolicyInvalid(policy_faults.not_yaml(error, source)) from None
    if not isinstance(raw, dict):
        raise PolicyInvalid(f"{source} holds {type(raw).__name__}, wanted a mapping with schema: 1. "
                           f"Next: begin {source} with schema: 1")
    if node is None:
        return PolicyShape.model_validate(dict(BUILT_IN))
    faults = list(policy_faults.said_twice(node))
    try:
        shape = PolicyShape.model_validate(laid_over(BUILT_IN, raw))
        found = [*_strange_roles(shape)]
    except ValidationError as error:
        found = [(e["loc"], policy_faults.told(e, PolicyShape)) for e in error.errors()]
    faults += [(policy_faults.line_of(node, path), text) for path, text in found]
    if faults:
        raise PolicyInvalid(policy_faults.together(source, list(dict.fromkeys(faults))))
    return shape


def _strange_roles(shape: PolicyShape) -> Iterator[tuple[policy_faults.Path, str]]:
    """Roles that an `at_least` names and `roles` does not: nobody could ever approve for them."""
    for path, rules in _all_rules(shape):
        for role in rules.approvals.at_least.keys() - shape.roles.keys():
            near = difflib.get_close_matches(role, list(shape.roles), 1, 0.3)
            where = (*path, "approvals", "at_least", role)
            yield where, f"{'.'.join(where)}: no role {role!r}{f'; did you mean {near[0]!r}?' if near else ''}"


def _all_rules(shape: PolicyShape) -> Iterator[tuple[tuple[str, ...], RulesShape]]:
    yield ("defaults",), shape.defaults
    yield from _of_stages((), shape.stages)
    for name, own in shape.models.items():
        yield ("models", name), own
        yield from _of_stages(("models", name), own.stages)


def _of_stages(above: tuple[str, ...], stages: StagesShape) -> Iterator[tuple[tuple[str, ...], RulesShape]]:
    yield (*above, "stages", "Staging"), stages.Staging
    yield (*above, "stages", "Production"), stages.Production
