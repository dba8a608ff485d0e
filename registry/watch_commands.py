"""`slipway watch`: follow the ledger."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import click

from registry.commands import as_json


@click.command(epilog="Example: slipway watch --run 'slipway deploy {model} --target lambda'")
@click.option("--run", "commands", multiple=True,
              help="Run this at every release; {model} and {version} are filled in. May be said several times.")
@click.option("--webhook", "urls", multiple=True,
              help="POST every entry here, signed as MLflow signs (SLIPWAY_WEBHOOK_SECRET). May be said several times.")
@click.option("--state", type=click.Path(dir_okay=False, path_type=Path), default=Path("slipway-watch.json"),
              show_default=True, help="Where to keep how far we came: a file beside this one for each subscriber.")
@click.option("--every", type=float, default=10.0, show_default=True, help="Seconds between looks.")
@click.option("--once", is_flag=True, help="Deliver what is new and stop.")
@click.option("--deliveries", is_flag=True, help="List every delivery so far, and deliver nothing.")
@as_json
def watch(
    commands: tuple[str, ...], urls: tuple[str, ...], state: Path, every: float, once: bool, deliveries: bool,
    as_json: bool,
) -> None:  # fmt: skip
    """Tell subscribers of everything that happens, or run commands at every release, at least once each.

    After an outage it goes on where it stopped. Versions that stand in Production without the ledger are named.
    """
    from registry import watch

    if deliveries:
        _list(watch.deliveries(state), as_json)
        return
    if not commands and not urls:
        raise click.UsageError("say --run or --webhook, or --deliveries")
    for stranger in watch.strangers():
        click.echo(f"warning: {stranger}", err=True)
    secret = os.environ.get("SLIPWAY_WEBHOOK_SECRET")
    told = [(url, watch.to_webhook(url, secret)) for url in urls]
    told += [(command, watch.to_command(command)) for command in commands]
    subscribers = [watch.Subscriber(deliver, watch.Cursor.of(state, name)) for name, deliver in told]
    for event in watch.follow(subscribers, every, time.sleep, once):
        click.echo(json.dumps({"entry": event.entry, "id": event.id}) if as_json else f"{event.entry} {event.id}")


def _list(tried: list[dict[str, object]], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(tried, indent=2))
        return
    for one in tried:
        click.echo(f"{str(one['at'])[:19]}  {one['entry']:>5}  {one['id']}  {one['outcome']}  {one['subscriber']}")
