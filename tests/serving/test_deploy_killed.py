"""A deployer that ends at any of its calls to AWS, and the next one that finishes what it began.

Which calls a plan makes is recorded on the local AWS, not listed by hand. With retries off, the first that changes
something is refused (the deployer ended before it), and each is done with its answer lost (it ended after it). What AWS
holds before any later call is what it holds after the one before, so that nothing is left out; SLIPWAY_KILL=all refuses
each of them as well, at twice the time.
"""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import boto3
import numpy as np
import pytest

from serving import Aws, Bundle, Settings, build
from serving.errors import AwsFailed
from serving.execution import execute
from serving.golden import read_golden
from serving.journal import Kind, deployed
from serving.localaws import running
from serving.runtime import manifest as manifests
from serving.targets.lambda_ import names
from serving.targets.lambda_.target import LambdaTarget

from . import recorded
from .conftest import release_of
from .test_deploy import environment

CANARY = {"shares": (0.5, 1.0), "least": 2, "patience": 1}
EVERY = os.environ.get("SLIPWAY_KILL") == "all"
PROBES = [{"instances": [row.tolist()]} for row in np.random.default_rng(4).uniform(0, 16, (2, 6, 6, 1))]


@dataclass
class Deployer:
    """Deploys releases of one model, each a new Aws as each new process has."""

    bundle: Bundle
    home: Path
    prefix: str
    canary: bool = False
    version: int = 0
    releases: dict[int, Bundle] = field(default_factory=dict)

    @property
    def settings(self) -> Settings:
        options = {"canary": CANARY} if self.canary else {}
        return Settings.model_validate({"prefix": self.prefix, "bucket": f"{self.prefix}-bucket", "lambda": options})

    @property
    def target(self) -> LambdaTarget:
        return LambdaTarget(Aws(), self.settings)

    @property
    def function(self) -> str:
        return names.function_name(self.settings, "images")

    def next_release(self) -> None:
        """From now on another version is the one in Production."""
        self.version += 1
        folder = Path(shutil.copytree(self.bundle.folder, self.home / f"{self.prefix}-{self.version}"))
        digest = hashlib.sha256(str(self.version).encode()).hexdigest()
        made = self.bundle.manifest._replace(version=self.version, digest=digest)
        (folder / manifests.NAME).write_bytes(made.to_bytes())
        self.releases[self.version] = Bundle(folder, made)

    def deploy(self) -> int:
        """Deploy what is in Production; how many steps that took."""
        bundle, scratch, target = self.releases[self.version], self.home / "scratch", self.target
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir()
        plan = target.plan(bundle, scratch, lambda line: None)
        hands = target.hands(read_golden(bundle.folder / "golden.npz"), PROBES if self.canary else ())
        execute(plan, target.aws, hands, lambda step, seconds: None)
        return len(plan.steps)

    def back(self) -> int:
        """Bring back the version that is asked for; how many steps that took."""
        target = self.target
        way = target.plan_back("images", self.version)
        execute(way.plan, target.aws, target.hands(way.golden), lambda step, seconds: None)
        return len(way.plan.steps)

    def served(self) -> str:
        """Which release does the alias name, by the description of its Lambda version? Empty when none."""
        functions = Aws().functions
        alias = functions.alias(self.function, names.ALIAS)
        state = functions.state(self.function, alias.version) if alias else None
        return state.description.split()[0] if state else ""

    def require_whole(self) -> None:
        """The wanted release serves, the journal says so, nothing was published twice, nothing is left over."""
        aws, target = Aws(), self.target
        service = target.in_service("images", thoroughly=False)
        assert [f for f in service.findings if not f.right] == []
        assert service.entry.shipped.version == self.version
        entries = target.logbook("images").read()
        assert [e.kind for e in entries][-2:] == [Kind.BEGAN, Kind.DONE]
        versions = [v.description for v in aws.functions.versions(self.function)]
        assert len(set(versions)) == len(versions), "a release was published twice"
        layer = names.layer_name(self.settings, service.entry.shipped.runtime, "x86_64")  # type: ignore[attr-defined]
        assert len(aws.functions.layers(layer, service.entry.shipped.runtime).layers) == 1  # type: ignore[attr-defined]
        needed = tuple(start for e in deployed(entries) for start in target.needs(e.shipped))
        there = aws.storage.keys(target.logbook("images").bucket, "releases/")
        assert [key for key in there if not key.startswith(needed)] == [], "nothing is left over"

    def forget_old_versions(self) -> None:
        """Delete what neither serves nor served before, so that their processes end."""
        for version in Aws().functions.versions(self.function)[:-2]:
            if version.description.split()[0] != self.served():
                Aws().functions.delete_version(self.function, version.version)


