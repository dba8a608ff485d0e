"""The command ``slipway local``. moto is imported when it runs, not before."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from serving.localaws.errors import LocalAwsError
from serving.localaws.options import Options

if TYPE_CHECKING:
    from serving.localaws.server import LocalAws

# A profile of the user's own would win over the credentials given here, or fail for not being there.
_HIDDEN = ("AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_SESSION_TOKEN", "AWS_CA_BUNDLE")
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@click.command(context_settings={"ignore_unknown_options": False})
@click.option(
    "--port", type=click.IntRange(0, 65535), default=4566, show_default=True, help="On 127.0.0.1; 0 takes a free one."
)
@click.option(
    "--state",
    type=click.Path(file_okay=False, path_type=Path),
    help="Keep the account here over restarts; else it is gone at the end.",
)
@click.option(
    "--settle-seconds",
    type=click.FloatRange(0),
    default=0.0,
    show_default=True,
    help="How long a changed function stays Pending.",
)
@click.option(
    "--speed",
    type=click.FloatRange(0, min_open=True),
    default=1.0,
    show_default=True,
    help="Divides SageMaker's waiting times, such as baking.",
)
@click.option("--image", multiple=True, metavar="PATTERN=COMMAND", help="How container images are played; repeatable.")
@click.option("--sandbox/--no-sandbox", default=True, help="Use bubblewrap, where it works, for AWS's own paths.")
@click.option("--json", "as_json", is_flag=True, help="Print one line of JSON instead of the exports.")
@click.option("--until-stdin-closes", is_flag=True, hidden=True)
@click.argument("command", nargs=-1)
def local(as_json: bool, until_stdin_closes: bool, command: tuple[str, ...], **options: Any) -> None:
    """Run AWS on this machine: S3, Lambda, SageMaker, with no account and no Docker.

    Prints the variables that point any AWS client to it and runs until it is stopped. With COMMAND it runs that, with
    these variables set, and ends with its exit code.

    \b
    Example:
      slipway local -- slipway deploy images --target lambda
      slipway local --speed 60 --image 'my-server={python} serve.py --port {port} --model {model_dir}'
    """
    stop = threading.Event()
    for number in _SIGNALS:
        signal.signal(number, lambda *_: stop.set())
    for name in _HIDDEN:  # importing moto already fails on a profile that is not there
        os.environ.pop(name, None)
    from serving.localaws.server import LocalAws

    try:
        aws = LocalAws(Options(**options))
    except LocalAwsError as error:
        raise _Failed(str(error)) from error
    aws.start()
    try:
        code = _run(aws, command, stop) if command else _serve(aws, stop, as_json=as_json, watch=until_stdin_closes)
    finally:
        aws.close()
    # Threads of requests under way must not keep it alive.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


class _Failed(click.ClickException):
    exit_code = LocalAwsError.exit_code


def _serve(aws: LocalAws, stop: threading.Event, *, as_json: bool, watch: bool) -> int:
    if as_json:
        click.echo(json.dumps(_description(aws)))
    else:
        click.echo("export " + " ".join(f"{name}={shlex.quote(value)}" for name, value in aws.environment.items()))
    sys.stdout.flush()
    click.echo(_greeting(aws), err=True)
    if watch:
        threading.Thread(target=_stop_with_stdin, args=(stop,), daemon=True).start()
    # Waiting in slices: a signal is handled between them on every platform.
    while not stop.wait(0.5):
        pass
    return 0


def _stop_with_stdin(stop: threading.Event) -> None:
    sys.stdin.buffer.read()
    stop.set()


def _description(aws: LocalAws) -> dict[str, object]:
    return {
        "environment": aws.environment,
        "runtimes": {name: str(found.executable) for name, found in aws.interpreters.items()},
        "state": str(aws.state),
        "pid": os.getpid(),
    }


def _greeting(aws: LocalAws) -> str:
    runners = ", ".join(f"{name} by {found.executable}" for name, found in aws.interpreters.items())
    return f"Local AWS (moto, real function processes) at {aws.endpoint}; {runners}. Ctrl-C stops it."


def _run(aws: LocalAws, command: tuple[str, ...], stop: threading.Event) -> int:
    bypass = ",".join(filter(None, [os.environ.get("NO_PROXY"), "127.0.0.1,localhost"]))
    environment = {**os.environ, **aws.environment, "NO_PROXY": bypass, "no_proxy": bypass}
    try:
        process = aws.foreground(command, environment)
    except OSError as error:
        raise _Failed(f"{command[0]} cannot be run: {error.strerror}") from error
    while process.poll() is None:
        if stop.wait(0.02):
            process.terminate()
            return _ended(process)
    return _ended(process)


def _ended(process: subprocess.Popen[bytes]) -> int:
    """The shell's way: a signal's number above 128."""
    try:
        code = process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        code = process.wait()
    return 128 - code if code < 0 else code
