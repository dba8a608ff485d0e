"""Blocks hold what numpy's arrays hold, and the session gives and takes them unharmed."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, save_model

from serving.runtime import npy
from serving.runtime.block import CODES, Block, joined
from serving.runtime.errors import BadRequest
from serving.runtime.fit import packed
from serving.runtime.manifest import Tensor
from serving.runtime.session import Session, SessionFailed

SHAPES = [(3,), (2, 3), (1, 2, 2), (2, 0), (0, 4)]


def values(dtype: str, shape: tuple[int, ...]) -> Any:
    return (np.random.default_rng(1).normal(size=shape) * 9).astype(dtype)


@pytest.mark.parametrize("dtype", CODES)
@pytest.mark.parametrize("shape", SHAPES)
def test_a_block_is_the_array_it_was_made_of(dtype: str, shape: tuple[int, ...]) -> None:
    array = values(dtype, shape)
    block = Block.of(array)
    assert block.tolist() == array.tolist()
    assert np.asarray(block).tobytes() == array.tobytes()
    assert block.rows(1, 2).tolist() == array[1:2].tolist()
    assert joined([block, block]).tolist() == np.concatenate([array, array]).tolist()


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("dtype", CODES)
def test_an_npy_file_is_read_and_written_as_numpy_does(dtype: str, order: str) -> None:
    array, body = values(dtype, (2, 3)), io.BytesIO()
    np.save(body, array.astype(array.dtype.newbyteorder(order)))
    block = npy.load(body.getvalue())
    assert (block.dtype, block.tolist()) == (dtype, array.tolist())
    assert np.load(io.BytesIO(npy.dump(block))).tolist() == array.tolist()


def test_texts_are_read_from_npy_only_where_they_may_be() -> None:
    body = io.BytesIO()
    np.save(body, np.array([["é", ""], ["long", "\U0001f600"]]))
    assert npy.load(body.getvalue(), texts=True).tolist() == [["é", ""], ["long", "\U0001f600"]]
    with pytest.raises(BadRequest, match="holds texts"):
        npy.load(body.getvalue())


@given(st.lists(st.floats(width=32), max_size=9), st.sampled_from(["float32", "float64", "float16"]))
def test_a_block_is_finite_when_numpy_says_so(found: list[float], dtype: str) -> None:
    with np.errstate(over="ignore"):
        array = np.array(found, dtype)
    assert Block.of(array).is_finite() == np.isfinite(array).all()


@given(st.lists(st.integers() | st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=5),
       st.sampled_from([d for d in CODES if d != "bool"]))
def test_numbers_are_taken_when_the_type_can_hold_them(found: list[float], dtype: str) -> None:
    whole = not dtype.startswith("float")
    limits: Any = np.iinfo(dtype) if whole else np.finfo(dtype)
    # The largest float is also what everything is that lies less than half a step above it.
    half = 0.0 if whole else float(limits.eps) * 2.0 ** (limits.maxexp - 1) / 2
    most, least = (limits.max if whole else float(limits.max)) + half, float(limits.min) - half
    fits = all(least <= v <= most and (not whole or v == int(v)) for v in found)
    edge = any(not whole and abs(v) == most for v in found)
    try:
        data = packed(found, 1, Tensor("x", dtype, (None,)))
    except BadRequest as refused:
        assert (not fits or edge), refused
    else:
        assert fits or edge
        np.testing.assert_array_equal(np.frombuffer(data, dtype), np.array([dtype_of(v, dtype) for v in found]))


def dtype_of(value: float, dtype: str) -> Any:
    return np.dtype(dtype).type(int(value) if not dtype.startswith("float") else value)


def echo(into: Path, dtype: int) -> Session:
    """A model that answers what it is asked."""
    graph = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["y"])], "g",
        [helper.make_tensor_value_info("x", dtype, [None, None])],
        [helper.make_tensor_value_info("y", dtype, [None, None])])
    save_model(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), into / "m.onnx")
    return Session(into / "m.onnx", 1)


@pytest.mark.parametrize("dtype", CODES)
def test_a_session_takes_and_gives_every_type(dtype: str, tmp_path: Path) -> None:
    session = echo(tmp_path, helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))
    for shape in ((2, 3), (0, 4)):
        asked = Block.of(values(dtype, shape))
        said = session.run(["y"], {"x": asked})[0]
        assert (said.dtype, said.shape, said.data) == (asked.dtype, asked.shape, asked.data)


def test_a_text_arrives_whole_whatever_characters_it_holds(tmp_path: Path) -> None:
    texts = ["Rome", "Rome\0and more", "", "é\U0001f600"]
    asked = Block("string", (2, 2), texts)
    assert echo(tmp_path, TensorProto.STRING).run(["y"], {"x": asked})[0].data == texts


def test_a_session_that_fails_says_why_and_goes_on(tmp_path: Path) -> None:
    session, good = echo(tmp_path, TensorProto.FLOAT), Block.of(np.ones((1, 2), np.float32))
    for wrong in ({"z": good}, {"x": Block.of(np.ones((1, 2)))}, {"x": Block.of(np.ones(2, np.float32))}):
        with pytest.raises(SessionFailed, match=r"\w+"):
            session.run(["y"], wrong)
    assert session.run(["y"], {"x": good})[0].tolist() == [[1.0, 1.0]]


def test_a_file_that_is_no_model_does_not_load(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(b"no model")
    with pytest.raises(SessionFailed, match="Protobuf"):
        Session(tmp_path / "m.onnx", 1)
