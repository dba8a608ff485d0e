"""BentoML as its documentation shows it, with the same ONNX model."""

from __future__ import annotations

import os
from typing import Any

import bentoml
import numpy as np
import onnxruntime


@bentoml.service(workers=1)  # type: ignore[untyped-decorator]  # not installed where types are checked
class Small:
    """One model."""

    def __init__(self) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(os.environ["MODEL"], options)

    @bentoml.api  # type: ignore[untyped-decorator]  # as above
    def invocations(self, instances: list[list[float]]) -> dict[str, Any]:
        """Answer."""
        return {"predictions": self.session.run(None, {"x": np.asarray(instances, np.float32)})[0].tolist()}
