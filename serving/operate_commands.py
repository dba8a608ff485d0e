"""The commands around what serves: who may do what, and what it wrote to its log."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .commands import CONFIG, JSON, MODEL, opened

if TYPE_CHECKING:
    from .aws import Aws
    from .config import Settings
    from .logs import Following, Line

INLINE = 51_200  # bytes of a template that is not in S3, CloudFormation quotas, read 2026-11
LOOK_EVERY = 2.0  # seconds between two looks at a log that is followed

# Written out, and held equal to serving.iam's by a test: importing it would cost every --help its time.
ROLES = click.Choice(("publisher", "deployer", "pruner", "runtime"))
PLACES = click.Choice(("lambda", "sagemaker"))


@dataclass(frozen=True, slots=True)
class _Asked:
    """What `slipway iam` was asked: its options, as they are described there."""

    target: str | None
    role: str | None
    cloudformation: bool
    models: tuple[str, ...]
    account: str | None
    region: str | None
    config: Path | None
    as_json: bool


@click.command(epilog="""\b
Example:
  slipway iam --target lambda --role deployer
  slipway iam --cloudformation --model images > stack.json""")
@click.option("--target", type=PLACES, help="Where releases shall serve; lambda without it, every one for a stack.")
@click.option("--role", type=ROLES, help="Only this role's policy, ready for IAM; every one without it.")
@click.option("--cloudformation", is_flag=True, help="A stack of bucket, key, roles, alarms and dashboard instead.")
@click.option("--model", "models", multiple=True, help="A model that gets alarms of its own in the stack.")
@click.option("--account", help="The account's number; asked of AWS without it.")
@click.option("--region", help="The region; the configured one without it.")
@CONFIG
@JSON
def iam(**options: Any) -> None:
    """Print the least that publisher, deployer, pruner and runtime must be allowed, for this slipway.yaml.

    What is printed is JSON either way; --json leaves out the line breaks.
    """
    from .iam import TARGETS, template

    asked = _Asked(**options)
    aws, settings = opened(asked.config)
    if asked.cloudformation:
        stack = template(settings, asked.models, (asked.target,) if asked.target else TARGETS)
        _print_stack(json.dumps(stack) if asked.as_json else _a_line_each(stack))
    else:
        click.echo(json.dumps(_policies(asked, aws, settings), indent=None if asked.as_json else 2))


def _a_line_each(stack: dict[str, Any]) -> str:
    """The template with a line for each resource: indented, it would be too large for CloudFormation."""
    parts = [f" {json.dumps(name)}: " + ("{\n" + ",\n".join(
        f"  {json.dumps(key)}: {json.dumps(one)}" for key, one in held.items()) + "}"
        if isinstance(held, dict) else json.dumps(held)) for name, held in stack.items()]
    return "{\n" + ",\n".join(parts) + "\n}"


def _print_stack(text: str) -> None:
    click.echo(text)
    if len(text.encode()) >= INLINE:
        click.echo(f"with {len(text.encode()):,} bytes it is over {INLINE:,}. Next: give aws cloudformation deploy an "
                   "--s3-bucket, or make a stack for fewer models", err=True)


def _policies(asked: _Asked, aws: Aws, settings: Settings) -> Any:
    from .iam import ROLES as KNOWN
    from .iam import Account, policy

    target, where = asked.target or "lambda", Account(asked.account or aws.account(), asked.region or aws.region)
    if asked.role:
        return policy(asked.role, target, settings, where).to_dict()
    return {name: policy(name, target, settings, where).to_dict() for name in KNOWN}


@click.command(epilog="Example: slipway logs images --follow --since 1h")
@MODEL
@click.option("--target", type=PLACES, help="Where it serves; needed only where it serves in more than one place.")
@click.option("--follow", is_flag=True, help="Go on showing what is written, until Ctrl-C.")
@click.option("--since", default="10m", show_default=True, help="How far back: 90s, 10m, 2h, 1d.")
@CONFIG
@JSON
def logs(model: str, target: str | None, follow: bool, since: str, config: Path | None, as_json: bool) -> None:
    """Show what the version of MODEL in service wrote to its log."""
    from .logs import Following, group_of, span
    from .targets import target_of

    aws, settings = opened(config)
    following = Following(datetime.now(UTC) - span(since))
    group = group_of(target or target_of(model, None, aws, settings).name, model, settings)
    found = _written(aws, group, following)
    if not found:
        click.echo(f"nothing was written to {group} in the last {since}", err=True)
    with contextlib.suppress(KeyboardInterrupt):  # is how following ends
        _show(found, as_json)
        while follow:
            time.sleep(LOOK_EVERY)
            _show(_written(aws, group, following), as_json)


def _written(aws: Aws, group: str, following: Following) -> list[Line]:
    from .errors import AwsMissing

    try:
        return following.new(aws.logs.lines(group, following.since))
    except AwsMissing:  # the first line makes the group
        return []


def _show(lines: Sequence[Line], as_json: bool) -> None:
    for line in lines:
        plain = f"{line.at:%Y-%m-%d %H:%M:%S} {line.stream[-8:]} {line.text}"
        click.echo(json.dumps({**asdict(line), "at": line.at.isoformat()}) if as_json else plain)
