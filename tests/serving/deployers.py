"""Deployers that are processes of their own: forked from one that has imported everything, and killed for real.

Each gets an empty folder of its own, and nothing of it is given to the next one.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import numpy as np

from serving import Aws, Bundle, Settings, journal, prune
from serving.errors import ServingError
from serving.execution import execute
from serving.golden import Golden, read_golden
from serving.runtime import manifest as manifests
from serving.targets import open_target
from serving.targets.sagemaker import watching
from serving.withdraw import withdraw

from . import recorded
from .recorded import LOOK

ROOT = Path(__file__).parent.parent.parent
PROBES = [{"instances": [row.tolist()]} for row in np.random.default_rng(4).uniform(0, 16, (2, 6, 6, 1))]
LOOK_AT_SHADOWS = 0.2  # seconds; the local AWS's clock is fast
SERVICES = ("s3", "sts", "lambda", "sagemaker", "sagemaker-runtime", "application-autoscaling", "cloudwatch")


@dataclass(frozen=True, slots=True)
class Task:
    """What shall a deployer do?

    Attributes:
        act: deploy, back, withdraw or prune.
        settings: as in slipway.yaml.
        bundle: the folder of what is to be deployed.
        version: what is to come back.
        probed: whether a canary asks the probes.
        variables: of its environment.
        watched: whether it notes which files it opens for writing, in `written`.
        lease: of its journal, in seconds; as it is anywhere else when 0.
        waits: between its plan and the first step, until it is told to go on.
    """

    act: str
    target: str
    settings: dict[str, Any]
    bundle: str = ""
    version: int = 0
    probed: bool = False
    variables: dict[str, str] = field(default_factory=dict)
    waits: bool = False
    lease: float = 0
    watched: bool = False


@dataclass(frozen=True, slots=True)
class Deployer:
    """A deployer that runs, or did."""

    pid: int
    home: Path

    def ended(self) -> bool:
        """Is the process gone?"""
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        return False

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def kill(self) -> None:
        """kill -9, and wait until it is gone."""
        self.send(signal.SIGKILL)
        self.until(self.ended)

    def until(self, so: Callable[[], bool], seconds: float = 120) -> None:
        """Wait until something is so."""
        ends = time.monotonic() + seconds
        while not so():
            assert time.monotonic() < ends, f"it never was so: {self.said()}"
            time.sleep(LOOK)

    def planned(self) -> bool:
        """Has it made its plan?"""
        return (self.home / "planned").exists()

    def until_held_or_planned(self) -> None:
        """Wait until one of its calls is held, or its plan is made."""
        self.until(lambda: self.planned() or self.ended() or recorded.held() is not None)

    def go_on(self) -> None:
        """Let it run the plan."""
        (self.home / "go").touch()

    def said(self) -> str:
        """What did it print?"""
        return (self.home / "said").read_text()

    def result(self) -> Any:
        """What came of it: how many steps it did, or its error? None when it was killed."""
        self.until(self.ended)
        done = self.home / "result"
        return json.loads(done.read_text()) if done.exists() else None


@dataclass(slots=True)
class Forker:
    """Starts deployers, each in an empty folder under ``home``."""

    process: subprocess.Popen[str]
    home: Path
    count: int = 0

    def start(self, task: Task) -> Deployer:
        """Start one."""
        self.count += 1
        home = self.home / str(self.count)
        home.mkdir()
        assert self.process.stdin and self.process.stdout
        variables = {name: value for name, value in os.environ.items() if name.startswith(("AWS_", "SLIPWAY_"))}
        whole = replace(task, variables={**variables, **task.variables})
        self.process.stdin.write(json.dumps({"home": str(home), "task": asdict(whole)}) + "\n")
        self.process.stdin.flush()
        return Deployer(int(self.process.stdout.readline()), home)

    def run(self, task: Task) -> int:
        """Start one and wait for its end; how many steps it took."""
        result = self.start(task).result()
        assert isinstance(result, int), f"{task.act} on {task.target}: {result}"
        return result


@contextmanager
def forking(home: Path) -> Iterator[Forker]:
    """A process that forks deployers."""
    argv = [sys.executable, "-m", "tests.serving.deployers"]
    with subprocess.Popen(argv, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield Forker(process, home)
        assert process.stdin
        process.stdin.close()


def main() -> None:
    """Fork a deployer for each line of stdin, until it is closed."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody collects them
    for service in SERVICES:  # reads botocore's models once for all
        boto3.client(service, region_name="us-east-1")
    for line in sys.stdin:
        asked = json.loads(line)
        pid = os.fork()
        if pid == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            _deployer(Path(asked["home"]), Task(**asked["task"]))
        print(pid, flush=True)


def _deployer(home: Path, task: Task) -> None:
    os.chdir(home)
    os.environ.update(task.variables)
    if task.lease:
        journal.LEASE = timedelta(seconds=task.lease)
    watching.LOOK_EVERY = LOOK_AT_SHADOWS
    said = os.open(home / "said", os.O_CREAT | os.O_WRONLY)
    os.dup2(said, 1)
    os.dup2(said, 2)
    written = set[str]()
    if task.watched:
        sys.addaudithook(lambda event, args: _noted(written, event, args))
    try:
        result: Any = act(task, home)
        (home / "written").write_text(json.dumps(sorted(written)))
    except (ServingError, KeyboardInterrupt) as error:
        result = [type(error).__name__, str(error)]
    except BaseException:  # noqa: BLE001 - the outermost frame
        result = traceback.format_exc()
    (home / "result.part").write_text(json.dumps(result))
    (home / "result.part").rename(home / "result")
    os._exit(0)


def _noted(written: set[str], event: str, args: tuple[Any, ...]) -> None:
    """Note a file that is opened for writing."""
    if event == "open" and not isinstance(args[0], int) and args[2] & (os.O_WRONLY | os.O_RDWR):
        written.add(str(Path(os.fsdecode(args[0])).absolute()))


def act(task: Task, home: Path) -> int:
    """Do it; how many steps that took."""
    forker = os.getppid()
    settings, aws = Settings.model_validate(task.settings), Aws()
    target = open_target(task.target, aws, settings)

    def planned() -> None:
        (home / "planned").touch()
        while task.waits and not (home / "go").exists():
            if os.getppid() != forker:  # the tests were ended
                os._exit(1)
            time.sleep(LOOK)

    if task.act == "withdraw":
        planned()
        withdraw("images", task.target, aws, settings)
        return 0
    if task.act == "prune":
        pruning = prune.plan(aws, {"images": (task.target,)}, lambda _: target, keep=2, named=True,
                             now=datetime.now(UTC))
        planned()
        prune.run(pruning, aws, lambda _: target.hands(Golden({}, {})), lambda step, seconds: None)
        return len(pruning.removals)
    if task.act == "back":
        way = target.plan_back("images", task.version)
        plan, golden = way.plan, way.golden
    else:
        folder, scratch = Path(task.bundle), home / "scratch"
        scratch.mkdir()
        plan = target.plan(Bundle(folder, manifests.read(folder)), scratch, lambda line: None)
        golden = read_golden(folder / "golden.npz")
    planned()
    execute(plan, aws, target.hands(golden, PROBES if task.probed else ()), lambda step, seconds: print(step))
    return len(plan.steps)


if __name__ == "__main__":
    main()
