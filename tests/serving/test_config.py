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
    ("lambda: {memory: 64}", "lambda.memory: found 64, wanted at least 128"),
    ("lambda: {runtime: python3.9}", "lambda.runtime"),
    ("lambda: {canary: {shares: [0.5, 0.4, 1.0]}}", "lambda.canary: .*shares must rise to 1"),
    ("lambda: {canary: {sharez: [1.0]}}", "unknown key lambda.canary.sharez; the nearest is shares"),
    ("kms_keys: k", "unknown key kms_keys; the nearest is kms_key"),
    ("sagemaker: {instance: ml.m5.large}", "unknown key sagemaker.instance; the nearest is instances"),
    ("sagemaker: {canary: {sise: 10}}", "unknown key sagemaker.canary.sise; the nearest is size"),
    ("sagemaker: {canary: {size: 60}, alarms: [a]}", "sagemaker.canary.size: found 60, wanted at most 50"),
    ("sagemaker: {linear: {size: 5}, alarms: [a]}", "sagemaker.linear.size: found 5, wanted at least 10"),
    ("sagemaker: {canary: {wait: 3601}, alarms: [a]}", "sagemaker.canary.wait: .*3600"),
    ("sagemaker: {canary: {size: 10}}", "watched by alarms, and there is none"),
    ("sagemaker: {canary: {}, linear: {}, alarms: [a]}", "choose one"),
    ("sagemaker: {serverless: {memory: 2000}}", "sagemaker.serverless.memory: .*found 2000"),
    ("sagemaker: {serverless: {concurrency: 201}}", "sagemaker.serverless.concurrency: .*200"),
    ("sagemaker: {autoscaling: {least: 3, most: 2, invocations: 9}}", "most must be at least least"),
    ("sagemaker: {serverless: {}, capture: {}}", "a serverless endpoint has no canary"),
    ("lambda: {linear: {size: 60}}", "lambda.linear.size: found 60, wanted at most 50"),
    ("lambda: {linear: {sise: 10}}", "unknown key lambda.linear.sise; the nearest is size"),
    ("lambda: {linear: {}, canary: {shares: [0.5, 1.0]}}", "two ways for a share to grow; choose one"),
    ("lambda: {storage: 100}", "lambda.storage: found 100, wanted at least 512"),
    ("lambda: {vpc: {subnets: [subnet-1]}}", "lambda.vpc.security_groups: found nothing, wanted a list"),
    ("lambda: {vpc: {subnetz: [subnet-1]}}", "unknown key lambda.vpc.subnetz; the nearest is subnets"),
    ("lambda: {vpc: {subnets: [a], security_groups: [sg-1]}}", "lambda.vpc.subnets.0: .*found 'a'"),
    ("lambda: {dead_letter: 'arn:aws:s3:::b'}", "lambda.dead_letter"),
    ("lambda: {log_retention: 31}", "lambda.log_retention: found 31, wanted .*30"),
    ("lambda: {url: http-api}", "lambda.url: .*'none' or 'iam'"),
    ("lambda: {url_callers: ['210987654321']}", "let in by the URL, and there is none"),
    ("lambda: {url: iam, url_callers: ['*']}", "lambda.url_callers.0"),
    ("lambda: {reserved: 3, provisioned: 2}", "reserved must be at least 4, found 3"),
    ("lambda: {reserved: 0}", "lambda.reserved: .*found 0"),
    ("lambda: {environment: {AWS_REGION: eu-west-1}}", "AWS_REGION is set by Lambda itself"),
    ("lambda: {environment: {PYTHONPATH: /tmp}}", "PYTHONPATH decides which code runs"),
    ("lambda: {environment: {AWS_LAMBDA_EXEC_WRAPPER: /tmp/x}}", "AWS_LAMBDA_EXEC_WRAPPER decides which code runs"),
    ("lambda: {environment: {SLIPWAY_BUNDLE: /tmp}}", "SLIPWAY_BUNDLE is read by nobody on Lambda"),
    ("lambda: {environment: {DB_PASSWORD: x}}", "DB_PASSWORD looks like a secret.*Secrets Manager"),
    ("lambda: {environment: {DB: 'postgres://me:pw@host/db'}}", "DB looks like a secret"),
    ("lambda: {environment: {1X: a}}", "is no variable's name"),
    ("lambda: {environment: {BIG: '" + "x" * 4096 + "'}}", "4099 bytes of names and values; Lambda takes 4096"),
    ("lambda:\n  memory: [", "^slipway.yaml:2:12 is not YAML: it ends within a bracket or a quotation. Next: [^\n]*$"),
    ("a:\n\tb: 1", "^slipway.yaml:2:1 is not YAML: a tab; YAML indents by spaces. Next: [^\n]*$"),
    ("- a", "found \\['a'\\], wanted keys below it: prefix, bucket, kms_key, lambda, sagemaker"),
    ("1: a", "found 1, wanted text as a key"),
    ("lambda: {memory: much}", "lambda.memory: found 'much', wanted a whole number"),
    ("lambda: {tracing: perhaps}", "lambda.tracing: found 'perhaps', wanted true or false"),
    ("lambda: {alarms: slow}", "lambda.alarms: found 'slow', wanted a list, as in"),
    ("lambda:", "lambda: found nothing, wanted keys below it: runtime, architecture, memory"),
    ("lambda: {canary: 3}", "lambda.canary: found 3, wanted keys below it: .*shares"),
    ("sagemaker: {autoscaling: {}}", "sagemaker.autoscaling.most: found nothing, wanted a value"),
    ("lambda: {memory: 512}\nlambda: {timeout: 3}", "^slipway.yaml:2: lambda: stands in line 1 already"),
])
def test_a_mistake_is_named_with_the_nearest_right_key(text: str, said: str) -> None:
    with pytest.raises(ConfigurationInvalid, match=said):
        config.parse(text, name="slipway.yaml")


def test_every_mistake_is_named_at_once() -> None:
    with pytest.raises(ConfigurationInvalid) as caught:
        config.parse("lambda:\n  memory: 64\n  memmory: 1\n  timeout: x\nbuckets: b\nprefix: 1", name="slipway.yaml")
    assert str(caught.value) == """\
slipway.yaml:2: lambda.memory: found 64, wanted at least 128;
  slipway.yaml:3: unknown key lambda.memmory; the nearest is memory;
  slipway.yaml:4: lambda.timeout: found 'x', wanted a whole number;
  slipway.yaml:5: unknown key buckets; the nearest is bucket;
  slipway.yaml:6: prefix: found 1, wanted text. Next: correct lines 2, 3, 4, 5 and 6"""


def test_what_could_be_one_of_several_kinds_is_one_fault() -> None:
    with pytest.raises(ConfigurationInvalid) as caught:
        config.parse("lambda: {dead_letter: 'arn:aws:s3:::b'}", name="slipway.yaml")
    assert str(caught.value).count("slipway.yaml:1:") == 1


def test_a_value_that_looks_like_a_secret_is_never_repeated() -> None:
    with pytest.raises(ConfigurationInvalid) as caught:
        config.parse("lambda: {environment: {API_KEY: hunter22}, memory: 1}", name="slipway.yaml")
    assert "hunter22" not in str(caught.value)
    with pytest.raises(ConfigurationInvalid, match=r"lambda.environment.SAFE: wanted text") as caught:
        config.parse("lambda: {environment: {SAFE: [hunter22]}}", name="slipway.yaml")
    assert "hunter22" not in str(caught.value)
    assert "hunter22" not in repr(config.Settings.model_validate({"lambda": {"environment": {"SAFE": "hunter22"}}}))
