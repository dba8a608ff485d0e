"""What are a model's bytes? Per-file digests, one digest over them, and how two lists differ."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from registry.errors import ReleaseTampered
from registry.words import FileDigest

# MLflow writes this file while downloading a registered version; it is no part of what was logged.
WRITTEN_AT_DOWNLOAD = "registered_model_meta"


def digest_of(files: Iterable[FileDigest]) -> str:
    """One sha256 for a whole model: over the sorted lines `<sha256>  <path>` of its files."""
    lines = sorted(f"{file.sha256}  {file.path}\n" for file in files)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def hash_file(path: Path) -> str:
    """The sha256 of one file, in hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def hash_folder(folder: Path) -> tuple[FileDigest, ...]:
    """Every file of a downloaded model, sorted by path.

    Raises:
        ReleaseTampered: when something in it is a link or no plain file, which could point anywhere.
    """
    found, odd = [], []
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            odd.append(name)
        elif path.is_file() and name != WRITTEN_AT_DOWNLOAD:
            found.append(FileDigest(name, hash_file(path), path.stat().st_size))
    if odd:
        raise ReleaseTampered(folder.name, changed=(), missing=(), extra=odd)
    return tuple(found)


@dataclass(frozen=True, slots=True)
class Difference:
    """How found files differ from the wanted ones; truthy when they do."""

    changed: tuple[str, ...]
    missing: tuple[str, ...]
    extra: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.changed or self.missing or self.extra)


def compare(wanted: Iterable[FileDigest], found: Iterable[FileDigest]) -> Difference:
    """Name changed, missing and extra files together."""
    want, have = {f.path: f for f in wanted}, {f.path: f for f in found}
    return Difference(
        changed=tuple(sorted(p for p in want.keys() & have.keys() if want[p].sha256 != have[p].sha256)),
        missing=tuple(sorted(want.keys() - have.keys())),
        extra=tuple(sorted(have.keys() - want.keys())),
    )
