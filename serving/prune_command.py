"""The command `slipway prune`."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path

import click

from .commands import CONFIG, JSON, model_named, opened


@click.command(epilog="Example: slipway prune images --keep 5")
@click.argument("model", required=False, callback=model_named)
@click.option("--keep", type=click.IntRange(min=1), default=3, show_default=True,
              help="How many releases stay; what serves and the way back always do.")
@click.option("--dry-run", is_flag=True, help="Show the plan and change nothing.")
@click.option("--yes", is_flag=True, help="Do not ask; needed where there is no terminal.")
@CONFIG
@JSON
def prune(model: str | None, keep: int, dry_run: bool, yes: bool, config: Path | None, as_json: bool) -> None:
    """Remove what no kept release of MODEL, or of any model, needs: S3 objects, Lambda versions, layers.

    Never what serves, never the way back, nothing while a deployment is open.
    """
    from . import prune as pruning
    from .golden import Golden
    from .progress import counted
    from .status import models
    from .targets import deployed, open_target

    aws, settings = opened(config)
    wanted = {model: deployed(model, aws, settings)} if model else models(aws, settings)
    with counted("looking", 2 * len(wanted)) as looked:
        found = pruning.plan(aws, wanted, lambda name: open_target(name, aws, settings), keep=keep, named=bool(model),
                             now=datetime.now(UTC), looked=looked)
    for line in (*found.lines(), *(f"left alone  {reason}" for reason in found.skipped)):
        click.echo(line, err=True)
    if found.removals and not dry_run:
        _agree(yes)
        pruning.run(found, aws, lambda name: open_target(name, aws, settings).hands(Golden({}, {})),
                    lambda step, seconds: click.echo(f"{step}  {seconds:.1f} s", err=True))
    if as_json:
        click.echo(json.dumps({"steps": [str(r.step) for r in found.removals], "left_alone": list(found.skipped),
                               "done": not dry_run}))
    elif not found.removals:
        click.echo("nothing is left over")
    else:
        click.echo("nothing was changed" if dry_run else f"{len(found.removals)} steps done")


def _agree(yes: bool) -> None:
    """Is it to be done? Asks on a terminal; elsewhere somebody must have said so before."""
    from .errors import Refused

    if yes:
        return
    if not sys.stdin.isatty():
        raise click.UsageError("there is no terminal to ask on. Next: --yes, or --dry-run to see the plan only")
    if not click.confirm("Remove this for good?", err=True):
        raise Refused("nothing was removed: that was a no")
