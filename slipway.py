"""The `slipway` command: one door to train/, registry/ and serving/, importing each only when it is called."""

from __future__ import annotations

import atexit
import difflib
import importlib
import os
import re
import sys
import threading

import click

# name -> (module:attribute, what it does); the help page is printed from this table alone, so that it costs no import.
COMMANDS = {
    "train": ("train.commands:train", "Train a model and register a candidate version."),
    "tune": ("train.commands:tune", "Search parameters and algorithms, and register the best as a candidate."),
    "check": ("registry.commands:check", "Run the gates on a version and record the evidence."),
    "approve": ("registry.commands:approve", "Approve a version's bytes for Production."),
    "reject": ("registry.commands:reject", "Say no to a version's bytes, with a reason."),
    "promote": ("registry.commands:promote", "Move a version to a stage, if its gates and approvals allow."),
    "history": ("registry.commands:history", "Show who did what to a model, and when."),
    "watch": ("registry.commands:watch", "Follow the ledger: see every promotion once, tell others, run a command."),
    "adopt": ("registry.commands:adopt", "Bring versions that stood in a stage before Slipway came under its rules."),
    "ledger": ("registry.commands:ledger", "Verify, export, import or sign the ledger."),
    "token": ("registry.commands:token", "Make, list or revoke a token that logs CI in."),
    "bundle": ("serving.serve_commands:bundle", "Build the folder that serves a version anywhere, or verify one."),
    "serve": ("serving.serve_commands:serve", "Serve a version on this machine, with a page to try it."),
    "plan": ("serving.commands:plan", "Show what a deploy would change, and change nothing."),
    "deploy": ("serving.commands:deploy", "Take the approved version into service."),
    "rollback": ("serving.commands:rollback", "Bring the previous release back, with or without the registry."),
    "status": ("serving.commands:status", "Show registry, journal and AWS side by side, and where they differ."),
    "verify": ("serving.commands:verify", "Prove that what serves is what was approved."),
    "prune": ("serving.prune_command:prune", "Remove what no release that is kept needs."),
    "invoke": ("serving.commands:invoke", "Ask the version in service for an answer."),
    "logs": ("serving.operate_commands:logs", "Show what the version in service wrote to its log."),
    "iam": ("serving.operate_commands:iam", "Print the least that each role needs, or a CloudFormation stack."),
    "batch": ("serving.batch_command:batch", "Let the version in service on SageMaker answer many requests in S3."),
    "local": ("serving.localaws.commands:local", "Run a local AWS, or a command against one."),
}


class LazyGroup(click.Group):
    """A click group that knows its commands' names and imports one only when it runs."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Which commands are there? In the order of a model's way, not of the alphabet."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Which command has this name?"""
        if cmd_name not in COMMANDS:
            return None
        module, attribute = COMMANDS[cmd_name][0].split(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Which command is meant? One that is not there is answered with the nearest."""
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            near = difflib.get_close_matches(args[0], COMMANDS, 1)
            ctx.fail(f"no command {args[0]!r}{f'; did you mean {near[0]!r}?' if near else '. Next: slipway --help'}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the table of commands without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


EPILOG = """\b
Example:
  slipway train images
  slipway check images/1
  slipway approve images/1 --comment "recall is good on every digit"
  slipway promote images/1 --to Production
  slipway deploy images --target lambda
"""


@click.group(cls=LazyGroup, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="slipway")
def cli() -> None:
    """Takes the MLflow version that a person approved to AWS, and proves that it is what serves."""


# What TensorFlow 2.21 prints from C++ whatever TF_CPP_MIN_LOG_LEVEL says: its log lines begin so.
CHATTER = re.compile(
    rb"[IWE]\d{4} \d\d:\d\d:\d+\.\d+ |WARNING: All log messages before absl::|To enable the following instructions"
)


def quiet_tensorflow() -> None:
    """Drop TensorFlow's C++ log lines; everything else that libraries write to file descriptor 2 passes.

    Python's own sys.stderr goes past this, straight to where it went before.
    """
    terminal = os.dup(2)
    sys.stderr = os.fdopen(terminal, "w", buffering=1, encoding="utf-8", errors="backslashreplace")
    source, sink = os.pipe()
    os.dup2(sink, 2)
    os.close(sink)

    def forward() -> None:
        with os.fdopen(source, "rb") as lines:
            for line in lines:
                if not CHATTER.match(line):
                    os.write(terminal, line)

    thread = threading.Thread(target=forward, daemon=True)
    thread.start()

    def restore() -> None:
        os.dup2(terminal, 2)  # closes the pipe, so that the thread ends
        thread.join(1)

    atexit.register(restore)


def main() -> None:
    """Run the command, turning every error that we raise into one line on stderr and its exit code."""
    # MLflow's default of seven retries waits for minutes when the server is not there.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")
    if sys.argv[1:2] != ["local"]:  # it runs for long, and its children outlive a pipe
        quiet_tensorflow()
    try:
        # What a command hands to ctx.exit comes back here; all else that commands give back is nothing.
        sys.exit(cli(standalone_mode=False) or 0)
    except click.exceptions.Abort:
        click.echo("interrupted: run the same command again, and it goes on from here", err=True)
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except Exception as error:
        from registry import ci

        exit_code = getattr(error, "exit_code", None)
        if exit_code is None:
            raise
        ci.annotate(str(error))
        click.echo(f"{click.style('error:', fg='red')} {error}", err=True)
        sys.exit(exit_code)


if __name__ == "__main__":
    main()
