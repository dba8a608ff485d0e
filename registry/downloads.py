"""A release's files, handed over only when every one of them is what was approved."""

from __future__ import annotations

import shutil
from pathlib import Path

from registry import digest, mlflow_store, model_files
from registry.errors import ReleaseTampered
from registry.words import Release


def download(release: Release, into: Path) -> Path:
    """Fetch a release's files, and hand them over only if every one is what was approved.

    Raises:
        ReleaseTampered: naming changed, missing and extra files together; nothing is left in `into`.
    """
    mlflow_store.connect_existing()
    version = mlflow_store.model_version(release.model, release.version)
    folder = model_files.fetch_model(version, into)
    try:
        difference = digest.compare(release.files, digest.hash_folder(folder))
        if difference:
            subject = f"{release.model}/{release.version}"
            place = model_files.location(version)
            raise ReleaseTampered(subject, difference.changed, difference.missing, difference.extra, place)
    except ReleaseTampered:
        shutil.rmtree(folder)
        raise
    (folder / digest.WRITTEN_AT_DOWNLOAD).unlink(missing_ok=True)
    return folder
