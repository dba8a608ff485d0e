"""Measure what is not a figure of the answers: overlap, signature, dependencies. Decides nothing."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from registry import digest, model_files, rows, signatures
from registry.errors import ModelUnusable
from registry.measured import Compatibility, Overlap
from registry.rows import RowDigests
from registry.words import ModelVersion


def described(folder: Path) -> dict[str, Any]:
    """The MLmodel file of a downloaded version.

    Raises:
        ModelUnusable: when there is none, or it is no YAML.
    """
    try:
        said = yaml.safe_load((folder / "MLmodel").read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ModelUnusable(f"its MLmodel file cannot be read: {error}") from error
    return said if isinstance(said, dict) else {}


def seen_by(version: ModelVersion, scratch: Path) -> tuple[RowDigests, str] | str:
    """The digests of the rows that a version's training saw, and their file's sha256; or why they are not to be had."""
    scratch.mkdir(exist_ok=True)
    path = model_files.fetch_run_file(version, rows.SEEN, scratch)
    if path is None:
        return f"digests of the training rows were not logged ({rows.SEEN})"
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as found:
            return rows.of_arrays({name: found[name] for name in found.files}), digest.hash_file(path)
    except (ValueError, OSError, EOFError) as error:
        return f"{rows.SEEN} cannot be read: {error}"


def overlap(held_out: RowDigests, seen: tuple[RowDigests, str]) -> Overlap:
    """How many held-out rows did the training see?"""
    trained, name = seen
    copies = rows.known(held_out.copies, trained.copies)
    alike = rows.known(held_out.alike, trained.alike)
    return Overlap(len(held_out), len(trained), int(copies.sum()), int((alike | copies).sum()), name)


def unseen(held_out: RowDigests, seen: tuple[RowDigests, str] | str) -> NDArray[np.int64]:
    """The held-out rows that a training did not see; all of them where nobody knows."""
    if isinstance(seen, str):
        return np.arange(len(held_out))
    return np.flatnonzero(~rows.known(held_out.copies, seen[0].copies))


def compatibility(
    candidate: Mapping[str, Any], champion: tuple[int, str, Mapping[str, Any]] | None
) -> Compatibility | str:
    """How the candidate stands to the champion (its number, digest and MLmodel); or why nobody can say."""
    try:
        mine = signatures.signature_of(candidate)
        if mine is None:
            return "the model was logged without one, or without outputs in it"
        if champion is None:
            return Compatibility(len(mine.inputs), len(mine.outputs))
        number, champion_digest, told = champion
        theirs = signatures.signature_of(told)
    except ValueError as error:
        return str(error)
    if theirs is None:
        return f"champion {number} has none to compare with"
    breaks, changes = tuple(signatures.breaks(mine, theirs)), tuple(signatures.changes(mine, theirs))
    return Compatibility(len(mine.inputs), len(mine.outputs), number, champion_digest, breaks[:50], changes[:50])
