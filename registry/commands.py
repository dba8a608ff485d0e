"""`slipway check | approve | reject | promote | history`: the edge where people and CI speak to the registry."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, datetime
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

import click

from registry import ci
from registry.words import Outcome, Stage

if TYPE_CHECKING:
    from registry.words import Evidence, ModelVersion

_STAGES = (Stage.STAGING.value, Stage.PRODUCTION.value)
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
            step = f"slipway history {value.partition('/')[0] or 'MODEL'}"
            self.fail(f"{value!r} is no MODEL/VERSION; wanted for example images/3. Next: {step}", param, ctx)
        return model, int(number)


class StageName(click.ParamType[str]):
    """A stage that a version is promoted to, in upper or lower case."""

    name = "[Staging|Production]"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The stage as MLflow spells it."""
        stage = value.capitalize()
        if stage not in _STAGES:
            near = get_close_matches(stage, _STAGES, 1, 0.3)
            meant = f"; did you mean {near[0]}?" if near else ""
            self.fail(f"{value!r} is no stage to promote to; wanted Staging or Production{meant}", param, ctx)
        return stage

    def get_missing_message(self, param: click.Parameter, ctx: click.Context | None) -> str:
        """Which stages are there?"""
        return "wanted --to Staging or --to Production"


reference = click.argument("version", type=Reference(), metavar="MODEL/VERSION")
as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON, for a machine to read.")


def _find(version: tuple[str, int]) -> ModelVersion:
    from registry import mlflow_store, policy, reading

    mlflow_store.connect_existing()
    found, advice = mlflow_store.model_version(*version), reading.advice()
    strangers = policy.load().strangers(lambda: [model.name for model in reading.reader().models()])
    for warning in (*([advice] if advice else []), *strangers):
        click.echo(f"warning: {warning}", err=True)
    return found


@click.command(epilog="Example: slipway check images/3")
@reference
@as_json
@click.option("--summary", type=click.Path(dir_okay=False, path_type=Path), envvar="GITHUB_STEP_SUMMARY",
              help="Append what came of it to this file, as Markdown; in GitHub Actions, to the job's summary.")
@click.pass_context
def check(ctx: click.Context, version: tuple[str, int], as_json: bool, summary: Path | None) -> None:
    """Measure a version on its held-out rows beside the champion, and record the evidence.

    A report with figures is logged to the version's run: check/report.html and report.md.
    Exits with 1 when a gate did not pass.
    """
    from registry import check as measuring
    from registry import report

    found = _find(version)
    evidence = measuring.check(found, draw=True)
    if summary:
        with summary.open("a", encoding="utf-8") as file:
            file.write(report.markdown(found, evidence))
    click.echo(json.dumps(_evidence_json(found, evidence), indent=2) if as_json else _table(found, evidence))
    if not evidence.passed:
        for verdict in evidence.verdicts:
            if verdict.outcome is not Outcome.PASSED:
                ci.annotate(f"{found} {_MARKS[verdict.outcome]} {verdict.gate}: {verdict.reason}")
        ctx.exit(1)
    _say_next(found)


def _next_step(found: ModelVersion) -> str:
    from registry import mlflow_store, policy, telling

    needed = policy.load().rules(found.name, Stage.PRODUCTION).approvals.needed
    return telling.next_step(found, mlflow_store.ledger(found.name, found.number), needed)


def _say_next(found: ModelVersion) -> None:
    click.echo(f"Next: {_next_step(found)}", err=True)


def _tell(found: ModelVersion, line: str, as_json: bool, **told: object) -> None:
    """One line for people, or the same for a machine."""
    click.echo(json.dumps({"version": str(found), **told}) if as_json else line)


def _table(version: ModelVersion, evidence: Evidence) -> str:
    from registry.weighing import notes

    rows = [(_MARKS[verdict.outcome], verdict.gate, verdict.reason) for verdict in evidence.verdicts]
    width = max((len(gate) for _, gate, _ in rows), default=0)
    lines = [f"{version}  sha256 {evidence.digest[:12]}  {evidence.rows} held-out rows"]
    lines += [f"  {mark:<8}{gate:<{width + 2}}{reason}" for mark, gate, reason in rows]
    lines += [f"  {'note':<8}{gate:<{width + 2}}{said}" for gate, said in notes(evidence.measured)]
    return "\n".join([*lines, "every gate passed" if evidence.passed else "not every gate passed"])


def _evidence_json(version: ModelVersion, evidence: Evidence) -> dict[str, object]:
    from registry.weighing import notes

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
        "notes": [{"gate": gate, "note": said} for gate, said in notes(evidence.measured)],
        "measures": {measure.name: measure.value for measure in evidence.measures},
        "paired": asdict(evidence.paired) if evidence.paired else None,
        "measured": asdict(evidence.measured) if evidence.measured else None,
    }  # fmt: skip


