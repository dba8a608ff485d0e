"""Does what serves somewhere answer as the native model did? Asked over whatever leads there."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from . import parity
from .errors import GoldenFailed
from .golden import Golden

if TYPE_CHECKING:
    from numpy.typing import NDArray

Ask = Callable[[bytes], bytes]


def ask_golden(ask: Ask, place: str, golden: Golden) -> dict[str, Any]:
    """Does what serves there answer its golden requests as the native model did? Gives who it says it is.

    Args:
        ask: takes a JSON request and gives the JSON answer.
        place: what is asked, for messages.
        golden: the requests and the native model's answers.

    Raises:
        GoldenFailed: it does not.
    """
    import numpy as np

    request = {"inputs": {name: as_json(rows) for name, rows in golden.inputs.items()}}
    answer = json.loads(ask(json.dumps(request).encode()))
    if "predictions" not in answer:
        raise GoldenFailed(f"{place} refused its golden requests: {answer.get('error')}")
    said = answer["predictions"] if len(golden.outputs) > 1 else {next(iter(golden.outputs)): answer["predictions"]}
    distance = max(_distance(np.asarray(said[name]), rows) for name, rows in golden.outputs.items())
    if not distance <= parity.TOLERANCE:
        raise GoldenFailed(f"{place} answers its golden requests with a difference of {distance:.2g} > "
                           f"{parity.TOLERANCE:.0e}. It does not serve.")
    served: dict[str, Any] = answer["model"]
    return served


def as_json(rows: NDArray[Any]) -> Any:
    """The rows as JSON has them: a missing number is null there, and NaN is no JSON."""
    import numpy as np

    if rows.dtype.kind != "f" or not np.isnan(rows).any():
        return rows.tolist()
    values = rows.astype(object)
    values[np.isnan(rows)] = None
    return values.tolist()


def _distance(said: NDArray[Any], wanted: NDArray[Any]) -> float:
    if said.shape != wanted.shape:
        return float("inf")
    if wanted.dtype.kind not in "fiu":
        return 0.0 if (said == wanted).all() else float("inf")
    return float(abs(said - wanted).max(initial=0.0))
