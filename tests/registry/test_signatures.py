"""What a caller of the champion meets when the candidate answers."""

from __future__ import annotations

from dataclasses import replace

import pytest

from registry.signatures import Field, Signature, breaks, changes, signature_of

X, P = Field("x", "float32", (8, 8)), Field("p", "float32", (3,))
OLD = Signature((X,), (P,), ("a", "b", "c"))


@pytest.mark.parametrize(
    ("new", "told"),
    [
        (replace(OLD, inputs=(X, Field("y", "float32"))), ["input y is new and required"]),
        (replace(OLD, inputs=()), ["input x is gone"]),
        (replace(OLD, inputs=(replace(X, name="z"),)), ["input x is gone", "input z is new and required"]),
        (replace(OLD, inputs=(replace(X, type="float16"),)), ["input x is float16, was float32"]),
        (replace(OLD, inputs=(replace(X, shape=(9, 8)),)), ["input x has shape [9, 8], had [8, 8]"]),
        (replace(OLD, outputs=()), ["output p is gone"]),
        (replace(OLD, outputs=(replace(P, type="float64"),)), ["output p is float64, was float32"]),
        (replace(OLD, outputs=(replace(P, shape=(4,)),)), ["output p has shape [4], had [3]"]),
        (replace(OLD, labels=("b", "a", "c")), ["the classes are in another order"]),
        (replace(OLD, labels=("a", "b", "d")), ["classes c are gone"]),
    ],
)
def test_this_breaks_callers(new: Signature, told: list[str]) -> None:
    assert list(breaks(new, OLD)) == told


@pytest.mark.parametrize(
    ("new", "told"),
    [
        (OLD, []),
        (replace(OLD, inputs=(X, Field("y", "string", (), required=False))), ["optional input y"]),
        (replace(OLD, inputs=(replace(X, type="float64"),)), ["input x takes float64"]),
        (replace(OLD, inputs=(replace(X, shape=(-1, 8)),)), []),
        (replace(OLD, outputs=(P, Field("q", "int64"))), ["output q"]),
    ],
)
def test_this_breaks_nobody(new: Signature, told: list[str]) -> None:
    assert list(breaks(new, OLD)) == []
    assert list(changes(new, OLD)) == told


def test_an_input_that_was_optional_may_not_become_required() -> None:
    optional = replace(OLD, inputs=(replace(X, required=False),))
    assert list(breaks(OLD, optional)) == ["input x is required now"]


def test_a_signature_is_read_as_mlflow_writes_it() -> None:
    said = {"signature": {"inputs": '[{"name": "a", "type": "double", "required": false}]', "outputs":
            '[{"type": "tensor", "tensor-spec": {"dtype": "str", "shape": [-1, 2]}}]'},
            "metadata": {"slipway": {"labels": [1, 2]}}}
    wanted = Signature((Field("a", "float64", (), False),), (Field("output 0", "string", (2,)),), ("1", "2"))
    assert signature_of(said) == wanted
    assert signature_of({"signature": {"inputs": "[]"}}) is None
    with pytest.raises(ValueError, match="cannot be read"):
        signature_of({"signature": {"inputs": '[{"name": "a"}]'}})
