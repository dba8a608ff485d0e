"""What Slipway itself does with S3 and Lambda, done on every emulator that plays what it takes."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from serving import Aws, Settings
from serving.aws import Storage
from serving.aws.functions import fault_of
from serving.bundle import verify
from serving.errors import AwsConflict
from serving.execution import execute
from serving.golden import read_golden
from serving.runtime.core import GOLDEN
from serving.targets.lambda_.target import LambdaTarget
from tests.localaws.players import BUCKET, Account

MIB = 1 << 20
RECORDED = Path(__file__).parents[1] / "golden" / "bundles" / "0.1-images-cnn"


@pytest.fixture
def storage(account: Account, monkeypatch: pytest.MonkeyPatch) -> Storage:
    """S3 as Slipway uses it, at the emulator's address."""
    _point_to(account("s3"), monkeypatch)
    return Storage(lambda: "123456789012")


def _point_to(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    variables = {"AWS_ENDPOINT_URL": client.meta.endpoint_url, "AWS_DEFAULT_REGION": "us-east-1",
                 "AWS_REGION": "us-east-1", "AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local"}
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A file of five parts, and its SHA-256."""
    path = tmp_path_factory.mktemp("large") / "model.onnx"
    path.write_bytes(b"".join(bytes([n]) * (16 * MIB) for n in range(4)) + b"the last part")
    return path, hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_release_is_stored_once_and_proven_by_what_s3_computed(storage: Storage, tmp_path: Path) -> None:
    path = tmp_path / "manifest.json"
    path.write_bytes(b"{}")
    sha256 = hashlib.sha256(b"{}").hexdigest()
    storage.create_object(BUCKET, "releases/m/d/manifest.json", path, sha256)
    found = storage.object(BUCKET, "releases/m/d/manifest.json")
    assert found is not None and found.is_file(path, sha256)
    with pytest.raises(AwsConflict):
        storage.create_object(BUCKET, "releases/m/d/manifest.json", path, sha256)


def test_a_journal_is_numbered_listed_read_and_deleted(storage: Storage) -> None:
    keys = [f"deployments/m/lambda/00000{number}.json" for number in (1, 2)]
    for key in keys:
        storage.create_bytes(BUCKET, key, key.encode())
    with pytest.raises(AwsConflict):
        storage.create_bytes(BUCKET, keys[1], b"somebody else's")
    assert storage.keys(BUCKET, "deployments/m/") == tuple(keys)
    assert storage.read(BUCKET, keys[1]) == keys[1].encode()
    storage.delete(BUCKET, keys)
    assert storage.keys(BUCKET, "deployments/m/") == ()


def test_a_large_file_is_stored_in_parts_and_proven_by_them(storage: Storage, large: tuple[Path, str]) -> None:
    path, sha256 = large
    storage.create_object(BUCKET, "large", path, sha256)
    found = storage.object(BUCKET, "large")
    assert found is not None and found.is_file(path, sha256)
    assert storage.sha256(BUCKET, "large") == sha256
    with pytest.raises(AwsConflict):
        storage.create_object(BUCKET, "large", path, sha256)


def test_a_release_is_deployed_and_answers(
    account: Account, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _point_to(account("s3"), monkeypatch)
    number = account("sts").get_caller_identity()["Account"]
    if f"slipway-{number}-us-east-1" not in {one["Name"] for one in account("s3").list_buckets()["Buckets"]}:
        account("s3").create_bucket(Bucket=f"slipway-{number}-us-east-1")
        trust = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
        policy = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
        account("iam").create_role(RoleName="slipway-exec-lambda", AssumeRolePolicyDocument=policy)
    bundle, aws = verify(Path(shutil.copytree(RECORDED, tmp_path / "bundle"))), Aws()
    target = LambdaTarget(aws, Settings())
    plan = target.plan(bundle, tmp_path / "scratch", lambda line: None)
    golden = read_golden(bundle.folder / GOLDEN)
    assert execute(plan, aws, target.hands(golden), lambda step, seconds: None) == "1"
    assert all(finding.right for finding in target.in_service("images", thoroughly=True).findings)
    assert target.plan(bundle, tmp_path / "again", lambda line: None).steps == ()


@pytest.mark.parametrize(("body", "told"), [
    (b'{"errorMessage": "out of memory", "errorType": "Runtime.ExitError"}', "out of memory"),
    (b"error running docker: no such file", "error running docker: no such file"), (b"", ""), (b"[1]", "[1]")])
def test_what_a_function_failed_with_is_told_however_it_says_it(body: bytes, told: str) -> None:
    assert fault_of(body) == told
