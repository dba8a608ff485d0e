"""Whose account, and what everything is called there under one configuration. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from ..config import Settings


@dataclass(frozen=True, slots=True)
class Account:
    """Whose account is it, where? The names may be CloudFormation's, as in ``${AWS::AccountId}``."""

    id: str
    region: str
    partition: str = "aws"

    def arn(self, service: str, resource: str, *, regional: bool = True) -> str:
        """What is the ARN of a resource of ours?"""
        return f"arn:{self.partition}:{service}:{self.region if regional else ''}:{self.id}:{resource}"


@dataclass(frozen=True, slots=True)
class Names:
    """What is everything called under one configuration in one account?"""

    settings: Settings
    account: Account

    @property
    def bucket(self) -> str:
        """The bucket's name."""
        return self.settings.bucket or f"{self.settings.prefix}-{self.account.id}-{self.account.region}"

    @property
    def key_alias(self) -> str:
        """The alias of the key that the template makes."""
        return f"alias/{self.settings.prefix}"

    def s3(self, *keys: str) -> tuple[str, ...]:
        """ARNs of objects, or of the bucket itself where no key is given."""
        bucket = f"arn:{self.account.partition}:s3:::{self.bucket}"
        return tuple(f"{bucket}/{key}" for key in keys) or (bucket,)

    def role(self, role: str) -> str:
        """The ARN of a role, given its name or its ARN."""
        return role if role.startswith("arn:") else self.account.arn("iam", f"role/{role}", regional=False)

    def regional(self, service: str, *resources: str) -> tuple[str, ...]:
        """ARNs of resources of ours in this region, every name with our prefix."""
        return tuple(self.account.arn(service, f"{one}{self.settings.prefix}-*") for one in resources)
