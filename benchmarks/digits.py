"""The digits network of `slipway train images`, trained briefly, as a bundle: what benchmarks serve."""

from __future__ import annotations

import hashlib
import os
from datetime import UTC, datetime
from pathlib import Path

from registry import Actor, Approval, Evidence, FileDigest, Release, Stage
from serving.bundle import Bundle, build


def digits_bundle(scratch: Path) -> tuple[Bundle, Path]:
    """The bundle, and the .keras file that it was made from."""
    scratch.mkdir(parents=True)
    os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{scratch}/mlflow.db"
    os.environ["MLFLOW_REGISTRY_URI"] = f"slipway:sqlite:///{scratch}/mlflow.db"
    import mlflow

    from train import Request, train

    here = Path.cwd()
    os.chdir(scratch)
    try:
        trained = train(Request("images", parameters={"epochs": "2"}))
        files = Path(mlflow.artifacts.download_artifacts(trained.source, dst_path=str(scratch / "files")))
    finally:
        os.chdir(here)
    return build(release_of(files), files, scratch / "bundle"), files / "data" / "model.keras"


def release_of(files: Path) -> Release:
    """The release that these files would be, once somebody had approved them."""
    listed = tuple(FileDigest(p.relative_to(files).as_posix(), hashlib.sha256(p.read_bytes()).hexdigest(),
                              p.stat().st_size) for p in sorted(files.rglob("*")) if p.is_file())
    digest = hashlib.sha256("".join(f"{f.sha256}  {f.path}\n" for f in listed).encode()).hexdigest()
    who, when = Actor("benchmark"), datetime(2026, 1, 2, tzinfo=UTC)
    evidence = Evidence(digest, listed, "rows", 0, (), None, who, when, 1, ())
    return Release("digits", 1, "run", "models:/m-1", digest, listed, Stage.PRODUCTION, evidence,
                   (Approval(who, digest, when, "", 1, 2),))
