"""Bad input: exit code 2, one sentence that names file, row and column, and nothing is registered or written."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from mlflow import MlflowClient

from train.__main__ import run

ROWS = [f"{i % 7},{'red' if i % 2 else 'blue'},{'yes' if i % 3 else 'no'}" for i in range(60)]


def write(path: Path, rows: list[str], header: str = "size,colour,bought") -> Path:
    """A CSV file."""
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def with_row(row: int, text: str) -> list[str]:
    """The good rows with one (counted from 1) replaced."""
    return [text if place == row else good for place, good in enumerate(ROWS, start=1)]


def unknown_column(folder: Path) -> list[str]:
    return ["tabular", "--data", str(write(folder / "t.csv", ROWS)), "--target", "bougth"]


def empty_file(folder: Path) -> list[str]:
    (folder / "t.csv").write_text("")
    return ["tabular", "--data", str(folder / "t.csv"), "--target", "bought"]


def header_only(folder: Path) -> list[str]:
    return ["tabular", "--data", str(write(folder / "t.csv", [])), "--target", "bought"]


def one_class(folder: Path) -> list[str]:
    return ["tabular", "--data", str(write(folder / "t.csv", ["1,red,yes"] * 30)), "--target", "bought"]


def missing_target(folder: Path) -> list[str]:
    return ["tabular", "--data", str(write(folder / "t.csv", with_row(8, "1,red,"))), "--target", "bought"]


def nan_target(folder: Path) -> list[str]:
    rows = [f"{i},{i * 1.5 if i != 8 else 'nan'}" for i in range(1, 50)]
    return ["tabular", "--data", str(write(folder / "t.csv", rows, "size,price")), "--target", "price"]


def text_among_numbers(folder: Path) -> list[str]:
    return ["tabular", "--data", str(write(folder / "t.csv", with_row(9, "big,red,yes"))), "--target", "bought"]


def ragged_row(folder: Path) -> list[str]:
    return ["tabular", "--data", str(write(folder / "t.csv", with_row(9, "1,red,yes,more"))), "--target", "bought"]


def rows_fewer_than_classes(folder: Path) -> list[str]:
    rows = [f"{i},red,class{i}" for i in range(6)]
    return ["tabular", "--data", str(write(folder / "t.csv", rows)), "--target", "bought"]


def class_of_one_row(folder: Path) -> list[str]:
    return ["tabular", "--data", str(write(folder / "t.csv", with_row(9, "1,red,maybe"))), "--target", "bought"]


def unreadable_image(folder: Path) -> list[str]:
    from PIL import Image

    for label in ("cat", "dog"):
        (folder / "pets" / label).mkdir(parents=True)
        for number in range(6):
            Image.new("L", (8, 8), number * 20).save(folder / "pets" / label / f"{number}.png")
    (folder / "pets" / "dog" / "3.png").write_bytes(b"not a picture")
    return ["images", "--data", str(folder / "pets")]


def short_idx(folder: Path) -> list[str]:
    images, labels = folder / "train-images-idx3-ubyte.gz", folder / "train-labels-idx1-ubyte.gz"
    images.write_bytes(gzip.compress(b"\0\0\x08\x03" + np.array([9, 4, 4], ">u4").tobytes() + b"\1" * 100))
    labels.write_bytes(gzip.compress(b"\0\0\x08\x01" + np.array([9], ">u4").tobytes() + b"\1" * 9))
    return ["images", "--data", str(folder)]


def pickled_npz(folder: Path) -> list[str]:
    np.savez(folder / "p.npz", x=np.array([{"a": 1}], dtype=object), y=np.array([1]))
    return ["images", "--data", str(folder / "p.npz")]


def rating_no_number(folder: Path) -> list[str]:
    rows = [f"{i % 9}\t{i % 7}\t{i % 5 if i != 20 else 'five'}\t{i}" for i in range(60)]
    (folder / "u.data").write_text("\n".join(rows))
    return ["ratings", "--data", str(folder / "u.data")]


def empty_text(folder: Path) -> list[str]:
    rows = [f"{'good' if i != 4 else ' '} day,{'a' if i % 2 else 'b'}" for i in range(40)]
    rows[3] = " ,a"
    return ["text", "--data", str(write(folder / "t.csv", rows, "text,label"))]


def no_such_file(folder: Path) -> list[str]:
    return ["text", "--data", str(folder / "nowhere.csv")]


def not_utf8(folder: Path) -> list[str]:
    (folder / "t.csv").write_bytes(b"text,label\nna\xefve,a\n")
    return ["text", "--data", str(folder / "t.csv")]


def broken_parquet(folder: Path) -> list[str]:
    (folder / "t.parquet").write_bytes(b"PAR1 no")
    return ["tabular", "--data", str(folder / "t.parquet"), "--target", "bought"]


def leaked_rows(folder: Path) -> list[str]:
    rows = [f"{i},red,{'yes' if i % 3 else 'no'}" for i in range(60)]
    train, judged = write(folder / "t.csv", rows), write(folder / "h.csv", [*rows[:4], "99,red,yes"])
    return ["tabular", "--data", str(train), "--target", "bought", "--held-out", str(judged)]


def word_for_a_number(folder: Path) -> list[str]:
    return ["images", "--epochs", "many"]


def out_of_range(folder: Path) -> list[str]:
    return ["images", "--dropout", "1.5"]


def unknown_parameter(folder: Path) -> list[str]:
    return ["images", "--lerning-rate", "0.1"]


def unknown_algorithm(folder: Path) -> list[str]:
    return ["tabular", "--algorithm", "svn"]


def unknown_task(folder: Path) -> list[str]:
    return ["imagse"]


def bad_seed(folder: Path) -> list[str]:
    return ["images", "--seed", "-1"]


def bad_metric(folder: Path) -> list[str]:
    return ["tune", "tabular", "--metric", "rmse", "--trials", "1"]


CASES: list[tuple[Callable[[Path], list[str]], list[str]]] = [
    (unknown_column, ["t.csv", "'bougth'", "did you mean 'bought'?"]),
    (empty_file, ["t.csv", "empty"]),
    (header_only, ["t.csv", "no rows"]),
    (one_class, ["t.csv", "'bought'", "only one class ('yes')"]),
    (missing_target, ["t.csv", "row 8", "'bought'", "missing"]),
    (nan_target, ["t.csv", "row 8", "'price'", "not a number"]),
    (text_among_numbers, ["t.csv", "row 9", "'size'", "'big' is not a number"]),
    (ragged_row, ["t.csv", "row 9", "4 cells", "3"]),
    (rows_fewer_than_classes, ["t.csv", "'bought'", "6 rows for 6 classes"]),
    (class_of_one_row, ["t.csv", "row 9", "'maybe' has 1 rows"]),
    (unreadable_image, ["pets/dog/3.png", "not a readable picture"]),
    (short_idx, ["train-images-idx3-ubyte.gz", "100 bytes", "144"]),
    (pickled_npz, ["p.npz", "without pickle"]),
    (rating_no_number, ["u.data", "row 21", "'rating'", "'five' is not a number"]),
    (empty_text, ["t.csv", "row 4", "'text'", "missing"]),
    (no_such_file, ["nowhere.csv", "no such file"]),
    (not_utf8, ["t.csv", "not UTF-8"]),
    (broken_parquet, ["t.parquet", "Parquet"]),
    (leaked_rows, ["4 held-out rows also stand in the training rows"]),
    (word_for_a_number, ["epochs", "'many' is not a whole number"]),
    (out_of_range, ["dropout", "1.5 is outside 0 to 0.95"]),
    (unknown_parameter, ["'lerning_rate'", "did you mean 'learning_rate'?"]),
    (unknown_algorithm, ["'svn'", "did you mean 'svm'?"]),
    (unknown_task, ["'imagse'", "did you mean 'images'?"]),
    (bad_seed, ["seed", "'-1'"]),
    (bad_metric, ["metric", "rmse is no figure of a classification task"]),
]


@pytest.fixture(autouse=True)
def untouched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_workspace: None) -> None:
    """A store that nothing has written to."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/untouched.db")


@pytest.mark.parametrize(("case", "words"), CASES, ids=lambda value: getattr(value, "__name__", ""))
def test_bad_input_ends_with_2_and_one_sentence_that_names_the_place(
    case: Callable[[Path], list[str]], words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(case(tmp_path)) == 2
    said = capsys.readouterr()
    assert said.out == ""
    (line,) = said.err.splitlines()
    assert line.startswith("error: ")
    assert [word for word in words if word not in line] == [], line


@pytest.mark.parametrize("case", [unknown_column, leaked_rows, unknown_algorithm], ids=lambda value: value.__name__)
def test_bad_input_leaves_no_run_and_no_version(case: Callable[[Path], list[str]], tmp_path: Path) -> None:
    run(case(tmp_path))
    assert not (tmp_path / "untouched.db").exists() or not MlflowClient().search_registered_models()
