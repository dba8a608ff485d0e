"""scikit-learn itself, for what no ONNX graph stands for; nothing here is imported for any other bundle.

The rules: a policy allowed it, and the version was rehearsed and approved so; the file is the one that the manifest
names; every type in it is on the manifest's list, which the build took from a look inside; and each of those is
scikit-learn's, NumPy's or SciPy's own.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from .block import Block, Blocks
from .errors import BundleBroken, ModelFault
from .manifest import Manifest

SKOPS = "model.skops"
# skops names each function beside the partial that holds it, so a partial is as safe as what it is made of.
ALLOWED = ("sklearn.", "numpy.", "scipy.")
ALSO = ("functools.partial",)
SAME = ("scikit-learn", "numpy", "scipy")  # the versions that the answers were compared with


class Described(Protocol):
    """What is said of one input, by a signature or by a manifest?"""

    @property
    def name(self) -> str:
        """The name that requests use."""

    @property
    def dtype(self) -> str:
        """numpy's name of the type, or ``string``."""

    @property
    def shape(self) -> tuple[int | None, ...]:
        """Sizes with None where any will do; the first is the batch."""


class Types(NamedTuple):
    """Which types and functions does a skops file name that skops does not trust by itself?

    Attributes:
        named: all of them.
        strange: those that are not scikit-learn's, NumPy's or SciPy's.
    """

    named: tuple[str, ...]
    strange: tuple[str, ...]


def types_in(path: Path) -> Types:
    """Which types does this file name? Looks at its index alone and makes nothing of it."""
    import skops.io

    named = tuple(sorted(skops.io.get_untrusted_types(file=path)))
    return Types(named, tuple(t for t in named if not t.startswith(ALLOWED) and t not in ALSO))


def load(path: Path, trusted: Sequence[str]) -> Any:
    """Which model is stored there, on one thread? Only these types are made."""
    import skops.io

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = skops.io.load(path, trusted=list(trusted))
    if hasattr(model, "get_params"):
        model.set_params(**{name: 1 for name in model.get_params() if name.split("__")[-1] == "n_jobs"})
    return model


def answer(model: Any, arrays: Mapping[str, Any], inputs: Sequence[Described]) -> Any:
    """What does the model say to these arrays, input name -> (rows, ...)? Probabilities where it has some."""
    import numpy as np

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        given = as_taken(model, arrays, inputs)
        said = np.asarray(model.predict_proba(given) if hasattr(model, "predict_proba") else model.predict(given))
    return said.astype(object) if said.dtype.kind in "US" else said


def as_taken(model: Any, arrays: Mapping[str, Any], inputs: Sequence[Described]) -> Any:
    """The arrays as the model takes them: a list of texts, a DataFrame of columns, or the one array."""
    first = inputs[0]
    if not is_table(inputs):
        return arrays[first.name]
    if len(inputs) == 1 and first.dtype == "string" and hasattr(_head(model), "build_analyzer"):
        return arrays[first.name].tolist()  # what counts words takes texts, not a table with a column of them
    import pandas as pd

    return pd.DataFrame({c.name: pd.Series(arrays[c.name].tolist() if c.dtype == "string" else arrays[c.name],
                                           dtype=object if c.dtype == "string" else arrays[c.name].dtype)
                         for c in inputs})


def is_table(inputs: Sequence[Described]) -> bool:
    """Are these the columns of a table?"""
    return all(len(c.shape) == 1 for c in inputs)


def _head(model: Any) -> Any:
    while getattr(model, "steps", None):
        model = model.steps[0][1]
    return model


class SkopsEngine:
    """A scikit-learn model, loaded from the types on the manifest's list alone.

    Args:
        path: the skops file.
        described: the bundle's manifest.

    Raises:
        BundleBroken: scikit-learn is not here in the version that was compared, or the file names another type.
    """

    def __init__(self, path: Path, described: Manifest) -> None:
        _require_same(described)
        found = types_in(path)
        if wrong := sorted({*found.named} - ({*described.trusted} - {*found.strange})):
            raise BundleBroken(f"{path.name} holds {', '.join(wrong)}, which is not trusted")
        self._model = load(path, found.named)
        self._inputs = described.inputs

    def run(self, names: list[str], inputs: Blocks) -> list[Block]:
        """What does the model answer, under its one name?

        Raises:
            ModelFault: scikit-learn fails; its words stay in the log, as they may show values.
        """
        import numpy as np

        try:
            return [Block.of(answer(self._model, {k: np.array(v) for k, v in inputs.items()}, self._inputs))]
        except Exception as error:
            raise ModelFault("the model failed on these inputs") from error


def _require_same(described: Manifest) -> None:
    for name in SAME:
        wanted = described.source.get(name)
        try:
            found = version(name)
        except PackageNotFoundError:
            found = "none"
        if found != wanted:
            raise BundleBroken(f"the answers were compared with {name} {wanted}; found {found}. Next: pip install "
                               "--no-deps -r serving/runtime/requirements-native.txt, as the Dockerfile does")
