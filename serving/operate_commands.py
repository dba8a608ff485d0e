"""The commands around what serves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from .commands import CONFIG, JSON

# Written out, and held equal to serving.iam's by a test: importing it would cost every --help its time.
ROLES = click.Choice(("publisher", "deployer", "runtime"))
PLACES = click.Choice(("lambda", "sagemaker"))


@click.command(epilog="""\b
Example:
  slipway iam --target lambda --role deployer
  slipway iam --cloudformation --model images > stack.json""")
@click.option("--target", type=PLACES, help="Where releases shall serve; lambda without it, every one for a stack.")
@click.option("--role", type=ROLES, help="Only this role's policy, ready for IAM; all three without it.")
@click.option("--cloudformation", is_flag=True, help="A stack of bucket, key, roles, alarms and dashboard instead.")
@click.option("--model", "models", multiple=True, help="A model that gets alarms of its own in the stack.")
@click.option("--account", help="The account's number; asked of AWS without it.")
@click.option("--region", help="The region; the configured one without it.")
@CONFIG
@JSON
def iam(target: str | None, role: str | None, cloudformation: bool, models: tuple[str, ...], account: str | None,
        region: str | None, config: Path | None, as_json: bool) -> None:
    """Print the least that publisher, deployer and runtime must be allowed, for this slipway.yaml.

    What is printed is JSON either way; --json leaves out the line breaks.
    """
    from . import config as configuration
    from .iam import TARGETS, template

    settings = configuration.load(config)
    if cloudformation:
        said: Any = template(settings, models, (target,) if target else TARGETS)
    else:
        said = _policies(settings, target or "lambda", role, account, region)
    click.echo(json.dumps(said, indent=None if as_json else 2))


def _policies(settings: Any, target: str, role: str | None, account: str | None, region: str | None) -> Any:
    from .aws import Aws
    from .iam import ROLES as KNOWN
    from .iam import Account, policy

    aws = Aws()
    where = Account(account or aws.account(), region or aws.region)
    if role:
        return policy(role, target, settings, where).to_dict()
    return {name: policy(name, target, settings, where).to_dict() for name in KNOWN}
