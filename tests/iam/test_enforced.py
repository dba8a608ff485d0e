"""A release is published and deployed by a user who may do what `slipway iam` prints, where somebody else judges it.

Ministack with AUTH=true evaluates users' policies itself; it knows nothing of ours but their JSON. Emulated.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import boto3
import pytest

from serving import Aws, Settings
from serving.bundle import verify
from serving.errors import AwsFailed, PreflightFailed
from serving.execution import execute
from serving.golden import read_golden
from serving.iam import Account, Policy, Statement, policy
from serving.runtime.core import GOLDEN
from serving.targets.lambda_.target import LambdaTarget
from serving.withdraw import withdraw
from tests.localaws.clients import client_for
from tests.localaws.peers import MINISTACK, Peer, started
from tests.serving.test_deploy import environment

RECORDED = Path(__file__).parents[1] / "golden" / "bundles" / "0.1-images-cnn"
ROOT = {"AUTH": "true", "AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local"}
USER = "ci"
# Ministack 1.5.33 judges these Lambda operations by another's name, and CreateFunction on no function by name: what it
# asks is granted beside ours, or it would refuse what AWS allows, so that it says nothing of them. In order: of aliases
# GetAlias, UpdateAlias, DeleteAlias; ListLayerVersions, GetLayerVersion; GetFunctionConcurrency; CreateFunction;
# DeleteFunctionUrlConfig; ListProvisionedConcurrencyConfigs.
MISNAMED = Statement("MisnamedThere", (
    "lambda:ListAliases", "lambda:ListLayers", "lambda:PutFunctionConcurrency", "lambda:CreateFunction",
    "lambda:CreateFunctionUrlConfig", "lambda:GetFunction"), ("*",))
# Statements that it judges by, and the action whose refusal is told when they are left out. It does not judge by
# iam:PassRole, KMS keys, roles that are looked at, layers that are used, CloudWatch and logs.
JUDGED = {
    "SeeWhatIsThere": "s3:ListBucket", "LookAtFunctions": "lambda:GetFunctionConfiguration",
    "PutReleases": "s3:PutObject", "KeepTheJournal": "s3:GetObject", "PublishLayers": "lambda:PublishLayerVersion",
    "ShipFunctions": "lambda:PublishVersion",
}


def _judging(port: int, folder: Path) -> tuple[list[str], dict[str, str]]:
    argv, settings = MINISTACK.command(port, folder)
    return argv, {**settings, **ROOT}


class Enforcing:
    """An account with a user in it, whose policies can be set."""

    def __init__(self, reach: dict[str, str]) -> None:
        self._root: Any = client_for(reach, "iam")
        self.account = Account(client_for(reach, "sts").get_caller_identity()["Account"], "us-east-1")
        client_for(reach, "s3").create_bucket(Bucket=f"slipway-{self.account.id}-us-east-1")
        trust = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
        self._root.create_role(RoleName="slipway-exec-lambda", AssumeRolePolicyDocument=json.dumps(
            {"Version": "2012-10-17", "Statement": [trust]}))
        self._root.create_user(UserName=USER)
        self._attached = set[str]()
        key = self._root.create_access_key(UserName=USER)["AccessKey"]
        self.reach = {**reach, "AWS_DEFAULT_REGION": "us-east-1", "AWS_ACCESS_KEY_ID": key["AccessKeyId"],
                      "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}

    def allow(self, roles: Sequence[str], but: str = "") -> None:
        """Let the user do what `slipway iam` prints for these roles, but for one statement."""
        for arn in self._attached:
            self._root.detach_user_policy(UserName=USER, PolicyArn=arn)
            self._root.delete_policy(PolicyArn=arn)
        given = {role: policy(role, "lambda", Settings(), self.account).statements for role in roles}
        self._attached = {self._made(role, [one for one in held if one.sid != but])
                          for role, held in (*given.items(), ("misnamed", (MISNAMED,)))}
        for arn in self._attached:
            self._root.attach_user_policy(UserName=USER, PolicyArn=arn)

    def _made(self, name: str, statements: Sequence[Statement]) -> str:
        made = self._root.create_policy(PolicyName=name, PolicyDocument=json.dumps(Policy(tuple(statements)).to_dict()))
        return str(made["Policy"]["Arn"])


@pytest.fixture(scope="module", params=[replace(MINISTACK, command=_judging)], ids=["ministack"])
def peer(request: pytest.FixtureRequest) -> Peer:
    """Who judges."""
    chosen: Peer = request.param
    return chosen


@pytest.fixture(scope="module")
def enforcing(peer: Peer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Enforcing]:
    with started(peer, tmp_path_factory.mktemp("ministack")) as reach:
        made = Enforcing(reach)
        with environment(**made.reach):
            yield made


def deploy(home: Path) -> str | None:
    """As `slipway deploy` does; the version that serves."""
    bundle, aws = verify(Path(shutil.copytree(RECORDED, home / "bundle", dirs_exist_ok=True))), Aws()
    target, scratch = LambdaTarget(aws, Settings()), home / "scratch"
    shutil.rmtree(scratch, ignore_errors=True)
    plan = target.plan(bundle, scratch, lambda line: None)
    return execute(plan, aws, target.hands(read_golden(bundle.folder / GOLDEN)), lambda step, seconds: None)


def refusal(what: Callable[[], object]) -> str:
    with pytest.raises((AwsFailed, PreflightFailed)) as refused:
        what()
    return str(refused.value)


def test_a_release_is_deployed_proven_and_withdrawn_by_the_printed_policies_and_not_without_any_one_statement(
    enforcing: Enforcing, tmp_path: Path
) -> None:
    assert boto3.client("sts").get_caller_identity()["Arn"].endswith(f"user/{USER}")
    for sid, action in JUDGED.items():
        enforcing.allow(("publisher", "deployer"), but=sid)
        assert action in refusal(lambda: deploy(tmp_path)), sid
    enforcing.allow(("publisher", "deployer"))
    assert deploy(tmp_path) == "1"

    def right() -> bool:
        found = LambdaTarget(Aws(), Settings()).in_service("images", thoroughly=True).findings
        return all(finding.right for finding in found)

    enforcing.allow(("deployer",), but="AskFunctions")
    assert not right()  # it does not answer
    enforcing.allow(("deployer",), but="ReadReleases")
    assert "403" in refusal(right)
    enforcing.allow(("deployer",))
    assert right()
    enforcing.allow(("pruner",))
    withdraw("images", "lambda", Aws(), Settings())

    aws, bucket = Aws(), f"slipway-{enforcing.account.id}-us-east-1"
    left = aws.storage.keys(bucket, "releases/")
    enforcing.allow(("pruner",), but="RemoveVersions")
    assert "lambda:DeleteFunction" in refusal(lambda: aws.functions.delete_version("slipway-images", "1"))
    enforcing.allow(("pruner",), but="RemoveReleases")
    assert "AccessDenied" in refusal(lambda: aws.storage.delete(bucket, left))
    enforcing.allow(("pruner",))
    aws.functions.delete_version("slipway-images", "1")
    aws.storage.delete(bucket, left)
    assert aws.storage.keys(bucket, "releases/") == ()
