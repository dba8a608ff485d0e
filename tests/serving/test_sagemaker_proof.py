"""What a killed deployer leaves on SageMaker, what throttling does, what is pruned; AWS's own image. Emulated."""

from __future__ import annotations

import io
import json
import os
import shutil
import sys
import tarfile
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

import slipway
from serving import Aws, Bundle, Settings, build
from serving.errors import Refused
from serving.execution import execute
from serving.golden import Golden, read_golden
from serving.journal import Kind
from serving.localaws import running
from serving.sagemaker_settings import AutoscalingSettings, CaptureSettings, SageMakerSettings
from serving.target import Prunable
from serving.targets.sagemaker.execution import SageMakerHands
from serving.targets.sagemaker.steps import AskGolden
from serving.targets.sagemaker.target import SageMakerTarget

from .conftest import release_of
from .test_deploy import environment
from .test_deploy_proof import BUCKET, by_hand
from .test_prune import release
from .test_sagemaker_deploy import IMAGE

PREBUILT = f"763104351884.dkr.ecr.us-east-1.amazonaws.com/pytorch-inference:2.6-cpu-py3{sys.version_info.minor}"
SCALING = AutoscalingSettings(most=3, invocations=100)

@pytest.fixture(scope="module")
def bundle(network_files: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return build(release_of(network_files), network_files, tmp_path_factory.mktemp("small") / "bundle")


@pytest.fixture(scope="module", autouse=True)
def local_aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(tmp_path_factory.mktemp("here"))
    with running() as variables, environment(**variables):
        yield
    os.chdir(before)


def settings_of(prefix: str, **sagemaker: Any) -> Settings:
    bucket = f"{prefix}-releases"
    if not [one for one in by_hand("s3", "list_buckets")["Buckets"] if one["Name"] == bucket]:
        by_hand("s3", "create_bucket", Bucket=bucket)
    return Settings(prefix=prefix, bucket=bucket, sagemaker=SageMakerSettings(**{"image": IMAGE, **sagemaker}))


def deploy(bundle: Bundle, scratch: Path, settings: Settings, aws: Aws | None = None) -> int:
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    aws = aws or Aws()
    target = SageMakerTarget(aws, settings)
    plan = target.plan(bundle, scratch, lambda line: None)
    execute(plan, aws, target.hands(read_golden(bundle.folder / "golden.npz")), lambda step, seconds: None)
    return len(plan.steps)


def made(prefix: str) -> tuple[int, int]:
    """How many models and configurations are there whose names begin so?"""
    models = by_hand("sagemaker", "list_models", NameContains=f"{prefix}-")["Models"]
    return len(models), len(by_hand("sagemaker", "list_endpoint_configs", NameContains=f"{prefix}-")["EndpointConfigs"])


def in_order(settings: Settings) -> bool:
    """Is the journal closed, and all that serves as it was shipped?"""
    target = SageMakerTarget(Aws(), settings)
    closed = [entry.kind for entry in target.logbook("images").read()][-2:] == [Kind.BEGAN, Kind.DONE]
    return closed and all(finding.right for finding in target.in_service("images", thoroughly=True).findings)


def test_a_first_release_that_answers_wrongly_leaves_no_endpoint(bundle: Bundle, tmp_path: Path) -> None:
    settings = settings_of("wrong")
    target = SageMakerTarget(Aws(), settings)
    (tmp_path / "scratch").mkdir()
    plan = target.plan(bundle, tmp_path / "scratch", lambda line: None)
    wrong = Golden({"image": np.zeros((1, 6, 6, 1), np.float32)}, {"probabilities": np.ones((1, 3), np.float32)})
    with pytest.raises(Refused, match="wrong-images was deleted: nothing served before"):
        execute(plan, Aws(), target.hands(wrong), lambda step, seconds: None)
    assert Aws().endpoints.endpoint("wrong-images") is None
    assert target.logbook("images").read()[-1].kind is Kind.FAILED


def test_awss_prebuilt_image_serves_the_same_bundle_and_what_it_is_asked_is_captured(
    bundle: Bundle, tmp_path: Path
) -> None:
    settings = settings_of("prebuilt", image=PREBUILT, capture=CaptureSettings())
    deploy(bundle, tmp_path / "scratch", settings)
    assert in_order(settings)
    keys = Aws().storage.keys("prebuilt-releases", "capture/prebuilt-images/production/")
    line = json.loads(Aws().storage.read("prebuilt-releases", keys[0]))["captureData"]
    golden = read_golden(bundle.folder / "golden.npz")
    np.testing.assert_allclose(json.loads(line["endpointInput"]["data"])["inputs"]["image"], golden.inputs["image"])
    assert line["endpointOutput"]["encoding"] == "JSON"
    by_hand("sagemaker", "delete_endpoint", EndpointName="prebuilt-images")


def test_a_container_that_does_not_start_is_told_with_sagemakers_reason_and_the_next_deploy_tries_again(
    bundle: Bundle, tmp_path: Path
) -> None:
    broken = settings_of("broken", image="1.dkr.ecr.us-east-1.amazonaws.com/nobody:1")
    with pytest.raises(Refused, match=r"broken-images did not start: .*no command for the image"):
        deploy(bundle, tmp_path / "first", broken)
    mended = settings_of("broken")
    deploy(bundle, tmp_path / "second", mended)
    assert in_order(mended)
    by_hand("sagemaker", "delete_endpoint", EndpointName="broken-images")


def test_what_no_kept_release_needs_is_pruned_and_what_serves_still_does(bundle: Bundle, tmp_path: Path) -> None:
    settings = Settings(sagemaker=SageMakerSettings(image=IMAGE))
    for version in (1, 2, 3):
        deploy(release(bundle, version, tmp_path / f"release-{version}"), tmp_path / "scratch", settings)
    assert isinstance(SageMakerTarget(Aws(), settings), Prunable)
    assert made("slipway") == (3, 3)
    said = CliRunner().invoke(slipway.cli, ["prune", "images", "--keep", "2", "--yes", "--json"])
    assert said.exit_code == 0, f"{said.output} {said.exception}"
    assert made("slipway") == (2, 2)
    archives = [key for key in Aws().storage.keys(BUCKET, "releases/images/") if key.endswith(".tar.gz")]
    assert len(archives) == 2
    assert in_order(settings)
    assert SageMakerTarget(Aws(), settings).plan_back("images", None).entry.shipped.version == 2


def test_an_answer_that_is_wrong_with_nothing_to_go_back_to_is_said_so() -> None:
    wrong = Golden({"image": np.zeros((1, 6, 6, 1), np.float32)}, {"probabilities": np.ones((1, 3), np.float32)})
    with pytest.raises(Refused, match="still serves c: there is nothing to go back to"):
        SageMakerHands(Aws(), wrong).do(AskGolden("slipway-images", "c", ""))


def test_a_large_archive_is_unpacked_in_constant_memory(bundle: Bundle, tmp_path: Path) -> None:
    settings = settings_of("large")
    deploy(bundle, tmp_path / "scratch", settings)
    target = SageMakerTarget(Aws(), settings)
    shipped = target.logbook("images").read()[-1].shipped
    archive = tmp_path / "large.tar.gz"
    with tarfile.open(archive, "w:gz", compresslevel=0) as files:
        member = tarfile.TarInfo("bundle/model.onnx")
        member.size = 60_000_000
        files.addfile(member, io.BytesIO(bytes(member.size)))
    key = target.needs(shipped)[1]
    by_hand("s3", "put_object", Bucket="large-releases", Key=key, Body=archive.read_bytes(), ChecksumAlgorithm="SHA256")
    (tmp_path / "into").mkdir()
    tracemalloc.start()
    try:
        folder = target.bundle_in_service("images", tmp_path / "into")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (folder / "model.onnx").stat().st_size == member.size
    assert peak < 15_000_000
    by_hand("sagemaker", "delete_endpoint", EndpointName="large-images")
