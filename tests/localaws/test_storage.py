"""S3 refuses what AWS refuses and moto alone lets through."""

from __future__ import annotations

import base64
import hashlib
from typing import Any
from urllib.request import urlopen

import pytest
from botocore.exceptions import ClientError

from tests.localaws.conftest import BUCKET, Clients


def digest(content: bytes) -> str:
    """A checksum as S3 writes it."""
    return base64.b64encode(hashlib.sha256(content).digest()).decode()


def test_bytes_that_are_not_those_announced_are_refused(s3: Any) -> None:
    with pytest.raises(ClientError) as caught:
        s3.put_object(Bucket=BUCKET, Key="sums/wrong", Body=b"these", ChecksumSHA256=digest(b"those"))
    assert caught.value.response["Error"]["Code"] == "BadDigest"
    with pytest.raises(ClientError) as missing:
        s3.head_object(Bucket=BUCKET, Key="sums/wrong")
    assert missing.value.response["Error"]["Code"] == "404"


def test_a_wrong_md5_is_refused(s3: Any) -> None:
    md5 = base64.b64encode(bytes(16)).decode()
    with pytest.raises(ClientError, match="BadDigest"):
        s3.put_object(Bucket=BUCKET, Key="sums/md5", Body=b"these", ContentMD5=md5)


@pytest.mark.parametrize("explicit", [True, False])
def test_an_object_tells_its_checksum(s3: Any, explicit: bool) -> None:
    given = {"ChecksumSHA256": digest(b"these")} if explicit else {"ChecksumAlgorithm": "SHA256"}
    put = s3.put_object(Bucket=BUCKET, Key=f"sums/{explicit}", Body=b"these", **given)
    head = s3.head_object(Bucket=BUCKET, Key=f"sums/{explicit}", ChecksumMode="ENABLED")
    assert put["ChecksumSHA256"] == head["ChecksumSHA256"] == digest(b"these")


def test_a_checksum_is_told_for_no_other_algorithm(s3: Any) -> None:
    s3.put_object(Bucket=BUCKET, Key="sums/crc", Body=b"these")
    assert "ChecksumSHA256" not in s3.head_object(Bucket=BUCKET, Key="sums/crc", ChecksumMode="ENABLED")


def test_a_part_of_a_multipart_upload_is_checked_too(s3: Any) -> None:
    upload = s3.create_multipart_upload(Bucket=BUCKET, Key="sums/parts", ChecksumAlgorithm="SHA256")["UploadId"]
    part = {"Bucket": BUCKET, "Key": "sums/parts", "UploadId": upload, "PartNumber": 1, "Body": b"these"}
    with pytest.raises(ClientError, match="BadDigest"):
        s3.upload_part(**part, ChecksumSHA256=digest(b"those"))
    assert s3.upload_part(**part, ChecksumSHA256=digest(b"these"))["ChecksumSHA256"] == digest(b"these")


def test_a_key_that_is_there_is_not_written_over_when_asked_not_to(s3: Any) -> None:
    s3.put_object(Bucket=BUCKET, Key="once", Body=b"1", IfNoneMatch="*")
    with pytest.raises(ClientError) as caught:
        s3.put_object(Bucket=BUCKET, Key="once", Body=b"2", IfNoneMatch="*")
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 412


def test_a_presigned_address_is_enough_to_read(s3: Any) -> None:
    s3.put_object(Bucket=BUCKET, Key="signed", Body=b"these")
    address = s3.generate_presigned_url("get_object", Params={"Bucket": BUCKET, "Key": "signed"})
    with urlopen(address) as response:  # noqa: S310 - the local AWS's own
        assert response.read() == b"these"


def test_a_bucket_that_is_somebody_elses_is_not_touched(s3: Any) -> None:
    whose = {"Bucket": BUCKET, "Key": "owned", "ExpectedBucketOwner": "123456789012"}
    s3.put_object(**whose, Body=b"")
    for call in (s3.get_object, s3.put_object, s3.head_object):
        with pytest.raises(ClientError) as caught:
            call(**{**whose, "ExpectedBucketOwner": "210987654321"})
        assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403
    assert caught.value.response["Error"]["Code"] == "403"


def test_what_nobody_plays_is_answered_in_the_calls_own_protocol(client: Clients) -> None:
    with pytest.raises(ClientError) as caught:
        client("iam").get_context_keys_for_custom_policy(PolicyInputList=['{"Statement": []}'])
    assert caught.value.response["Error"]["Code"] == "NotImplemented"


def test_the_account_starts_with_what_the_template_would_have_made(s3: Any, client: Clients) -> None:
    assert s3.get_bucket_versioning(Bucket=BUCKET)["Status"] == "Enabled"
    blocked = s3.get_public_access_block(Bucket=BUCKET)["PublicAccessBlockConfiguration"]
    assert set(blocked.values()) == {True}
    rule = s3.get_bucket_encryption(Bucket=BUCKET)["ServerSideEncryptionConfiguration"]["Rules"][0]
    assert rule["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"] == "aws:kms"
    key = client("kms").describe_key(KeyId="alias/slipway")["KeyMetadata"]["Arn"]
    assert rule["ApplyServerSideEncryptionByDefault"]["KMSMasterKeyID"] == key
    iam = client("iam")
    for service in ("lambda", "sagemaker"):
        trust = iam.get_role(RoleName=f"slipway-exec-{service}")["Role"]["AssumeRolePolicyDocument"]
        assert trust["Statement"][0]["Principal"] == {"Service": f"{service}.amazonaws.com"}
    assert client("sts").get_caller_identity()["Account"] == "123456789012"
