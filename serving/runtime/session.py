"""onnxruntime's own session, without the parts of its package that serving never uses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from onnxruntime.capi import onnxruntime_pybind11_state as capi


def open_session(path: Path, threads: int) -> Any:
    """Which session answers for this model?

    Its ``run(output names, inputs, run options)`` is the C++ session's own: the Python class around it costs 10 ms
    of imports at start and some microseconds a call.
    """
    options = capi.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # The graph was optimised once, when it was converted.
    options.graph_optimization_level = capi.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = capi.InferenceSession(options, str(path), True, False)
    session.initialize_session(["CPUExecutionProvider"], [{}], set())
    return session
