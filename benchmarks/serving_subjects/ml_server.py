"""MLServer's custom runtime, with the same ONNX model."""

from __future__ import annotations

import os

import numpy as np
import onnxruntime
from mlserver import MLModel, types
from mlserver.codecs import NumpyCodec


class Small(MLModel):  # type: ignore[misc]  # not installed where types are checked
    """One model."""

    async def load(self) -> bool:
        """Load."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(os.environ["MODEL"], options)
        return True

    async def predict(self, payload: types.InferenceRequest) -> types.InferenceResponse:
        """Answer."""
        rows = NumpyCodec.decode_input(payload.inputs[0]).astype(np.float32)
        said = self.session.run(None, {"x": rows})[0]
        return types.InferenceResponse(
            model_name=self.name, outputs=[NumpyCodec.encode_output("predictions", said)])
