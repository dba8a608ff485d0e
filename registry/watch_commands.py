"""`slipway watch`: follow the ledger."""

from __future__ import annotations

import os
import time
from pathlib import Path

import click


@click.command(epilog="Example: slipway watch --run 'slipway deploy {model} --target lambda'")
@click.option("--run", "command", help="Run this at every release; {model} and {version} are filled in.")
@click.option("--webhook", "url", help="POST every entry here, signed as MLflow signs (SLIPWAY_WEBHOOK_SECRET).")
@click.option("--state", type=click.Path(dir_okay=False, path_type=Path), default=Path("slipway-watch.json"),
              show_default=True, help="Where to keep how far we came.")  # fmt: skip
@click.option("--every", type=float, default=10.0, show_default=True, help="Seconds between looks.")
@click.option("--once", is_flag=True, help="Deliver what is new and stop.")
def watch(command: str | None, url: str | None, state: Path, every: float, once: bool) -> None:
    """Tell a subscriber of everything that happens, or run a command at every release, at least once each.

    After an outage it goes on where it stopped. Versions that stand in Production without the ledger are named.
    """
    from registry import watch

    if (command is None) == (url is None):
        raise click.UsageError("say either --run or --webhook")
    for stranger in watch.strangers():
        click.echo(f"warning: {stranger}", err=True)
    secret = os.environ.get("SLIPWAY_WEBHOOK_SECRET")
    deliver = watch.to_webhook(url, secret) if url else watch.to_command(str(command))
    for event in watch.follow(deliver, watch.Cursor(state), every, time.sleep, once):
        click.echo(f"{event.entry} {event.id}")
