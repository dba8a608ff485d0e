"""An approved version on Lambda, through the real registry, the local AWS, and the commands that people type."""

from __future__ import annotations

import json
import os
import socketserver
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import boto3
import mlflow
import numpy as np
import pytest
from click.testing import CliRunner, Result
from mlflow.models import ModelSignature
from mlflow.types import Schema, TensorSpec

import slipway
from registry import register_candidate, row_digests, seen_rows
from serving import Aws, Settings
from serving.errors import GoldenFailed
from serving.execution import execute
from serving.golden import Golden, read_golden
from serving.localaws import running
from serving.plan import Plan
from serving.targets.lambda_ import names
from serving.targets.lambda_.steps import AskGolden, PointAlias
from serving.targets.lambda_.target import LambdaTarget

ROOT = Path(__file__).parent.parent.parent


@contextmanager
def environment(**variables: str) -> Iterator[None]:
    """These variables, and the ones before them afterwards."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    _forget_credentials(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
        _forget_credentials(variables)


def _forget_credentials(variables: Iterable[str]) -> None:
    # boto3.client keeps the credentials that it found first, for the whole process.
    if any(name.startswith("AWS_") for name in variables):
        boto3.DEFAULT_SESSION = None


def slip(*words: str, who: str = "ci", stdin: bytes | None = None) -> Result:
    """Run a command as somebody, errors turned into exit codes as `slipway` itself does."""
    with environment(SLIPWAY_USER=who):
        return CliRunner().invoke(slipway.cli, list(words), input=stdin)


@contextmanager
def registry_and_aws(home: Path, *options: str) -> Iterator[None]:
    """A new registry in this folder, which becomes the current one, and a local AWS with these options."""
    # The network of these tests is right and unsure, three rounds of training old: nothing for a gate on certainty.
    unsure = "models: {images: {gates: {calibration: null}}}"
    (home / "policy.yaml").write_text((ROOT / "policy.yaml").read_text().replace("models: {}", unsure))
    before = Path.cwd()
    os.chdir(home)
    with running(*options) as aws, environment(
        **aws, MLFLOW_TRACKING_URI=f"sqlite:///{home}/mlflow.db", SLIPWAY_POLICY=str(home / "policy.yaml")
    ):
        mlflow.set_tracking_uri(f"sqlite:///{home}/mlflow.db")
        yield
    os.chdir(before)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, network_files: Path) -> Iterator[Path]:
    """A registry with images/1 in Production, and a local AWS; the folder of the registered model's files."""
    with registry_and_aws(tmp_path_factory.mktemp("world")):
        yield registered(network_files)


def logged(files: Path) -> None:
    """Log and register a small network as ana: a candidate and nothing more."""
    import keras
    import mlflow.tensorflow

    network = keras.saving.load_model(files / "data" / "model.keras")
    golden = read_golden(files / "golden.npz")
    spec = {"image": TensorSpec(np.dtype(np.float32), (-1, 6, 6, 1), "image")}
    answered = TensorSpec(np.dtype(np.float32), (-1, 3), "probabilities")
    facts = {"schema": 1, "task": "images", "kind": "classification", "labels": ["a", "b", "c"]}
    with environment(SLIPWAY_USER="ana"), mlflow.start_run() as run:
        info = mlflow.tensorflow.log_model(
            network, name="model", keras_model_kwargs={"save_format": "keras"}, metadata={"slipway": facts},
            signature=ModelSignature(Schema(list(spec.values())), Schema([answered])),
            pip_requirements=[f"keras=={keras.__version__}"])
        mlflow.MlflowClient().log_model_artifact(info.model_id, str(files / "golden.npz"))
        labels = golden.outputs["probabilities"].argmax(1)  # always right, so that every gate passes
        np.savez("held_out.npz", **{"in.image": golden.inputs["image"], "labels": labels})
        mlflow.log_artifact("held_out.npz", "evaluation")
        other = row_digests({"image": golden.inputs["image"] + 1}, labels)  # nothing that it was judged on
        np.savez("train_rows.npz", **seen_rows({"train": other}))  # type: ignore[arg-type]  # numpy's allow_pickle
        mlflow.log_artifact("train_rows.npz", "evaluation")
        register_candidate("images", run_id=run.info.run_id, source=f"models:/{info.model_id}")


def registered(files: Path, version: int = 1) -> Path:
    """Log, register, check, approve and promote a small network; the folder where MLflow keeps its files."""
    logged(files)
    name = f"images/{version}"
    for who, *words in (("ci", "check", name), ("ci", "promote", name, "--to", "Staging"), ("bo", "approve", name),
                        ("ci", "promote", name, "--to", "Production")):
        done = slip(*words, who=who)
        assert done.exit_code == 0, f"{words}: {done.output} {done.exception}"
    return max(Path.cwd().rglob("model.keras"), key=lambda path: path.stat().st_mtime).parent.parent


class _Count(BaseHTTPRequestHandler):
    """An AWS that counts what reaches it."""

    def do_POST(self) -> None:
        self.server.seen.append(self.path)  # type: ignore[attr-defined]  # set by the fixture below
        self.send_error(500)

    do_GET = do_PUT = do_HEAD = do_DELETE = do_POST

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def counting() -> Iterator[list[str]]:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Count) as server:
        seen: list[str] = []
        server.seen = seen  # type: ignore[attr-defined]  # read by the handler above
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with environment(AWS_ENDPOINT_URL=f"http://127.0.0.1:{server.server_address[1]}"):
            yield seen
        server.shutdown()


