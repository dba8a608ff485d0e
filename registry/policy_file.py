"""What may a policy file say? Its keys, their limits, and what is said of what is not understood."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, get_args, get_origin

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

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
            "calibration": {"error": 0.20, "brier": None},
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
    model_config = ConfigDict(extra="forbid", frozen=True)


def _known_measures(wanted: dict[str, float | None]) -> dict[str, float | None]:
    for name in wanted:
        if not _MEASURE.fullmatch(name):
            near = difflib.get_close_matches(name, _MEASURES, 1, 0.3)
            raise ValueError(f"no measure is called {name!r}{f'; did you mean {near[0]!r}?' if near else ''}")
    return wanted


class NotWorseShape(_Shape):
    """`gates.not_worse`."""

    margin: Share = 0.01
    significance: Annotated[float, Field(gt=0, lt=1)] = 0.05
    error_margin: Share = 0.05


class SlicesShape(_Shape):
    """`gates.slices`."""

    floors: dict[str, float | None] = {}
    error_ratio: Annotated[float, Field(ge=1)] | None = 2.0
    smallest: Annotated[int, Field(ge=1)] = 30
    required: list[str] = []

    _known = field_validator("floors")(_known_measures)


class CalibrationShape(_Shape):
    """`gates.calibration`."""

    error: Share | None = 0.20
    brier: Annotated[float, Field(ge=0, le=2)] | None = None


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

    floors: dict[str, float | None] = {}
    ceilings: dict[str, float | None] = {}
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

    _known = field_validator("floors", "ceilings")(_known_measures)


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

    @model_validator(mode="after")
    def _roles_exist(self) -> PolicyShape:
        shapes = [self.defaults, self.stages.Staging, self.stages.Production, *self.models.values()]
        for role in {role for shape in shapes for role in shape.approvals.at_least} - set(self.roles):
            near = difflib.get_close_matches(role, list(self.roles), 1, 0.3)
            raise ValueError(f"at_least names no role {role!r}{f'; did you mean {near[0]!r}?' if near else ''}")
        return self


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
        PolicyInvalid: naming the key, what is wrong with it and the nearest right one.
    """
    try:
        raw = yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        raise PolicyInvalid(f"{source} is not YAML: {error}") from None
    if not isinstance(raw, dict):
        raise PolicyInvalid(f"{source} holds {type(raw).__name__}, wanted a mapping with schema: 1")
    try:
        return PolicyShape.model_validate(laid_over(BUILT_IN, raw))
    except ValidationError as error:
        raise PolicyInvalid(f"{source}: {'; '.join(_told(dict(e)) for e in error.errors())}") from None


def _told(error: Mapping[str, Any]) -> str:
    where = ".".join(str(part) for part in error["loc"])
    if error["type"] != "extra_forbidden":
        return f"{where}: {str(error['msg']).removeprefix('Value error, ')}"
    *path, wrong = map(str, error["loc"])
    near = difflib.get_close_matches(wrong, _keys_at(path), 1, 0.4)
    return f"{where}: no such key" + (f"; did you mean {near[0]!r}?" if near else "")


def _keys_at(path: Sequence[str]) -> list[str]:
    """Which keys may stand at this place of the file?"""
    kind: Any = PolicyShape
    for key in path:
        kind = get_args(kind)[1] if get_origin(kind) is dict else _fields(kind)[key]
    return sorted(_fields(kind))


def _fields(kind: Any) -> dict[str, Any]:
    """The keys of a shape, or of the one among several that is a shape, and what may stand under each."""
    shape = next(one for one in (kind, *get_args(kind)) if isinstance(one, type) and issubclass(one, BaseModel))
    return {field.alias or name: field.annotation for name, field in shape.model_fields.items()}
