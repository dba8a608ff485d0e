"""The command starts, tells how to reach it, and leaves nothing behind, whichever way it ends."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from serving.localaws import LocalAwsError, running
from tests.localaws.conftest import ROLE, client_for, zipped

COMMAND = [sys.executable, "-m", "serving.localaws", "--port", "0"]
# A function whose process has a child of its own: both must go.
FAMILY = """
import os, subprocess, sys, time
CHILD = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
def handler(event, context):
    time.sleep(event.get("sleep", 0))
    return [os.getpid(), CHILD.pid]
"""


def alive(pid: int) -> bool:
    """Does this process still run? A zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def gone(pids: list[int], seconds: float = 5.0) -> bool:
    """Are all of them gone, within so many seconds?"""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if not any(alive(pid) for pid in pids):
            return True
        time.sleep(0.02)
    return False


@contextmanager
def started(*options: str) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    """The command, ready, with what it said of itself."""
    process = subprocess.Popen(
        [*COMMAND, "--json", *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        yield process, json.loads(process.stdout.readline())
    finally:
        process.kill()
        process.communicate()


def family(environment: dict[str, str]) -> list[int]:
    """The processes of a function that was called once."""
    lambdas = client_for(environment, "lambda")
    code, runtime = {"ZipFile": zipped({"main.py": FAMILY})}, f"python3.{sys.version_info.minor}"
    lambdas.create_function(
        FunctionName="family", Runtime=runtime, Role=ROLE, Handler="main.handler", Code=code, Timeout=10
    )
    pids: list[int] = json.loads(lambdas.invoke(FunctionName="family")["Payload"].read())
    assert all(alive(pid) for pid in pids)
    return pids


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc")
def test_no_process_is_left_behind(number: signal.Signals) -> None:
    with started() as (process, said):
        pids = family(said["environment"])
        process.send_signal(number)
        assert process.wait(10) == (0 if number != signal.SIGKILL else -signal.SIGKILL)
        assert gone(pids)
        deadline = time.monotonic() + 5
        while Path(said["state"]).exists():
            assert time.monotonic() < deadline, "its temporary folder is still there"
            time.sleep(0.02)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the parent-death signal is Linux's")
def test_the_function_ends_even_when_the_guard_was_killed_first() -> None:
    with started("--no-sandbox") as (process, said):
        function, child = family(said["environment"])
        # One that waits for the next event would end by itself when its Runtime API is gone; this one is busy.
        busy = {"FunctionName": "family", "InvocationType": "Event", "Payload": b'{"sleep": 9}'}
        client_for(said["environment"], "lambda").invoke(**busy)
        time.sleep(0.5)
        for pid in children(process.pid):
            if pid != function:
                os.kill(pid, signal.SIGKILL)
        process.kill()
        process.wait()
        try:
            assert gone([function])
        finally:
            os.kill(child, signal.SIGKILL)


def children(pid: int) -> list[int]:
    """The processes that this one started, whichever of its threads did."""
    lists = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for path in lists for child in path.read_text().split()]


def test_the_exports_can_be_evaluated_by_a_shell() -> None:
    process = subprocess.Popen(COMMAND, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    line = process.stdout.readline()
    process.terminate()
    _, said = process.communicate()
    script = f"{line}\necho $AWS_ENDPOINT_URL $AWS_REGION $AWS_ACCESS_KEY_ID"
    answer = subprocess.run(["/bin/sh", "-c", script], capture_output=True, text=True, check=True, env={})
    endpoint, region, _ = answer.stdout.split()
    assert endpoint.startswith("http://127.0.0.1:")
    assert region == "us-east-1"
    assert "Ctrl-C stops it" in said
    assert f"python3.{sys.version_info.minor} by " in said


def test_a_command_runs_with_the_variables_and_gives_its_exit_code() -> None:
    script = "import os, sys; print(os.environ['AWS_ENDPOINT_URL'], 'AWS_PROFILE' in os.environ); sys.exit(7)"
    environment = {**os.environ, "AWS_PROFILE": "my-own"}
    answer = subprocess.run(
        [*COMMAND, "--", sys.executable, "-c", script], capture_output=True, text=True, env=environment, check=False
    )
    assert answer.returncode == 7
    assert answer.stdout.startswith("http://127.0.0.1:")
    assert answer.stdout.endswith(" False\n")


def test_a_command_that_does_not_exist_is_told() -> None:
    answer = subprocess.run([*COMMAND, "--", "no-such-command"], capture_output=True, text=True, check=False)
    assert answer.returncode == 3
    assert "no-such-command cannot be run" in answer.stderr


def test_a_taken_port_is_told() -> None:
    with running() as environment:
        port = environment["AWS_ENDPOINT_URL"].rpartition(":")[2]
        argv = [sys.executable, "-m", "serving.localaws", "--port", port]
        answer = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert answer.returncode == 3
    assert answer.stderr.startswith(f"error: port {port} of 127.0.0.1 is taken. Next: ")
    assert len(answer.stderr.splitlines()) == 1


def test_a_command_takes_a_free_port_by_itself_where_none_is_named() -> None:
    script = "import os; print(os.environ['AWS_ENDPOINT_URL'])"
    with socket.socket() as taken:
        with contextlib.suppress(OSError):  # somebody else's is there, which will do
            taken.bind(("127.0.0.1", 4566))
            taken.listen()
        answer = subprocess.run(
            [sys.executable, "-m", "serving.localaws", "--", sys.executable, "-c", script],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
    assert answer.returncode == 0, answer.stderr
    assert not answer.stdout.endswith(":4566\n")


def test_the_context_manager_says_why_it_did_not_start() -> None:
    with pytest.raises(LocalAwsError, match=r"(?i)no such option"), running("--nonsense"):
        pass


def test_importing_the_command_does_not_import_moto() -> None:
    script = "import sys, serving.localaws.commands; print('moto' in sys.modules, 'botocore' in sys.modules)"
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert answer.stdout.split() == ["False", "False"]
