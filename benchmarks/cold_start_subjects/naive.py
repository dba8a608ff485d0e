"""The way tutorials do it: TensorFlow in the function, the model loaded inside the handler."""

import os
from typing import Any


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """Answer."""
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    import keras
    import numpy as np

    model = keras.saving.load_model(os.environ["MODEL"])
    return {"predictions": model.predict(np.array(event["instances"], np.float32), verbose=0).tolist()}
