"""A small Keras network, and the release that it would be once approved."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from registry import Actor, Approval, Evidence, FileDigest, Outcome, Release, Stage, Verdict
from tests.conftest import told_not_rehearsed

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
NOW = datetime(2026, 1, 2, tzinfo=UTC)


@pytest.fixture(autouse=True, scope="module")
def quick_checks() -> Iterator[None]:
    """The rehearsal itself is on trial in tests/serving/test_rehearsal.py."""
    with told_not_rehearsed():
        yield


def described(folder: Path, **metadata: Any) -> Path:
    """Write an MLmodel beside a network, as MLflow would."""
    facts = {"task": "images", "kind": "classification", "labels": ["a", "b", "c"], **metadata}
    flavors = {"tensorflow": {"data": "data", "model_type": "keras"}, "python_function": {}}
    (folder / "MLmodel").write_text(yaml.safe_dump({"flavors": flavors, "metadata": {"slipway": facts}}))
    return folder


@pytest.fixture(scope="session")
def network_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of a registered version, and golden requests.

    The network has what converters get wrong: layers that act only in training, and inputs given by name.
    """
    import keras

    keras.utils.set_random_seed(7)
    folder = tmp_path_factory.mktemp("network")
    image = keras.Input((6, 6, 1), name="image")
    x = keras.layers.RandomTranslation(0.2, 0.2, seed=1)(keras.layers.Rescaling(1 / 16)(image))
    x = keras.layers.BatchNormalization()(keras.layers.Conv2D(4, 3, activation="relu")(x))
    out = keras.layers.Dense(3, activation="softmax", name="probabilities")(keras.layers.Flatten()(x))
    network = keras.Model({"image": image}, out)
    network.compile(loss="sparse_categorical_crossentropy")
    (folder / "data").mkdir()
    rows = np.random.default_rng(0).uniform(0, 16, (8, 6, 6, 1)).astype(np.float32)
    network.fit({"image": rows}, np.arange(8) % 3, epochs=3, verbose=0)
    network.save(folder / "data" / "model.keras")
    answers = network.predict({"image": rows}, verbose=0)
    np.savez(folder / "golden.npz", **{"in.image": rows, "out.probabilities": answers})
    return described(folder)


def release_of(files: Path) -> Release:
    """The release that these files would be."""
    listed = tuple(FileDigest(p.relative_to(files).as_posix(), hashlib.sha256(p.read_bytes()).hexdigest(),
                              p.stat().st_size) for p in sorted(files.rglob("*")) if p.is_file())
    digest = hashlib.sha256("".join(f"{f.sha256}  {f.path}\n" for f in listed).encode()).hexdigest()
    ci, bo = Actor("ci"), Actor("bo")
    verdict = Verdict("accuracy", Outcome.PASSED, "0.98 >= 0.95")
    evidence = Evidence(digest, listed, "rows", 360, (), None, ci, NOW, 2, (verdict,))
    return Release("images", 3, "run", "models:/m-1", digest, listed, Stage.PRODUCTION, evidence,
                   (Approval(bo, digest, NOW, "good", 2, 3),))


@pytest.fixture(scope="session")
def slow_files(network_files: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same network with the same answers, computed beside much that changes nothing: tens of milliseconds more."""
    import keras

    files = Path(shutil.copytree(network_files, tmp_path_factory.mktemp("slow") / "files"))
    network = keras.saving.load_model(files / "data" / "model.keras")
    (image,) = network.inputs
    x = keras.layers.UpSampling2D(16)(image)
    for _ in range(6):
        x = keras.layers.Conv2D(96, 3, padding="same", activation="relu")(x)
    idle = keras.layers.Dense(3, kernel_initializer="zeros")(keras.layers.GlobalAveragePooling2D()(x))
    answers = keras.layers.Add(name="answers")([network({"image": image}), idle])
    keras.Model({"image": image}, answers).save(files / "data" / "model.keras")
    return files
