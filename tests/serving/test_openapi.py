"""The OpenAPI description is true: schemathesis finds nothing taken or refused that it did not say."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import Case, GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance

from .small import EXAMPLES, SIGNATURES, ServerFront, bundle_of, server

EACH = 40  # requests of each sort


# "roots" is described wrongly on purpose, for the table of bad requests.
@pytest.fixture(scope="module", params=sorted(EXAMPLES.keys() - {"roots"}))
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def front(kind: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerFront]:
    with server(bundle_of(kind, tmp_path_factory.mktemp(kind) / "bundle"), SLIPWAY_MAX_ROWS="40") as (front, _):
        yield front


def numbers(value: Any) -> Iterator[float]:
    """Every number in a body, however deep."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for one in value:
            yield from numbers(one)
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        yield value


def as_seen(kind: str, body: Any) -> bool:
    """Does every number lie where the model saw some?"""
    seen = [t.seen for t in SIGNATURES[kind] if t.seen]
    return all(min(low for low, _ in seen) <= n <= max(high for _, high in seen) for n in numbers(body))


def same_rows(body: Any) -> bool:
    """Have all columns under `inputs` the same number of rows? No schema can ask for that."""
    columns = body.get("inputs") if isinstance(body, dict) else None
    lists = [v for v in columns.values() if isinstance(v, list)] if isinstance(columns, dict) else []
    return len({len(v) for v in lists}) <= 1


def narrowed(described: Any) -> Any:
    """The same description with every number where the model saw some: between the examples that it gives."""
    if isinstance(described, list):
        return [narrowed(one) for one in described]
    if not isinstance(described, dict):
        return described
    if described.get("type") == "number":
        return {"type": "number", "minimum": min(described["examples"]), "maximum": max(described["examples"])}
    return {key: narrowed(value) for key, value in described.items()}


def operation(front: ServerFront, *, near: bool = False) -> Any:
    """How predictions are asked for, as this server describes it."""
    described = json.loads(front.request("GET", "/openapi.json").body)
    schema = schemathesis.openapi.from_dict(narrowed(described) if near else described)
    schema.config.update(base_url=f"http://127.0.0.1:{front.port}")
    # schemathesis does not count 413, too many rows, among the ways to refuse.
    refusals = schema.config.checks.negative_data_rejection.expected_statuses
    schema.config.checks.negative_data_rejection.expected_statuses = [*refusals, "413"]
    return schema["/invocations"]["POST"]


def asked(strategy: Any, case: Callable[[Case[Any]], int]) -> Counter[int]:
    """Ask what the strategy draws, and count the statuses."""
    counted: Counter[int] = Counter()

    @settings(max_examples=EACH, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(strategy)
    def one(drawn: Case[Any]) -> None:
        counted[case(drawn)] += 1

    one()
    return counted


def test_what_is_not_described_is_refused(front: ServerFront) -> None:
    def case(drawn: Case[Any]) -> int:
        return int(drawn.call_and_validate().status_code)

    assert asked(operation(front).as_strategy(generation_mode=GenerationMode.NEGATIVE), case)[422] > 0


def test_what_is_described_is_answered_where_the_model_saw_such_numbers(front: ServerFront) -> None:
    def case(drawn: Case[Any]) -> int:
        return int(drawn.call_and_validate().status_code)

    asking = operation(front, near=True).as_strategy(generation_mode=GenerationMode.POSITIVE)
    assert set(asked(asking.filter(lambda drawn: same_rows(drawn.body)), case)) == {200}


def test_what_is_described_is_answered_or_overflows_far_from_what_the_model_saw(
        kind: str, front: ServerFront) -> None:
    def case(drawn: Case[Any]) -> int:
        response = drawn.call()
        if response.status_code != 422:
            drawn.validate_response(response)
            return int(response.status_code)
        # No schema can say which numbers overflow in a model, so that this refusal is left to words.
        assert "is not a finite number" in response.text
        assert not as_seen(kind, drawn.body)
        drawn.validate_response(response, excluded_checks=[positive_data_acceptance])
        return 422

    asking = operation(front).as_strategy(generation_mode=GenerationMode.POSITIVE)
    assert set(asked(asking.filter(lambda drawn: same_rows(drawn.body)), case)) <= {200, 422}
