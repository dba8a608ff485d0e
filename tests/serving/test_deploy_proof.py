"""The way back, the proof of what serves, and what a killed or a second deployer leaves."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import mlflow.deployments.cli
import numpy as np
import pytest
from click.testing import CliRunner, Result

from registry import RegistryUnreachable, VersionMissing
from serving import Aws, Settings, build
from serving.errors import AwsConflict
from serving.execution import execute
from serving.golden import read_golden
from serving.targets.lambda_.target import LambdaTarget

from . import recorded
from .conftest import described, release_of
from .lost import answered, as_program, registry_lost, typed
from .test_deploy import answer, environment, registered, registry_and_aws, slip

BUCKET = "slipway-123456789012-us-east-1"


@pytest.fixture(scope="module")
def second_files(network_files: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another network: the same layers, other weights."""
    import keras

    files = Path(shutil.copytree(network_files, tmp_path_factory.mktemp("second") / "files"))
    network = keras.saving.load_model(files / "data" / "model.keras")
    network.set_weights([weights * 1.5 for weights in network.get_weights()])
    network.save(files / "data" / "model.keras")
    rows = read_golden(files / "golden.npz").inputs["image"]
    answers = network.predict({"image": rows}, verbose=0)
    np.savez(files / "golden.npz", **{"in.image": rows, "out.probabilities": answers})
    return files


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, network_files: Path, second_files: Path) -> Iterator[Path]:
    """images/1 was deployed, then images/2; the folder of the registry."""
    home = tmp_path_factory.mktemp("two")
    with registry_and_aws(home):
        for number, files in ((1, network_files), (2, second_files)):
            registered(files, number)
            answer(slip("deploy", "images", "--json"))
        yield home


def served() -> tuple[int, str]:
    """Which model version answers, and which Lambda version the alias names."""
    alias = Aws().functions.alias("slipway-images", "production")
    body = json.dumps({"instances": np.zeros((1, 6, 6, 1)).tolist()}).encode()
    said = answer(slip("invoke", "images", "--file", "-", stdin=body))
    return said["model"]["version"], alias.version if alias else ""


def test_what_was_deployed_verifies(world: Path) -> None:
    findings = answer(slip("verify", "images", "--json"))
    assert all(finding["right"] for finding in findings)
    assert {"alias", "code", "layer", "configuration", "bundle", "answers"} <= {f["what"] for f in findings}


def test_status_names_every_place_and_no_drift(world: Path) -> None:
    (one,) = answer(slip("status", "--json"))
    assert one["model"] == "images"
    (there,) = one["targets"]
    assert one["registry"].startswith("images/2 ") and there["journal"].startswith("images/2 ")
    assert one["drift"] == []


OPENED: list[str] = []
sys.addaudithook(lambda event, args: OPENED.append(str(args[0])) if event == "urllib.Request" else None)


def fetched(*words: str) -> tuple[set[str], list[str]]:
    """Run a command; the operations of AWS that it called, and which of Lambda's packages it downloaded."""
    recorded.forget()
    OPENED.clear()
    answer(slip(*words, "--json"))
    return {call.operation for call in recorded.calls()}, [url for url in OPENED if "/packages/" in url]


def test_status_fetches_neither_code_nor_layer_and_asks_the_model_nothing(world: Path) -> None:
    operations, packages = fetched("status", "images")
    assert packages == []
    assert not operations & {"GetFunction", "Invoke"}
    assert len(fetched("verify", "images")[1]) == 2, "verify downloads both"


def test_a_second_deploy_of_the_same_release_makes_no_call_that_changes_anything(world: Path) -> None:
    recorded.forget()
    assert answer(slip("deploy", "images", "--json"))["steps"] == 0
    assert "HeadObject" in {call.operation for call in recorded.calls()}, "the calls are recorded"
    assert recorded.changing() == []
    assert "Invoke" not in {call.operation for call in recorded.calls()}


def digits_files(folder: Path, seed: int) -> Path:
    """What `slipway train images` registers, but for the training: its own network, its default settings."""
    import keras

    from train.settings import resolve
    from train.tasks.images import CNN_SETTINGS, cnn
    from train.words import Blueprint, Examples
    from train.words import Kind as Task

    keras.utils.set_random_seed(seed)
    rows = np.random.default_rng(seed).uniform(0, 16, (32, 8, 8, 1)).astype(np.float32)
    labels = tuple(str(digit) for digit in range(10))
    train = Examples({"image": rows}, np.arange(32) % 10)
    network = cnn(Blueprint(train, labels, Task.CLASSIFICATION, 16.0, resolve(CNN_SETTINGS, {}), seed))
    (folder / "data").mkdir(parents=True)
    network.save(folder / "data" / "model.keras")
    arrays: dict[str, Any] = {"in.image": rows, "out.probabilities": network.predict({"image": rows}, verbose=0)}
    np.savez(folder / "golden.npz", **arrays)
    return described(folder, labels=list(labels))


