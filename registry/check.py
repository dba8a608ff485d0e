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

from registry import digest, figures, licences, measuring, mlflow_store, model_files, policy, rehearsal, report, scan
from registry.answers import Amounts, Answers, Classes
from registry.errors import ModelUnusable, RegistryError
from registry.evaluation import (
    class_indices,
    probabilities_of,
    sliced,
)
from registry.gates import Champion, rival
from registry.measured import Measured, Scan
from registry.promotion import judged
from registry.rows import RowDigests, row_digests
from registry.standing import standing
from registry.wire import EvidenceShape, FileShape, PairedShape
from registry.words import Evidence, FileDigest, ModelVersion, Stage

HELD_OUT = "evaluation/held_out.npz"
REPORT = "check"
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
    """A version's files on this disk, what they hash to, and what a look inside found."""

    version: ModelVersion
    folder: Path
    files: tuple[FileDigest, ...]
    scan: Scan

    @property
    def digest(self) -> str:
        """The digest over all files."""
        return digest.digest_of(self.files)


def check(version: ModelVersion, *, draw: bool = False) -> Evidence:
    """Measure, record and judge one version; the verdicts are those of the policy in force here.

    Args:
        version: what to measure.
        draw: whether a report with figures is logged to the version's run, under `check/`.

    Raises:
        RegistryError: when the version's files or its held-out rows cannot be had.
    """
    with tempfile.TemporaryDirectory(prefix="slipway-check-") as scratch:
        examined = examine(version, Path(scratch))
        mlflow_store.send_evidence(version, examined.evidence)
        evidence = recorded(version)
        if draw:
            _log_report(version, evidence, examined, Path(scratch) / "report")
    return evidence


def _log_report(version: ModelVersion, evidence: Evidence, examined: Examined, into: Path) -> None:
    """Draw and log what was found, the champion beside the candidate where both answer with the same kind."""
    sides = {f"candidate {version}": examined.answers}
    champion = examined.champion
    if champion and champion.answers and champion.answers.kind == examined.answers.kind:
        sides[f"champion {champion.fetched.version}"] = champion.answers
    into.mkdir()
    report.write(into, version, evidence, str(champion.fetched.version) if champion else "",
                 dict(figures.drawn(sides, examined.rows.labels)))
    model_files.log_run_files(version, into, REPORT)


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
    answers: Answers | None
    unseen: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Examined:
    """What a check found, with the arrays that a report draws."""

    evidence: EvidenceShape
    rows: HeldOut
    answers: Answers
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
    answers: Answers,
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
        dependencies=licences.required(mine.folder, said),
        scan=mine.scan,
        unmeasured=unmeasured,
        intervals=answers.intervals(rows.labels),
    )


def _fetch(version: ModelVersion, into: Path) -> Fetched:
    into.mkdir()
    folder = model_files.fetch_model(version, into)
    files = digest.hash_folder(folder)
    return Fetched(version, folder, files, scan.scan(folder, [file.path for file in files]))


def _held_out(version: ModelVersion, scratch: Path) -> HeldOut:
    path = model_files.fetch_run_file(version, HELD_OUT, scratch)
    if path is None:
        raise RegistryError(f"{version} has no held-out rows. Next: log {HELD_OUT} on run {version.run_id}, as "
                           "docs/governance.md shows under \"A model of your own\"")
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


def _answers(fetched: Fetched, rows: HeldOut) -> Answers:
    _require_harmless(fetched)
    meaning = model_files.meaning_of(fetched.folder)
    output = model_files.predict(fetched.folder, rows.inputs)
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


def _require_harmless(fetched: Fetched) -> None:
    """Loading is what runs code, so the look inside comes first; a policy without the gate has answered for it."""
    rules, name = policy.load().rules, fetched.version.name
    wanted = all(rules(name, stage).gates.more.formats is not None for stage in (Stage.STAGING, Stage.PRODUCTION))
    if wanted and fetched.scan.findings:
        raise ModelUnusable(
            f"{fetched.version} is not loaded, since that could run code: {'; '.join(fetched.scan.findings)}. Next: "
            "log it in a format that holds none (.keras, .skops of scikit-learn's own types, .onnx); or gates.formats: "
            "null in the policy, where whoever trained it may run code here")


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


def _paired(rows: HeldOut, answers: Answers, champion: Rival | None) -> PairedShape | None:
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
