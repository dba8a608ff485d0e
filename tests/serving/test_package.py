"""What Lambda is given, for which Python, and that equal input gives equal bytes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from serving import bundle as bundles
from serving import package

BUNDLE = Path(__file__).parent.parent / "golden" / "bundles" / "0.1-text-gru"
HERE = f"python{sys.version_info.major}.{sys.version_info.minor}"


@pytest.fixture(scope="module")
def cache() -> Path | None:
    """The user's own cache, so that a second run of the tests downloads nothing."""
    return None


def names(archive: Path) -> set[str]:
    with zipfile.ZipFile(archive) as opened:
        return set(opened.namelist())


@pytest.mark.parametrize(("architecture", "machine"), [("x86_64", 62), ("arm64", 183)])
def test_a_layer_holds_the_library_of_the_functions_machine_once(
        architecture: str, machine: int, cache: Path | None) -> None:
    layer = package.build_layer(package.layer_spec("python3.12", architecture), cache)
    with zipfile.ZipFile(layer) as archive:
        libraries = [n for n in archive.namelist() if ".so" in n]
        with archive.open(libraries[0]) as library:
            assert int.from_bytes(library.read(20)[18:], "little") == machine  # ELF header, e_machine
    assert [name.partition(".so")[0] for name in libraries] == ["python/onnxruntime/capi/libonnxruntime"]


def test_a_layer_is_bound_to_no_version_of_python(cache: Path | None) -> None:
    layers = [package.build_layer(package.layer_spec(r, "x86_64"), cache).read_bytes() for r in (HERE, "python3.12")]
    assert layers[0] == layers[1]


def test_a_layer_brings_the_licence_of_what_it_holds(cache: Path | None) -> None:
    held = names(package.build_layer(package.layer_spec("python3.12", "x86_64"), cache))
    assert {"python/onnxruntime/LICENSE", "python/onnxruntime/ThirdPartyNotices.txt"} <= held


def test_a_release_for_this_python_brings_its_bytecode(tmp_path: Path) -> None:
    release = package.build_release(bundles.verify(BUNDLE), tmp_path, HERE)
    sources = {n for n in names(release) if n.endswith(".py")}
    assert len(sources) > 10
    assert len([n for n in names(release) if n.endswith(".pyc")]) == len(sources)


def test_a_layer_and_a_release_keep_within_their_sizes(tmp_path: Path, cache: Path | None) -> None:
    layer = package.build_layer(package.layer_spec("python3.12", "x86_64"), cache)
    with zipfile.ZipFile(layer) as archive:
        assert sum(entry.file_size for entry in archive.infolist()) < 40e6  # of 262 MB beside the model
    assert layer.stat().st_size < 15e6
    assert package.build_release(bundles.verify(BUNDLE), tmp_path, HERE).stat().st_size < 2e6


def test_what_travels_answers_where_there_is_no_numpy(tmp_path: Path, cache: Path | None) -> None:
    release = package.build_release(bundles.verify(BUNDLE), tmp_path, HERE)
    layer = package.build_layer(package.layer_spec(HERE, "x86_64"), cache)
    for archive, place in ((release, tmp_path / "task"), (layer, tmp_path / "opt")):
        zipfile.ZipFile(archive).extractall(place)
    ask = ("import json, sys; from serving.runtime.lambda_handler import handler;"
           "print(json.dumps(handler({'instances': ['a good one']}, None)));"
           "assert not {'numpy', 'onnxruntime', 'dataclasses'} & set(sys.modules), sorted(sys.modules)")
    env = {"PYTHONPATH": f"{tmp_path}/task:{tmp_path}/opt/python", "LAMBDA_TASK_ROOT": f"{tmp_path}/task"}
    done = subprocess.run([sys.executable, "-S", "-s", "-c", ask], env=env, capture_output=True, text=True,
                          cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["model"]["version"] == 3


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
