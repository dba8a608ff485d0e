"""The environment of `mlflow run` is the lock's, and no AWS SDK is in it."""

from __future__ import annotations

from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]


def conda_pins() -> list[str]:
    """The pip lines of conda.yaml."""
    for part in yaml.safe_load((ROOT / "conda.yaml").read_text())["dependencies"]:
        if isinstance(part, dict):
            return [str(line) for line in part["pip"]]
    raise AssertionError("conda.yaml has no pip section")


def test_every_pin_of_conda_yaml_is_the_locks() -> None:
    locked = {line.lower() for line in (ROOT / "requirements.lock").read_text().split()}
    assert {pin.lower() for pin in conda_pins()} <= locked


def test_training_installs_no_aws_sdk() -> None:
    names = {pin.partition("==")[0].lower() for pin in conda_pins()}
    assert not names & {"boto3", "botocore", "sagemaker", "s3fs", "moto"}