@click.command(epilog='Example: slipway approve images/3 --comment "recall of class 6 looked at"')
@reference
@click.option("--comment", default="", help="Why, for whoever reads the history.")
@click.option("--withdraw", is_flag=True, help="Take back what you said, yes or no.")
@as_json
def approve(version: tuple[str, int], comment: str, withdraw: bool, as_json: bool) -> None:
    """Consent to a version's bytes, as they were checked last. Nobody's own version, no CI identity."""
    from registry import mlflow_store, shown, telling

    found = _find(version)
    last = max((entry.seq for entry in mlflow_store.ledger(*version)), default=0)
    digest = _say(found, shown.WITHDRAWAL_TAG if withdraw else shown.APPROVAL_TAG, comment)
    if withdraw:
        line = f"{found} no longer judged by you, sha256 {digest[:12]}"
        _tell(found, line, as_json, digest=digest, approved=False, changed=True)
        return
    mine = telling.approval_by(mlflow_store.own_name(), digest, mlflow_store.ledger(*version))
    already = mine if mine and mine.entry <= last else None
    line = f"{found} approved, sha256 {digest[:12]}"
    if already:
        line = f"{found} was approved by {already.approver.name} already, on {already.at:%Y-%m-%d %H:%M} UTC"
    _tell(found, line, as_json, digest=digest, approved=True, changed=already is None, next=_next_step(found))
    _say_next(found)


@click.command(epilog='Example: slipway reject images/3 --comment "class 6 is worse than it looks"')
@reference
@click.option("--comment", required=True, help="Why; the author reads it.")
@as_json
def reject(version: tuple[str, int], comment: str, as_json: bool) -> None:
    """Say no to a version's bytes; it stands until you withdraw it or approve."""
    from registry import shown

    found = _find(version)
    digest = _say(found, shown.REJECTION_TAG, comment)
    _tell(found, f"{found} rejected, sha256 {digest[:12]}", as_json, digest=digest, rejected=True)


def _say(found: ModelVersion, key: str, comment: str) -> str:
    from registry import check as measuring
    from registry import mlflow_store
    from registry.wire import WordShape

    digest = measuring.recorded(found).digest
    mlflow_store.send_word(found, key, WordShape(digest=digest, comment=comment))
    return digest


@click.command(epilog="Example: slipway promote images/3 --to Production")
@reference
@click.option("--to", "stage", required=True, type=StageName(), metavar="[Staging|Production]")
@click.option("--break-glass", "reason", help="Override gates and approvals, for this reason; the ledger keeps it.")
@as_json
def promote(version: tuple[str, int], stage: str, reason: str | None, as_json: bool) -> None:
    """Move a version to a stage, if the policy allows it. Running it again changes nothing."""
    from registry import mlflow_store, telling
    from registry.identity import calling
    from registry.ledger import stamp

    found, target = _find(version), Stage.named(stage)
    before = mlflow_store.ledger(*version)
    with calling() as call:
        moved = mlflow_store.break_glass(found, target, reason) if reason else mlflow_store.move(found, target)
    move = telling.put_there(mlflow_store.ledger(*version), target)
    changed = move is not None and telling.made_by(move, call, mlflow_store.own_name(), before)
    line = f"{moved} is in {target.value}, @{target.alias} points at it"
    if not changed:
        since = f": {move.actor} moved it on {move.at:%Y-%m-%d at %H:%M:%S} UTC" if move else ""
        line = f"{found} is in {target.value} already{since}"
    by = {"moved_by": move.actor.name, "moved_at": stamp(move.at)} if move else {}
    _tell(moved, line, as_json, stage=target.value, alias=target.alias, changed=changed, next=_next_step(moved), **by)
    _summarize(moved)
    _say_next(moved)


def _summarize(moved: ModelVersion) -> None:
    """The job's summary, where CI wants one: on which numbers and whose word it moved."""
    from registry import check as measuring
    from registry import mlflow_store
    from registry.standing import standing

    if not ci.wants_summary():
        return
    now = standing(mlflow_store.ledger(moved.name, moved.number))
    evidence = measuring.recorded(moved) if now.evidence else None
    ci.summarize(ci.promoted(moved, evidence, [str(approval.approver) for approval in now.approvals]))


@click.command(epilog="Example: slipway history images --at 2026-11-01T12:00:00Z")
@click.argument("model")
@click.option("--at", "moment", help="What stood where at this time (ISO 8601; without an offset: UTC).")
@as_json
def history(model: str, moment: str | None, as_json: bool) -> None:
    """Show who did what to a model, when, and on what evidence."""
    from registry import reading, telling

    when = _moment(moment) if moment else None
    registry = reading.reader()
    entries = reading.entries(registry, model)
    if not entries:
        reading.require_model(model, registry)
        click.echo(f"the ledger says nothing about {model}. Next: slipway adopt", err=True)
    lines, rows = telling.stood(entries, when) if when else telling.all_of(entries)
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    for line in lines:
        click.secho(line, fg="red" if telling.GLASS in line else None)


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise click.BadParameter(f"{text!r} is no time; wanted for example 2026-11-01T12:00:00Z") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def __getattr__(name: str) -> click.Command:
    """The commands with modules of their own, where the root looks for them."""
    if name == "ledger":
        from registry.ledger_commands import ledger

        return ledger
    if name == "adopt":
        from registry.ledger_commands import adopt

        return adopt
    if name == "token":
        from registry.token_commands import token

        return token
    if name == "watch":
        from registry.watch_commands import watch

        return watch
    raise AttributeError(name)
