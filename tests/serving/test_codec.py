"""What a request may hold, and what is answered when it does not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from serving.runtime import answers, codec
from serving.runtime.block import Block
from serving.runtime.errors import BadRequest
from serving.runtime.manifest import Manifest, Parity, Tensor
from serving.runtime.text import Reader, Tokeniser

ONE = (Tensor("image", "float32", (None, 2, 1)),)
TWO = (Tensor("user", "int64", (None,)), Tensor("item", "int64", (None,)))


def manifest(inputs: tuple[Tensor, ...] = ONE, labels: tuple[str, ...] = ("no", "yes")) -> Manifest:
    return Manifest(
        name="m", version=3, run_id="r", digest="sha256:d", task="t", kind="classification", labels=labels,
        inputs=inputs, outputs=(Tensor("probabilities", "float32", (None, 2)),), source={},
        parity=Parity(0, 0, 0.0, 1e-4), verdicts=(), approvals=(), files=())


@pytest.mark.parametrize("request_", [
    {"instances": [[[1], [2]]]}, {"inputs": [[[1], [2]]]}, {"inputs": {"image": [[[1], [2]]]}},
    {"instances": [{"image": [[1], [2]]}]}, [[[1], [2]]],
])
def test_every_usual_form_gives_the_same_array(request_: Any) -> None:
    block = codec.decode(request_, ONE)["image"]
    assert block.dtype == "float32"
    assert block.tolist() == [[[1.0], [2.0]]]


def test_two_inputs_are_taken_by_row_and_by_column() -> None:
    by_row = codec.decode({"instances": [{"user": 1, "item": 2}, {"user": 3, "item": 4}]}, TWO)
    by_column = codec.decode({"inputs": {"user": [1, 3], "item": [2, 4]}}, TWO)
    assert {k: v.tolist() for k, v in by_row.items()} == {k: v.tolist() for k, v in by_column.items()}


@pytest.mark.parametrize(("request_", "status", "said"), [
    (7, 400, "a number"),
    ({"rows": []}, 400, "holds rows; wanted one of instances"),
    ({"instances": []}, 422, "there are no rows"),
    ({"instances": [[[1], [2]], [[1]]]}, 422, "row 1: found shape [1, 1]; wanted [2, 1]"),
    ({"instances": [[[1], [2], [3]]]}, 422, "row 0: found shape [3, 1]; wanted [2, 1]"),
    ({"instances": [[[1], [True]]]}, 422, "row 0: found true or false; wanted a number"),
    ({"instances": [[[1], ["2"]]]}, 422, "row 0: found text; wanted a number"),
    ({"instances": [[[1], [None]]]}, 422, "row 0: found null"),
    ({"instances": [[[1], [2]], [[1], [1e39]]]}, 422, "row 1: a number does not fit float32"),
    ({"instances": [[[1], [10**400]]]}, 422, "image"),
    ({"inputs": {"picture": []}}, 422, "wanted ['image']"),
])
def test_a_bad_request_is_told_what_was_found_and_wanted(request_: Any, status: int, said: str) -> None:
    with pytest.raises(BadRequest) as refused:
        codec.decode(request_, ONE)
    assert refused.value.status == status
    assert said in str(refused.value)


@pytest.mark.parametrize(("request_", "said"), [
    ({"instances": [{"user": 1}]}, "row 0 has no 'item'"),
    ({"instances": [{"user": 1, "item": 2.5}]}, "item, row 0: a number does not fit int64"),
])
def test_a_bad_row_of_two_inputs_is_named(request_: Any, said: str) -> None:
    with pytest.raises(BadRequest, match=said.replace("[", r"\[")):
        codec.decode(request_, TWO)


@pytest.mark.parametrize("body", [
    b"{", b"\xff", b'{"a": NaN}', b'{"a": Infinity}', b'{"a": 1, "a": 2}', b"[" * 200_000, b"1" * 5_000,
])
def test_what_is_no_json_is_a_400(body: bytes) -> None:
    with pytest.raises(BadRequest) as refused:
        codec.parse_json(body)
    assert refused.value.status == 400


def test_an_answer_names_its_labels_and_who_gave_it() -> None:
    answer = answers.as_json({"probabilities": Block.of(np.array([[0.25, 0.75]], np.float32))}, manifest(), [])
    assert answer == {"predictions": [[0.25, 0.75]], "labels": ["yes"],
                      "model": {"name": "m", "version": 3, "digest": "sha256:d"}}


def test_one_long_text_does_not_make_all_others_as_long() -> None:
    read = Reader(Tokeniser(("a",), None)).read
    block, _ = read(["a " * 50_000, *[""] * 80])
    assert block.shape == (81, 50_000)
    with pytest.raises(BadRequest, match="101 texts at once, the longest of 50000 words; at most 83") as refused:
        read(["a " * 50_000, *[""] * 100])
    assert refused.value.status == 413
