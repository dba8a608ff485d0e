"""Statements about KMS keys: the releases' own, and the one of SageMaker's volumes and answers. Pure."""

from __future__ import annotations

from .account import Names
from .statements import Condition, Statement


def by_s3(names: Names, sid: str, *actions: str, key: str = "") -> Statement:
    """One key, used through S3 only; known by its alias where no ARN or id is configured."""
    through = Condition("StringEquals", "kms:ViaService", (f"s3.{names.account.region}.amazonaws.com",))
    return _of_key(names, sid, key or names.settings.kms_key or names.key_alias, actions, through)


def _of_key(names: Names, sid: str, key: str, actions: tuple[str, ...], *only: Condition) -> Statement:
    if key.startswith("arn:") and ":alias/" in key:
        key = key[key.index("alias/"):]
    if key.startswith("alias/"):
        named = Condition("ForAnyValue:StringEquals", "kms:ResourceAliases", (key,))
        return Statement(sid, actions, (names.account.arn("kms", "key/*"),), (*only, named))
    return Statement(sid, actions, (key if key.startswith("arn:") else names.account.arn("kms", f"key/{key}"),), only)


def looked_at(names: Names) -> tuple[Statement, ...]:
    """Whether a key of one's own can be used is looked at before anything changes."""
    key = names.settings.kms_key
    return (_of_key(names, "LookAtTheKey", key, ("kms:DescribeKey",)),) if key else ()


def volumes(names: Names) -> tuple[Statement, ...]:
    """SageMaker reaches volumes by a grant made in the name of who creates or updates the endpoint."""
    chosen = names.settings.sagemaker
    if not chosen.kms:
        return ()
    reads = (by_s3(names, "ReadAnswersByTheirKey", "kms:Decrypt", key=chosen.kms),)
    return (_of_key(names, "LookAtTheVolumesKey", chosen.kms, ("kms:DescribeKey",)),
            _of_key(names, "GrantTheVolumesKey", chosen.kms, ("kms:CreateGrant",),
                    Condition("Bool", "kms:GrantIsForAWSResource", ("true",))),
            *(reads if chosen.asynchronous or chosen.shadow else ()))


def kept(names: Names) -> tuple[Statement, ...]:
    """What is captured or answered later is encrypted by the key for that, where one is configured."""
    chosen = names.settings.sagemaker
    some = chosen.capture or chosen.asynchronous or chosen.shadow
    return (by_s3(names, "EncryptWhatIsKept", "kms:GenerateDataKey", key=chosen.kms),) if chosen.kms and some else ()