def test_a_new_release_of_the_digits_network_uploads_less_than_3_mb(world: Path, tmp_path: Path) -> None:
    by_hand("s3", "create_bucket", Bucket="digits-bucket")
    target, aws = LambdaTarget(Aws(), Settings(prefix="digits", bucket="digits-bucket")), Aws()
    for number in (1, 2):
        before = set(aws.storage.keys("digits-bucket", ""))
        recorded.forget()
        files = digits_files(tmp_path / str(number), number)
        bundle = build(release_of(files), files, tmp_path / f"bundle-{number}")
        plan = target.plan(bundle, tmp_path / str(number), lambda line: None)
        execute(plan, aws, target.hands(read_golden(bundle.folder / "golden.npz")), lambda step, seconds: None)
    new = [aws.storage.object("digits-bucket", key) for key in set(aws.storage.keys("digits-bucket", "")) - before]
    uploads = [call for call in recorded.changing() if call.service == "s3"]
    assert len(uploads) == len(new), "every upload is one of these objects"
    assert 50_000 < sum(found.size for found in new if found) < 3_000_000


def by_hand(client: str, operation: str, **arguments: Any) -> Any:
    return getattr(boto3.client(client, endpoint_url=os.environ["AWS_ENDPOINT_URL"]), operation)(**arguments)


def moved_alias() -> None:
    by_hand("lambda", "update_alias", FunctionName="slipway-images", Name="production", FunctionVersion="1")


def published(**change: Any) -> Callable[[], None]:
    """Change the function by hand, publish that, and let the alias name it."""
    def change_it() -> None:
        kind = "update_function_code" if "ZipFile" in change else "update_function_configuration"
        by_hand("lambda", kind, FunctionName="slipway-images", **change)
        version = by_hand("lambda", "publish_version", FunctionName="slipway-images")["Version"]
        by_hand("lambda", "update_alias", FunctionName="slipway-images", Name="production", FunctionVersion=version)

    return change_it


def replaced_layer() -> None:
    content = Aws().storage.read(BUCKET, next(k for k in Aws().storage.keys(BUCKET, "layers/")))
    made = by_hand("lambda", "publish_layer_version", LayerName="other", Content={"ZipFile": content + b"\0"},
                   CompatibleRuntimes=[by_hand("lambda", "get_function", FunctionName="slipway-images")
                                       ["Configuration"]["Runtime"]])
    published(Layers=[made["LayerVersionArn"]])()


def replaced_code() -> None:
    import tempfile
    import zipfile

    with tempfile.TemporaryDirectory() as scratch:
        code = Path(scratch) / "function.zip"
        Aws().functions.function_zip("slipway-images", "production", code)
        with zipfile.ZipFile(code, "a") as archive:
            archive.writestr("extra.py", "")
        published(ZipFile=code.read_bytes())()


@pytest.mark.parametrize(("tamper", "named"), [
    (moved_alias, "alias"), (replaced_code, "code"), (replaced_layer, "layer"),
    (published(Environment={"Variables": {"PYTHONPATH": "/tmp"}}), "configuration"),  # noqa: S108 - a text
    (published(MemorySize=512), "configuration"),
], ids=["alias moved", "code replaced", "layer replaced", "environment changed", "memory changed"])
def test_what_somebody_changed_by_hand_is_named_and_mended_by_a_deploy(
    world: Path, tamper: Callable[[], None], named: str
) -> None:
    tamper()
    result = slip("verify", "images")
    assert getattr(result.exception, "exit_code", None) == 1
    wrong = [line.split()[1] for line in result.stdout.splitlines() if "WRONG" in line]
    assert named in wrong
    assert any(line.startswith(named) for line in answer(slip("status", "images", "--json"))[0]["drift"])
    answer(slip("deploy", "images", "--json"))
    assert all(finding["right"] for finding in answer(slip("verify", "images", "--json")))


@pytest.mark.parametrize(("under", "ending", "named"), [
    ("releases/images/", "/model.onnx", "bundle in S3"), ("releases/images/", "/manifest.json", "bundle in S3"),
    ("releases/images/", ".zip", "code in S3"), ("layers/", ".zip", "layer in S3"),
], ids=["model", "manifest", "code", "layer"])
def test_an_object_in_s3_that_was_replaced_is_named_and_no_deploy_builds_on_it(
    world: Path, under: str, ending: str, named: str
) -> None:
    digest = Aws().functions.state("slipway-images", "production").description.split()[1]  # type: ignore[union-attr]
    where = f"{under}{digest}/" if under == "releases/images/" else under
    (key,) = [key for key in Aws().storage.keys(BUCKET, where) if key.endswith(ending)]
    before, put = Aws().storage.read(BUCKET, key), {"Bucket": BUCKET, "Key": key, "ChecksumAlgorithm": "SHA256"}
    by_hand("s3", "put_object", Body=before + b"\n", **put)
    try:
        result = slip("verify", "images")
        assert getattr(result.exception, "exit_code", None) == 1
        assert [line.split("  ")[2].strip() for line in result.stdout.splitlines() if "WRONG" in line] == [named]
        if named != "layer in S3":
            assert "holds other bytes than this release" in str(slip("deploy", "images").exception)
    finally:
        by_hand("s3", "put_object", Body=before, **put)
    assert all(finding["right"] for finding in answer(slip("verify", "images", "--json")))


