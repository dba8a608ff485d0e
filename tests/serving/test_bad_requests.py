"""One table of bad requests, asked of every front: each gets its answer, and the next good request succeeds."""

from __future__ import annotations

import gzip
import io
import json
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serving.runtime.block import Blocks

from .small import EXAMPLES, Front, LambdaFront, ServerFront, bundle_of, server

JSON = "application/json"


def rows(*values: Any) -> bytes:
    return json.dumps({"instances": list(values)}).encode()


def npy(array: Any) -> bytes:
    body = io.BytesIO()
    np.save(body, array, allow_pickle=True)
    return body.getvalue()


def png(width: int, height: int, pixels: bytes | None = None) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    lines = pixels if pixels is not None else b"".join(b"\0" + bytes(width) for _ in range(height))
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
            + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b""))


ONE = [1, 2, 3, 4]
# model, content type, body, more headers, status, what the message must say
BAD: dict[str, tuple[str, str, bytes, dict[str, str], int, str]] = {
    "malformed JSON": ("rows", JSON, b'{"instances": [[1,', {}, 400, "not JSON"),
    "nothing at all": ("rows", JSON, b"", {}, 400, "not JSON"),
    "NaN": ("rows", JSON, b'{"instances": [[1, 2, 3, NaN]]}', {}, 400, "NaN"),
    "Infinity": ("rows", JSON, b'{"instances": [[1, 2, 3, -Infinity]]}', {}, 400, "Infinity"),
    "1e999": ("rows", JSON, b'{"instances": [[1, 2, 3, 1e999]]}', {}, 400, "row 0: a number is too large"),
    "beyond float32": ("rows", JSON, rows(ONE, [1, 2, 3, 1e39]), {}, 422, "row 1: a number does not fit float32"),
    "deep nesting": ("rows", JSON, b'{"instances": ' + b"[" * 200_000, {}, 400, "nested too deeply"),
    "a long integer": ("rows", JSON, b'{"instances": [[1, 2, 3, ' + b"9" * 5000 + b"]]}", {}, 400, "not JSON"),
    "a key twice": ("rows", JSON, b'{"instances": [[1,2,3,4]], "instances": [[1,2,3,4]]}', {}, 400, "twice"),
    "a key twice, hidden": ("rows", JSON, b'{"instances": [[1,2,3,4]], "\\u0069nstances": [[1,2,3,4]]}', {}, 400,
                            "twice"),
    "no UTF-8": ("rows", JSON, b'{"instances": "\xff"}', {}, 400, "not UTF-8: byte 15"),
    "another form": ("rows", "application/x-www-form-urlencoded", b"a=1", {}, 415, "wanted one of application/json"),
    "another charset": ("rows", "application/json; charset=utf-16", rows(ONE), {}, 415, "utf-16"),
    "no such answer": ("rows", JSON, rows(ONE), {"accept": "image/png"}, 406, "wanted one of application/json"),
    "too large": ("rows", JSON, b" " * (5 * 1024 * 1024 + 1), {}, 413, "at most 5242880"),
    "too wide": ("rows", JSON, rows(ONE, [1, 2, 3]), {}, 422, "x, row 1: found shape [3]; wanted [4]"),
    "no rows": ("rows", JSON, rows(), {}, 422, "no rows"),
    "no such key": ("rows", JSON, b'{"rows": []}', {}, 400, "wanted one of instances"),
    "too many rows": ("rows", "application/x-npy", npy(np.zeros((8193, 4), np.float32)), {}, 413, "at most 8192"),
    "true for a number": ("rows", JSON, rows([1, 2, 3, True]), {}, 422, "row 0: found true or false; wanted a number"),
    "text for a number": ("rows", JSON, rows([1, 2, 3, "4"]), {}, 422, "row 0: found text; wanted a number"),
    "null for a number": ("rows", JSON, rows([1, 2, 3, None]), {}, 422, "row 0: found null"),
    "an answer that is no number": ("roots", JSON, rows([-0.5, 1, 1, 1]), {}, 500, "not finite"),
    "a number too far off": ("logs", JSON, rows([1, 1, 1, 1], [1, -1, 1, 1]), {}, 422,
                             "probabilities: the model's answer is not a finite number, and x, row 1, holds -1; it was "
                             "tried on 0.5 to 1"),
    "a number that overflows": ("rows", JSON, rows([3e38, 3e38, 3e38, 3e38]), {}, 422, "row 0, holds 3e+38"),
    "a gzip bomb": ("rows", JSON, gzip.compress(bytes(50_000_000)), {"content_encoding": "gzip"}, 413, "5242880"),
    "no gzip": ("rows", JSON, rows(ONE), {"content_encoding": "gzip"}, 400, "gzip"),
    "half a gzip": ("rows", JSON, gzip.compress(rows(ONE))[:-9], {"content_encoding": "gzip"}, 400, "cut off"),
    "another encoding": ("rows", JSON, rows(ONE), {"content_encoding": "br"}, 415, "wanted gzip"),
    "a picture of 400 Mpx": ("pixels", "image/png", png(20_000, 20_000, b""), {}, 413, "400000000 pixels"),
    "a large picture of another size": ("pixels", "image/png", png(4000, 4000, b""), {}, 422,
                                        "found a picture of 4000 x 4000 pixels; wanted 8 x 8"),
    "a picture of another size": ("pixels", "image/png", png(9, 8), {}, 422, "9 x 8 pixels; wanted 8 x 8"),
    "a picture with too many pixels": ("pixels", "image/png", png(8, 8, bytes(100_000)), {}, 400, "more or fewer"),
    "a damaged picture": ("pixels", "image/png", png(8, 8)[:60], {}, 400, "PNG"),
    "no picture": ("pixels", "image/png", b"GIF89a", {}, 400, "neither PNG nor JPEG"),
    "a picture for rows": ("rows", "image/png", png(8, 8), {}, 415, "takes no pictures"),
    "a pickle in npy": ("rows", "application/x-npy", npy(np.array([object()], object)), {}, 400, "plain numbers"),
    "a lying npy": ("rows", "application/x-npy", npy(np.zeros((2, 4), np.float32))[:-8], {}, 400, "promises 32"),
    "NaN in npy": ("rows", "application/x-npy", npy(np.full((1, 4), np.nan, np.float32)), {}, 422, "row 0"),
    "a wide npy": ("rows", "application/x-npy", npy(np.zeros((1, 5), np.float32)), {}, 422, "wanted ['rows', 4]"),
    "an unknown user": ("table", JSON, rows({"age": 1, "city": "Rome", "user": 5}), {}, 422,
                        "user, row 0: 5 is not known to the model; wanted 0 to 4"),
    "half a user": ("table", JSON, rows({"age": 1, "city": "Rome", "user": 1.5}), {}, 422, "does not fit int64"),
    "a column too few": ("table", "text/csv", b"age,city\n1,Rome\n", {}, 422, "no column user"),
    "a short line": ("table", "text/csv", b"age,city,user\n1,Rome\n", {}, 422, "row 0 has 2 values; wanted 3"),
    "a word in a number's column": ("table", "text/csv", b"age,city,user\nold,Rome,1\n", {}, 422, "found 'old'"),
    "two signs before a number": ("table", "text/csv", b"age,city,user\n+-5,Rome,1\n", {}, 422, "found '+-5'"),
    "an open quote": ("table", "text/csv", b'age,city,user\n1,"Rome,1\n', {}, 400, "not CSV"),
    "half a surrogate pair": ("words", JSON, b'{"instances": ["\\ud800"]}', {}, 422, "surrogate"),
    "a number for text": ("words", JSON, rows(7), {}, 422, "found a number; wanted text"),
    "text for rows": ("rows", "text/plain", b"hello", {}, 415, "takes no single text"),
}
GOOD = {"rows": rows(ONE), "logs": rows(ONE), "roots": rows(ONE), "pixels": rows(np.ones((8, 8, 1)).tolist()),
        "words": rows("good"), "table": rows({"age": 1, "city": "Rome", "user": 1})}


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, ServerFront]]:
    from contextlib import ExitStack

    with ExitStack() as stack:
        yield {kind: stack.enter_context(server(bundle_of(kind, tmp_path_factory.mktemp(kind) / "bundle")))[0]
               for kind in EXAMPLES}


