"""The same release makes the same bytes on another day, in another folder, umask or locale; old bundles still serve."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from serving import bundle as bundles
from serving.errors import BundleInvalid
from serving.golden import read_golden
from serving.runtime.core import GOLDEN, Predictor

from .small import bundle_of

ROOT = Path(__file__).parents[2]
OLD = sorted((ROOT / "tests" / "golden" / "bundles").iterdir())
BUILD = """
import os, sys
from pathlib import Path
os.umask(int(sys.argv[3], 8))
from serving import bundle
from tests.serving.conftest import release_of
files = Path(sys.argv[1])
bundle.build(release_of(files), files, Path(sys.argv[2]))
"""


def built(files: Path, into: Path, *, umask: str, environ: dict[str, str]) -> dict[str, bytes]:
    """The files of a bundle built in a process of its own."""
    env = {**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3", **environ}
    subprocess.run([sys.executable, "-c", BUILD, str(files), str(into), umask], env=env, check=True,
                   capture_output=True)
    return {p.name: p.read_bytes() for p in into.iterdir()}


def test_time_folder_umask_locale_and_hash_seed_change_nothing(network_files: Path, tmp_path: Path) -> None:
    one = built(network_files, tmp_path / "a", umask="022", environ={"PYTHONHASHSEED": "0", "LC_ALL": "C"})
    moved = Path(shutil.copytree(network_files, tmp_path / "else" / "where"))
    for path in moved.rglob("*"):
        os.utime(path, (1e9, 1e9))
    other = built(moved, tmp_path / "other" / "b", umask="077",
                  environ={"PYTHONHASHSEED": "77", "LC_ALL": "C.UTF-8", "TZ": "Asia/Tokyo"})
    assert one.keys() == other.keys()
    assert [name for name in one if one[name] != other[name]] == []


@pytest.mark.parametrize("folder", OLD, ids=lambda p: p.name)
def test_a_bundle_of_an_earlier_release_still_verifies_and_serves(folder: Path) -> None:
    assert bundles.verify(folder).manifest.name
    golden = read_golden(folder / GOLDEN)
    said = Predictor(folder).predict(golden.inputs)
    for name, wanted in golden.outputs.items():
        np.testing.assert_allclose(said[name], wanted, atol=1e-4)


def test_a_link_in_a_bundle_is_refused(tmp_path: Path) -> None:
    folder = bundle_of("rows", tmp_path / "bundle")
    (folder / "model.onnx").rename(tmp_path / "elsewhere.onnx")
    (folder / "model.onnx").symlink_to(tmp_path / "elsewhere.onnx")
    with pytest.raises(BundleInvalid, match=r"model.onnx is a link"):
        bundles.verify(folder)
