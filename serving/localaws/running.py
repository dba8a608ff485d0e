"""Start the local AWS from a program or a test, in a process of its own, and stop it again."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import IO

from serving.localaws.errors import LocalAwsError

_STOP_SECONDS = 20


@contextmanager
def running(*arguments: str) -> Iterator[dict[str, str]]:
    """Run ``slipway local`` on a free port; yields the variables with which AWS clients find it.

    It ends with the block, and also when this process is killed: its stdin closes then.

    Args:
        arguments: Further options of the command, such as ``"--state", "folder"``.

    Raises:
        LocalAwsError: It did not start; the message holds what it said.
    """
    argv = [sys.executable, "-m", "serving.localaws", "--port", "0", "--json", "--until-stdin-closes", *arguments]
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(  # noqa: S603 - this interpreter, this package
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=said, text=True
        )
        try:
            yield _environment(process, said, argv)
        finally:
            _stop(process)
            _pass_on(said)


def _environment(process: subprocess.Popen[str], said: IO[str], argv: Sequence[str]) -> dict[str, str]:
    assert process.stdout is not None  # noqa: S101 - it was asked for
    line = process.stdout.readline()
    if not line:
        process.wait()
        said.seek(0)
        raise LocalAwsError(f"{' '.join(argv)} ended with {process.returncode}: {said.read().strip()}")
    environment: dict[str, str] = json.loads(line)["environment"]
    return environment


def _pass_on(said: IO[str]) -> None:
    """Defects of the emulator show up beside the test that met them."""
    said.seek(0)
    text = said.read()
    if "Traceback" in text:
        sys.stderr.write(text)


def _stop(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None and process.stdout is not None  # noqa: S101 - both were asked for
    process.stdin.close()
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    process.stdout.close()
