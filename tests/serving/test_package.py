"""What Lambda is given, for which Python, and that equal input gives equal bytes."""

from __future__ import annotations

import os
import sys
import zipfile
from pathlib import Path

import pytest

from serving import package

HERE = f"python{sys.version_info.major}.{sys.version_info.minor}"


@pytest.fixture(scope="module")
def cache() -> Path | None:
    """The user's own cache, so that a second run of the tests downloads nothing."""
    return None


def names(archive: Path) -> set[str]:
    with zipfile.ZipFile(archive) as opened:
        return set(opened.namelist())


@pytest.mark.parametrize(("runtime", "tag"), [("python3.12", "cpython-312-x86_64"), (HERE, "x86_64-linux-gnu")])
def test_a_layer_holds_the_wheels_of_the_functions_python(runtime: str, tag: str, cache: Path | None) -> None:
    layer = package.build_layer(package.layer_spec(runtime, "x86_64"), cache)
    extensions = [n for n in names(layer) if n.startswith("python/numpy/_core/_multiarray_umath")]
    assert len(extensions) == 1
    assert tag in extensions[0]
    assert any(n.startswith("python/onnxruntime/capi/onnxruntime_pybind11_state") for n in names(layer))


def test_a_layer_for_this_python_brings_its_bytecode(cache: Path | None) -> None:
    layer = package.build_layer(package.layer_spec(HERE, "x86_64"), cache)
    assert any(n.endswith(".pyc") for n in names(layer))


def test_a_layer_fits_lambda_beside_a_model(cache: Path | None) -> None:
    layer = package.build_layer(package.layer_spec("python3.12", "x86_64"), cache)
    with zipfile.ZipFile(layer) as archive:
        assert sum(entry.file_size for entry in archive.infolist()) < 120e6  # of 262 MB


def test_another_runtime_machine_or_pin_is_another_layer() -> None:
    specs = {package.layer_spec(r, a).identity for r in ("python3.12", "python3.13") for a in ("x86_64", "arm64")}
    assert len(specs) == 4


def test_equal_files_pack_to_equal_bytes(tmp_path: Path) -> None:
    for name, order in (("one", ("a", "b/c")), ("two", ("b/c", "a"))):
        for part in order:
            path = tmp_path / name / part
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(part)
            os.utime(path, (len(name) * 1e8, 1e9))
            path.chmod(0o600 if name == "one" else 0o664)
    zips = [package.write_zip(tmp_path / name, tmp_path / f"{name}.zip").read_bytes() for name in ("one", "two")]
    assert zips[0] == zips[1]
