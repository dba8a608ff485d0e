"""The command ``slipway local``. moto is imported when it runs, not before."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from serving.localaws import background
from serving.localaws.errors import LocalAwsError
from serving.localaws.options import Options

if TYPE_CHECKING:
    from serving.localaws.server import LocalAws

# A profile of the user's own would win over the credentials given here, or fail for not being there.
_HIDDEN = ("AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_SESSION_TOKEN", "AWS_CA_BUNDLE")
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

# How it is started, in the foreground and by `up`.
_STARTING: tuple[click.Option, ...] = (
    click.Option(
        ["--port"], type=click.IntRange(0, 65535), default=4566, show_default=True,
        help="On 127.0.0.1; 0 takes a free one, as a COMMAND does by itself.",
    ),
    click.Option(
        ["--settle-seconds"], type=click.FloatRange(0), default=0.0, show_default=True,
        help="How long a changed function stays Pending.",
    ),
    click.Option(
        ["--speed"], type=click.FloatRange(0, min_open=True), default=1.0, show_default=True,
        help="Divides SageMaker's waiting times, such as baking.",
    ),
    click.Option(
        ["--image"], multiple=True, metavar="PATTERN=COMMAND", help="How container images are played; repeatable."
    ),
    click.Option(
        ["--faults"], type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="FILE",
        help="YAML with a list `faults`: what goes wrong, and how often.",
    ),
    click.Option(["--auth/--no-auth"], default=False, help="Refuse what is not signed with a secret that it knows."),
    click.Option(["--sandbox/--no-sandbox"], default=True, help="Use bubblewrap, where it works, for AWS's own paths."),
)  # fmt: skip


class _Local(click.Group):
    """`slipway local` itself runs it; what follows `--` is a command to run against it; up, down... are subcommands."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Take what follows `--` away before click looks for a subcommand there."""
        if "--" in args:
            cut = args.index("--")
            ctx.obj, args = tuple(args[cut + 1 :]), args[:cut]
        return super().parse_args(ctx, args)


_Decorator = Callable[[Callable[..., None]], Callable[..., None]]


def _state(default: Path | None) -> _Decorator:
    shown = f"Keep the account here over restarts{'' if default else '; else it is gone at the end'}."
    return click.option(
        "--state", type=click.Path(file_okay=False, path_type=Path), default=default, show_default=True, help=shown
    )


