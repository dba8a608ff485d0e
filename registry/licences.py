"""What licence is a package under, and does a policy allow it? SPDX names and expressions."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import Enum
from importlib import metadata
from pathlib import Path
from typing import Any

from registry.measured import Dependency
from registry.patterns import fitting

# How packages that carry no SPDX expression (PEP 639) name the commonest licences, in classifiers or free text.
_SPELLED = (
    (r"^(the )?apache(-| )?(software )?licen[cs]e?.*|^apache(-| )?2(\.0)?$|^apache 2.*", "Apache-2.0"),
    (r"^(the )?mit( licen[cs]e)?.*|^expat.*", "MIT"),
    (r"^(new|modified|3-clause|revised) bsd.*|^bsd[- ]3.*", "BSD-3-Clause"),
    (r"^(2-clause|simplified) bsd.*|^bsd[- ]2.*", "BSD-2-Clause"),
    (r"^bsd.*", "BSD-3-Clause"),
    (r"^mozilla public.*2.*|^mpl[- ]?2.*", "MPL-2.0"),
    (r"^(python software foundation|psf).*", "PSF-2.0"),
    (r"^isc.*", "ISC"),
    (r"^(gnu )?(agpl|affero).*", "AGPL-3.0-only"),
    (r"^(gnu )?(lgpl|lesser).*", "LGPL-3.0-only"),
    (r"^(gnu )?(gpl|general public).*", "GPL-3.0-only"),
    (r"^unlicense.*|^the unlicense.*", "Unlicense"),
)
_PIN = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)(\[[^\]]*\])?\s*(?:===?\s*([^\s;,*]+))?\s*(;.*)?$")
_TOKENS = re.compile(r"\(|\)|[^\s()]+")


class Standing(Enum):
    """What a policy says of a licence."""

    ALLOWED = "allowed"
    DENIED = "denied"
    UNKNOWN = "unknown"


def weigh(expression: str | None, allow: Sequence[str], deny: Sequence[str]) -> Standing:
    """Is a licence expression allowed? Of `A OR B` one has to be; of `A AND B` both, and one denied denies all.

    Patterns such as `BSD-*` match; a licence on neither list is unknown, and so is what is no expression.
    """
    if not expression:
        return Standing.UNKNOWN
    tokens = _TOKENS.findall(expression)
    try:
        standing, rest = _either(tokens, allow, deny)
    except IndexError:
        return Standing.UNKNOWN
    return Standing.UNKNOWN if rest else standing


_Read = tuple[Standing, list[str]]


def _either(tokens: list[str], allow: Sequence[str], deny: Sequence[str]) -> _Read:
    found, rest = _both(tokens, allow, deny)
    while rest and rest[0].upper() == "OR":
        other, rest = _both(rest[1:], allow, deny)
        found = next((s for s in (Standing.ALLOWED, Standing.UNKNOWN) if s in (found, other)), Standing.DENIED)
    return found, rest


def _both(tokens: list[str], allow: Sequence[str], deny: Sequence[str]) -> _Read:
    found, rest = _one(tokens, allow, deny)
    while rest and rest[0].upper() == "AND":
        other, rest = _one(rest[1:], allow, deny)
        found = next((s for s in (Standing.DENIED, Standing.UNKNOWN) if s in (found, other)), Standing.ALLOWED)
    return found, rest


def _one(tokens: list[str], allow: Sequence[str], deny: Sequence[str]) -> _Read:
    if tokens[0] == "(":
        found, rest = _either(tokens[1:], allow, deny)
        return found, rest[1:] if rest[0] == ")" else [*rest, "?"]
    rest = tokens[3:] if tokens[1:2] and tokens[1].upper() == "WITH" else tokens[1:]
    if fitting(deny)(tokens[0]):
        return Standing.DENIED, rest
    return (Standing.ALLOWED if fitting(allow)(tokens[0]) else Standing.UNKNOWN), rest


def spelled(text: str) -> str | None:
    """The SPDX name of a licence as people write it; None when it is none that we know."""
    first = text.strip().partition("\n")[0].strip()
    return next((name for pattern, name in _SPELLED if re.match(pattern, first, re.IGNORECASE)), None)


def installed(name: str) -> tuple[str, str | None] | None:
    """The version of an installed package and its licence, as its own metadata say; None when it is not here."""
    try:
        said = metadata.metadata(name)
    except metadata.PackageNotFoundError:
        return None
    return str(said["Version"]), _licence(name, said)


def _licence(name: str, said: metadata.PackageMetadata) -> str | None:
    facts = said.json
    if facts.get("license_expression"):
        return str(facts["license_expression"])
    classified = [str(text) for text in facts.get("classifier") or () if str(text).startswith("License ::")]
    named = [text.rpartition("::")[2].strip() for text in classified]
    found = (spelled(text) for text in (*named, str(facts.get("license") or "")))
    return next((licence for licence in found if licence), None) or _of_files(name)


def _of_files(name: str) -> str | None:
    """The licence that a package's licence files name in their first line; None unless they agree."""
    files = [file for file in metadata.files(name) or () if re.match(r"(LICEN[CS]E|COPYING)", file.name, re.IGNORECASE)]
    inside = [file for file in files if ".dist-info" in str(file)]
    found = {spelled(text) for file in inside for text in (file.read_text(encoding="utf-8") or "").split("\n\n")[:1]}
    return found.pop() if len(found) == 1 else None


def licences_of(names: Iterable[str]) -> dict[str, str]:
    """The licences of these installed packages, as far as they say: to be recorded with a model that needs them."""
    found = {name: (installed(name) or ("", None))[1] for name in names}
    return {name: licence for name, licence in found.items() if licence}


def required(folder: Path, said: Mapping[str, Any]) -> tuple[Dependency, ...] | None:
    """The requirements that a model lists, with their licences; None when it lists none.

    Args:
        folder: the model's files.
        said: its MLmodel file, parsed.
    """
    facts = (said.get("metadata") or {}).get("slipway") or {}
    recorded = {str(name): str(licence) for name, licence in (facts.get("licences") or {}).items()}
    return listed(folder / "requirements.txt", recorded)


def listed(requirements: Path, recorded: dict[str, str]) -> tuple[Dependency, ...] | None:
    """Each requirement of a model with its version and licence; None when there is no such file.

    The licence is that of the package installed here in that version, else what was recorded when the model was
    logged, else that of another version installed here.
    """
    if not requirements.is_file():
        return None
    lines = (line.split(" #")[0].strip() for line in requirements.read_text(encoding="utf-8").splitlines())
    return tuple(_dependencies((line for line in lines if line and not line.startswith("#")), recorded))


def _dependencies(lines: Iterator[str], recorded: dict[str, str]) -> Iterator[Dependency]:
    for line in lines:
        pin = _PIN.match(line)
        if pin is None:
            yield Dependency(re.split(r"[\s<>=!~;@]", line)[0] or line, None, None)
            continue
        name, version = pin[1], pin[3]
        here = installed(name)
        same = here is not None and here[0] == version
        said = (here[1] if here and same else None) or recorded.get(name) or (here[1] if here else None)
        yield Dependency(name, version, said)
