"""KMS, as far as a deployment has to know whether a key can be used."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from .session import client, mapped


class Keys:
    """KMS as this project uses it."""

    def state(self, key: str) -> str:
        """How is this key, in KMS's words: ``Enabled``, ``PendingDeletion``, ...? Given by its id, ARN or alias.

        Raises:
            AwsMissing: there is none.
        """
        with mapped(f"kms:DescribeKey {key}"):
            return str(self._kms.describe_key(KeyId=key)["KeyMetadata"]["KeyState"])

    @cached_property
    def _kms(self) -> Any:
        return client("kms")
