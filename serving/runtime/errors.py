"""What the runtime answers when it cannot answer.

RuntimeFault
├── BadRequest     the caller's fault: a 4xx status and one sentence that says what was found and what was wanted
├── ModelFault     the model's fault: 500, a metric, never a silent NaN; that numbers far beyond those it was tried on
│                  overflow in it is the caller's, 422
└── BundleBroken   the package's fault: raised at start, so nothing wrong is ever served
"""

from __future__ import annotations


class RuntimeFault(Exception):
    """Could no answer be given?"""

    status = 500


class BadRequest(RuntimeFault):
    """Is the request itself wrong?

    Attributes:
        status: the HTTP status to answer with, 400 to 499.
    """

    def __init__(self, message: str, *, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


class ModelFault(RuntimeFault):
    """Did the model give something that is no answer?"""


class BundleBroken(RuntimeFault):
    """Are the bundle's files not what its manifest says?"""
