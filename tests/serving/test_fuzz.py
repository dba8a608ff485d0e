"""Any bytes and any event: never a crash, never a 500 that is not the model's, never growing memory.

`SLIPWAY_FUZZ_SECONDS=600 pytest tests/serving/test_fuzz.py` goes on for longer; unset it takes a minute.
"""

from __future__ import annotations

import base64
import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from .small import LambdaFront, bundle_of

SECONDS = float(os.environ.get("SLIPWAY_FUZZ_SECONDS", "60"))
KINDS = ("rows", "table", "words", "pixels", "logs")
CONTENT = ("application/json", "text/csv", "application/x-npy", "image/png", "text/plain", "", "a/b")
SEEDS = (b'{"instances": [[1, 2, 3, 4]]}', b"age,city,user\n1,Rome,1\n", b"\x93NUMPY\x01\x00v\x00{'descr': '<f4', "
         b"'fortran_order': False, 'shape': (1, 4), }", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", b"good bad")
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9)
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=5) | st.dictionaries(
    st.sampled_from(["instances", "inputs", "dataframe_split", "dataframe_records", "columns", "data", "x", "age",
                     "city", "user", "text", "params"]) | st.text(max_size=3), inner, max_size=4), max_leaves=25)


@pytest.fixture(scope="module")
def lambdas(tmp_path_factory: pytest.TempPathFactory) -> dict[str, LambdaFront]:
    made = {}
    for kind in KINDS:
        bundle_of(kind, (folder := tmp_path_factory.mktemp(kind)) / "bundle")
        made[kind] = LambdaFront(folder)
    return made


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    seed = bytearray(draw(st.sampled_from(SEEDS)))
    for _ in range(draw(st.integers(0, 4))):
        place = draw(st.integers(0, len(seed)))
        seed[place : place + draw(st.integers(0, 3))] = draw(st.binary(max_size=4))
    return draw(st.just(bytes(seed)) | st.binary(max_size=200) | VALUES.map(lambda v: json.dumps(v).encode()))


def spend(seconds: float, case: Any) -> None:
    """Run a hypothesis case with fresh examples until the time is over."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        case()


def test_no_body_makes_a_fault_that_is_not_the_models(lambdas: dict[str, LambdaFront]) -> None:
    @settings(max_examples=400, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(st.sampled_from(KINDS), st.sampled_from(CONTENT), st.sampled_from(["", "gzip", "br"]), bodies())
    def case(kind: str, content: str, encoding: str, body: bytes) -> None:
        reply = lambdas[kind].ask(body, content_type=content, content_encoding=encoding)
        assert reply.status < 500 or "not finite" in reply.json["error"]

    spend(SECONDS / 2, case)


def test_no_event_makes_the_handler_raise(lambdas: dict[str, LambdaFront]) -> None:
    odd = LEAVES | st.dictionaries(st.text(max_size=5), LEAVES, max_size=3)
    event = st.fixed_dictionaries({}, optional={
        "requestContext": odd | st.just({"http": {"method": "POST"}}), "headers": odd, "multiValueHeaders": odd,
        "body": odd | st.binary(max_size=50).map(lambda b: base64.b64encode(b).decode()), "httpMethod": odd,
        "isBase64Encoded": odd, "instances": VALUES, "inputs": VALUES})

    @settings(max_examples=400, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(st.sampled_from(KINDS), event | VALUES)
    def case(kind: str, given: Any) -> None:
        said = lambdas[kind].module.handler(given, None)
        assert said.get("statusCode", said.get("status", 200)) < 500 or "not finite" in json.dumps(said)

    spend(SECONDS / 2, case)


ASKED: dict[str, list[dict[str, Any]]] = {
    "rows": [{"instances": [[1, 2, 3, 4]]}, {"instances": [[1, 2]]}, {"x": 1}, {"instances": "a"}],
    "table": [{"instances": [{"age": 1, "city": "Rome", "user": 1}]}, {"instances": [{"age": 1, "city": "Oslo" * 50,
                                                                                      "user": 1}]}, {"inputs": {}}],
    "logs": [{"instances": [[1, 2, 3, 4]]}, {"instances": [[-1, 2, 3, 4]]}]}


@pytest.mark.parametrize(("kind", "turns"), [("rows", 100_000), ("table", 20_000), ("logs", 20_000)])
def test_a_hundred_thousand_requests_leave_no_more_memory_in_use(
        kind: str, turns: int, lambdas: dict[str, LambdaFront], capfd: Any) -> None:
    front, asked = lambdas[kind].module, ASKED[kind]
    with capfd.disabled(), Path(os.devnull).open("w") as nowhere:
        kept, front.sys.stdout = front.sys.stdout, nowhere
        try:
            for turn in range(turns // 5):
                front.handler(asked[turn % len(asked)], None)
            before = resident()
            for turn in range(turns - turns // 5):
                front.handler(asked[turn % len(asked)], None)
            assert resident() - before < 2_000_000
        finally:
            front.sys.stdout = kept


def resident() -> int:
    """Bytes of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
