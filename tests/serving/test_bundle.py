"""A bundle follows its release: the same answers, the same bytes, and no other files."""

from __future__ import annotations

import json
import os
import shutil
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serving import bundle as bundles
from serving.bundle import Bundle
from serving.errors import BundleInvalid, ParityFailed, Unconvertible
from serving.golden import read_golden
from serving.runtime.core import Predictor
from serving.runtime.errors import BundleBroken
from serving.runtime.manifest import FileEntry, Manifest, Parity, differences, parse, sha256

from .conftest import described, release_of


@pytest.fixture(scope="module")
def built(network_files: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return bundles.build(release_of(network_files), network_files, tmp_path_factory.mktemp("built") / "bundle")


@pytest.fixture
def copy(built: Bundle, tmp_path: Path) -> Path:
    return Path(shutil.copytree(built.folder, tmp_path / "copy"))


def test_the_converted_network_answers_as_the_native_one(built: Bundle) -> None:
    parity = built.manifest.parity
    assert (parity.rows, parity.labels_equal) == (8, 8)
    assert parity.max_abs_diff <= parity.tolerance == 1e-4
    golden = read_golden(built.folder / "golden.npz")
    served = Predictor(built.folder).predict(golden.inputs)["probabilities"]
    np.testing.assert_allclose(served, golden.outputs["probabilities"], atol=1e-5)


def test_the_manifest_says_what_is_served_and_who_approved_it(built: Bundle) -> None:
    manifest = built.manifest
    assert (manifest.name, manifest.version, manifest.labels) == ("images", 3, ("a", "b", "c"))
    assert manifest.inputs[0].name == "image"
    assert manifest.inputs[0].shape == (None, 6, 6, 1)
    assert manifest.verdicts == ({"gate": "accuracy", "outcome": "passed", "reason": "0.98 >= 0.95", "found": None,
                                  "wanted": None, "interval": None},)
    assert manifest.approvals == ({"by": "bo", "proven": False, "at": "2026-01-02T00:00:00+00:00", "comment": "good",
                                   "digest": manifest.digest, "evidence": 2, "entry": 3},)
    assert manifest.evidence == {"by": "ci", "proven": False, "at": "2026-01-02T00:00:00+00:00", "entry": 2,
                                 "rows": 360, "digest": manifest.digest, "held_out": "rows"}
    assert parse(manifest.to_bytes()) == manifest


def test_the_manifest_says_what_is_done_to_the_inputs_first(built: Bundle) -> None:
    low, high = built.manifest.inputs[0].seen or (0, 0)
    assert built.manifest.preprocessing[:2] == (
        {"by": "runtime", "step": "scale_pixels", "inputs": ["image"],
         "how": {"from_low": 0, "from_high": 255, "to_low": low, "to_high": high}},
        {"by": "model", "step": "Rescaling", "inputs": ["image"], "how": {"scale": 0.0625, "offset": 0.0}})


def test_the_manifest_names_the_licence_of_each_requirement(network_files: Path, tmp_path: Path) -> None:
    files = Path(shutil.copytree(network_files, tmp_path / "files"))
    described(files, licences={"not-installed-here": "MIT"})
    (files / "requirements.txt").write_text("click\nnot-installed-here==1.0\nnobody-knows==2\n")
    made = bundles.build(release_of(files), files, tmp_path / "bundle").manifest
    assert made.requirements == (
        {"name": "click", "version": None, "licence": "BSD-3-Clause"},
        {"name": "not-installed-here", "version": "1.0", "licence": "MIT"},
        {"name": "nobody-knows", "version": "2", "licence": None})


def test_the_same_release_makes_the_same_bytes(built: Bundle, network_files: Path, tmp_path: Path) -> None:
    again = bundles.build(release_of(network_files), network_files, tmp_path / "again")
    for path in built.folder.iterdir():
        assert (again.folder / path.name).read_bytes() == path.read_bytes(), path.name


def test_missing_changed_and_extra_files_are_named_together(copy: Path) -> None:
    (copy / "golden.npz").unlink()
    body = bytearray((copy / "model.onnx").read_bytes())
    body[-1] ^= 1
    (copy / "model.onnx").write_bytes(body)
    (copy / "extra.py").write_text("")
    with pytest.raises(BundleInvalid) as refused:
        bundles.verify(copy)
    for said in ("golden.npz is missing", "model.onnx was changed", "extra.py is not in the manifest"):
        assert said in str(refused.value)


def test_an_altered_bundle_is_never_loaded(copy: Path) -> None:
    (copy / "model.onnx").write_bytes(b"")
    with pytest.raises(BundleBroken, match=r"model.onnx was changed"):
        Predictor(copy)


def test_a_large_bundle_is_verified_in_little_memory(tmp_path: Path) -> None:
    size = 64 * 1024 * 1024
    with (tmp_path / "model.onnx").open("wb") as file:
        file.truncate(size)
    tracemalloc.start()
    try:
        entry = FileEntry("model.onnx", sha256(tmp_path / "model.onnx"), size)
        manifest = Manifest("large", 1, "r", "d", "", "", (), (), (), {}, Parity(0, 0, 0.0, 0.0), (entry,))
        assert differences(tmp_path, manifest) == []
        assert tracemalloc.get_traced_memory()[1] < size / 16
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("text", ["", "{", '{"schema": 3}', '{"schema": 2}', '{"schema": 1}'])
def test_a_broken_manifest_is_no_bundle(copy: Path, text: str) -> None:
    (copy / "manifest.json").write_text(text)
    with pytest.raises(BundleBroken, match=r"manifest.json"):
        Predictor(copy)


WRONG: list[tuple[tuple[str | int, ...], Any]] = [
    (("name",), "digits\r\nX-Model: other"), (("name",), None), (("version",), "3"), (("digest",), 7),
    (("engine",), None), (("labels",), "xy"), (("labels", 0), 0), (("source",), []), (("parity",), None),
    (("parity", "rows"), "all"), (("inputs",), []), (("inputs",), "x"), (("inputs", 0), None),
    (("inputs", 0, "dtype"), "float99"), (("inputs", 0, "shape"), []), (("inputs", 0, "shape", 1), -6),
    (("inputs", 0, "seen"), [1]), (("inputs", 0, "known"), 5), (("inputs", 0, "missing"), 1), (("outputs",), {}),
    (("outputs", 0, "name"), None), (("files",), {}), (("files", 0), "model.onnx"), (("files", 0, "path"), None),
    (("files", 0, "sha256"), 0), (("files", 0, "size"), -1)]


@pytest.mark.parametrize(("place", "value"), WRONG)
def test_a_manifest_with_a_value_of_another_type_is_no_bundle_and_says_where(
        copy: Path, place: tuple[str | int, ...], value: Any) -> None:
    raw = json.loads((copy / "manifest.json").read_bytes())
    held: Any = raw
    for key in place[:-1]:
        held = held[key]
    held[place[-1]] = value
    (copy / "manifest.json").write_text(json.dumps(raw))
    with pytest.raises(BundleInvalid, match=rf"manifest.json is not a manifest: {place[0]}"):
        bundles.verify(copy)


@pytest.mark.parametrize("text", ["[]", "null", "3", "[" * 100_000])
def test_a_manifest_that_is_no_object_is_no_bundle(copy: Path, text: str) -> None:
    (copy / "manifest.json").write_text(text)
    with pytest.raises(BundleInvalid, match=r"manifest\.json (is not JSON|has schema None)"):
        bundles.verify(copy)


def test_a_file_that_is_named_twice_is_refused_whichever_hash_is_right(copy: Path) -> None:
    raw = json.loads((copy / "manifest.json").read_bytes())
    raw["files"].insert(0, {**raw["files"][0], "sha256": "0" * 64})
    (copy / "manifest.json").write_text(json.dumps(raw))
    with pytest.raises(BundleInvalid, match=r"names golden\.npz twice"):
        bundles.verify(copy)


@pytest.mark.parametrize("made", ["link", "endless", "pipe"])
def test_what_is_no_plain_file_is_never_opened(copy: Path, made: str) -> None:
    model = copy / "model.onnx"
    moved = model.rename(copy.parent / f"{copy.name}-{made}.onnx")
    if made == "pipe":
        os.mkfifo(model)
    else:
        model.symlink_to(moved if made == "link" else "/dev/zero")
    with pytest.raises(BundleInvalid, match=r"model\.onnx is a link, or no file"):
        bundles.verify(copy)


@pytest.mark.parametrize("name", ["golden.npz", "model.onnx"])
def test_a_bundle_without_what_every_bundle_has_is_refused(copy: Path, name: str) -> None:
    raw = json.loads((copy / "manifest.json").read_bytes())
    raw["files"] = [file for file in raw["files"] if file["path"] != name]
    (copy / "manifest.json").write_text(json.dumps(raw))
    (copy / name).unlink()
    with pytest.raises(BundleInvalid, match=f"holds no {name}"):
        bundles.verify(copy)


def test_a_bundle_that_is_replaced_after_it_was_hashed_is_not_served(copy: Path) -> None:
    class Replaced(Predictor):
        def _warm_up(self, folder: Path) -> None:
            super()._warm_up(folder)
            (folder / "new").write_bytes((folder / "model.onnx").read_bytes())  # the same bytes in another file
            (folder / "new").replace(folder / "model.onnx")

    with pytest.raises(BundleBroken, match="was changed while it was loaded"):
        Replaced(copy)


def test_golden_answers_of_another_model_are_refused(network_files: Path, tmp_path: Path) -> None:
    files = Path(shutil.copytree(network_files, tmp_path / "files"))
    golden = read_golden(files / "golden.npz")
    other = np.roll(golden.outputs["probabilities"], 1, axis=1)
    arrays: dict[str, Any] = {"in.image": golden.inputs["image"], "out.probabilities": other}
    np.savez(files / "golden.npz", **arrays)
    with pytest.raises(ParityFailed, match="Nothing was shipped"):
        bundles.build(release_of(files), files, tmp_path / "bundle")


def test_without_golden_requests_there_is_no_bundle(network_files: Path, tmp_path: Path) -> None:
    files = Path(shutil.copytree(network_files, tmp_path / "files"))
    (files / "golden.npz").unlink()
    with pytest.raises(Unconvertible, match="golden requests"):
        bundles.build(release_of(files), files, tmp_path / "bundle")


def test_a_layer_that_runs_code_is_refused_before_it_runs(network_files: Path, tmp_path: Path) -> None:
    import keras

    files = Path(shutil.copytree(network_files, tmp_path / "files"))
    image = keras.Input((6, 6, 1), name="image")
    out = keras.layers.Lambda(lambda x: open("/tmp/ran", "w"))  # noqa: S108, SIM115, PTH123 - must never run
    network = keras.Model(image, keras.layers.Flatten()(keras.layers.Lambda(lambda x: x * 2)(image)))
    del out
    network.save(files / "data" / "model.keras")
    with pytest.raises(Unconvertible, match="does not load safely"):
        bundles.build(release_of(files), files, tmp_path / "bundle")


def test_a_pickle_as_golden_requests_is_never_read(network_files: Path, tmp_path: Path) -> None:
    files = Path(shutil.copytree(network_files, tmp_path / "files"))
    arrays: dict[str, Any] = {"in.image": np.array([object()], dtype=object)}
    np.savez(files / "golden.npz", **arrays)
    with pytest.raises(Unconvertible, match="cannot be read"):
        bundles.build(release_of(files), files, tmp_path / "bundle")


def test_a_flavour_that_cannot_be_converted_is_named(network_files: Path, tmp_path: Path) -> None:
    files = Path(shutil.copytree(network_files, tmp_path / "files"))
    described(files)
    (files / "MLmodel").write_text(json.dumps({"flavors": {"prophet": {}, "python_function": {}}}))
    with pytest.raises(Unconvertible, match="flavour prophet"):
        bundles.build(release_of(files), files, tmp_path / "bundle")
