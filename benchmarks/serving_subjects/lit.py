"""LitServe as its documentation shows it, with the same ONNX model."""

import os
from typing import Any

import litserve
import numpy as np
import onnxruntime


class Api(litserve.LitAPI):  # type: ignore[misc]  # not installed where types are checked
    """One model."""

    def setup(self, device: str) -> None:
        """Load."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(os.environ["MODEL"], options)

    def decode_request(self, request):  # type: ignore[no-untyped-def]  # any annotation is read as a query's parameter
        """Read."""
        return np.asarray(request["instances"], np.float32)

    def predict(self, rows: Any) -> Any:
        """Answer."""
        return self.session.run(None, {"x": rows})[0]

    def encode_response(self, said: Any) -> Any:
        """Write."""
        return {"predictions": said.tolist()}


if __name__ == "__main__":
    litserve.LitServer(Api(api_path="/invocations"), accelerator="cpu").run(
        host="127.0.0.1", port=int(os.environ["PORT"]), generate_client_file=False, log_level="error")
