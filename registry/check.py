"""Measure a version and its champion on the same held-out rows, and hand the evidence to the registry."""

from __future__ import annotations

import io
import logging
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from registry import digest, mlflow_store, policy
from registry.errors import ModelUnusable, RegistryError
from registry.evaluation import (
    Indices,
    Numbers,
    class_indices,
    classification,
    discordant,
    regression,
    relative_gain,
)
from registry.gates import Champion, rival
from registry.promotion import judged
from registry.standing import standing
from registry.wire import EvidenceShape, FileShape, PairedShape
from registry.words import Evidence, FileDigest, ModelVersion, Stage

HELD_OUT = "evaluation/held_out.npz"
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class HeldOut:
    """The rows no model was fitted on: named inputs, each row's truth (class index or number), the file's digest."""

    inputs: Mapping[str, NDArray[Any]]
    labels: NDArray[Any]
    sha256: str


@dataclass(frozen=True, slots=True)
class Fetched:
    """A version's files on this disk, and what they hash to."""

    version: ModelVersion
    folder: Path
    files: tuple[FileDigest, ...]

    @property
    def digest(self) -> str:
        """The digest over all files."""
        return digest.digest_of(self.files)


def check(version: ModelVersion) -> Evidence:
    """Measure, record and judge one version; the verdicts are those of the policy in force here.

    Raises:
        RegistryError: when the version's files or its held-out rows cannot be had.
    """
    with tempfile.TemporaryDirectory(prefix="slipway-check-") as scratch:
        evidence = _measure(version, Path(scratch))
    mlflow_store.send_evidence(version, evidence)
    return recorded(version)


def recorded(version: ModelVersion) -> Evidence:
    """The newest evidence on a version, judged by the policy in force here.

    Raises:
        RegistryError: when there is none.
    """
    evidence = standing(mlflow_store.ledger(version.name, version.number)).evidence
    if evidence is None:
        raise RegistryError(f"{version} was never checked. Next: slipway check {version}")
    stands = mlflow_store.in_stage(version.name, Stage.PRODUCTION)
    champion = rival(Champion(stands.number, None) if stands else None, version.number)
    return judged(evidence, policy.load().rules(version.name, Stage.PRODUCTION), champion)


def _measure(version: ModelVersion, scratch: Path) -> EvidenceShape:
    rows = _held_out(version, scratch)
    mine = _fetch(version, scratch / "candidate")
    answers = _answers(mine, rows)
    return EvidenceShape(
        digest=mine.digest,
        files=tuple(FileShape(path=f.path, sha256=f.sha256, size=f.size) for f in mine.files),
        held_out=rows.sha256,
        rows=len(rows.labels),
        measures=answers.measures(rows.labels),
        paired=_against_champion(version, rows, answers, scratch),
    )


def _fetch(version: ModelVersion, into: Path) -> Fetched:
    into.mkdir()
    folder = mlflow_store.fetch_model(version, into)
    return Fetched(version, folder, digest.hash_folder(folder))


def _held_out(version: ModelVersion, scratch: Path) -> HeldOut:
    path = mlflow_store.fetch_run_file(version, HELD_OUT, scratch)
    if path is None:
        raise RegistryError(f"{version} has no held-out rows. Next: log {HELD_OUT} on run {version.run_id}")
    raw = path.read_bytes()
    try:
        with np.load(io.BytesIO(raw), allow_pickle=False) as arrays:
            inputs = {name.removeprefix("in."): arrays[name] for name in arrays.files if name.startswith("in.")}
            labels = arrays["labels"]
    except (ValueError, KeyError, OSError) as error:
        raise RegistryError(f"{HELD_OUT} of {version} cannot be read: {error}") from error
    odd = [name for name, values in inputs.items() if len(values) != len(labels)]
    if not len(labels) or not inputs or odd:
        raise RegistryError(f"{HELD_OUT} of {version} holds {len(labels)} labels, and no matching inputs {odd or ''}")
    return HeldOut(inputs, labels, digest.hash_file(path))


@dataclass(frozen=True, slots=True)
class Classes:
    """One class index per row."""

    said: Indices
    labels: tuple[str, ...]

    def measures(self, truth: NDArray[Any]) -> dict[str, float]:
        """Accuracy and recalls."""
        return classification(truth.astype(np.int64), self.said, self.labels)

    def against(self, champion: Classes | Amounts, truth: NDArray[Any]) -> dict[str, Any]:
        """On how many rows is only one of the two right?"""
        if not isinstance(champion, Classes):
            raise ModelUnusable("the champion answers with numbers, not with classes")
        mine_only, theirs_only = discordant(truth.astype(np.int64), self.said, champion.said)
        return {"only_candidate": mine_only, "only_champion": theirs_only}


@dataclass(frozen=True, slots=True)
class Amounts:
    """One number per row."""

    said: Numbers

    def measures(self, truth: NDArray[Any]) -> dict[str, float]:
        """Errors, and the variance explained."""
        return regression(truth.astype(np.float64), self.said)

    def against(self, champion: Classes | Amounts, truth: NDArray[Any]) -> dict[str, Any]:
        """By what share is the mean error smaller?"""
        if not isinstance(champion, Amounts):
            raise ModelUnusable("the champion answers with classes, not with numbers")
        relative = relative_gain(truth.astype(np.float64), self.said, champion.said)
        return {"only_candidate": 0, "only_champion": 0, "relative": relative}


def _answers(fetched: Fetched, rows: HeldOut) -> Classes | Amounts:
    meaning = mlflow_store.meaning_of(fetched.folder)
    output = mlflow_store.predict(fetched.folder, rows.inputs)
    try:
        if meaning.kind == "classification":
            return Classes(class_indices(output, meaning.labels), meaning.labels)
        amounts = np.asarray(output, dtype=np.float64).reshape(len(rows.labels))
    except (ValueError, TypeError) as error:
        raise ModelUnusable(f"{fetched.version}: {error}") from error
    if not np.isfinite(amounts).all():
        raise ModelUnusable(f"{fetched.version} answers with numbers that are not finite")
    return Amounts(amounts)


def _against_champion(
    version: ModelVersion, rows: HeldOut, answers: Classes | Amounts, scratch: Path
) -> PairedShape | None:
    stands = mlflow_store.in_stage(version.name, Stage.PRODUCTION)
    if stands is None or stands.number == version.number:
        return None
    champion = _fetch(stands, scratch / "champion")
    try:
        compared = answers.against(_answers(champion, rows), rows.labels)
    except ModelUnusable as error:
        # Not comparable is not a pass: without the comparison the gate says unknown, and unknown blocks.
        _log.warning("champion %s cannot answer these rows: %s", stands, error)
        return None
    return PairedShape(champion=stands.number, champion_digest=champion.digest, rows=len(rows.labels), **compared)
