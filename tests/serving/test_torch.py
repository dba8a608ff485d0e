"""PyTorch programs, exported and logged by MLflow, answer from ONNX as they do from torch; pickles are never read."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serving import bundle as bundles
from serving.bundle import Bundle
from serving.errors import Unconvertible
from serving.golden import write_golden
from serving.runtime.core import MODEL, Predictor

from .conftest import release_of

torch = pytest.importorskip("torch", reason="PyTorch is not installed: `make torch` installs it and runs these tests")
pytest.importorskip("onnxscript", reason="onnxscript is not installed: `make torch` installs it and runs these tests")
Save = Callable[..., Bundle]
ROWS = np.random.default_rng(0).normal(size=(12, 4)).astype(np.float32)


def dense() -> Any:
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Dropout(0.5), torch.nn.BatchNorm1d(8),
                               torch.nn.Linear(8, 3), torch.nn.Softmax(dim=1)).eval()


def picture() -> Any:
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.ReLU(), torch.nn.MaxPool2d(2), torch.nn.Flatten(),
                               torch.nn.Linear(36, 2), torch.nn.Softmax(dim=1)).eval()


class Recurrent(torch.nn.Module):  # type: ignore[misc, name-defined, unused-ignore]
    def __init__(self) -> None:
        super().__init__()
        self.gru, self.last = torch.nn.GRU(4, 5, batch_first=True), torch.nn.Linear(5, 2)

    def forward(self, steps: Any) -> Any:
        return self.last(self.gru(steps)[0][:, -1])


class Ratings(torch.nn.Module):  # type: ignore[misc, name-defined, unused-ignore]
    def __init__(self) -> None:
        super().__init__()
        self.users, self.items = torch.nn.Embedding(6, 3), torch.nn.Embedding(9, 3)

    def forward(self, user: Any, item: Any) -> Any:
        return (self.users(user) * self.items(item)).sum(dim=1)


@pytest.fixture
def save(tmp_path: Path) -> Save:
    """Log a program by mlflow.pytorch as `pt2`, and bundle it."""

    def bundle_of(model: Any, example: Any, outputs: Any, *, kept: str = "pt2", names: tuple[str, ...] = ()) -> Bundle:
        import mlflow.pytorch
        from mlflow.models import ModelSignature, infer_signature
        from mlflow.types import Schema, TensorSpec

        files = tmp_path / "files"
        specs = [TensorSpec(r.dtype, (-1, *r.shape[1:]), name) for r, name in zip(example, names, strict=False)]
        signature = ModelSignature(Schema(list(specs))) if names else infer_signature(example, outputs)
        mlflow.pytorch.save_model(model, files, signature=signature, input_example=example,
                                  serialization_format=kept, pip_requirements=[])
        if names:  # MLflow keeps no example of several arrays
            write_golden(files / "golden.npz", dict(zip(names, example, strict=True)),
                         {"rating": said(model, *example)})
        return bundles.build(release_of(files), files, tmp_path / "bundle")

    return bundle_of


def said(model: Any, *arrays: Any) -> Any:
    with torch.no_grad():
        return model(*(torch.from_numpy(array) for array in arrays)).numpy()


def answered(bundle: Bundle, rows: Any) -> Any:
    return np.asarray(Predictor(bundle.folder).answer({"instances": rows.tolist()})["predictions"])


SINGLE: dict[str, tuple[Callable[[], Any], Any]] = {
    "dense": (dense, ROWS),
    "convolutions": (picture, np.random.default_rng(1).uniform(0, 1, (7, 1, 8, 8)).astype(np.float32)),
    "recurrent": (lambda: Recurrent().eval(), np.random.default_rng(2).normal(size=(6, 5, 4)).astype(np.float32)),
}


@pytest.mark.parametrize("name", SINGLE)
def test_a_program_answers_as_in_torch_for_any_number_of_rows(name: str, save: Save) -> None:
    make, rows = SINGLE[name]
    model = make()
    bundle = save(model, rows[:3], said(model, rows[:3]))
    assert bundle.manifest.source["format"] == "pytorch"
    assert bundle.manifest.parity.edge_rows > 0
    for some in (rows, rows[:1]):
        np.testing.assert_allclose(answered(bundle, some), said(model, some), atol=1e-5)


def test_two_inputs_are_taken_by_their_names(save: Save) -> None:
    model, users, items = Ratings().eval(), np.array([0, 1, 5]), np.array([8, 2, 3])
    bundle = save(model, (users, items), None, names=("user", "item"))
    answer = Predictor(bundle.folder).answer({"instances": [{"item": 8, "user": 0}, {"user": 5, "item": 3}]})
    np.testing.assert_allclose(answer["predictions"], said(model, users, items)[[0, 2]], atol=1e-6)


class Two(torch.nn.Module):  # type: ignore[misc, name-defined, unused-ignore]
    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(4, 2)

    def forward(self, x: Any) -> Any:
        y = self.layer(x)
        return {"shares": y.softmax(1), "total": y.sum(1)}


def test_several_outputs_are_all_answered(save: Save) -> None:
    model = Two().eval()
    bundle = save(model, ROWS[:3], None)
    found = Predictor(bundle.folder).answer({"instances": ROWS.tolist()})["predictions"]
    with torch.no_grad():
        wanted = model(torch.from_numpy(ROWS))
    np.testing.assert_allclose(found["output_0"], wanted["shares"].numpy(), atol=1e-6)
    np.testing.assert_allclose(found["output_1"], wanted["total"].numpy(), atol=1e-6)


def test_the_same_program_gives_the_same_bytes(save: Save, tmp_path: Path) -> None:
    first = (save(dense(), ROWS[:3], None).folder / MODEL).read_bytes()
    files = tmp_path / "files"
    again = bundles.build(release_of(files), files, tmp_path / "again")
    assert (again.folder / MODEL).read_bytes() == first


class Eigen(torch.nn.Module):  # type: ignore[misc, name-defined, unused-ignore]
    def forward(self, x: Any) -> Any:
        return torch.linalg.eigvals(x.T @ x).real + x.sum()


class Counting(torch.nn.Module):  # type: ignore[misc, name-defined, unused-ignore]
    def forward(self, x: Any) -> Any:
        return x * 2 if x.shape[0] > 4 else x


REFUSED: dict[str, tuple[Callable[[], Any], int, str, str]] = {
    "a pickle": (dense, 3, "pickle", "runs code when it is read"),
    "an operator": (Eigen, 5, "pt2", "no ONNX function is known for aten.linalg_eig"),
    "training mode": (lambda: dense().train(), 3, "pt2", r"training mode \(dropout is at work\)"),
    "one row alone": (dense, 1, "pt2", "at most 1 rows at once"),
    "a question about the rows": (Counting, 3, "pt2", "at most 4 rows at once"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_converted_is_refused_by_name(name: str, save: Save) -> None:
    make, rows, kept, why = REFUSED[name]
    with pytest.raises(Unconvertible, match=why):
        save(make(), ROWS[:rows], None, kept=kept)


def rewritten(path: Path, part: str, change: Callable[[bytes], bytes]) -> None:
    """Change one part of an archive, or add it."""
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    parts[part] = change(parts.get(part, b""))
    with zipfile.ZipFile(path, "w") as archive:
        for name, body in parts.items():
            archive.writestr(name, body)


class Harmful:
    def __reduce__(self) -> Any:
        return open, ("harm", "w")


def harmful(_: bytes) -> bytes:
    body = io.BytesIO()
    torch.save((Harmful(),), body)
    return body.getvalue()


HARM: dict[str, tuple[str, Callable[[bytes], bytes], str]] = {
    "an object": ("model/data/constants/custom_obj_0", lambda _: b"anything", "custom_obj_0"),
    "a pickled example": ("model/data/sample_inputs/model.pt", harmful, "sample_inputs/model.pt"),
    "a pickled weight": ("model/data/weights/model_weights_config.json",
                         lambda body: body.replace(b'"use_pickle": false', b'"use_pickle": true', 1), "a pickle in"),
    "another function": ("model/models/model.json",
                         lambda body: body.replace(b"torch.ops.aten.relu.default", b"torch.os.system", 1),
                         "the operator torch.os.system"),
    "a size that is code": ("model/models/model.json", lambda body: re.sub(
        rb'"expr_str": "[^"]+"', b'"expr_str": "eval(chr(49))"', body, count=1), "the size eval"),
}


@pytest.mark.parametrize("name", HARM)
def test_a_program_that_would_run_code_when_it_is_read_is_not_read(
        name: str, save: Save, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    save(dense(), ROWS[:3], None)
    files = tmp_path / "files"
    part, change, why = HARM[name]
    rewritten(files / "data" / "model.pt2", part, change)
    with pytest.raises(Unconvertible, match=rf"{why}.*may run code"):
        bundles.build(release_of(files), files, tmp_path / "again")
    assert not (tmp_path / "harm").exists()


def test_a_part_that_stands_twice_is_not_read(save: Save, tmp_path: Path) -> None:
    save(dense(), ROWS[:3], None)
    files = tmp_path / "files"
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(files / "data" / "model.pt2", "a") as archive:
        archive.writestr("model/models/model.json", b"{}")
    with pytest.raises(Unconvertible, match=r"model\.json twice"):
        bundles.build(release_of(files), files, tmp_path / "again")
