"""AWS's own container software serves our model.tar.gz; tests/serving/prebuilt.py says what it needs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from serving import bundle as bundles
from serving.golden import read_golden
from serving.runtime.core import GOLDEN
from serving.runtime.exchange import CSV, JSON

from .prebuilt import prebuilt
from .small import ServerFront

BUNDLE = Path(__file__).parents[1] / "golden" / "bundles" / "0.1-text-gru"


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerFront]:
    with prebuilt(bundles.verify(BUNDLE), tmp_path_factory.mktemp("mms")) as front:
        yield front


def test_golden_requests_are_answered_as_the_native_model_did(front: ServerFront) -> None:
    golden = read_golden(BUNDLE / GOLDEN)
    (wanted,) = golden.outputs.values()
    reply = front.ask(json.dumps({"instances": golden.inputs["text"].tolist()}).encode(), Content_Type=JSON)
    assert reply.status == 200, reply.body
    np.testing.assert_allclose(reply.json["predictions"], wanted, atol=1e-5)
    assert reply.json["model"]["digest"] == bundles.verify(BUNDLE).manifest.digest


def test_the_answer_has_the_form_that_was_asked_for(front: ServerFront) -> None:
    reply = front.ask(b"good", Content_Type="text/plain", Accept=CSV)
    assert reply.headers["content-type"] == CSV
    assert reply.body.startswith(b"label,probabilities.")


@pytest.mark.parametrize(("body", "status", "said"), [
    (b'{"instances": [7]}', 422, b"text, row 0: found a number; wanted text"),
    (b'{"instances": [', 400, b"not JSON")])
def test_a_bad_request_keeps_its_status_and_harms_nobody(
        body: bytes, status: int, said: bytes, front: ServerFront) -> None:
    reply = front.ask(body, Content_Type=JSON)
    assert reply.status == status
    assert said in reply.body
    assert front.ask(b'{"instances": ["good"]}', Content_Type=JSON).status == 200
