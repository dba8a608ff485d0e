"""AWS's wire protocols, from botocore's own service models: requests in, answers and errors out.

moto 5.2.5 has a router, a parser and a serializer for every protocol; the services of this package use these instead
of hanging onto moto's own emulation of Lambda and SageMaker. What a request may hold is checked against the service
model, so that an enum, a range or a pattern is refused here as AWS refuses it (botocore's client checks none of them).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from moto.core.model import OperationModel, Shape
from moto.core.parse import PROTOCOL_PARSERS
from moto.core.request import Request
from moto.core.routing import get_service_router
from moto.core.serialize import get_serializer_class
from moto.core.utils import get_service_model
from werkzeug.exceptions import NotFound
from werkzeug.wrappers import Response

from serving.localaws.errors import AwsError

# A request's or an answer's members, in AWS's names: the edge itself, so no type says more than botocore's model does.
Members = dict[str, Any]
Operation = Callable[["Call"], Members]


@dataclass(frozen=True, slots=True)
class Call:
    """One request, understood."""

    operation: str
    params: Members
    region: str
    account: str


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a service words a refusal of a parameter that its model does not allow."""

    code: str
    text: Callable[[list[str]], str]


def counted(problems: list[str]) -> str:
    """All problems in AWS's usual words."""
    plural = "s" if len(problems) > 1 else ""
    return f"{len(problems)} validation error{plural} detected: " + "; ".join(problems)


VALIDATION = Dialect("ValidationException", counted)


class Service:
    """One AWS service played here: its operations by name; the rest is for someone else."""

    def __init__(
        self,
        name: str,
        operations: Mapping[str, Operation],
        *,
        dialect: Dialect = VALIDATION,
        unchecked: frozenset[str] = frozenset(),
    ) -> None:
        self._model = get_service_model(name)
        self._name = name
        self._operations = operations
        self._dialect = dialect
        self._unchecked = unchecked

    def handles(self, request: Request) -> bool:
        """Is this request for an operation played here?"""
        found = self._match(request)
        return found is not None and found[0].name in self._operations

    def answer(self, request: Request, region: str, account: str) -> Response:
        """Run the operation and write its answer, or its refusal, as AWS would."""
        found = self._match(request)
        assert found is not None  # noqa: S101 - `handles` was asked before
        operation, uri_params = found
        try:
            params = self._parse(operation, request, uri_params)
            self._check(operation, params)
            result = self._operations[operation.name](Call(operation.name, params, region, account))
        except AwsError as error:
            return self._refusal(operation, error)
        return self._serialize(operation, result)

    def _match(self, request: Request) -> tuple[OperationModel, dict[str, Any]] | None:
        try:
            return get_service_router(self._name).match(request)
        except (NotFound, NotImplementedError):  # another protocol: it is for another service model
            return None

    def _parse(self, operation: OperationModel, request: Request, uri_params: dict[str, Any]) -> Members:
        parser = PROTOCOL_PARSERS[self._model.protocol](operation)
        parsed: Members = parser.parse(
            {
                "method": request.method,
                "values": request.values,
                "headers": request.headers,
                "body": request.get_data(),
                "url_path": request.path,
                "url_params": uri_params,
            }
        )
        return parsed

    def _check(self, operation: OperationModel, params: Members) -> None:
        if operation.input_shape is None:
            return
        problems = [
            problem.text
            for problem in violations(operation.input_shape, params)
            if problem.path.split(".")[0] not in self._unchecked
        ]
        if problems:
            raise AwsError(self._dialect.code, self._dialect.text(problems))

    def _serialize(self, operation: OperationModel, result: Any) -> Response:
        serializer = get_serializer_class(self._name, self._model.protocol)(operation)
        written = serializer.serialize(result)
        status = written["status_code"]
        if isinstance(result, dict):
            status = result.get(_status_member(operation), status)
        return Response(written["body"] or b"", status, dict(written["headers"]))

    def _refusal(self, operation: OperationModel, error: AwsError) -> Response:
        response = self._serialize(operation, error)
        if error.status != 400:
            response.status_code = error.status
        return response


def _status_member(operation: OperationModel) -> str:
    """The member of the answer that is its HTTP status; moto's serializer leaves it out."""
    members = operation.output_shape.members if operation.output_shape is not None else {}
    return next((name for name, shape in members.items() if shape.serialization.get("location") == "statusCode"), "")


@dataclass(frozen=True, slots=True)
class Violation:
    """One value that the service model does not allow."""

    path: str
    text: str


def violations(shape: Shape, value: Any, path: str = "") -> Iterator[Violation]:
    """Everything in a request that AWS's server refuses and botocore's client lets through."""
    if shape.type_name == "structure":
        yield from _in_structure(shape, value, path)
    elif shape.type_name == "list":
        yield from _size(shape, value, path, "length")
        for index, item in enumerate(value, 1):
            yield from violations(shape.member, item, f"{path}.{index}.member")
    elif shape.type_name == "map":
        for key, item in value.items():
            yield from violations(shape.value, item, f"{path}.{key}.member")
    elif shape.type_name == "string":
        yield from _in_string(shape, value, path)
    elif shape.type_name == "blob":
        yield from _size(shape, value, path, "length")
    elif shape.type_name in ("integer", "long", "float", "double"):
        yield from _size(shape, value, path, "value")


def _in_structure(shape: Shape, value: Members, path: str) -> Iterator[Violation]:
    for name in shape.required_members:
        if value.get(name) is None:
            yield _violation(_join(path, name), None, "Member must not be null")
    for name, member in shape.members.items():
        if value.get(name) is not None:
            yield from violations(member, value[name], _join(path, name))


def _in_string(shape: Shape, value: str, path: str) -> Iterator[Violation]:
    yield from _size(shape, value, path, "length")
    allowed = shape.enum
    if allowed and value not in allowed:
        yield _violation(path, value, f"Member must satisfy enum value set: [{', '.join(allowed)}]")
    pattern = shape.metadata.get("pattern")
    if pattern and not _matches(pattern, value):
        yield _violation(path, value, f"Member must satisfy regular expression pattern: {pattern}")


def _matches(pattern: str, value: str) -> bool:
    try:
        return re.fullmatch(_java_to_python(pattern), value) is not None
    except re.error:
        return True  # a few of botocore's patterns are Java's alone


def _java_to_python(pattern: str) -> str:
    return pattern.replace(r"\p{L}", "a-zA-Z").replace(r"\p{Z}", r"\s").replace(r"\p{N}", "0-9")


def _size(shape: Shape, value: Any, path: str, what: str) -> Iterator[Violation]:
    size = len(value) if what == "length" else value
    least, most = shape.metadata.get("min"), shape.metadata.get("max")
    if least is not None and size < least:
        yield _violation(path, value, f"Member must have {what} greater than or equal to {least}")
    if most is not None and size > most:
        yield _violation(path, value, f"Member must have {what} less than or equal to {most}")


def _violation(path: str, value: Any, constraint: str) -> Violation:
    shown = "null" if value is None else f"'{value if len(str(value)) < 256 else '...'}'"
    return Violation(path, f"Value {shown} at '{path}' failed to satisfy constraint: {constraint}")


def _join(path: str, name: str) -> str:
    lower = name[0].lower() + name[1:]
    return f"{path}.{lower}" if path else lower