def answer(result: Result) -> Any:
    assert result.exit_code == 0, f"{result.output} {result.exception}"
    return json.loads(result.stdout)


def test_a_plan_changes_nothing(world: Path) -> None:
    planned = answer(slip("plan", "images", "--json"))
    assert planned["steps"][-2].startswith("point")
    assert Aws().functions.state("slipway-images") is None


def test_a_version_in_production_that_does_not_serve_yet_is_named_by_status(world: Path) -> None:
    (one,) = answer(slip("status", "images", "--json"))
    assert one["drift"][0].endswith("nothing is in service. Next: slipway deploy images")


def test_a_file_that_is_no_json_is_named_and_asks_nobody(world: Path, counting: list[str]) -> None:
    result = slip("invoke", "images", "--file", "-", stdin=b'{"instances": ')
    assert (result.exit_code, "not JSON" in result.output, counting) == (2, True, [])


def test_without_credentials_nothing_is_pulled(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    result = slip("deploy", "images")
    assert "no credentials. Next:" in str(result.exception)
    assert "pulled" not in result.output


def test_the_approved_version_is_deployed_once_and_answers_with_its_name(world: Path, network_files: Path) -> None:
    first = answer(slip("deploy", "images", "--target", "lambda", "--json"))
    assert (first["model"], first["version"], first["place"]) == ("images", 1, "slipway-images:production")
    again = answer(slip("deploy", "images", "--json"))
    assert again == {**first, "steps": 0}
    golden = read_golden(network_files / "golden.npz")
    body = json.dumps({"instances": golden.inputs["image"].tolist()}).encode()
    said = answer(slip("invoke", "images", "--file", "-", stdin=body))
    np.testing.assert_allclose(said["predictions"], golden.outputs["probabilities"], atol=1e-5)
    assert said["model"] == {"name": "images", "version": 1, "digest": first["digest"]}
    assert said["labels"] == [("a", "b", "c")[i] for i in golden.outputs["probabilities"].argmax(1)]


def test_a_bad_request_is_refused_with_what_was_found(world: Path) -> None:
    result = slip("invoke", "images", "--file", "-", stdin=b'{"instances": [[1, 2]]}')
    assert "row 0: found shape [2]; wanted [6, 6, 1]" in str(result.exception)
    assert getattr(result.exception, "exit_code", None) == 1


def test_what_is_not_in_service_is_named_with_the_next_step(world: Path) -> None:
    result = slip("invoke", "nothing", "--file", "-", stdin=b"{}")
    said = str(result.exception)
    assert said.startswith("nothing was never deployed. Next: ")
    assert "slipway deploy nothing would be the first" in said


def test_a_mistyped_name_is_answered_with_the_nearest_deployed_one(world: Path) -> None:
    for command in (["invoke", "imgaes", "--file", "-"], ["verify", "imgaes"], ["rollback", "imgaes"],
                    ["prune", "imgaes"]):
        assert "; the nearest name is images. Next: " in str(slip(*command, stdin=b"{}").exception), command


def test_a_version_where_a_model_is_wanted_is_told_so_and_asks_nobody(counting: list[str]) -> None:
    for command in ("deploy", "plan", "verify", "status", "prune", "logs"):
        result = slip(command, "images/1")
        assert (result.exit_code, result.output[-40:].split("Next: ")[-1]) == (2, f"slipway {command} images\n")
    assert slip("rollback", "images/1").output.endswith("Next: slipway rollback images --to 1\n")
    assert counting == []


def test_a_bucket_that_is_not_there_is_told_with_its_region(world: Path) -> None:
    with environment(AWS_REGION="eu-west-1", AWS_DEFAULT_REGION="eu-west-1"):
        for command in (["status"], ["status", "images"], ["verify", "images"], ["prune"]):
            said = str(slip(*command).exception)
            assert said.startswith("there is no bucket slipway-123456789012-eu-west-1, "), command
            assert "(region eu-west-1). Next: the right region" in said


def test_a_version_that_answers_its_golden_requests_wrongly_never_gets_the_alias(world: Path) -> None:
    golden = Golden({"image": np.zeros((1, 6, 6, 1), np.float32)}, {"probabilities": np.ones((1, 3), np.float32)})
    plan = Plan("", (AskGolden("slipway-images", "1"), PointAlias("slipway-images", "wrong", "1", None)))
    with pytest.raises(GoldenFailed, match="It does not serve"):
        execute(plan, Aws(), LambdaTarget(Aws(), Settings()).hands(golden), lambda step, seconds: None)
    assert Aws().functions.alias("slipway-images", "wrong") is None


@pytest.mark.parametrize("fault", ["changed", "missing", "extra"])
def test_files_altered_after_the_approval_are_named_and_nothing_reaches_aws(
    world: Path, counting: list[str], fault: str
) -> None:
    weights = world / "data" / "model.keras"
    before = weights.read_bytes()
    if fault == "changed":
        weights.write_bytes(before[:-1] + bytes([before[-1] ^ 1]))
    elif fault == "missing":
        weights.unlink()
    else:
        (world / "data" / "extra.txt").write_text("x")
    try:
        result = slip("deploy", "images")
    finally:
        weights.write_bytes(before)
        (world / "data" / "extra.txt").unlink(missing_ok=True)
    assert getattr(result.exception, "exit_code", None) == 1
    assert ("extra.txt" if fault == "extra" else "model.keras") in str(result.exception)
    assert counting == []


def test_the_settings_prefix_starts_every_name(world: Path) -> None:
    assert names.function_name(Settings(prefix="acme"), "images") == "acme-images"
