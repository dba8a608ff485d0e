"""What is wrong with a policy file, where, and what is wanted there? In our words, not in a library's. No I/O."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from typing import Any, get_args, get_origin

import yaml
from pydantic import BaseModel
from pydantic_core import ErrorDetails

Path = tuple[int | str, ...]

# pydantic's error types -> what is wanted instead; {} takes the limit that the error carries.
_WANTED = {
    "float": "a number",
    "int": "a whole number",
    "bool": "true or false",
    "string": "text",
    "list": "a list, as in [ana, bo]",
    "finite": "a finite number",
    "greater_than_equal": "at least {ge:g}",
    "greater_than": "more than {gt:g}",
    "less_than_equal": "at most {le:g}",
    "less_than": "less than {lt:g}",
}
# What PyYAML says -> what it means to somebody who wrote a policy.
_MEANT = {
    "'\\t'": "a tab; YAML indents by spaces",
    "mapping values are not allowed": "a second colon in one line, or a line that is indented too far",
    "<stream end>": "it ends within a bracket or a quotation",
    "end of stream": "it ends within a bracket or a quotation",
    "<block end>": "this line is not indented as those beside it",
    "could not find expected ':'": "a key without its colon",
}
_LONGEST = 40


def not_yaml(error: yaml.YAMLError, source: str) -> str:
    """Where does a file stop being YAML, and why? In one line."""
    said = str(getattr(error, "problem", "") or getattr(error, "reason", "") or error).splitlines()[0]
    meant = next((words for mark, words in _MEANT.items() if mark in said), said)
    mark = getattr(error, "problem_mark", None)
    if mark is None:
        return f"{source} is not YAML: {meant}. Next: correct {source}"
    return f"{source}:{mark.line + 1}:{mark.column + 1} is not YAML: {meant}. Next: correct line {mark.line + 1}"


def together(source: str, faults: Sequence[tuple[int, str]]) -> str:
    """Every fault with its line, one below the other, and what to do."""
    told = ";\n  ".join(f"{source}:{line}: {text}" for line, text in sorted(faults))
    lines = sorted({line for line, _ in faults})
    listed = ", ".join(map(str, lines[:-1])) + (" and " if lines[1:] else "") + str(lines[-1])
    return f"{told}{'' if told.endswith('?') else '.'} Next: correct line{'s' if lines[1:] else ''} {listed}"


def said_twice(node: yaml.Node, path: Path = (), above: tuple[int, ...] = ()) -> Iterator[tuple[int, str]]:
    """Keys that stand twice under the same one: YAML would keep the last, and what the first one asks for is lost."""
    if not isinstance(node, yaml.MappingNode) or id(node) in above:  # an anchor may name what it stands in
        return
    seen: dict[str, int] = {}
    for key, value in node.value:
        name, line = str(key.value), key.start_mark.line + 1
        if name in seen:
            yield line, f"{_joined((*path, name))}: stands in line {seen[name]} already"
        seen.setdefault(name, line)
        yield from said_twice(value, (*path, name), (*above, id(node)))


def line_of(node: yaml.Node, path: Path) -> int:
    """In which line of the file does this stand, or the nearest thing above it that is written there?"""
    line = node.start_mark.line + 1
    for part in path:
        below: tuple[int, yaml.Node] | None = None
        if isinstance(node, yaml.MappingNode):
            below = next(((k.start_mark.line, v) for k, v in node.value if str(k.value) == str(part)), None)
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            below = (node.value[part].start_mark.line, node.value[part])
        if below is None:
            return line
        line, node = below[0] + 1, below[1]
    return line


def told(error: ErrorDetails, whole: type[BaseModel]) -> str:
    """One of pydantic's errors: the key's path, what stands there, what is wanted."""
    path = tuple(part for part in error["loc"] if part != "[key]")
    where = _joined(path)
    if error["type"] == "extra_forbidden":
        near = difflib.get_close_matches(str(path[-1]), sorted(_fields(_kind_at(whole, path[:-1]))), 1, 0.4)
        return f"{where}: no such key" + (f"; did you mean {near[0]!r}?" if near else "")
    if error["type"] == "value_error":
        return f"{where}: {error['msg'].removeprefix('Value error, ')}"
    if error["loc"][-1:] == ("[key]",) or error["type"] == "invalid_key":
        return f"{where}: found {_found(error['input'])} as a key, wanted text; put it in quotes"
    null = ", or null to take it away" if type(None) in get_args(_kind_at(whole, path)) else ""
    return f"{where}: found {_found(error['input'])}, wanted {_wanted(error, _kind_at(whole, path))}{null}"


def _joined(path: Path) -> str:
    return ".".join(map(str, path))


def _wanted(error: ErrorDetails, kind: Any) -> str:
    limits = error.get("ctx", {})
    if error["type"] == "literal_error":
        return str(limits["expected"]).replace("'", "")
    if error["type"] in ("model_type", "model_attributes_type", "dict_type"):
        keys = sorted(_fields(kind)) if error["type"] != "dict_type" else []
        return f"keys below it: {', '.join(keys)}" if keys else "names below it, each with what it stands for"
    template = _WANTED.get(error["type"]) or _WANTED.get(error["type"].split("_")[0])
    return template.format(**limits) if template else error["msg"]


def _found(value: object) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (list, dict)):
        return "a list" if isinstance(value, list) else "keys"
    text = repr(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def _kind_at(whole: Any, path: Path) -> Any:
    """What may stand at this place of the file? A shape, a dict, a list or a plain type, perhaps with None."""
    kind = whole
    for part in path:
        choices = [one for one in (kind, *get_args(kind)) if get_origin(one) in (dict, list)]
        kind = get_args(choices[0])[-1] if choices else _fields(kind)[str(part)]
    return kind


def _fields(kind: Any) -> dict[str, Any]:
    """The keys of a shape, or of the one among several that is a shape, and what may stand under each."""
    shape = next((one for one in (kind, *get_args(kind)) if isinstance(one, type) and issubclass(one, BaseModel)), None)
    return {field.alias or name: field.annotation for name, field in shape.model_fields.items()} if shape else {}
