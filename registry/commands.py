"""`slipway check | approve | promote | history`: the edge where people and CI speak to the registry."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from registry.words import Outcome, Stage

if TYPE_CHECKING:
    from registry.words import Evidence, ModelVersion

_MARKS = {Outcome.PASSED: "passed", Outcome.FAILED: "FAILED", Outcome.UNKNOWN: "unknown"}


class Reference(click.ParamType[tuple[str, int]]):
    """`MODEL/VERSION`, as in images/3."""

    name = "MODEL/VERSION"

    def convert(
        self, value: str, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, int]:
        """Split it into a name and a number."""
        model, _, number = value.rpartition("/")
        if not model or not number.isdecimal() or not int(number):
            self.fail(f"{value!r} is no MODEL/VERSION; wanted for example images/3", param, ctx)
        return model, int(number)


reference = click.argument("version", type=Reference(), metavar="MODEL/VERSION")
as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON, for a machine to read.")


def _find(version: tuple[str, int]) -> ModelVersion:
    from registry import mlflow_store

    mlflow_store.connect()
    return mlflow_store.model_version(*version)


@click.command(epilog="Example: slipway check images/3")
@reference
@as_json
@click.pass_context
def check(ctx: click.Context, version: tuple[str, int], as_json: bool) -> None:
    """Measure a version on its held-out rows beside the champion, and record the evidence.

    Exits with 1 when a gate did not pass.
    """
    from registry import check as measuring

    found = _find(version)
    evidence = measuring.check(found)
    click.echo(json.dumps(_evidence_json(found, evidence), indent=2) if as_json else _table(found, evidence))
    ctx.exit(0 if evidence.passed else 1)


def _table(version: ModelVersion, evidence: Evidence) -> str:
    rows = [(_MARKS[verdict.outcome], verdict.gate, verdict.reason) for verdict in evidence.verdicts]
    width = max((len(gate) for _, gate, _ in rows), default=0)
    lines = [f"{version}  sha256 {evidence.digest[:12]}  {evidence.rows} held-out rows"]
    lines += [f"  {mark:<8}{gate:<{width + 2}}{reason}" for mark, gate, reason in rows]
    return "\n".join([*lines, "every gate passed" if evidence.passed else "not every gate passed"])


def _evidence_json(version: ModelVersion, evidence: Evidence) -> dict[str, object]:
    return {
        "version": str(version),
        "digest": evidence.digest,
        "passed": evidence.passed,
        "held_out": {"sha256": evidence.held_out, "rows": evidence.rows},
        "verdicts": [
            {"gate": v.gate, "outcome": v.outcome.value, "reason": v.reason, "found": v.found, "wanted": v.wanted,
             "interval": v.interval}
            for v in evidence.verdicts
        ],
        "measures": {measure.name: measure.value for measure in evidence.measures},
    }  # fmt: skip


@click.command(epilog='Example: slipway approve images/3 --comment "recall of class 6 looked at"')
@reference
@click.option("--comment", default="", help="Why, for whoever reads the history.")
def approve(version: tuple[str, int], comment: str) -> None:
    """Consent to a version's bytes, as they were checked last. Nobody's own version, no CI identity."""
    from registry import check as measuring
    from registry import mlflow_store
    from registry.wire import WordShape

    found = _find(version)
    evidence = measuring.recorded(found)
    mlflow_store.send_approval(found, WordShape(digest=evidence.digest, comment=comment))
    click.echo(f"{found} approved, sha256 {evidence.digest[:12]}")


@click.command(epilog="Example: slipway promote images/3 --to Production")
@reference
@click.option("--to", "stage", required=True, type=click.Choice(["Staging", "Production"], case_sensitive=False))
def promote(version: tuple[str, int], stage: str) -> None:
    """Move a version to a stage, if the policy allows it. Running it again changes nothing."""
    from registry import mlflow_store

    found, target = _find(version), Stage.named(stage)
    if found.stage is target:
        click.echo(f"{found} is in {target.value} already")
        return
    moved = mlflow_store.move(found, target)
    click.echo(f"{moved} is in {moved.stage.value}, @{target.alias} points at it")


@click.command(epilog="Example: slipway history images")
@click.argument("model")
@as_json
def history(model: str, as_json: bool) -> None:
    """Show who did what to a model, when, and on what evidence."""
    from registry import mlflow_store, telling

    mlflow_store.connect()
    entries = mlflow_store.ledger(model)
    if as_json:
        click.echo(json.dumps([telling.as_json(entry) for entry in entries], indent=2))
        return
    for entry in entries:
        click.echo(telling.line(entry))
    if not entries:
        click.echo(f"the ledger says nothing about {model}", err=True)
