"""How long does one request take in a masked GRU, rebuilt by us, against the loop that the usual converter makes?

    python -m benchmarks.recurrent

Both graphs come from the same Keras network and are asked the same sentence in turns, in one process, one thread.
"""

from __future__ import annotations

import statistics
import time

import numpy as np
import onnx
import onnxruntime

TURNS = 2000


def main() -> None:
    """Print both medians and their ratio."""
    import keras
    from keras import layers

    from serving.convert import keras_, recurrent

    words = keras.Input((20,), name="words", dtype="int32")
    states = layers.GRU(16)(layers.Embedding(64, 8, mask_zero=True)(words))
    network = keras.Model(words, layers.Dense(1, activation="sigmoid")(states))
    fused = recurrent.export(network)
    assert fused is not None, "the GRU was not rebuilt"  # noqa: S101 - a benchmark of nothing would mislead
    sessions = [_session(fused), _session(keras_.export_any(network))]
    asked = np.array([[3, 5, 0, 7] * 5], np.int32)
    spent: tuple[list[float], list[float]] = ([], [])
    for _ in range(TURNS):
        for session, seconds in zip(sessions, spent, strict=True):
            request = {session.get_inputs()[0].name: asked}
            started = time.perf_counter()
            session.run(None, request)
            seconds.append(time.perf_counter() - started)
    ours, usual = (statistics.median(seconds) * 1e6 for seconds in spent)
    print(f"fused {ours:.0f} us, usual {usual:.0f} us for one request: {usual / ours:.1f} times faster")


def _session(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(model.SerializeToString(), options)


if __name__ == "__main__":
    main()
