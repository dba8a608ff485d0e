"""What serving may deploy: the version in a stage, and the bytes and people behind it. Read without MLflow."""

from __future__ import annotations

import logging

from registry import policy, reading
from registry.errors import ReleaseMissing
from registry.gates import Champion
from registry.ledger import Kind
from registry.promotion import judged
from registry.standing import approval_of, evidence_of, standing
from registry.wire import MovedBody, read
from registry.words import Release, Stage

_log = logging.getLogger(__name__)


def release(model: str, stage: Stage = Stage.PRODUCTION) -> Release:
    """What stands in a stage, with the evidence and the approvals it got there on.

    Raises:
        ReleaseMissing: when nothing stands there, or the ledger does not say who put it there.
    """
    registry = reading.reader()
    warning = reading.advice(registry)
    if warning:
        _log.warning("warning: %s", warning)
    version = reading.in_stage(model, stage, registry)
    if version is None:
        promote = f"slipway promote {model}/VERSION --to {stage.value}"
        raise ReleaseMissing(f"{model} has nothing in {stage.value}. Next: {promote}")
    entries = reading.entries(registry, model, version.number)
    moves = [entry for entry in entries if entry.kind is Kind.MOVED]
    body = read(MovedBody, moves[-1].body) if moves else None
    evidence = standing(entries).evidence
    if body is None or body.target != stage.value or evidence is None:
        raise ReleaseMissing(
            f"{version} is @{stage.alias}, but the ledger does not say who put it there. "
            f"Next: slipway promote {version} --to {stage.value}"
        )
    by_number = {entry.seq: entry for entry in entries}
    held = evidence_of(by_number[body.evidence]) if body.evidence in by_number else evidence
    then = Champion(held.paired.champion, held.paired.champion_digest) if held.paired else None
    return Release(
        model=model,
        version=version.number,
        run_id=version.run_id,
        source=version.source,
        digest=held.digest,
        files=held.files,
        stage=stage,
        evidence=judged(held, policy.load().rules(model, stage), then),
        approvals=tuple(approval_of(by_number[seq]) for seq in body.approvals),
        moved_at=moves[-1].at,
    )