@pytest.fixture(scope="module")
def bundle(network_files: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return build(release_of(network_files), network_files, tmp_path_factory.mktemp("killed") / "bundle")


@pytest.fixture(scope="module", autouse=True)
def local_aws() -> Iterator[None]:
    """One local AWS for all tries, each with names of its own; no retries."""
    with running() as variables, environment(**variables, AWS_MAX_ATTEMPTS="1"):
        yield


@pytest.fixture
def begin(bundle: Bundle, tmp_path: Path) -> Callable[[str], Deployer]:
    def begin(prefix: str) -> Deployer:
        boto3.client("s3", endpoint_url=os.environ["AWS_ENDPOINT_URL"]).create_bucket(Bucket=f"{prefix}-bucket")
        made = Deployer(bundle, tmp_path, prefix)
        made.next_release()
        return made

    return begin


def kill_everywhere(fresh: Callable[[], tuple[Deployer, Callable[[], int]]]) -> list[str]:
    """Record the changing calls of a plan, end the deployer before and after each of them, and run it again.

    Args:
        fresh: makes ready for one try; gives the deployer and what it does.

    Returns:
        The operations that were recorded.
    """
    deployer, act = fresh()
    recorded.forget()
    act()
    plan = recorded.changing()
    deployer.require_whole()
    for number, call in enumerate(plan):
        same = [(c.service, c.operation) for c in plan[:number]].count((call.service, call.operation))
        for kind in ("error", "lost") if number == 0 or EVERY else ("lost",):
            deployer, act = fresh()
            before = deployer.served()
            recorded.forget()
            recorded.expect(kind, call, skip=same)
            with pytest.raises(AwsFailed):
                act()
            assert deployer.served() in {before, f"images/{deployer.version}"}
            act()
            deployer.require_whole()
            assert act() == 0, f"{call.operation} {kind}: the third run finds nothing to do"
    return [call.operation for call in plan]


def test_a_first_deploy_that_ends_at_any_call_is_finished_by_the_next(begin: Callable[[str], Deployer]) -> None:
    made: list[Deployer] = []

    def fresh() -> tuple[Deployer, Callable[[], int]]:
        if made:
            boto3.client("lambda").delete_function(FunctionName=made[-1].function)  # its processes end
        made.append(begin(f"first{len(made)}"))
        return made[-1], made[-1].deploy

    operations = kill_everywhere(fresh)
    assert {"PutObject", "PublishLayerVersion", "CreateFunction", "PublishVersion", "CreateAlias"} == set(operations)


@pytest.mark.parametrize("canary", [False, True], ids=["at once", "by a canary"])
def test_a_next_deploy_that_ends_at_any_call_is_finished_by_the_next(
    begin: Callable[[str], Deployer], canary: bool
) -> None:
    deployer = begin(f"next{int(canary)}")
    deployer.deploy()
    deployer.canary = canary

    def fresh() -> tuple[Deployer, Callable[[], int]]:
        deployer.forget_old_versions()
        deployer.next_release()
        return deployer, deployer.deploy

    operations = kill_everywhere(fresh)
    assert operations.count("UpdateAlias") == 1 + canary
    assert {"PutObject", "UpdateFunctionCode", "PublishVersion"} <= set(operations)


def test_a_rollback_that_ends_at_any_call_is_finished_by_the_next(begin: Callable[[str], Deployer]) -> None:
    deployer = begin("back")
    deployer.deploy()
    deployer.next_release()
    deployer.deploy()

    def fresh() -> tuple[Deployer, Callable[[], int]]:
        deployer.version = 3 - deployer.version
        return deployer, deployer.back

    assert kill_everywhere(fresh) == ["PutObject", "UpdateAlias", "PutObject"]


@pytest.mark.parametrize("seed", range(2))
def test_throttles_errors_and_lost_answers_at_random_end_in_the_same_state(
    begin: Callable[[str], Deployer], seed: int
) -> None:
    chance = random.Random(seed)  # noqa: S311 - no secret hangs on it
    deployer = begin(f"chance{seed}")
    for _ in range(2):
        recorded.forget()
        for operation, service in (("PutObject", "s3"), ("HeadObject", "s3"), ("GetFunctionConfiguration", "lambda"),
                                   ("PublishVersion", "lambda"), ("UpdateAlias", "lambda"), ("Invoke", "lambda")):
            for kind in chance.choices(("throttle", "error", "lost"), k=2):
                recorded.expect(kind, recorded.Call(service, operation, 0), skip=chance.randrange(4))
        with environment(AWS_MAX_ATTEMPTS="2"):
            runs = until_done(deployer)
        recorded.forget()
        assert runs <= 13, "each fault ends a run once at most"
        deployer.require_whole()
        deployer.next_release()


def until_done(deployer: Deployer) -> int:
    """Deploy until there is nothing to do; how many runs that took."""
    for number in range(1, 100):
        try:
            if deployer.deploy() == 0:
                return number
        except AwsFailed:
            continue
    raise AssertionError("it never ended")


DIES = """
import os, signal, sys
from pathlib import Path
from serving import Bundle
from serving.execution import execute
from serving.golden import read_golden
from serving.runtime import manifest
from tests.serving.test_deploy_killed import Deployer
folder, scratch = Path(sys.argv[1]), Path(sys.argv[2])
target = Deployer(Bundle(folder, manifest.read(folder)), scratch, "really").target
plan = target.plan(Bundle(folder, manifest.read(folder)), scratch, print)
def report(step, seconds):
    if type(step).__name__ == "PublishVersion":
        os.kill(os.getpid(), signal.SIGKILL)
execute(plan, target.aws, target.hands(read_golden(folder / "golden.npz")), report)
"""


def test_a_process_that_is_killed_for_real_is_taken_over_at_once(
    begin: Callable[[str], Deployer], tmp_path: Path
) -> None:
    deployer, scratch = begin("really"), tmp_path / "other"
    scratch.mkdir()
    folder = deployer.releases[1].folder
    died = subprocess.run([sys.executable, "-c", DIES, str(folder), str(scratch)], capture_output=True, text=True,
                          cwd=Path(__file__).parent.parent.parent)
    assert died.returncode == -signal.SIGKILL, died.stderr
    (left,) = deployer.target.logbook("images").read()
    assert (left.kind, left.process == os.getpid(), deployer.served()) == (Kind.BEGAN, False, "")
    deployer.deploy()
    deployer.require_whole()
