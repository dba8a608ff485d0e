"""Measure a version and its champion on the same held-out rows, and hand the evidence to the registry."""

from __future__ import annotations

import io
import logging
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from registry import digest, measuring, mlflow_store, policy, rehearsal, scan
from registry.errors import ModelUnusable, RegistryError
from registry.evaluation import (
    Indices,
    Numbers,
    calibration,
    class_indices,
    classification,
    discordant,
    probabilities_of,
    regression,
    relative_gain,
    sliced,
)
from registry.gates import Champion, rival
from registry.measured import Calibration, Measured
from registry.promotion import judged
from registry.rows import RowDigests, row_digests
from registry.standing import standing
from registry.wire import EvidenceShape, FileShape, PairedShape
from registry.words import Evidence, FileDigest, ModelVersion, Stage

HELD_OUT = "evaluation/held_out.npz"
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class HeldOut:
    """The rows no model was fitted on: named inputs, each row's truth (class index or number), the file's digest.

    `slices`: column -> the name of the group that each row is in, where the file has `slice.COLUMN`.
    """

    inputs: Mapping[str, NDArray[Any]]
    labels: NDArray[Any]
    sha256: str
    slices: Mapping[str, NDArray[Any]]


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
        evidence = examine(version, Path(scratch)).evidence
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


@dataclass(frozen=True, slots=True)
class Rival:
    """The champion, downloaded, with what it says to the candidate's held-out rows; None where it cannot answer."""

    fetched: Fetched
    answers: Classes | Amounts | None
    unseen: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Examined:
    """What a check found, with the arrays that a report draws."""

    evidence: EvidenceShape
    rows: HeldOut
    answers: Classes | Amounts
    champion: Rival | None


def examine(version: ModelVersion, scratch: Path) -> Examined:
    """Measure one version, and the champion beside it, in an empty folder; nothing is recorded."""
    rows = _held_out(version, scratch)
    mine = _fetch(version, scratch / "candidate")
    with rehearsal.begun(version, mine.folder, mine.digest) as serving:
        answers = _answers(mine, rows)
        rows_digests = row_digests(rows.inputs, rows.labels)
        champion = _rival(version, rows, rows_digests, scratch)
        measured = _measured(mine, rows, rows_digests, answers, champion, scratch)
        rehearsed = serving.finish()
    if isinstance(rehearsed, str):
        measured = replace(measured, unmeasured={**measured.unmeasured, "serving": rehearsed})
    else:
        measured = replace(measured, rehearsal=rehearsed)
    evidence = EvidenceShape(
        digest=mine.digest,
        files=tuple(FileShape(path=f.path, sha256=f.sha256, size=f.size) for f in mine.files),
        held_out=rows.sha256,
        rows=len(rows.labels),
        measures=answers.measures(rows.labels),
        paired=_paired(rows, answers, champion),
        measured=measured,
    )
    return Examined(evidence, rows, answers, champion)


