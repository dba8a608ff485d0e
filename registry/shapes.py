"""Rows on their way into a model, and its answers on their way out. Knows nothing of MLflow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray


def request(schema: Any, inputs: dict[str, NDArray[Any]]) -> object:
    """Inputs in the shape that a model's input schema asks for: named tensors, one unnamed tensor, or columns."""
    if schema is not None and not schema.is_tensor_spec():
        import pandas as pd

        return pd.DataFrame({name: values if values.ndim == 1 else list(values) for name, values in inputs.items()})
    if schema is not None and schema.has_input_names():
        return inputs
    return next(iter(inputs.values()))


def answer(output: Any) -> NDArray[Any]:
    """A model's answer as one array, whatever it is wrapped in."""
    if isinstance(output, Mapping):
        output = output.get("probabilities", output.get("prediction", next(iter(output.values()))))
    return np.asarray(output.to_numpy() if hasattr(output, "to_numpy") else output)
