"""What CI shows beside the log: annotations and the job's summary, in GitHub's words. Silent anywhere else."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Iterable

    from registry.words import Evidence, ModelVersion


def annotate(message: str) -> None:
    """Mark the run with an error, where GitHub Actions runs us; stderr, as its runner reads both streams."""
    if os.environ.get("GITHUB_ACTIONS") == "true":
        escaped = message.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
        click.echo(f"::error title=slipway::{escaped}", err=True)


def wants_summary() -> bool:
    """Is there a job that shows one?"""
    return bool(os.environ.get("GITHUB_STEP_SUMMARY"))


def summarize(markdown: str) -> None:
    """Add to the job's summary, where there is one."""
    path = os.environ.get("GITHUB_STEP_SUMMARY")
    if path:
        with Path(path).open("a", encoding="utf-8") as summary:
            summary.write(f"{markdown}\n")


def promoted(version: ModelVersion, evidence: Evidence | None, people: Iterable[str]) -> str:
    """A promotion in Markdown: what moved where, on which gates, and who approved."""
    lines = [f"### {version} is in {version.stage.value}", ""]
    if evidence:
        rows = (f"| {v.gate} | {v.outcome.value} | {v.reason.replace('|', '/')} |" for v in evidence.verdicts)
        lines += [f"sha256 `{evidence.digest}`", "", "| gate | verdict | numbers |", "|---|---|---|", *rows, ""]
    return "\n".join([*lines, f"Approved by: {', '.join(people) or 'nobody'}"])
