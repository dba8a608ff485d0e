"""What can go wrong in the registry, as one tree.

RegistryError                  1  refused
├── PromotionRefused           1  the decision says no; its message lists every reason
├── ReleaseMissing             1  no version stands in that stage, or the ledger does not say who put it there
├── ReleaseTampered            1  the files are not the approved ones
├── ModelUnusable              1  a model does not load, or does not answer as its signature says
├── LedgerBroken               1  an entry was edited, removed or moved
├── VersionMissing             2  no such model or version
├── PolicyInvalid              2  policy.yaml says something we do not understand
├── RegistryMisconfigured      2  a URI, a plugin or a setting is wrong
└── RegistryUnreachable        3  the server or the database did not answer
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar


class RegistryError(Exception):
    """Anything the registry refuses; the message says what, found against wanted, and what to do next."""

    exit_code: ClassVar[int] = 1


class PromotionRefused(RegistryError):
    """The registry decided against a move; every reason is in the message."""

    def __init__(self, message: str, about: str = "") -> None:
        """`about`: the model/version whose page shows what to do, where the message says what to do next."""
        super().__init__(message)
        self.about = about


class ReleaseMissing(RegistryError):
    """Nothing stands in that stage that the ledger vouches for."""


class ReleaseTampered(RegistryError):
    """The files differ from the approved ones; all differences are named at once."""

    def __init__(
        self, subject: str, changed: Sequence[str], missing: Sequence[str], extra: Sequence[str], place: str = ""
    ) -> None:
        """Name every difference of `subject` (a model/version) together, and the place where its files are kept."""
        self.subject = subject
        self.changed, self.missing, self.extra = tuple(changed), tuple(missing), tuple(extra)
        found = (("changed", self.changed), ("missing", self.missing), ("extra", self.extra))
        parts = "; ".join(f"{word}: {', '.join(names)}" for word, names in found if names)
        super().__init__(
            f"{subject} is not what was approved ({parts}){f'; its files are in {place}' if place else ''}. "
            f"Next: restore the files{' there' if place else ''}, or train and register a new version"
        )


class ModelUnusable(RegistryError):
    """A model does not load, or does not answer as its signature says."""


class LedgerBroken(RegistryError):
    """The chain of entries does not hold; the message names the first bad one."""


class VersionMissing(RegistryError):
    """There is no such model or version."""

    exit_code: ClassVar[int] = 2


class PolicyInvalid(RegistryError):
    """The policy file holds a key or a value that is not understood."""

    exit_code: ClassVar[int] = 2


class RegistryMisconfigured(RegistryError):
    """A URI, a plugin or a setting keeps the registry from working."""

    exit_code: ClassVar[int] = 2


class RegistryUnreachable(RegistryError):
    """The server or the database did not answer."""

    exit_code: ClassVar[int] = 3
