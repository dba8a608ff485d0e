"""Every kind of model that train/ makes, into service on Lambda and SageMaker, forward by a canary, and back.

The script is the same on the local AWS, where it runs by default, and on an account: `pytest -m aws`, docs/aws.md.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
import pytest
from click.testing import CliRunner

import slipway
from tests.conftest import told_not_rehearsed

from .caller import calling, make_alarm
from .kinds import KINDS, Kind
from .place import Place, clean, is_asked, left, opened
from .workshop import Workshop

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
ROOT = Path(__file__).parents[2]
# Requests enough are at hand, so on Lambda nothing is waited for. On SageMaker a good release is watched for a minute,
# a bad one for as long as its alarm takes, at most ten.
BY_SHARES = {"shares": [0.5, 1.0], "least": 60, "patience": 300}
WATCHED, WATCHED_LONG = {"size": 50, "wait": 60}, {"size": 50, "wait": 600}


@dataclass(frozen=True, slots=True)
class Said:
    """What a command ended with: its exit code, what it printed for a machine, and its error."""

    code: int
    out: str
    error: str

    @property
    def json(self) -> Any:
        """What it printed, parsed."""
        return json.loads(self.out)


def slip(*words: str, wanted: int = 0, stdin: bytes | None = None) -> Said:
    """Run one `slipway` command, as bo where it approves and as ci elsewhere.

    Errors become exit codes as in slipway.main, in this process: TensorFlow takes five seconds to import.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SLIPWAY_USER", "bo" if words[0] == "approve" else "ci")
        result = CliRunner().invoke(slipway.cli, list(words), input=stdin)
    code = result.exit_code if result.exception is None else getattr(result.exception, "exit_code", 99)
    assert code == wanted, f"slipway {' '.join(words)}: {result.output[-2000:]} {result.exception!r}"
    return Said(code, result.stdout, str(result.exception))


@dataclass(frozen=True, slots=True)
class Model:
    """A registered model on its way."""

    kind: Kind
    name: str
    place: Place
    requests: Sequence[bytes]

    def release(self, version: int) -> None:
        """What was trained by ana is checked, approved by somebody else, and promoted."""
        named = f"{self.name}/{version}"
        slip("check", named)
        slip("promote", named, "--to", "Staging")
        slip("approve", named, "--comment", "tried it by hand")
        slip("promote", named, "--to", "Production")

    def answers(self, target: str, version: int) -> list[Any]:
        """What is answered to every request; this version serves, and it is what was approved."""
        assert all(finding["right"] for finding in slip("verify", self.name, "--target", target, "--json").json)
        together = json.dumps({"instances": [json.loads(body)["instances"][0] for body in self.requests]}).encode()
        said = slip("invoke", self.name, "--target", target, "--file", "-", stdin=together).json
        assert (said["model"]["name"], said["model"]["version"]) == (self.name, version)
        return list(said["predictions"])

    def deploy(self, target: str, *, watched: dict[str, int], wont: Sequence[Any], wanted: int = 0) -> Said:
        """Deploy what stands in Production beside what serves, while requests go on and are looked at."""
        if target == "lambda":
            self.place.configure(**{"lambda": {"canary": BY_SHARES}})
            Path("probes.jsonl").write_bytes(b"\n".join(self.requests))
            return slip("deploy", self.name, "--target", target, "--probe", "probes.jsonl", "--json", wanted=wanted)
        endpoint = f"slipway-{self.name}"
        self.place.configure(sagemaker={"instances": 2, "canary": watched, "alarms": [make_alarm(endpoint)]})
        with calling(endpoint, self.requests, wont):
            return slip("deploy", self.name, "--target", target, "--json", wanted=wanted)


@pytest.fixture(scope="module")
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """An AWS to deploy to, and a registry in the folder that becomes the current one."""
    home, asked = tmp_path_factory.mktemp("aws"), is_asked(request.config)
    with opened(asked=asked) as there, pytest.MonkeyPatch.context() as patch:
        for name in ("MLFLOW_REGISTRY_URI", "MLFLOW_RUN_ID", "SLIPWAY_CONFIG"):
            patch.delenv(name, raising=False)
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{home}/mlflow.db")
        patch.setenv("SLIPWAY_POLICY", str(ROOT / "policy.yaml"))
        patch.chdir(home)
        mlflow.set_tracking_uri(f"sqlite:///{home}/mlflow.db")
        with nullcontext() if asked else told_not_rehearsed():
            yield there


@pytest.fixture(scope="module")
def workshop(request: pytest.FixtureRequest, place: Place) -> Iterator[Workshop]:
    """Training goes on for all kinds that this session tries."""
    tried = [item.callspec.params.get("model") for item in request.session.items
             if isinstance(item, pytest.Function) and hasattr(item, "callspec")]
    made = Workshop(Path.cwd(), {kind.name: place.name_of(kind.name) for kind in KINDS if kind in tried})
    yield made
    made.close()


@pytest.fixture
def model(request: pytest.FixtureRequest, place: Place, workshop: Workshop, tmp_path: Path) -> Iterator[Model]:
    """A model of which nothing is deployed yet, nor afterwards."""
    kind: Kind = request.param
    made = Model(kind, place.name_of(kind.name), place, kind.requests(tmp_path))
    workshop.wait(made.name)
    place.configure()
    yield made
    clean(made.name, place)
    assert left(made.name) == []


@pytest.mark.aws
@pytest.mark.parametrize("model", KINDS, indirect=True, ids=lambda kind: kind.name)
def test_a_model_goes_into_service_and_forward_and_back_and_a_bad_one_never_stays(model: Model) -> None:
    name, targets = model.name, model.place.targets
    wont: dict[str, list[Any]] = {}

    model.release(1)
    for target in targets:
        model.place.configure(sagemaker={"instances": 2})
        first = slip("deploy", name, "--target", target, "--json").json
        assert slip("deploy", name, "--target", target, "--json").json == {**first, "steps": 0}
        wont[target] = model.answers(target, 1)

    model.release(2)
    for target in targets:
        assert model.deploy(target, watched=WATCHED, wont=wont[target]).json["version"] == 2
        wont[target] = model.answers(target, 2)

    model.release(3)
    for target in targets:
        why = model.deploy(target, watched=WATCHED_LONG, wont=wont[target], wanted=1).error
        assert ("was sent back at 50% of the requests: " if target == "lambda" else "are in ALARM: ") in why
        model.answers(target, 2)

    (status,) = slip("status", name, "--json").json
    assert f"{name}/3" in status["registry"]
    assert [one["target"] for one in status["targets"]] == list(targets)
    for line in (*["the last deployment failed: "] * len(targets), *["Production is "] * len(targets)):
        assert line in "".join(status["drift"])

    for target in targets:
        assert slip("rollback", name, "--target", target, "--json").json["version"] == 1
        model.answers(target, 1)

    gone = slip("prune", name, "--keep", "1", "--yes", "--json").json
    assert gone["done"] and gone["steps"], "the third release is nothing that anybody goes back to"
    assert slip("prune", name, "--keep", "1", "--dry-run", "--json").json["steps"] == []
    for target in targets:
        model.answers(target, 1)
