"""The parameters of an algorithm: their defaults, what is allowed, and where tuning may look."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from .errors import BadParameter, UnknownName

Scalar = int | float | str | bool
TRUE, FALSE = ("true", "yes", "1", "on"), ("false", "no", "0", "off")


@dataclass(frozen=True, slots=True)
class Value:
    """One parameter: its default (whose type is its type), its bounds, its choices.

    `search` is what tuning draws from: (low, high) for numbers, the choices to try for names.
    `log` makes it draw the exponent evenly, as suits learning rates.
    """

    default: Scalar
    low: float = -math.inf
    high: float = math.inf
    choices: tuple[str, ...] = ()
    search: tuple[float, float] | tuple[str, ...] = ()
    log: bool = False

    def read(self, name: str, text: str) -> Scalar:
        """The value that `text` means.

        Raises:
            BadParameter: it is not of the default's type, or not allowed.
        """
        value = self._typed(name, text)
        if self.choices and value not in self.choices:
            raise BadParameter(f"parameter {name}: {text!r} is none of {', '.join(self.choices)}")
        if isinstance(value, (int, float)) and not self.low <= value <= self.high:
            raise BadParameter(f"parameter {name}: {text} is outside {self.low:g} to {self.high:g}")
        return value

    def starting(self, default: Scalar) -> Value:
        """The same parameter with another default."""
        return replace(self, default=default)

    def _typed(self, name: str, text: str) -> Scalar:
        if isinstance(self.default, str):
            return text
        if isinstance(self.default, bool):
            if text.lower() in TRUE + FALSE:
                return text.lower() in TRUE
            raise BadParameter(f"parameter {name}: {text!r} is neither true nor false")
        try:
            return int(text) if isinstance(self.default, int) else float(text)
        except ValueError:
            wanted = "a whole number" if isinstance(self.default, int) else "a number"
            raise BadParameter(f"parameter {name}: {text!r} is not {wanted}") from None


@dataclass(frozen=True, slots=True)
class Settings:
    """The parameters in force for one run; each getter states the type it needs."""

    values: Mapping[str, Scalar]

    def integer(self, name: str) -> int:
        """The whole number `name`."""
        return int(self.values[name])

    def number(self, name: str) -> float:
        """The number `name`."""
        return float(self.values[name])

    def text(self, name: str) -> str:
        """The word `name`."""
        return str(self.values[name])

    def flag(self, name: str) -> bool:
        """Whether `name` is switched on."""
        return bool(self.values[name])


def resolve(allowed: Mapping[str, Value], given: Mapping[str, str]) -> Settings:
    """The defaults with what was given put over them; an empty text means "not given".

    Raises:
        UnknownName: a parameter that the algorithm does not have.
        BadParameter: a value of the wrong type or not allowed.
    """
    chosen: dict[str, Scalar] = {name: value.default for name, value in allowed.items()}
    for name, text in given.items():
        if name not in allowed:
            raise UnknownName("parameter", name, allowed)
        if text != "":
            chosen[name] = allowed[name].read(name, text)
    return Settings(chosen)
