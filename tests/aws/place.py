"""Where the script runs: on a local AWS of its own, or on the account whose credentials are in the environment.

`pytest -m aws` asks for the account (or for whatever AWS_ENDPOINT_URL names); without it nobody's account is touched.
What an account's owner may say besides stands in docs/aws.md.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from mlflow.deployments import get_deploy_client

from serving import Aws
from serving.config import load
from serving.localaws import running
from serving.logbook import bucket_of

from .caller import alarm_name

PREFIX = "SLIPWAY_TEST_"
PLUGINS = {"lambda": "lambda", "sagemaker": "slipway-sagemaker"}  # our name of a target, and MLflow's
TARGETS = tuple(PLUGINS)
FOLDERS = ("releases", "deployments")  # of the bucket; layers are every model's
LOCAL_SPEED = 100  # SageMaker's waiting times are divided by it


@dataclass(frozen=True, slots=True)
class Place:
    """An AWS to deploy to.

    Attributes:
        run: tells this run's models from anybody else's.
        targets: those that are tried.
    """

    run: str
    targets: tuple[str, ...]

    def name_of(self, kind: str) -> str:
        """What is the model of this kind called in this run?"""
        return f"{kind}-{self.run}"

    def configure(self, **sections: dict[str, Any]) -> None:
        """Write slipway.yaml of the current folder: what the account's owner said, and these sections."""
        said: dict[str, Any] = {name: dict(sections.get(name, {})) for name in TARGETS}
        for name in TARGETS:
            if role := os.environ.get(f"{PREFIX}{name.upper()}_ROLE"):
                said[name]["role"] = role
        if bucket := os.environ.get(f"{PREFIX}BUCKET"):
            said["bucket"] = bucket
        Path("slipway.yaml").write_text(json.dumps(said))


def is_asked(config: pytest.Config) -> bool:
    """Did somebody ask for the account, with `-m aws`?"""
    return "aws" in str(config.getoption("-m")).replace("not aws", "")


@contextmanager
def opened(*, asked: bool) -> Iterator[Place]:
    """A local AWS, its variables set; or, where it was asked for, what the environment names."""
    targets = tuple(os.environ.get(f"{PREFIX}TARGETS", ",".join(TARGETS)).split(","))
    assert set(targets) <= set(TARGETS), f"{PREFIX}TARGETS: wanted some of {TARGETS}, found {targets}"
    if asked:
        boto3.client("sts").get_caller_identity()  # before minutes are spent on training
        yield Place(secrets.token_hex(3), targets)
        return
    with running("--speed", str(LOCAL_SPEED)) as variables, pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(name, value)
        yield Place("local", targets)


def clean(model: str, place: Place) -> None:
    """Take the model out of service as its owner would, and then away what that leaves, whatever happened before."""
    try:
        for target in place.targets:
            client: Any = get_deploy_client(PLUGINS[target])  # type: ignore[no-untyped-call]  # MLflow's has no types
            client.delete_deployment(model)
    finally:
        settings = load()
        name = f"{settings.prefix}-{model}"
        _clean_compute(name)
        boto3.client("cloudwatch").delete_alarms(AlarmNames=[alarm_name(name)])
        every = boto3.resource("s3").Bucket(bucket_of(Aws.of(settings), settings)).objects
        for folder in FOLDERS:
            every.filter(Prefix=f"{folder}/{model}/").delete()


def _clean_compute(name: str) -> None:
    with suppress(ClientError):
        boto3.client("lambda").delete_function(FunctionName=name)
    sagemaker = boto3.client("sagemaker")
    with suppress(ClientError):
        sagemaker.delete_endpoint(EndpointName=name)
    sagemaker.get_waiter("endpoint_deleted").wait(EndpointName=name)
    for config in sagemaker.list_endpoint_configs(NameContains=f"{name}-")["EndpointConfigs"]:
        sagemaker.delete_endpoint_config(EndpointConfigName=config["EndpointConfigName"])
    for made in sagemaker.list_models(NameContains=f"{name}-")["Models"]:
        sagemaker.delete_model(ModelName=made["ModelName"])


def left(model: str) -> list[str]:
    """What of this model is still there?"""
    settings = load()
    name, sagemaker = f"{settings.prefix}-{model}", boto3.client("sagemaker")
    functions = boto3.client("lambda").get_paginator("list_functions").paginate()
    found = [one["FunctionName"] for page in functions for one in page["Functions"] if one["FunctionName"] == name]
    for kind in ("endpoint", "endpoint_config", "model"):
        said = getattr(sagemaker, f"list_{kind}s")(NameContains=name)
        word = "".join(part.capitalize() for part in kind.split("_"))
        found += [one[f"{word}Name"] for one in said[f"{word}s"]]
    every = boto3.resource("s3").Bucket(bucket_of(Aws.of(settings), settings)).objects
    return found + [one.key for folder in FOLDERS for one in every.filter(Prefix=f"{folder}/{model}/")]