def _starting(function: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options with which the local AWS starts."""
    vars(function)["__click_params__"] = [*vars(function).get("__click_params__", []), *reversed(_STARTING)]
    return function


@click.group(cls=_Local, invoke_without_command=True, subcommand_metavar="[-- COMMAND...] | up|down|status|reset")
@_starting
@_state(None)
@click.option("--json", "as_json", is_flag=True, help="Print one line of JSON instead of the exports.")
@click.option("--announce", is_flag=True, hidden=True)
@click.option("--until-stdin-closes", is_flag=True, hidden=True)
def local(as_json: bool, announce: bool, until_stdin_closes: bool, **options: Any) -> None:
    """Run AWS on this machine: S3, Lambda, SageMaker, with no account and no Docker.

    Prints the variables that point any AWS client to it and runs until it is stopped. With COMMAND it runs that, with
    these variables set, and ends with its exit code. `up` starts it in the background.

    \b
    Example:
      eval $(slipway local up)
      slipway local -- slipway deploy images --target lambda
      slipway local --speed 60 --image 'my-server={python} serve.py --port {port} --model {model_dir}'
    """
    ctx = click.get_current_context()
    if ctx.invoked_subcommand is not None:
        return
    command: tuple[str, ...] = ctx.obj or ()
    if command and ctx.get_parameter_source("port") is click.core.ParameterSource.DEFAULT:
        options["port"] = 0  # the command is told which; nobody else has to know
    stop = threading.Event()
    for number in _SIGNALS:
        signal.signal(number, lambda *_: stop.set())
    for name in _HIDDEN:  # importing moto already fails on a profile that is not there
        os.environ.pop(name, None)
    from serving.localaws.server import LocalAws

    aws = LocalAws(Options(**options))
    aws.start()
    if announce:
        background.announce(aws.state, _running(aws))
    try:
        code = _run(aws, command, stop) if command else _serve(aws, stop, as_json=as_json, watch=until_stdin_closes)
    finally:
        aws.close()
    # Threads of requests under way must not keep it alive.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


@local.command(epilog="Example: eval $(slipway local up)")
@_starting
@_state(background.FOLDER)
@click.option("--json", "as_json", is_flag=True, help="Print one line of JSON instead of the exports.")
def up(state: Path, as_json: bool, **options: Any) -> None:
    """Start it in the background, its account kept in --state; prints the variables for AWS clients."""
    arguments = _arguments(click.get_current_context(), options)
    running = background.running_in(state)
    if running is None:
        running = background.start(state, arguments)
        click.echo(f"Local AWS at {running.environment['AWS_ENDPOINT_URL']}, process {running.pid}, "
                   f"log {state / background.LOG}. Next: slipway local down stops it", err=True)  # fmt: skip
    else:
        click.echo(_there_already(running, arguments), err=True)
    if as_json:
        click.echo(json.dumps({"environment": running.environment, "pid": running.pid, "state": str(state)}))
    else:
        click.echo(_exports(running.environment))


def _arguments(ctx: click.Context, options: dict[str, Any]) -> list[str]:
    """The options as they were given, and no others, for the process in the background."""
    given = []
    for option in _STARTING:
        name = str(option.name)
        if ctx.get_parameter_source(name) is not click.core.ParameterSource.COMMANDLINE:
            continue
        if option.is_flag:
            given.append(option.opts[0] if options[name] else option.secondary_opts[0])
            continue
        for value in options[name] if option.multiple else [options[name]]:
            given += [option.opts[0], str(value.resolve() if isinstance(value, Path) else value)]
    return given


def _there_already(running: background.Running, wanted: list[str]) -> str:
    said = f"it is there already: process {running.pid}, since {running.since}"
    if wanted and tuple(wanted) != running.arguments:
        with_what = shlex.join(running.arguments) or "no options"
        said += f", started with {with_what}. Next: slipway local down, then up with {shlex.join(wanted)}"
    return said


@local.command(epilog="Example: slipway local down")
@_state(background.FOLDER)
def down(state: Path) -> None:
    """Stop it and everything that it started; the account is kept."""
    stopped = background.stop(state)
    click.echo(f"stopped, process {stopped.pid}" if stopped else f"no local AWS runs in {state}")


@local.command(epilog="Example: slipway local status --json")
@_state(background.FOLDER)
@click.option("--json", "as_json", is_flag=True, help="Print JSON for a machine.")
def status(state: Path, as_json: bool) -> None:
    """Say whether one runs in the background, and what it holds; exit code 1 when none does."""
    running = background.running_in(state)
    if running is None:
        nothing = f"no local AWS runs in {state}. Next: slipway local up"
        click.echo(json.dumps({"running": False}) if as_json else nothing)
        click.get_current_context().exit(1)
    held = background.inventory(running)
    if as_json:
        told = {"pid": running.pid, "since": running.since, "environment": running.environment, "state": str(state)}
        click.echo(json.dumps({"running": True, **told, "holds": held}))
        return
    click.echo(f"runs at {running.environment['AWS_ENDPOINT_URL']}, process {running.pid}, since {running.since}")
    click.echo("  " + ", ".join(f"{count} {what}" for what, count in held.items()))


@local.command(epilog="Example: slipway local reset --yes")
@_state(background.FOLDER)
@click.option("--yes", is_flag=True, help="Do not ask.")
def reset(state: Path, yes: bool) -> None:
    """Delete the account that was kept: every bucket, function and endpoint of it."""
    if not yes:
        if not sys.stdin.isatty():
            raise click.UsageError(f"this deletes the account in {state}. Next: slipway local reset --yes")
        click.confirm(f"Delete every bucket, function and endpoint in {state}?", abort=True)
    stays = background.forget(state)
    click.echo(f"the account in {state} is gone" + (f"; left alone: {', '.join(stays)}" if stays else ""))


def _running(aws: LocalAws) -> background.Running:
    # `up` starts it as `-m serving.localaws --state FOLDER --announce OPTIONS...`.
    given = tuple(sys.argv[sys.argv.index("--announce") + 1 :])
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return background.Running(os.getpid(), now, given, aws.environment)


def _exports(environment: dict[str, str]) -> str:
    return "export " + " ".join(f"{name}={shlex.quote(value)}" for name, value in environment.items())


def _serve(aws: LocalAws, stop: threading.Event, *, as_json: bool, watch: bool) -> int:
    click.echo(json.dumps(_description(aws)) if as_json else _exports(aws.environment))
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
        raise LocalAwsError(
            f"{command[0]} cannot be run: {error.strerror}. Next: what follows -- is a program on PATH, and its words"
        ) from error
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
