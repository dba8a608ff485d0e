"""What serves writes a log, and `slipway logs` shows it: once each line, also while it is written."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest

from serving import Settings
from serving.errors import ConfigurationInvalid
from serving.localaws import running
from serving.logs import OVERLAP, Following, Line, group_of, span

from .test_deploy import environment, slip

SAYS = "def handler(event, context):\n    print('asked', event)\n    return event\n"
NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def lambdas() -> Iterator[Any]:
    """A local AWS with a function that writes what it is asked."""
    with running() as variables, environment(**variables):
        made = boto3.client("lambda", endpoint_url=variables["AWS_ENDPOINT_URL"])
        code = io.BytesIO()
        with zipfile.ZipFile(code, "w") as archive:
            archive.writestr("main.py", SAYS)
        made.create_function(
            FunctionName="slipway-echo", Code={"ZipFile": code.getvalue()}, Handler="main.handler",
            Runtime=f"python3.{sys.version_info.minor}", Role="arn:aws:iam::123456789012:role/slipway-exec-lambda")
        made.get_waiter("function_active_v2").wait(FunctionName="slipway-echo")
        yield made


def ask(lambdas: Any, word: str) -> None:
    lambdas.invoke(FunctionName="slipway-echo", Payload=json.dumps(word))


def line(name: str, seconds: float) -> Line:
    return Line(NOON + timedelta(seconds=seconds), "stream", name, name)


def test_what_a_function_wrote_is_shown(lambdas: Any) -> None:
    ask(lambdas, "first")
    done = slip("logs", "echo", "--target", "lambda")
    assert "asked first" in done.output and "REPORT RequestId" in done.output
    told = [json.loads(row) for row in slip("logs", "echo", "--target", "lambda", "--json").output.splitlines()]
    assert [one["text"] for one in told if "first" in one["text"]] == ["asked first"]


def test_followed_it_shows_each_line_once_as_it_is_written_and_ctrl_c_ends_it_cleanly(lambdas: Any) -> None:
    ask(lambdas, "before")
    argv = [sys.executable, "-m", "slipway", "logs", "echo", "--target", "lambda", "--follow", "--since", "1m"]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ)
    assert process.stdout and process.stderr
    until(process.stdout, "asked before")
    ask(lambdas, "while")
    seen = until(process.stdout, "asked while")
    process.send_signal(signal.SIGINT)
    rest, said = process.communicate(timeout=20)
    assert (process.returncode, said) == (0, "")
    assert (seen + rest).count("asked while") == 1
    assert "asked before" not in seen + rest


def until(lines: Any, word: str) -> str:
    """What was read up to the line with this word; the test's own time limit ends a wait in vain."""
    read = ""
    while word not in read:
        row = lines.readline()
        assert row, f"it ended without {word!r}"
        read += row
    return read


def test_a_model_that_wrote_nothing_is_no_failure(lambdas: Any) -> None:
    done = slip("logs", "silent", "--target", "lambda")
    assert done.exit_code == 0
    assert "nothing was written to /aws/lambda/slipway-silent" in done.output


def test_a_model_that_was_never_deployed_is_named(lambdas: Any) -> None:
    assert "slipway deploy never would be the first" in str(slip("logs", "never").exception)


def test_a_line_that_comes_late_is_shown_and_none_is_shown_twice() -> None:
    following = Following(NOON)
    first = [line("a", 0), line("b", 100)]
    assert following.new(first) == first
    assert following.since == NOON + timedelta(seconds=100) - OVERLAP
    late = line("late", 80)
    assert following.new([*first, late]) == [late]
    assert following.new([first[1], late]) == []


def test_spans_are_read() -> None:
    assert [span(text) for text in ("90s", "10m", "2h", "1d")] == [
        timedelta(seconds=90), timedelta(minutes=10), timedelta(hours=2), timedelta(days=1)]
    with pytest.raises(ConfigurationInvalid, match="wanted a number and s, m, h or d"):
        span("ten minutes")


def test_each_place_has_its_own_group() -> None:
    assert group_of("lambda", "images", Settings(prefix="acme")) == "/aws/lambda/acme-images"
    assert group_of("sagemaker", "images", Settings()) == "/aws/sagemaker/Endpoints/slipway-images"