def _measured(
    mine: Fetched,
    rows: HeldOut,
    held_out: RowDigests,
    answers: Classes | Amounts,
    champion: Rival | None,
    scratch: Path,
) -> Measured:
    said = measuring.described(mine.folder)
    seen = measuring.seen_by(mine.version, scratch / "seen")
    theirs = champion.fetched if champion else None
    beside = (theirs.version.number, theirs.digest, measuring.described(theirs.folder)) if theirs else None
    compatible = measuring.compatibility(said, beside)
    unmeasured = {gate: why for gate, why in (("overlap", seen), ("signature", compatible)) if isinstance(why, str)}
    return Measured(
        answers=answers.kind,
        slices=tuple(sliced(rows.slices, lambda at: answers.take(at).measures(rows.labels[at]))),
        calibration=answers.calibration(rows.labels),
        overlap=None if isinstance(seen, str) else measuring.overlap(held_out, seen),
        compatibility=None if isinstance(compatible, str) else compatible,
        dependencies=measuring.dependencies(mine.folder, said),
        scan=scan.scan(mine.folder, [file.path for file in mine.files]),
        unmeasured=unmeasured,
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
            inputs = {n.removeprefix("in."): _text_as_objects(arrays[n]) for n in arrays.files if n.startswith("in.")}
            slices = {n.removeprefix("slice."): arrays[n] for n in arrays.files if n.startswith("slice.")}
            labels = arrays["labels"]
    except (ValueError, KeyError, OSError) as error:
        raise RegistryError(f"{HELD_OUT} of {version} cannot be read: {error}") from error
    odd = [name for name, values in {**inputs, **slices}.items() if len(values) != len(labels)]
    if not len(labels) or not inputs or odd:
        raise RegistryError(f"{HELD_OUT} of {version} holds {len(labels)} labels, and no matching inputs {odd or ''}")
    return HeldOut(inputs, labels, digest.hash_file(path), slices)


def _text_as_objects(values: NDArray[Any]) -> NDArray[Any]:
    """Keras refuses NumPy's own text of a fixed width (3.15: "Invalid dtype: str128")."""
    return values.astype(object) if values.dtype.kind == "U" else values


@dataclass(frozen=True, slots=True)
class Classes:
    """One class index per row, and the probability of each class where the model tells."""

    said: Indices
    labels: tuple[str, ...]
    probabilities: Numbers | None = None

    @property
    def kind(self) -> str:
        """What are the answers?"""
        return "classes" if self.probabilities is None else "probabilities"

    def take(self, rows: Indices) -> Classes:
        """The answers to these rows."""
        return Classes(self.said[rows], self.labels, None if self.probabilities is None else self.probabilities[rows])

    def calibration(self, truth: NDArray[Any]) -> Calibration | None:
        """How far are the probabilities from the truth?"""
        if self.probabilities is None:
            return None
        return calibration(truth.astype(np.int64), self.probabilities)

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

    @property
    def kind(self) -> str:
        """What are the answers?"""
        return "numbers"

    def take(self, rows: Indices) -> Amounts:
        """The answers to these rows."""
        return Amounts(self.said[rows])

    def calibration(self, truth: NDArray[Any]) -> Calibration | None:
        """Numbers claim no probability."""
        return None

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
            said, labels = class_indices(output, meaning.labels), meaning.labels
            return Classes(said, labels, probabilities_of(output, len(labels)))
        amounts = np.asarray(output, dtype=np.float64).reshape(len(rows.labels))
    except (ValueError, TypeError) as error:
        raise ModelUnusable(f"{fetched.version}: {error}") from error
    if not np.isfinite(amounts).all():
        raise ModelUnusable(f"{fetched.version} answers with numbers that are not finite")
    return Amounts(amounts)


def _rival(version: ModelVersion, rows: HeldOut, held_out: RowDigests, scratch: Path) -> Rival | None:
    stands = mlflow_store.in_stage(version.name, Stage.PRODUCTION)
    if stands is None or stands.number == version.number:
        return None
    champion = _fetch(stands, scratch / "champion")
    unseen = measuring.unseen(held_out, measuring.seen_by(stands, scratch / "seen-by-champion"))
    try:
        return Rival(champion, _answers(champion, rows), unseen)
    except ModelUnusable as error:
        # Not comparable is not a pass: without the comparison the gate says unknown, and unknown blocks.
        _log.warning("champion %s cannot answer these rows: %s", stands, error)
        return Rival(champion, None, unseen)


def _paired(rows: HeldOut, answers: Classes | Amounts, champion: Rival | None) -> PairedShape | None:
    """Both on the rows that neither was trained on: a champion remembers its training rows, and would look better."""
    if champion is None or champion.answers is None or not len(champion.unseen):
        return None
    fair = champion.unseen
    try:
        compared = answers.take(fair).against(champion.answers.take(fair), rows.labels[fair])
    except ModelUnusable as error:
        _log.warning("champion %s cannot be compared: %s", champion.fetched.version, error)
        return None
    return PairedShape(
        champion=champion.fetched.version.number, champion_digest=champion.fetched.digest, rows=len(fair),
        left_out=len(rows.labels) - len(fair), **compared,
    )  # fmt: skip
