# mypy: disallow-untyped-calls=False
# MLflow's own functions carry no annotations.
"""What does a version consist of, and what does its model answer? Files to and from MLflow, and the native model."""

from __future__ import annotations

import io
from collections.abc import Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
from mlflow.artifacts import download_artifacts
from mlflow.exceptions import MlflowException
from mlflow.models import Model
from mlflow.tracking import MlflowClient
from numpy.typing import NDArray

from registry import shapes
from registry.errors import ModelUnusable
from registry.mlflow_store import mapped
from registry.words import ModelVersion

BATCH = 512


def fetch_model(version: ModelVersion, into: Path) -> Path:
    """Download a version's files into a folder."""
    with mapped():
        return Path(download_artifacts(artifact_uri=f"models:/{version.name}/{version.number}", dst_path=str(into)))


def location(version: ModelVersion) -> str:
    """Where a version's files are kept."""
    with mapped():
        return str(MlflowClient().get_model_version_download_uri(version.name, str(version.number)))


def fetch_run_file(version: ModelVersion, path: str, into: Path) -> Path | None:
    """Download one artifact of the version's run; None when the run has none of that name."""
    folder = str(Path(path).parent)
    with mapped():
        listed = {item.path for item in MlflowClient().list_artifacts(version.run_id, folder)}
        if path not in listed:
            return None
        return Path(download_artifacts(run_id=version.run_id, artifact_path=path, dst_path=str(into)))


def log_run_files(version: ModelVersion, folder: Path, under: str) -> None:
    """Log a folder's files to the version's run."""
    with mapped():
        MlflowClient().log_artifacts(version.run_id, str(folder), under)


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a model's answers mean: classes (with their labels in index order), or numbers."""

    kind: str
    labels: tuple[str, ...]


def meaning_of(folder: Path) -> Meaning:
    """What do a downloaded model's answers mean, by its `slipway` metadata?

    Raises:
        ModelUnusable: when it does not say.
    """
    said = (Model.load(str(folder)).metadata or {}).get("slipway", {})
    kind, labels = said.get("kind"), tuple(map(str, said.get("labels") or ()))
    if kind not in ("classification", "regression", "ranking") or (kind == "classification" and not labels):
        raise ModelUnusable(f"the model's metadata names no kind of answer, or no classes (kind {kind!r}). Next: log "
                            'it with metadata={"slipway": {"kind": "classification", "labels": [...]}}, as '
                            'docs/governance.md shows under "A model of your own"')
    return Meaning(kind, labels)


def predict(folder: Path, inputs: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
    """Load a downloaded model and answer all rows, a few hundred at a time.

    Raises:
        ModelUnusable: when it does not load, or refuses these inputs.
    """
    rows = len(next(iter(inputs.values())))
    try:
        with redirect_stdout(io.StringIO()):  # Keras draws a progress bar for every batch, which tells nobody anything
            model = mlflow.pyfunc.load_model(str(folder))
            schema = model.metadata.get_input_schema()
            batches = ({name: v[at : at + BATCH] for name, v in inputs.items()} for at in range(0, rows, BATCH))
            parts = [shapes.answer(model.predict(shapes.request(schema, batch))) for batch in batches]
    except (MlflowException, ValueError, TypeError, KeyError, ImportError, AttributeError) as error:
        raise ModelUnusable(f"the model does not answer: {error}") from error
    return np.concatenate(parts)
