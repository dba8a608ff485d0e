"""What serving may deploy: the version in a stage, the bytes and people behind it, and its files, proven."""

from __future__ import annotations

import shutil
from pathlib import Path

from registry import digest, mlflow_store, policy
from registry.errors import ReleaseMissing, ReleaseTampered
from registry.gates import Champion
from registry.ledger import Kind
from registry.promotion import judged
from registry.standing import approval_of, evidence_of, standing
from registry.wire import MovedBody, read
from registry.words import Release, Stage


def release(model: str, stage: Stage = Stage.PRODUCTION) -> Release:
    """What stands in a stage, with the evidence and the approvals it got there on.

    Raises:
        ReleaseMissing: when nothing stands there, or the ledger does not say who put it there.
    """
    mlflow_store.connect_existing()
    version = mlflow_store.in_stage(model, stage)
    if version is None:
        promote = f"slipway promote {model}/VERSION --to {stage.value}"
        raise ReleaseMissing(f"{model} has nothing in {stage.value}. Next: {promote}")
    entries = mlflow_store.ledger(model, version.number)
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
    )


def download(release: Release, into: Path) -> Path:
    """Fetch a release's files, and hand them over only if every one is what was approved.

    Raises:
        ReleaseTampered: naming changed, missing and extra files together; nothing is left in `into`.
    """
    mlflow_store.connect_existing()
    version = mlflow_store.model_version(release.model, release.version)
    folder = mlflow_store.fetch_model(version, into)
    try:
        difference = digest.compare(release.files, digest.hash_folder(folder))
        if difference:
            subject = f"{release.model}/{release.version}"
            place = mlflow_store.location(version)
            raise ReleaseTampered(subject, difference.changed, difference.missing, difference.extra, place)
    except ReleaseTampered:
        shutil.rmtree(folder)
        raise
    (folder / digest.WRITTEN_AT_DOWNLOAD).unlink(missing_ok=True)
    return folder
