"""What must hold before a version may move? The policy in force, as rules for one model and stage."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

from registry import missing, policy_file
from registry.errors import PolicyInvalid
from registry.gates import GateRules, NotWorse
from registry.policy_file import BUILT_IN, ApprovalsShape, GatesShape, PolicyShape, RulesShape, laid_over
from registry.weighing import (
    CalibrationRule,
    DependencyRule,
    MeasuredRules,
    OverlapRule,
    ServingRule,
    SliceRule,
)
from registry.words import Stage


@dataclass(frozen=True, slots=True)
class ApprovalRules:
    """How many people must agree, for how long; `of` None: anybody's word counts; `at_least`: so many of these."""

    needed: int
    last: timedelta
    claimed_names_count: bool
    of: frozenset[str] | None = None
    at_least: tuple[tuple[str, int, frozenset[str]], ...] = ()


@dataclass(frozen=True, slots=True)
class StageRules:
    """What must hold before one model may enter one stage; `enter_from` None: from anywhere."""

    gates: GateRules
    evidence_max_age: timedelta
    evidence_by: frozenset[str]
    approvals: ApprovalRules
    ci: frozenset[str]
    break_glass: frozenset[str]
    enter_from: tuple[Stage, ...] | None = None


@dataclass(frozen=True, slots=True)
class Policy:
    """A validated policy; `source` says where it was read, for messages."""

    shape: PolicyShape
    source: str
    _made: dict[tuple[str | None, Stage], StageRules] = field(default_factory=dict, repr=False, compare=False)

    def rules(self, model: str, stage: Stage) -> StageRules:
        """The rules for one model and stage: defaults, then the stage's, then the model's, then both's."""
        asked = (model if model in self.shape.models else None, stage)
        made = self._made.get(asked)
        if made is None:  # laid over one another once: every move asks
            made = self._made[asked] = self._laid(model, stage)
        return made

    def strangers(self, registered: Callable[[], Collection[str]]) -> list[str]:
        """What is said of each model that the policy names and nobody registered; asks only where it names any."""
        return list(missing.in_policy(self.source, self.shape.models, registered())) if self.shape.models else []

    def _laid(self, model: str, stage: Stage) -> StageRules:
        layers: list[RulesShape] = [self.shape.defaults]
        if stage.alias:
            layers.append(getattr(self.shape.stages, stage.value))
        own = self.shape.models.get(model)
        if own:
            layers.append(own)
            if stage.alias:
                layers.append(getattr(own.stages, stage.value))
        merged: dict[str, Any] = dict(BUILT_IN["defaults"])
        for layer in layers:
            merged = laid_over(merged, layer.model_dump(exclude_unset=True, exclude={"stages"}))
        return _rules(RulesShape.model_validate(merged), self.shape)


def _rules(shape: RulesShape, whole: PolicyShape) -> StageRules:
    gates = shape.gates
    return StageRules(
        gates=GateRules(
            floors=_set(gates.floors),
            ceilings=_set(gates.ceilings),
            not_worse=NotWorse(**gates.not_worse.model_dump()) if gates.not_worse else None,
            forbidden_files=tuple(pattern.lower() for pattern in gates.forbidden_files),
            more=_measured_rules(gates),
        ),
        evidence_max_age=timedelta(days=gates.evidence_max_age_days),
        evidence_by=frozenset(gates.evidence_by),
        approvals=_approval_rules(shape.approvals, whole.roles),
        ci=frozenset(whole.ci),
        break_glass=frozenset(whole.break_glass),
        enter_from=None if shape.enter_from is None else tuple(map(Stage, shape.enter_from)),
    )


def _measured_rules(gates: GatesShape) -> MeasuredRules:
    """The rules of what is measured beyond figures; a null in the file takes one away."""
    cut, needs, sure = gates.slices, gates.dependencies, gates.calibration
    return MeasuredRules(
        slices=SliceRule(_set(cut.floors), cut.error_ratio, cut.smallest, tuple(cut.required)) if cut else None,
        calibration=CalibrationRule(sure.error, sure.brier, sure.probabilities == "required") if sure else None,
        overlap=OverlapRule(**gates.overlap.model_dump()) if gates.overlap else None,
        compatible=gates.signature is not None,
        dependencies=DependencyRule(needs.pinned, tuple(needs.allow), tuple(needs.deny), needs.unknown == "block")
        if needs else None,
        serving=ServingRule(**gates.serving.model_dump()) if gates.serving else None,
        formats=None if gates.formats is None else tuple(gates.formats),
        engines=tuple(gates.engines),
    )  # fmt: skip


def _set(wanted: Mapping[str, float | None]) -> dict[str, float]:
    return {name: value for name, value in wanted.items() if value is not None}


def _approval_rules(shape: ApprovalsShape, roles: Mapping[str, list[str]]) -> ApprovalRules:
    named = frozenset(person for name in shape.of for person in roles.get(name, [name]))
    return ApprovalRules(
        needed=max(shape.needed, *shape.at_least.values()) if shape.at_least else shape.needed,
        last=timedelta(days=shape.expire_after_days),
        claimed_names_count=shape.claimed_names == "accept",
        of=named if shape.of else None,
        at_least=tuple((role, count, frozenset(roles.get(role, ()))) for role, count in shape.at_least.items()),
    )


def parse(text: str, source: str) -> Policy:
    """The policy that a file's text gives.

    Raises:
        PolicyInvalid: naming the key, what is wrong with it and the nearest right one.
    """
    return Policy(policy_file.read(text, source), source)


def load() -> Policy:
    """The policy in force: SLIPWAY_POLICY, else ./policy.yaml, else the built-in one, as strict as the shipped file.

    Raises:
        PolicyInvalid: when the file named is missing or not understood.
    """
    named = os.environ.get("SLIPWAY_POLICY")
    path = Path(named or "policy.yaml")
    if not path.exists():
        if named:
            raise PolicyInvalid(f"SLIPWAY_POLICY names {named}, which does not exist. Next: correct it, or unset it")
        return _built_in()
    return _read(path.resolve(), path.stat().st_mtime_ns)


@lru_cache(maxsize=8)
def _read(path: Path, changed_at: int) -> Policy:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:  # a folder, no permission, not UTF-8
        raise PolicyInvalid(f"{path.name} cannot be read: {error}. Next: correct {path}") from None
    return parse(text, path.name)


@lru_cache(maxsize=1)
def _built_in() -> Policy:
    return Policy(PolicyShape.model_validate(dict(BUILT_IN)), "the built-in policy")
