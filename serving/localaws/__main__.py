"""``python -m serving.localaws``: the local AWS on its own, for any project."""

import sys

import click

from serving.errors import ServingError
from serving.localaws.commands import local

if __name__ == "__main__":
    try:
        local(prog_name="python -m serving.localaws")
    except ServingError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(error.exit_code)
