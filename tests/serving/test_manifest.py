"""What manifest.json says of a bundle, and whether the files beside it are those: by hand, with no model."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from serving.runtime import manifest as manifests
from serving.runtime.errors import BundleBroken
from serving.runtime.manifest import NAME, SIGNATURE, FileEntry, Manifest, Parity, Tensor, differences, parse, read

FILES = {"model.onnx": b"weights", "data/golden.npz": b"numbers"}


def said(**changes: Any) -> Manifest:
    entries = tuple(FileEntry(path, hashlib.sha256(body).hexdigest(), len(body)) for path, body in FILES.items())
    whole = Manifest(
        name="images", version=3, run_id="r", digest="d" * 64, task="images", kind="classification", labels=("a", "b"),
        inputs=(Tensor("x", "float32", (None, 2), (0.0, 1.0), (0, 9), True, ("k",), True),),
        outputs=(Tensor("y", "float32", (None, 2)),), source={"kind": "keras"},
        parity=Parity(8, 8, 1e-6, 1e-4, 4, 4, 0.1), files=entries, trusted=("t",), licences={"numpy": "BSD"},
        builder={"onnx": "1"},
        preprocessing=({"scale": 2},), requirements=({"name": "numpy"},), evidence={"by": "ci"},
        verdicts=({"gate": "accuracy"},), approvals=({"by": "bo"},),
    )  # fmt: skip
    return whole._replace(**changes)


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    folder = tmp_path / "bundle"
    for path, body in FILES.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(body)
    (folder / NAME).write_bytes(said().to_bytes())
    return folder


def raw(**changes: Any) -> bytes:
    return json.dumps(json.loads(said().to_bytes()) | changes).encode()


def test_a_manifest_is_read_as_it_was_written_and_written_alike_each_time() -> None:
    body = said().to_bytes()
    again = parse(body)
    assert again == said()
    assert again.to_bytes() == body
    assert body.startswith(b'{\n "approvals": [\n  {\n   "by": "bo"\n'), "a deployment is known by these bytes"
    assert body.endswith(b"}\n")
    assert list(json.loads(body)) == sorted(json.loads(body))
    assert "Größe".encode() in said(task="Größe").to_bytes()
    with pytest.raises(ValueError, match="JSON compliant"):
        said(evidence={"error": float("nan")}).to_bytes()


def test_a_whole_bundle_is_read_signed_or_not(bundle: Path) -> None:
    assert read(bundle) == said()
    (bundle / SIGNATURE).write_text("{}")
    assert read(bundle) == said()
    assert differences(bundle, said()) == []


def test_every_difference_is_named_at_once(bundle: Path) -> None:
    (bundle / "model.onnx").write_bytes(b"weightz")
    (bundle / "data" / "golden.npz").unlink()
    (bundle / "data" / "more.txt").write_text("")
    (bundle / "data" / SIGNATURE).write_text("only the one at the top is ours")
    (bundle / ".hidden").write_text("")
    with pytest.raises(BundleBroken) as caught:
        read(bundle)
    assert str(caught.value) == (
        "the bundle of images/3 was altered: data/golden.npz is missing; .hidden is not in the manifest; "
        "data/model.sig is not in the manifest; data/more.txt is not in the manifest; model.onnx was changed"
    )


def test_a_link_is_none_of_the_files_whatever_it_leads_to(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "outside").write_bytes(FILES["model.onnx"])
    (bundle / "model.onnx").unlink()
    (bundle / "model.onnx").symlink_to(tmp_path / "outside")
    (bundle / "folder").symlink_to(tmp_path)
    (bundle / "nowhere").symlink_to(tmp_path / "gone")
    assert differences(bundle, said()) == [
        "folder is not in the manifest", "nowhere is not in the manifest", "model.onnx is a link, or no file",
    ]  # fmt: skip


def test_each_kind_of_difference_is_told_in_order(tmp_path: Path) -> None:
    paths = [f"{kind}/{n}" for kind in ("gone", "changed", "linked") for n in range(9)]
    for path in paths[9:]:
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text("x")
    (tmp_path / "changed" / "target").write_text("")
    for path in paths[18:]:
        (tmp_path / path).unlink()
        (tmp_path / path).symlink_to(tmp_path / "changed" / "target")
    empty = hashlib.sha256(b"").hexdigest()
    wanted = said(files=tuple(FileEntry(path, empty, 0) for path in reversed([*paths, "changed/target"])))
    assert differences(tmp_path, wanted) == [
        *(f"{path} is missing" for path in paths[:9]), *(f"{path} is a link, or no file" for path in paths[18:]),
        *(f"{path} was changed" for path in paths[9:18])]


def test_an_empty_folder_is_no_difference_and_a_folder_without_manifest_no_bundle(bundle: Path) -> None:
    (bundle / "empty").mkdir()
    assert differences(bundle, said()) == []
    (bundle / NAME).unlink()
    with pytest.raises(BundleBroken, match=r"no manifest.json in bundle: not a bundle, or its upload was cut off"):
        read(bundle)


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"{", "manifest.json is not JSON"),
        (raw(schema=3), "manifest.json has schema 3; this runtime reads 1 to 2"),
        (raw(schema=None), "has schema None"),
        (raw(schema="2"), "has schema '2'"),
        (b"{}", "has schema None"),
        (b"[]", "has schema None"),
        (raw(inputs=["x"]), "manifest.json is not a manifest"),
        (raw(surprise=1), "manifest.json is not a manifest"),
        (raw(files=[{"path": "a"}]), "manifest.json is not a manifest"),
        (raw(parity={"rows": 1}), "manifest.json is not a manifest"),
        (raw(inputs=None), "manifest.json is not a manifest"),
        (b'{"schema": 2}', "manifest.json is not a manifest: 'parity'"),
        (b'{"schema": 1}', "manifest.json is not a manifest: 'verdicts'"),
    ],
)
def test_what_is_no_manifest_is_refused_with_why(body: bytes, told: str) -> None:
    with pytest.raises(BundleBroken) as caught:
        parse(body)
    assert str(caught.value).startswith(told) or told in str(caught.value)


def test_a_manifest_of_the_first_schema_is_read_sentence_by_sentence() -> None:
    verdicts, approvals = ["accuracy: passed: 0.98 >= 0.95: fine"], ["bo at home at 2026-01-02"]
    old = parse(raw(schema=1, verdicts=verdicts, approvals=approvals))
    assert old.schema == 1
    assert old.verdicts == ({"gate": "accuracy", "outcome": "passed", "reason": "0.98 >= 0.95: fine"},)
    assert old.approvals == ({"by": "bo at home", "at": "2026-01-02"},)
    short = parse(raw(schema=1, verdicts=["accuracy"], approvals=["bo"]))
    assert (short.verdicts, short.approvals) == (({"gate": "accuracy"},), ({"by": "bo"},))


def test_what_a_manifest_of_an_earlier_release_leaves_out_has_its_default() -> None:
    told = json.loads(said().to_bytes())
    for name in ("engine", "trusted", "licences", "builder", "preprocessing", "requirements", "evidence"):
        del told[name]
    for name in ("seen", "bounds", "missing", "known", "closed"):
        del told["inputs"][0][name]
    for name in ("edge_rows", "edge_labels_equal", "edge_max_abs_diff"):
        del told["parity"][name]
    old = parse(json.dumps(told).encode())
    assert (old.engine, old.trusted, old.licences, old.evidence) == ("onnx", (), {}, {})
    assert old.inputs == (Tensor("x", "float32", (None, 2), None, None, False, (), False),)
    assert old.parity == Parity(8, 8, 1e-6, 1e-4, 0, 0, 0.0)


def test_a_digest_is_that_of_all_bytes(tmp_path: Path) -> None:
    body = bytes(range(256)) * 5000
    (tmp_path / "large").write_bytes(body)
    assert manifests.sha256(tmp_path / "large") == hashlib.sha256(body).hexdigest()
