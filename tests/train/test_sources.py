"""Data by path: every layout that is promised is read, and trains."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from train import Request
from train.errors import BadData
from train.sources.ratings import read_ratings
from train.sources.tables import read_table
from train.training import Plan, plan
from train.words import Kind

ANY = {"user": "", "item": "", "rating": "", "time": ""}
FASHION = Path("/usr/share/datasets/fashion-mnist")


def idx(path: Path, values: np.ndarray) -> None:
    """Write a gzipped idx file of bytes."""
    head = bytes([0, 0, 8, values.ndim]) + np.array(values.shape, ">u4").tobytes()
    path.write_bytes(gzip.compress(head + values.astype(np.uint8).tobytes()))


def as_idx(folder: Path, pixels: np.ndarray, labels: np.ndarray) -> Path:
    for name, rows in (("train", slice(None, 80)), ("t10k", slice(80, None))):
        idx(folder / f"{name}-images-idx3-ubyte.gz", pixels[rows])
        idx(folder / f"{name}-labels-idx1-ubyte.gz", labels[rows])
    return folder


def as_npz(folder: Path, pixels: np.ndarray, labels: np.ndarray) -> Path:
    np.savez(folder / "a.npz", x_train=pixels[:80], y_train=labels[:80], x_test=pixels[80:], y_test=labels[80:])
    return folder / "a.npz"


def as_folders(folder: Path, pixels: np.ndarray, labels: np.ndarray) -> Path:
    for row, (picture, label) in enumerate(zip(pixels, labels, strict=True)):
        place = folder / ("train" if row < 80 else "test") / f"class {label}"
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(place / f"{row:03}.png")
    return folder


@pytest.mark.parametrize("write", [as_idx, as_npz, as_folders])
def test_pictures_are_read_with_the_held_out_part_they_bring(
    write: Callable[[Path, np.ndarray, np.ndarray], Path], tmp_path: Path
) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (100, 6, 5)).astype(np.uint8)
    made = plan(Request("images", str(write(tmp_path, pixels, np.arange(100) % 2))))
    assert (len(made.parts.train) + len(made.parts.validation), len(made.parts.held_out)) == (80, 20)
    assert made.dataset.scale == 255
    kept = sorted(made.parts.held_out.inputs["image"][..., 0].astype(np.uint8).tobytes())
    assert kept == sorted(pixels[80:].tobytes())


def ratings_file(folder: Path, layout: str) -> Path:
    rows = [(f"{i % 9 + 1}", f"{i % 7 + 1}", f"{i % 5 + 1}", f"{880000000 + i}") for i in range(60)]
    separator = {"u.data": "\t", "ratings.dat": "::", "ratings.csv": ","}[layout]
    lines = [separator.join(row) for row in rows]
    head = ["userId,movieId,rating,timestamp"] if layout == "ratings.csv" else []
    (folder / layout).write_text("\n".join(head + lines) + "\n")
    return folder / layout


@pytest.mark.parametrize("layout", ["u.data", "ratings.dat", "ratings.csv"])
def test_the_three_layouts_of_movielens_are_one(layout: str, tmp_path: Path) -> None:
    read = read_ratings(str(ratings_file(tmp_path, layout)), ANY)
    assert read.inputs["user"][:3].tolist() == ["1", "2", "3"]
    assert read.inputs["item"][7:9].tolist() == ["1", "2"]
    assert (read.target[:6].tolist(), len(read)) == ([1, 2, 3, 4, 5, 1], 60)
    assert read.aside["time"][1] == 880000001


def people(rows: int = 80) -> pd.DataFrame:
    """A table with numbers, words, missing values and a country code that looks like a missing value."""
    place = np.arange(rows)
    return pd.DataFrame(
        {
            "age": np.where(place % 9 == 0, np.nan, place % 50),
            "country": np.where(place % 4 == 0, "NA", np.where(place % 4 == 1, "", "DE")),
            "income": np.where(place % 3 == 0, "high", "low"),
        }
    )


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_table_is_read_with_its_missing_values_and_the_country_na_stays_a_country(
    suffix: str, tmp_path: Path
) -> None:
    path = tmp_path / f"people.{suffix}"
    people().to_csv(path, index=False) if suffix == "csv" else people().to_parquet(path)
    made = plan(Request("tabular", str(path), parameters={"target": "income"}))
    assert made.dataset.labels == ("high", "low")
    inputs = made.dataset.examples.inputs
    assert inputs["age"].dtype == np.float32
    assert np.isnan(inputs["age"][[0, 9]]).all()
    assert inputs["country"][:3].tolist() == ["NA", "", "DE"]
    assert read_table(str(path), missing=("NA",)).words("country")[:3] == ["", "", "DE"]


def regression(tmp_path: Path) -> Plan:
    frame = people()
    frame["price"] = np.arange(80) * 1.25
    frame.to_csv(tmp_path / "prices.csv", index=False)
    return plan(Request("tabular", str(tmp_path / "prices.csv"), parameters={"target": "price", "ignore": "income"}))


def test_a_number_target_with_many_values_is_a_quantity(tmp_path: Path) -> None:
    made = regression(tmp_path)
    assert (made.dataset.kind, made.dataset.labels) == (Kind.REGRESSION, ())
    assert set(made.dataset.examples.inputs) == {"age", "country"}


@pytest.mark.parametrize("algorithm", ["dnn", "svm", "boosting", "forest", "linear"])
def test_words_missing_values_and_rare_classes_train_with_every_algorithm(algorithm: str, tmp_path: Path) -> None:
    from tests.train.conftest import trained

    rng = np.random.default_rng(0)
    age, colour = rng.normal(size=400), rng.choice(["red", "blue", ""], 400)
    rare = (age + (colour == "red") + rng.normal(0, 0.4, 400)) > 2.2
    frame = pd.DataFrame({"age": np.where(rng.random(400) < 0.1, np.nan, age), "colour": colour, "y": rare})
    frame.to_csv(tmp_path / "rare.csv", index=False)
    few = {"dnn": {"epochs": "10"}, "boosting": {"iterations": "10"}, "forest": {"trees": "10"}}
    given = few.get(algorithm, {}) | {"target": "y", "slices": "colour", "name": "rare"}
    given.pop("name")
    made = trained("tabular", algorithm, str(tmp_path / "rare.csv"), **given)
    assert made.run.data.params["balance.applied"] == "weights"
    assert "classes are weighted" in made.trained.notes[0]
    assert made.metrics["held_out.recall.True"] >= 0.5
    assert made.metrics["slice.colour.red.rows"] > 5


def test_a_held_out_file_needs_the_columns_of_the_training_file(tmp_path: Path) -> None:
    people().to_csv(tmp_path / "a.csv", index=False)
    people().drop(columns="age").to_csv(tmp_path / "b.csv", index=False)
    given = {"target": "income", "held_out": str(tmp_path / "b.csv")}
    with pytest.raises(BadData, match=r"b\.csv, column 'age': there is no such column"):
        plan(Request("tabular", str(tmp_path / "a.csv"), parameters=given))


@pytest.mark.skipif(not FASHION.is_dir(), reason="the Debian package dataset-fashion-mnist is not installed")
def test_fashion_mnist_as_debian_ships_it_is_read() -> None:
    made = plan(Request("images", str(FASHION)))
    assert (len(made.dataset.examples), len(made.parts.held_out), len(made.dataset.labels)) == (60_000, 10_000, 10)
