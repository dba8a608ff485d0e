"""What is left over goes, after its plan was shown; what serves, the way back and open deployments stay."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ReadTimeoutError
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

import slipway
from serving import Aws, Bundle, Settings, build, journal
from serving import prune as pruning
from serving.errors import Refused
from serving.execution import execute
from serving.golden import Golden, read_golden
from serving.journal import Entry, Kind, Shipped
from serving.localaws import running
from serving.logbook import note
from serving.plan import Upload
from serving.runtime import manifest as manifests
from serving.targets.lambda_.steps import PublishLayer
from serving.targets.lambda_.target import LambdaTarget

from . import recorded
from .conftest import release_of
from .lost import answered
from .test_deploy import environment

BUCKET, NAME = "slipway-123456789012-us-east-1", "slipway-images"


def release(bundle: Bundle, version: int, into: Path, model: str = "images") -> Bundle:
    """Another release of the same network: another version, another digest."""
    folder = Path(shutil.copytree(bundle.folder, into))
    digest = hashlib.sha256(f"{model}/{version}".encode()).hexdigest()
    made = bundle.manifest._replace(name=model, version=version, digest=digest)
    (folder / manifests.NAME).write_bytes(made.to_bytes())
    return Bundle(folder, made)


@pytest.fixture(scope="module")
def bundle(network_files: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return build(release_of(network_files), network_files, tmp_path_factory.mktemp("prune") / "bundle")


@pytest.fixture
def local_aws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    with running() as variables, environment(**variables):
        yield


def deploy(bundle: Bundle, scratch: Path) -> None:
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    aws, target = Aws(), LambdaTarget(Aws(), Settings())
    plan = target.plan(bundle, scratch, lambda line: None)
    execute(plan, aws, target.hands(read_golden(bundle.folder / "golden.npz")), lambda step, seconds: None)


def deploy_releases(bundle: Bundle, versions: Sequence[int], home: Path, model: str = "images") -> None:
    for version in versions:
        deploy(release(bundle, version, home / f"{model}-{version}", model), home / "scratch")


def prune(*words: str) -> Result:
    return CliRunner().invoke(slipway.cli, ["prune", *words])


def steps(*words: str) -> list[str]:
    result = prune(*words, "--json")
    assert result.exit_code == 0, f"{result.output} {result.exception}"
    found: list[str] = json.loads(result.stdout)["steps"]
    return found


def versions_there() -> list[str]:
    return [state.description.split()[0] for state in Aws().functions.versions(NAME)]


def releases_there(model: str = "images") -> int:
    return len({key.split("/")[2] for key in Aws().storage.keys(BUCKET, f"releases/{model}/")})


def right() -> bool:
    findings = LambdaTarget(Aws(), Settings()).in_service("images", thoroughly=True).findings
    return all(finding.right for finding in findings)


def test_what_no_kept_release_needs_goes_and_a_second_run_finds_nothing(
    local_aws: None, bundle: Bundle, tmp_path: Path
) -> None:
    deploy_releases(bundle, (1, 2, 3, 4), tmp_path)
    before = Aws().storage.keys(BUCKET, "")
    planned = steps("images", "--keep", "2", "--dry-run")
    assert (Aws().storage.keys(BUCKET, ""), len(versions_there())) == (before, 4), "a dry run changes nothing"
    refused = prune("images", "--keep", "2")
    assert (refused.exit_code, "--yes" in refused.output) == (2, True), "nobody is asked where there is no terminal"
    assert len(versions_there()) == 4
    assert steps("images", "--keep", "2", "--yes") == planned
    assert (versions_there(), releases_there()) == (["images/3", "images/4"], 2)
    assert not [step for step in planned if "layer" in step], "the layer is used by what stays"
    assert right()
    assert steps("images", "--keep", "2", "--yes") == []
    target = LambdaTarget(Aws(), Settings())
    back = target.plan_back("images", None)
    execute(back.plan, Aws(), target.hands(back.golden), lambda step, seconds: None)
    assert back.entry.shipped.version == 3, "the way back is still there"
    assert right()
    assert steps("images", "--keep", "1", "--yes") == [], "one release is never kept alone: the way back stays"


def test_layers_that_nothing_uses_go_and_what_others_use_stays(
    local_aws: None, bundle: Bundle, tmp_path: Path
) -> None:
    deploy_releases(bundle, (1, 2, 3), tmp_path)
    deploy_releases(bundle, (1,), tmp_path, model="texts")
    client = boto3.client("lambda")
    state = Aws().functions.state(NAME)
    assert state is not None
    name = state.layers[0].split(":")[-2]
    content = {"S3Bucket": BUCKET, "S3Key": Aws().storage.keys(BUCKET, "layers/")[0]}
    old: Any = {"LayerName": name, "Content": content, "CompatibleRuntimes": [state.configuration.runtime]}
    foreign = client.publish_layer_version(**old, Description="somebody else's")["LayerVersionArn"]
    note_another_layer("an-old-identity")
    unused = client.publish_layer_version(**old, Description="an-old-identity")["LayerVersionArn"]
    Aws().storage.create_bytes(BUCKET, "layers/an-old-identity.zip", b"old")
    client.create_alias(FunctionName=NAME, Name="by-hand", FunctionVersion="1")
    planned = steps("--keep", "1", "--yes")
    there = {layer.arn for layer in Aws().functions.layers(name, state.configuration.runtime).layers}
    assert there == {state.layers[0], foreign}, f"{unused} is gone"
    assert len(Aws().storage.keys(BUCKET, "layers/")) == 1
    assert versions_there() == ["images/1", "images/2", "images/3"], "an alias made by hand holds its version"
    assert sum("layer" in step for step in planned) == 2
    assert releases_there("texts") == 1
    assert steps("--keep", "1", "--yes") == []
    assert right()


def publish_late(step: PublishLayer) -> None:
    """Publish a layer as a deployer does that gives up before Lambda is done, and wait until Lambda is."""
    impatient = boto3.client("lambda", config=Config(read_timeout=0.2, retries={"total_max_attempts": 1}))
    before = len(Aws().functions.layers(step.name, step.runtime).layers)
    recorded.expect("delay", recorded.Call("lambda", "PublishLayerVersion", 0), seconds=1)
    with pytest.raises(ReadTimeoutError):
        impatient.publish_layer_version(
            LayerName=step.name, Content={"S3Bucket": step.bucket, "S3Key": step.key}, Description=step.description,
            CompatibleRuntimes=[step.runtime], CompatibleArchitectures=[step.architecture])
    ends = time.monotonic() + 120
    while len(Aws().functions.layers(step.name, step.runtime).layers) == before:
        assert time.monotonic() < ends
        time.sleep(0.2)


def test_a_layer_that_was_published_again_behind_a_deployers_back_changes_nothing_and_goes(
    local_aws: None, bundle: Bundle, tmp_path: Path
) -> None:
    first = release(bundle, 1, tmp_path / "first")
    (tmp_path / "planned").mkdir()
    target = LambdaTarget(Aws(), Settings())
    plan = target.plan(first, tmp_path / "planned", lambda line: None)
    layer = next(step for step in plan.steps if isinstance(step, PublishLayer))
    upload = next(step for step in plan.steps if isinstance(step, Upload) and step.key == layer.key)
    Aws().storage.create_object(upload.bucket, upload.key, upload.path, upload.sha256)
    publish_late(layer)  # a killed deployer's, that was done after the next one had looked
    execute(plan, Aws(), target.hands(read_golden(first.folder / "golden.npz")), lambda step, seconds: None)
    publish_late(layer)  # one that was done after all was over
    deploy(first, tmp_path / "scratch")
    assert versions_there() == ["images/1"], "what serves is not published anew for another layer of the same content"
    deploy_releases(bundle, (2,), tmp_path)
    oldest, used, newest = (one.arn for one in Aws().functions.layers(layer.name, layer.runtime).layers)
    assert {arn for state in Aws().functions.versions(NAME) for arn in state.layers} == {used}
    planned = steps("images", "--keep", "2", "--yes")
    numbers = [arn.rpartition(":")[2] for arn in (oldest, newest)]
    assert [step.split()[2] for step in planned if step.startswith("delete")] == numbers, "and no zip in S3"
    assert [one.arn for one in Aws().functions.layers(layer.name, layer.runtime).layers] == [used]
    assert right()
    assert steps("images", "--keep", "2", "--yes") == []


def note_another_layer(layer: str) -> None:
    """Note a deployment with another layer, as an older Slipway would have, and what serves after it again."""
    logbook = LambdaTarget(Aws(), Settings()).logbook("images")
    last = logbook.read()[-1]
    old, second = last.shipped.model_copy(update={"layer": layer, "version": 0, "digest": "0" * 64}), logbook.read()[3]
    for shipped, published in ((old, "9"), (second.shipped, second.published), (last.shipped, last.published)):
        begin = logbook.begin(logbook.read()[-1].seq, shipped, published=published, previous="")
        note(Aws(), begin, Kind.BEGAN, published=published)
        note(Aws(), begin, Kind.DONE, published=published)


def test_an_open_deployment_loses_nothing_and_a_killed_prune_is_finished(
    local_aws: None, bundle: Bundle, tmp_path: Path
) -> None:
    deploy_releases(bundle, (1, 2, 3), tmp_path)
    logbook = LambdaTarget(Aws(), Settings()).logbook("images")
    last = logbook.read()[-1]
    begun = logbook.begin(last.seq, last.shipped.model_copy(update={"version": 4}), published="", previous="3")
    note(Aws(), begun, Kind.BEGAN, published="")
    result = prune("images", "--keep", "2", "--yes")
    assert isinstance(result.exception, Refused)
    assert "Next: slipway deploy images" in str(result.exception)
    everyone = prune("--keep", "2", "--yes", "--json")
    assert "was interrupted" in json.loads(everyone.stdout)["left_alone"][0]
    assert len(versions_there()) == 3
    note(Aws(), begun, Kind.FAILED, published="", reason="given up")
    fault("error", service="s3", operation="DeleteObjects")
    with environment(AWS_MAX_ATTEMPTS="1"):
        assert prune("images", "--keep", "2", "--yes").exit_code == 1  # CliRunner's; an AwsFailed
    assert (versions_there(), releases_there()) == (["images/2", "images/3"], 3), "cut off between two of its calls"
    assert "the last prune was interrupted" in CliRunner().invoke(slipway.cli, ["status", "images"]).output
    assert len(steps("images", "--keep", "2", "--yes")) == 3
    assert (releases_there(), right()) == (2, True)
    assert steps("images", "--keep", "2", "--yes") == []


def test_at_a_terminal_it_asks_after_its_plan_and_only_yes_removes_anything(
    local_aws: None, bundle: Bundle, tmp_path: Path
) -> None:
    deploy_releases(bundle, (1, 2, 3), tmp_path)
    code, said = answered("n", "prune", "images", "--keep", "2")
    assert said.index("delete      version 1 of slipway-images") < said.index("Remove this for good? [y/N]")
    assert (code, "nothing was removed" in said, len(versions_there())) == (1, True, 3)
    code, said = answered("y", "prune", "images", "--keep", "2")
    assert (code, said.splitlines()[-1].endswith("steps done"), len(versions_there())) == (0, True, 2)


def test_uploads_that_nobody_went_on_with_for_a_day_are_let_go(
    local_aws: None, bundle: Bundle, tmp_path: Path
) -> None:
    deploy_releases(bundle, (1,), tmp_path)
    s3, parts = boto3.client("s3"), {"Bucket": BUCKET, "Key": "releases/images/d/bundles/b/model.onnx"}
    number = s3.create_multipart_upload(**parts)["UploadId"]
    s3.upload_part(**parts, UploadId=number, PartNumber=1, Body=b"x" * 100)
    s3.create_multipart_upload(Bucket=BUCKET, Key="somebody/elses")
    aws, now = Aws(), datetime.now(UTC)

    def planned(after: timedelta) -> pruning.Pruning:
        return pruning.plan(aws, {"images": ["lambda"]}, lambda name: LambdaTarget(aws, Settings()), keep=1,
                            named=True, now=now + after)

    assert planned(timedelta(hours=23)).removals == ()
    late = planned(timedelta(hours=25))
    assert f"abort       s3://{BUCKET}/{parts['Key']}, an upload cut off" in "".join(late.lines())
    pruning.run(late, aws, lambda name: LambdaTarget(aws, Settings()).hands(Golden({}, {})), lambda step, took: None)
    assert [one["Key"] for one in s3.list_multipart_uploads(Bucket=BUCKET)["Uploads"]] == ["somebody/elses"]
    assert planned(timedelta(hours=25)).removals == ()


def fault(kind: str, **which: Any) -> None:
    recorded.door("POST", "faults", {"kind": kind, **which})


SHIPPED = Shipped(model="m", version=1, digest="d", bundle="b")


HISTORIES = st.lists(st.tuples(st.integers(1, 4), st.sampled_from([Kind.DONE, Kind.FAILED])), max_size=12)


@given(HISTORIES, st.integers(1, 5))
def test_what_serves_and_the_way_back_are_always_kept(history: list[tuple[int, Kind]], keep: int) -> None:
    entries: list[Entry[Shipped]] = [
        Entry(seq=n, kind=kind, at=datetime(2026, 1, 1, tzinfo=UTC), who="ci", host="h", process=1, published=str(n),
              shipped=SHIPPED.model_copy(update={"version": version, "digest": str(version)}))
        for n, (version, kind) in enumerate(history, start=1)]
    kept, done = journal.kept(entries, keep), journal.deployed(entries)
    assert not done or done[-1] in kept
    releases = {entry.shipped.version for entry in done}
    assert len(kept) == min(max(keep, 2), len(releases))
    if len(releases) > 1:
        assert journal.way_back(entries) in kept
