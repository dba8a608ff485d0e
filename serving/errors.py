"""Everything that serving refuses or fails at.

ServingError                     exit code 3: the outside world failed
├── Refused                      exit code 1: what was asked for may not be done
│   ├── ParityFailed             the converted model answers differently from the native one
│   ├── GoldenFailed             the deployed version does not answer its golden requests
│   ├── CanaryFailed             the new version did worse than is put up with; the old one has all requests back
│   ├── PreflightFailed          something stands against the deployment; nothing was changed
│   └── Unconvertible            no safe way from this model to ONNX
├── BundleInvalid                exit code 1: a bundle's files are not what its manifest says
├── ConfigurationInvalid         exit code 2: slipway.yaml or an option is wrong
├── NotDeployed                  exit code 1: there is nothing in service under that name
├── TakenOver                    exit code 1: somebody else goes on with this deployment
├── Stopped                      exit code 130: Ctrl-C; says what was done, and what the next run will do
└── AwsFailed                    exit code 3: AWS refused or could not be reached
    ├── AwsMissing               the thing asked for is not there
    └── AwsConflict              somebody else changed it in the meantime
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from .traffic import Judged


class ServingError(Exception):
    """Did serving fail? The root of everything raised here."""

    exit_code: ClassVar[int] = 3


class Refused(ServingError):
    """Was it refused for a reason that trying again will not change?"""

    exit_code = 1


class ParityFailed(Refused):
    """Does the converted model answer differently from the native one?"""


class GoldenFailed(Refused):
    """Did the deployed version answer its golden requests wrongly?"""


class CanaryFailed(Refused):
    """Did the new version do worse than is put up with? The old one has all requests back.

    Attributes:
        judged: what each test saw.
    """

    def __init__(self, message: str, judged: Sequence[Judged] = ()) -> None:
        super().__init__(message)
        self.judged = tuple(judged)


class Unconvertible(Refused):
    """Is there no safe way from this model to ONNX?"""


class PreflightFailed(Refused):
    """Does something stand against the deployment? Nothing was changed."""


class BundleInvalid(ServingError):
    """Do a bundle's files differ from its manifest?"""

    exit_code = 1


class ConfigurationInvalid(ServingError):
    """Is slipway.yaml, a policy or an option wrong?"""

    exit_code = 2


class NotDeployed(ServingError):
    """Is nothing in service under that name?"""

    exit_code = 1


class TakenOver(ServingError):
    """Does somebody else go on with this deployment, because it was silent for too long?"""

    exit_code = 1


class Stopped(ServingError):
    """Was it stopped by Ctrl-C?"""

    exit_code = 130


class AwsFailed(ServingError):
    """Did AWS refuse, or could it not be reached?

    Attributes:
        code: AWS's error code, such as ``AccessDenied``; empty when no answer came.
    """

    def __init__(self, message: str, *, code: str = "") -> None:
        super().__init__(message)
        self.code = code


class AwsMissing(AwsFailed):
    """Is the thing asked for not there?"""


class AwsConflict(AwsFailed):
    """Did somebody else create or change it in the meantime?"""
