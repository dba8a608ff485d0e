"""`slipway batch`: the release in service over many requests in S3."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import click

from .commands import CONFIG, JSON, MODEL, opened


@click.command(epilog="Example: slipway batch images --input s3://my-bucket/days/1/ --output s3://my-bucket/answers/1")
@MODEL
@click.option("--input", "source", required=True, help="S3 prefix; every object under it is one request.")
@click.option("--output", "to", required=True, help="S3 address; the answer to NAME lies there as NAME.out.")
@click.option("--type", "kind", default="application/json", show_default=True,
              help="Content type of requests and answers: application/json, text/csv or application/x-npy.")
@CONFIG
@JSON
def batch(model: str, source: str, to: str, kind: str, config: Path | None, as_json: bool) -> None:
    """Let the release of MODEL in service on SageMaker answer every object under an S3 prefix (batch transform)."""
    from .targets.sagemaker.batch import Batch, run

    aws, settings = opened(config)
    made = run(Batch(model, source, to, kind), aws, settings, lambda line: click.echo(line, err=True))
    click.echo(json.dumps(asdict(made)) if as_json else f"answered: {made.to}")
