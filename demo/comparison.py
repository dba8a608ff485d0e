"""Ask Lambda for every held-out image, one at a time, and hold each answer against Keras's."""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.progress import track


@dataclass(frozen=True, slots=True)
class Comparison:
    """How many answers were compared, how many named the same label, and how far apart were they at most?"""

    compared: int
    equal: int
    max_abs_diff: float
    accuracy: float
    served_by: str


def compare(model: str) -> Comparison:
    """Do Lambda's answers equal Keras's on the held-out images of the version in Production?"""
    from serving import Aws, Settings, invoke
    from serving.targets import open_target

    images, truth, native = _native_answers(model)
    target = open_target("lambda", Aws(), Settings())
    answers = [json.loads(invoke(model, json.dumps({"instances": [image.tolist()]}).encode(), target))
               for image in track(images, description="   asking Lambda", transient=True)]
    served = np.array([answer["predictions"][0] for answer in answers])
    names = {f"{a['model']['name']}/{a['model']['version']} {a['model']['digest'][:12]}" for a in answers}
    return Comparison(
        compared=len(served), equal=int((served.argmax(1) == native.argmax(1)).sum()),
        max_abs_diff=float(np.abs(served - native).max()), accuracy=float((served.argmax(1) == truth).mean()),
        served_by=", ".join(sorted(names)))


def _native_answers(model: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    import keras
    import mlflow

    from registry import download, release

    chosen = release(model)
    with tempfile.TemporaryDirectory(prefix="slipway-demo-") as scratch:
        files = download(chosen, Path(scratch) / "model")
        rows = mlflow.artifacts.download_artifacts(
            run_id=chosen.run_id, artifact_path="evaluation/held_out.npz", dst_path=scratch)
        network = keras.saving.load_model(files / "data" / "model.keras", compile=False)
        with np.load(rows, allow_pickle=False) as held_out:
            images, truth = held_out["in.image"], held_out["labels"]
        return images, truth, np.asarray(network.predict({"image": images}, verbose=0))
