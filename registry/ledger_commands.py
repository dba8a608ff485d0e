"""`slipway ledger verify | export | import | sign`: the ledger in an auditor's hands."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

import click

from registry.commands import as_json

_existing = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.group(epilog="Example: slipway ledger verify")
def ledger() -> None:
    """Verify, export, import or sign the ledger."""


@ledger.command(epilog="Example: slipway ledger verify --head head.json --key auditor.pub.pem")
@click.option("--head", type=_existing, help="A signed head to hold the ledger against.")
@click.option("--key", type=_existing, help="The public key of whoever signed it, in PEM.")
@as_json
def verify(head: Path | None, key: Path | None, as_json: bool) -> None:
    """Follow the chain from the first entry to the last, and name the first that is wrong."""
    from registry import reading, signing
    from registry.errors import LedgerBroken
    from registry.ledger import first_bad

    if (head is None) != (key is None):
        raise click.UsageError("--head and --key go together")
    entries, end = reading.whole_ledger()
    bad = first_bad(entries, end)
    if bad:
        raise LedgerBroken(f"the ledger does not hold: {bad}. Next: compare it with an export, or a signed head")
    if head and key:
        signing.verify(signing.Head.load(head.read_text()), key, entries)
    told = {"holds": True, "entries": end[0], "head": end[1], "signed_head": bool(head)}
    click.echo(json.dumps(told) if as_json else f"{end[0]} entries hold, the last is {end[1][:12]}")


@ledger.command(epilog="Example: slipway ledger export > ledger.jsonl")
def export() -> None:
    """Print every entry as one JSON line."""
    from registry import reading
    from registry.wire import EntryShape

    for entry in reading.whole_ledger()[0]:
        click.echo(EntryShape.of(entry).dump())


@ledger.command("import", epilog="Example: slipway ledger import ledger.jsonl")
@click.argument("file", type=click.File("r"), default="-")
def import_(file: TextIO) -> None:
    """Put exported entries into a database whose ledger they continue (an empty one, usually)."""
    from registry import mlflow_store
    from registry.errors import RegistryMisconfigured
    from registry.wire import EntryShape, read

    mlflow_store.connect()
    try:
        entries = [read(EntryShape, line).entry() for line in file if line.strip()]
    except ValueError as error:
        raise RegistryMisconfigured(f"this is no exported ledger: {error}") from error
    click.echo(f"{mlflow_store.restore(entries)} entries imported")


@ledger.command(epilog="Example: slipway ledger sign --key auditor.pem > head.json")
@click.option("--key", type=_existing, required=True, help="An EC private key in PEM.")
def sign(key: Path) -> None:
    """Sign how far the ledger has come; keep the line where nobody who owns the database can reach it."""
    from registry import reading, signing
    from registry.ledger import stamp

    seq, end = reading.whole_ledger()[1]
    sys.stdout.write(signing.sign(signing.Head(seq, end, stamp(datetime.now(UTC))), key).dump() + "\n")


@click.command(epilog="Example: slipway adopt --dry-run")
@click.option("--dry-run", is_flag=True, help="Say what would be written, and write nothing.")
@as_json
def adopt(dry_run: bool, as_json: bool) -> None:
    """Take an MLflow database that was here before slipway under its rules.

    Stages, aliases and tags stay as they are, and plain MLflow can go on using it. Every version is written down with
    you as its author, so that somebody else has to approve it. What stands in Production must be checked, approved and
    promoted once more before it can be deployed: nobody knows on what evidence it got there.
    """
    from registry import mlflow_store

    mlflow_store.connect_existing()
    told = mlflow_store.adopt(dry_run)
    if as_json:
        click.echo(json.dumps({"dry_run": dry_run, "adopted": told}, indent=2))
    else:
        click.echo("".join(f"{line}\n" for line in told), nl=False)
    click.echo(f"{len(told)} versions {'would be ' if dry_run else ''}adopted", err=True)
