"""The handler that AWS's prebuilt images look for (`code/inference.py`): sagemaker-inference's four functions.

The same bundle and the same runtime as everywhere: model.tar.gz holds them beside this file, wheels included, so that
nothing is installed at start.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
for folder in (HERE / "lib", HERE):
    if folder.is_dir() and str(folder) not in sys.path:
        sys.path.insert(0, str(folder))

from serving.runtime.core import Predictor  # noqa: E402 - found only once the path is set
from serving.runtime.exchange import Exchange, Request  # noqa: E402 - as above


def model_fn(model_dir: str, context: Any = None) -> Exchange:
    """Which model answers? Loaded, verified and warm."""
    return Exchange(Predictor(Path(model_dir) / "bundle"))


def transform_fn(model: Exchange, data: Any, kind: str, accept: str, context: Any = None) -> tuple[bytes, str]:
    """What is the answer to this body, and what is its content type?

    A request that does not fit is answered with its own status where the server lets us say one.
    """
    body = data.encode() if isinstance(data, str) else bytes(data)
    said = model.respond(Request(body, kind or "", accept or ""))
    if said.status != 200:
        _refuse(said.status, said.body.decode(), context)
    return said.body, said.kind


def _refuse(status: int, message: str, context: Any) -> None:
    if context is not None and hasattr(context, "set_response_status"):
        context.set_response_status(code=status, phrase=message)
        return
    from sagemaker_inference.errors import GenericInferenceToolkitError

    raise GenericInferenceToolkitError(status, message)
