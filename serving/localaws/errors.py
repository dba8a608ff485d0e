"""What the local AWS answers when it refuses, and what stops it from starting.

AwsError            an answer in AWS's own error shape; a client sees botocore's ClientError
LocalAwsError       the emulator itself cannot do what its user asked
LocalAwsRefused     what its user asked may not be done
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from serving.errors import Refused, ServingError


class AwsError(Exception):
    """Which error code, HTTP status and message does the client get?

    Args:
        code: AWS's error code, such as ``ResourceNotFoundException``.
        message: AWS's own words where they are known.
        status: HTTP status; AWS's service model wins where it names one for the code.
        fields: Further members of the error's shape, such as ``OriginalStatusCode``.
    """

    def __init__(self, code: str, message: str, *, status: int = 400, fields: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status
        for name, value in (fields or {}).items():
            setattr(self, name, value)


class LocalAwsError(ServingError):
    """Why can the local AWS not start or go on? The message says what to do next."""

    exit_code: ClassVar[int] = 3


class LocalAwsRefused(Refused):
    """Why may it not be done? The message says what to do next."""
