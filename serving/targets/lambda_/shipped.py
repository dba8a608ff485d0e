"""What the journal keeps of a deployment to Lambda."""

from __future__ import annotations

from ...aws import FunctionConfig
from ...journal import Shipped
from .around import Around


class LambdaShipped(Shipped):
    """Which bytes was Lambda given, and how was the function configured?

    Attributes:
        code: SHA-256 of the function's zip.
        layer, layer_sha256: the layer's identity and the SHA-256 of its zip.
        configuration: of the published version.
        around: what was set around it, and is no version's.
    """

    code: str
    layer: str
    layer_sha256: str
    configuration: FunctionConfig
    around: Around = Around()
