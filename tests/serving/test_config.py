"""What slipway.yaml may say."""

from __future__ import annotations

from pathlib import Path

import pytest

from serving import config
from serving.errors import ConfigurationInvalid


def test_without_a_file_the_defaults_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert config.load(environ={}) == config.Settings()


def test_a_file_that_was_named_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationInvalid, match="no such file"):
        config.load(environ={"SLIPWAY_CONFIG": str(tmp_path / "missing.yaml")})


@pytest.mark.parametrize(("text", "said"), [
    ("lambda: {memmory: 512}", "unknown key lambda.memmory; the nearest is memory"),
    ("buckets: b", "unknown key buckets; the nearest is bucket"),
    ("lambda: {memory: 64}", "lambda.memory: .*128.*found 64"),
    ("lambda: {runtime: python3.9}", "lambda.runtime"),
    ("lambda: {canary: {shares: [0.5, 0.4, 1.0]}}", "lambda.canary: .*shares must rise to 1"),
    ("lambda: {canary: {sharez: [1.0]}}", "unknown key lambda.canary.sharez; the nearest is shares"),
    ("kms_keys: k", "unknown key kms_keys; the nearest is kms_key"),
    ("sagemaker: {instance: ml.m5.large}", "unknown key sagemaker.instance; the nearest is instances"),
    ("sagemaker: {canary: {sise: 10}}", "unknown key sagemaker.canary.sise; the nearest is size"),
    ("sagemaker: {canary: {size: 60}, alarms: [a]}", "sagemaker.canary.size: .*50; found 60"),
    ("sagemaker: {linear: {size: 5}, alarms: [a]}", "sagemaker.linear.size: .*10; found 5"),
    ("sagemaker: {canary: {wait: 3601}, alarms: [a]}", "sagemaker.canary.wait: .*3600"),
    ("sagemaker: {canary: {size: 10}}", "watched by alarms, and there is none"),
    ("sagemaker: {canary: {}, linear: {}, alarms: [a]}", "choose one"),
    ("sagemaker: {serverless: {memory: 2000}}", "sagemaker.serverless.memory: .*found 2000"),
    ("sagemaker: {serverless: {concurrency: 201}}", "sagemaker.serverless.concurrency: .*200"),
    ("sagemaker: {autoscaling: {least: 3, most: 2, invocations: 9}}", "most must be at least least"),
    ("sagemaker: {serverless: {}, capture: {}}", "a serverless endpoint has no canary"),
    ("lambda: [", "not YAML"),
    ("- a", "dictionary"),
])
def test_a_mistake_is_named_with_the_nearest_right_key(text: str, said: str) -> None:
    with pytest.raises(ConfigurationInvalid, match=said):
        config.parse(text, name="slipway.yaml")