def test_verify_ends_with_1_as_a_program_and_names_what_was_changed(world: Path) -> None:
    moved_alias()
    told = typed("verify", "images")
    assert (told.returncode, "is not what was approved: alias" in told.stderr) == (1, True), told.stderr
    answer(slip("deploy", "images", "--json"))
    assert typed("verify", "images").returncode == 0


def test_the_previous_release_comes_back_without_the_registry_and_again_forward(world: Path) -> None:
    assert served()[0] == 2
    with registry_lost(world):
        back = typed("rollback", "images", "--json")
        assert (back.returncode, json.loads(back.stdout)["version"], served()[0]) == (0, 1, 1), back.stderr
        assert typed("verify", "images").returncode == 0
    drift = answer(slip("status", "images", "--json"))[0]["drift"][0]
    assert drift.startswith("Production is")
    assert drift.endswith(STAYS)
    answer(slip("deploy", "images", "--again", "--json"))
    assert served()[0] == 2
    assert answer(slip("deploy", "images", "--json"))["steps"] == 0, "nobody has to say so twice"


TAKEN = re.compile(r"images/2 was taken back on \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC by bo, for images/1")
STAYS = ("Next: slipway promote images/1 --to Production to stay with it, "
         "or slipway deploy images --target lambda --again to undo it")


@pytest.fixture
def taken_back(world: Path) -> Iterator[None]:
    """images/2 stands in Production, and bo took it back; in service again afterwards."""
    answer(slip("rollback", "images", "--json", who="bo"))
    yield
    answer(slip("deploy", "images", "--again", "--json"))
    assert served()[0] == 2


def test_what_was_taken_back_is_not_deployed_again_unless_somebody_says_so(taken_back: None) -> None:
    refused = slip("deploy", "images")
    assert (getattr(refused.exception, "exit_code", None), served()[0]) == (1, 1)
    assert TAKEN.match(str(refused.exception)) and str(refused.exception).endswith(STAYS)
    assert "converted" not in refused.output, "it is said before minutes are spent"
    planned = slip("plan", "images")
    assert planned.exit_code == 0 and TAKEN.match(planned.stdout) and "; this deploys it again" in planned.stdout
    assert TAKEN.fullmatch(answer(slip("plan", "images", "--json"))["again"])


def test_at_a_terminal_it_is_asked_whether_what_was_taken_back_shall_come_again(taken_back: None) -> None:
    code, said = answered("n", "deploy", "images")
    assert (code, served()[0]) == (1, 1), said
    assert said.index("; this deploys it again\n") < said.index("Deploy images/2 again? [y/N]")


def test_no_watcher_undoes_a_rollback_whatever_it_forgot(taken_back: None) -> None:
    deploys = f"{sys.executable} -m slipway deploy {{model}}"
    watching = ["watch", "--once", "--run", deploys, "--state", "forgotten.json"]
    with environment(PYTHONPATH=as_program()["PYTHONPATH"]):
        assert isinstance(slip(*watching).exception, RegistryUnreachable), "it is delivered again later"
    assert served()[0] == 1


def test_mlflow_deployments_do_not_undo_a_rollback_unless_they_are_told_to(taken_back: None) -> None:
    update = ("update", "--name", "images", "-t", "lambda", "-m", "models:/images/2")

    def deployments(*words: str) -> Result:
        return CliRunner().invoke(mlflow.deployments.cli.commands, [*update, *words])

    said = str(deployments().exception)
    assert TAKEN.match(said) and said.endswith(f"mlflow deployments {' '.join(update)} -C again=true to undo it")
    assert "-C again=maybe: wanted true or false" in str(deployments("-C", "again=maybe").exception)
    assert served()[0] == 1
    assert deployments("-C", "again=true").exit_code == 0
    assert served()[0] == 2


def test_a_model_that_no_place_knows_has_no_status(world: Path) -> None:
    result = slip("status", "imgaes")
    assert isinstance(result.exception, VersionMissing)
    assert "no model imgaes here; registered: images. Next: slipway history images" in str(result.exception)


def test_a_release_that_never_served_cannot_come_back(world: Path) -> None:
    result = slip("rollback", "images", "--to", "7")
    assert "Next: one of images/1" in str(result.exception)


def test_a_second_deployer_that_began_at_the_same_moment_ends_before_it_changes_anything(world: Path) -> None:
    entries = LambdaTarget(Aws(), Settings()).logbook("images").read()
    with pytest.raises(AwsConflict):
        Aws().storage.create_bytes(BUCKET, f"deployments/images/lambda/{len(entries):06}.json", b"{}")
