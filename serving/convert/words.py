"""What a conversion is made of. Nothing here does I/O."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from ..runtime.bag import Bag
from ..runtime.text import Tokeniser

if TYPE_CHECKING:
    import onnx
    from numpy.typing import NDArray

OPSET = 18  # the newest that tf2onnx 1.17 writes
Arrays: TypeAlias = "dict[str, NDArray[Any]]"  # by name: who asks for a status need not wait for numpy
Fact = str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class Column:
    """What does the model's signature say of one input?

    Attributes:
        name: the name that requests use.
        dtype: numpy's name of the type, or ``string``.
        shape: sizes with None where any will do; the first is the batch.
        known: the categories that the model was fitted on, where the model says so.
        bounds: the smallest and largest whole number that the model has a row for, where the model says so.
    """

    name: str
    dtype: str
    shape: tuple[int | None, ...]
    known: tuple[str | int, ...] = ()
    bounds: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Kept:
    """A model that is served as it was stored, by scikit-learn itself.

    Attributes:
        path: the skops file.
        trusted: every type in it that skops does not trust by itself.
    """

    path: Path
    trusted: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Step:
    """What does a model, or the runtime before it, do to its inputs first?

    Attributes:
        name: what it is called, such as ``OneHotEncoder``, ``Rescaling`` or ``tokenise``.
        inputs: which inputs it reads, where that is known; empty: what came before it.
        facts: how it does it.
    """

    name: str
    inputs: tuple[str, ...] = ()
    facts: Mapping[str, Fact] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Converted:
    """What came of a conversion?

    Attributes:
        model: the ONNX model, optimised and in canonical names; or the file that is served as it is.
        native: the native model, to compare with: arrays in, arrays out. It may raise on what it does not take.
        source: what it was converted from and with which tools.
        inputs: what requests hold, by name.
        labels: the name of each class, where the model itself knows.
        outputs: the names of the graph's outputs, the one that requests are answered with first.
        texts: for each text input, how its words become the numbers that the graph takes.
        steps: what the model does to its inputs before it predicts, as far as it says.
    """

    model: onnx.ModelProto | Kept
    native: Callable[[Arrays], Arrays]
    source: dict[str, str]
    inputs: tuple[Column, ...]
    outputs: tuple[str, ...]
    labels: tuple[str, ...] = ()
    texts: Mapping[str, Tokeniser | Bag] = field(default_factory=dict)
    steps: tuple[Step, ...] = ()


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be converted, as its MLmodel file describes it?

    Attributes:
        flavors: flavour -> its options.
        inputs: the signature's inputs; empty when the model was logged without a signature.
        output: the name that a single output shall have.
    """

    flavors: dict[str, dict[str, Any]]
    inputs: tuple[Column, ...]
    output: str | None = None
