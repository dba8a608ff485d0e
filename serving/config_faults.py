"""What is wrong with a slipway.yaml, and what is wanted there? In our words, not in a library's. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, get_args, get_origin

from pydantic import BaseModel

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

Path = tuple[int | str, ...]

# pydantic's error types, or how they begin -> what is wanted; {} takes the limit that the error carries.
_WANTED = {
    "string_pattern_mismatch": "text that matches {pattern}",
    "string_too_short": "text that is not empty",
    "greater_than_equal": "at least {ge:g}",
    "greater_than": "more than {gt:g}",
    "less_than_equal": "at most {le:g}",
    "less_than": "less than {lt:g}",
    "literal_error": "{expected}",
    "invalid_key": "text as a key, in quotes",
    "too_short": "at least {min_length} of them",
    "too_long": "at most {max_length} of them",
    "finite": "a finite number",
    "string": "text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "tuple": "a list, as in [a, b]",
    "list": "a list, as in [a, b]",
    "dict": "names below it, each with its value",
}
_SECRET = ("lambda", "environment")  # a value that is wrong may be a secret all the same
_LONGEST = 60


def told(errors: Iterable[ErrorDetails], whole: type[BaseModel]) -> list[tuple[Path, str]]:
    """Which faults are these, each with its place in the file? What one of several kinds could be there is one fault.

    Args:
        errors: pydantic's.
        whole: the shape of the file.
    """
    wanted: dict[tuple[Path, str], dict[str, None]] = {}
    for error in errors:
        path, kind = _place(error["loc"], whole)
        where = ".".join(map(str, path))
        said = f"{where}: " if where else ""
        if error["type"] == "extra_forbidden":
            key = ".".join(map(str, error["loc"]))
            near = get_close_matches(str(error["loc"][-1]), _keys(kind), n=1, cutoff=0)
            wanted[path + error["loc"][len(path):], f"unknown key {key}; the nearest is {near[0]}"] = {}
        elif error["type"] == "value_error":  # our own words, which say what was found, or keep it to themselves
            wanted[path, f"{said}{error['msg'].removeprefix('Value error, ')}"] = {}
        else:
            found = _found(error, secret=path[:2] == _SECRET)
            wanted.setdefault((path, f"{said}{found}wanted "), {})[_wanted(error, kind)] = None
    return [(path, said + " or ".join(ways)) for (path, said), ways in wanted.items()]


def _place(loc: Path, whole: Any) -> tuple[Path, Any]:
    """How far does this lead into the file, and what may stand there? pydantic ends it with a name of its own."""
    kind, path = whole, list[int | str]()
    for part in loc:
        below = _below(kind, part)
        if below is None:
            break
        kind = below
        path.append(part)
    return tuple(path), kind


def _below(kind: Any, part: int | str) -> Any:
    for one in (kind, *get_args(kind)):
        if get_origin(one) is dict:
            return get_args(one)[1]
        if get_origin(one) in (tuple, list) and isinstance(part, int):
            return get_args(one)[0]
        if (shape := _shape(one)) and str(part) in shape:
            return shape[str(part)]
    return None


def _shape(kind: Any) -> Mapping[str, Any]:
    if not (isinstance(kind, type) and issubclass(kind, BaseModel)):
        return {}
    return {field.alias or name: field.annotation for name, field in kind.model_fields.items()}


def _keys(kind: Any) -> list[str]:
    return [name for one in (kind, *get_args(kind)) for name in _shape(one)]


def _wanted(error: ErrorDetails, kind: Any) -> str:
    if error["type"] in ("model_type", "model_attributes_type") or (error["type"] == "missing" and _keys(kind)):
        return f"keys below it: {', '.join(_keys(kind))}"
    if error["type"] == "missing":
        return "a list, as in [a, b]" if get_origin(kind) in (tuple, list) else "a value"
    template = _WANTED.get(error["type"]) or _WANTED.get(error["type"].split("_")[0])
    return template.format(**error.get("ctx", {})) if template else error["msg"]


def _found(error: ErrorDetails, *, secret: bool) -> str:
    value = error["input"]
    if secret:
        return ""
    if error["type"] == "missing" or value is None:
        return "found nothing, "
    if isinstance(value, bool):
        return f"found {str(value).lower()}, "
    if isinstance(value, dict):
        return "found keys, "
    text = repr(value)
    return f"found {text if len(text) <= _LONGEST else text[:_LONGEST] + '...'}, "