@pytest.fixture(scope="module")
def lambdas(tmp_path_factory: pytest.TempPathFactory) -> dict[str, LambdaFront]:
    made = {}
    for kind in EXAMPLES:
        folder = tmp_path_factory.mktemp(kind)
        bundle_of(kind, folder / "bundle")
        made[kind] = LambdaFront(folder)
    return made


@pytest.fixture(params=["lambda", "server"])
def fronts(request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue({"lambda": "lambdas", "server": "servers"}[request.param])


@pytest.mark.parametrize("name", BAD)
def test_a_bad_request_gets_its_answer_and_harms_nobody(name: str, fronts: dict[str, Front]) -> None:
    kind, content, body, headers, status, said = BAD[name]
    reply = fronts[kind].ask(body, content_type=content, **headers)
    assert reply.status == status, reply.body
    message = reply.json["error"]
    assert said in message
    assert "/" not in message.replace("application/", "").replace("text/", "").replace("image/", "").replace("x-", "")
    assert "Traceback" not in message
    good = fronts[kind].ask(GOOD[kind], content_type=JSON)
    assert good.status == 200
    assert good.json["model"] == {"name": kind, "version": 3, "digest": "d" * 64}


@pytest.mark.parametrize(("kind", "content", "body"), [
    ("rows", JSON, rows(ONE)), ("rows", JSON, b'{"inputs": [[1,2,3,4]]}'), ("rows", JSON, b"[[1,2,3,4]]"),
    ("rows", JSON, b'{"inputs": {"x": [[1,2,3,4]]}}'), ("rows", "text/csv", b"1,2,3,4\n"),
    ("rows", "text/csv", b"a,b,c,d\n1,2,3,4\n"), ("rows", "application/x-npy", npy(np.array([ONE], np.float32))),
    ("rows", "application/x-npy", npy(np.array([ONE]))),
    ("rows", JSON, b'{"dataframe_split": {"columns": [0,1,2,3], "data": [[1,2,3,4]]}}'),
])
def test_every_form_of_a_request_gets_the_same_answer(kind: str, content: str, body: bytes,
                                                      fronts: dict[str, Front]) -> None:
    wanted = fronts[kind].ask(GOOD[kind], content_type=JSON).json
    reply = fronts[kind].ask(body, content_type=content)
    assert reply.status == 200, reply.body
    assert reply.json == wanted
    packed = fronts[kind].ask(gzip.compress(body), content_type=content, content_encoding="gzip")
    assert packed.json == wanted


@pytest.mark.parametrize("body", [
    b'{"dataframe_records": [{"age": null, "city": "Rome", "user": 1}]}',
    b'{"dataframe_split": {"columns": ["user", "age", "city"], "data": [[1, null, "Rome"]]}}',
    b'{"inputs": {"age": [null], "city": ["Rome"], "user": [1]}}', b'{"instances": [[null, "Rome", 1]]}',
])
def test_a_table_is_taken_by_the_names_of_its_columns(body: bytes, fronts: dict[str, Front]) -> None:
    by_csv = fronts["table"].ask(b"city,user,age\nRome,1,\n", content_type="text/csv")
    assert fronts["table"].ask(body, content_type=JSON).json == by_csv.json


@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f8", "<i4", "|u1"])
def test_a_second_npy_of_a_known_form_is_read_as_the_first(dtype: str, fronts: dict[str, Front]) -> None:
    for values in ([0, 0, 0, 0], ONE, [5, 0, 7, 1]):
        wanted = fronts["rows"].ask(rows(values), content_type=JSON).json
        said = fronts["rows"].ask(npy(np.array([values], dtype)), content_type="application/x-npy")
        assert said.json == wanted
    wrong = fronts["rows"].ask(npy(np.array([[1, 2, 3, np.nan]], ">f4")), content_type="application/x-npy")
    assert wrong.status == 422


def test_an_unknown_word_or_category_is_answered_and_flagged(fronts: dict[str, Front]) -> None:
    body = rows({"age": 1, "city": "Atlantis", "user": 1})
    assert fronts["table"].ask(body, content_type=JSON).json["unknown"] == [
        {"row": 0, "input": "city", "value": "Atlantis"}]
    said = fronts["words"].ask(b"Good grief!", content_type="text/plain").json
    assert said["unknown"] == [{"row": 0, "input": "text", "words": ["grief"]}]


def test_a_picture_is_the_array_of_its_pixels(fronts: dict[str, Front]) -> None:
    values = np.arange(64, dtype=np.uint8).reshape(8, 8) * 4
    for kind in range(5):  # PNG's line filters, undone one by one
        lines = b"".join(bytes([kind]) + _filtered(values, row, kind) for row in range(8))
        by_picture = fronts["pixels"].ask(png(8, 8, lines), content_type="image/png")
        scaled = (values / 255 * 16).astype(np.float32)[None, ..., None]
        by_array = fronts["pixels"].ask(npy(scaled), content_type="application/x-npy")
        np.testing.assert_allclose(by_picture.json["predictions"], by_array.json["predictions"], atol=1e-6)


def _filtered(values: Any, row: int, kind: int) -> bytes:
    wide = np.pad(values.astype(int), ((1, 0), (1, 0)))
    line, left, up, corner = wide[row + 1, 1:], wide[row + 1, :-1], wide[row, 1:], wide[row, :-1]
    guess = left + up - corner
    away = np.abs(np.stack([left, up, corner]) - guess)
    paeth = np.choose(away.argmin(0), [left, up, corner])
    return bytes(((line - [0 * line, left, up, (left + up) // 2, paeth][kind]) % 256).astype(np.uint8))


@pytest.mark.parametrize(("accept", "kind"), [
    ("text/csv", "text/csv"), ("application/x-npy", "application/x-npy"), ("*/*", JSON),
    ("text/html, text/csv;q=0.5, application/x-npy;q=0.9", "application/x-npy")])
def test_the_answer_has_the_form_that_was_asked_for(accept: str, kind: str, fronts: dict[str, Front]) -> None:
    wanted = fronts["rows"].ask(rows(ONE), content_type=JSON).json
    reply = fronts["rows"].ask(rows(ONE), content_type=JSON, accept=accept)
    assert reply.headers["content-type"] == kind
    assert reply.headers["x-model"] == "rows/3"
    if kind == "text/csv":
        head, line = reply.body.decode().splitlines()
        assert head == "label,probabilities.no,probabilities.yes"
        assert line.startswith(f"{wanted['labels'][0]},")
    if kind == "application/x-npy":
        np.testing.assert_allclose(np.load(io.BytesIO(reply.body)), wanted["predictions"])


def test_a_capture_that_is_down_is_counted_and_changes_no_answer(tmp_path: Path) -> None:
    from serving.runtime.core import Predictor
    from serving.runtime.exchange import Exchange, Kept, Request

    def down(asked: Blocks, answered: Blocks) -> None:
        raise OSError("no such store")

    kept = Kept()
    exchange = Exchange(Predictor(bundle_of("rows", tmp_path / "b")), capture=down, counts=kept)
    assert exchange.respond(Request(rows(ONE), JSON)).status == 200
    assert kept.counted["capture_failures"] == 1
