"""The commands of serving: thin, so that what they do can be called from Python as well."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click

from .names import TARGETS

if TYPE_CHECKING:
    from .again import Consent
    from .aws import Aws
    from .config import Settings
    from .traffic import Judged


def model_named(ctx: click.Context, _: click.Parameter, said: str | None) -> str | None:
    """Is it a model that is named, and not one of its versions? Which of them is meant follows from its stage."""
    if said is None or "/" not in said:
        return said
    model, version = said.split("/", 1)
    to = f" --to {version}" if ctx.info_name == "rollback" else ""
    meant = "" if to else ": what stands in Production, or serves, is meant"
    raise click.UsageError(f"found {said}, wanted a model's name{meant}. Next: slipway {ctx.info_name} {model}{to}")


MODEL = click.argument("model", callback=model_named)
JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON for a machine.")
TARGET = click.option("--target", type=click.Choice(TARGETS), default="lambda", show_default=True,
                      help="Where it shall serve.")
DEPLOYED = click.option("--target", type=click.Choice(TARGETS),
                        help="Where it serves; needed only where it serves in more than one place.")
SIGN = click.option("--sign", "key", type=click.Path(exists=True, dir_okay=False, path_type=Path),
                    envvar="SLIPWAY_SIGNING_KEY", help="A private EC key (PEM) to sign the bundle with.")
CONFIG = click.option("--config", type=click.Path(dir_okay=False, path_type=Path),
                      help="A slipway.yaml; without it ./slipway.yaml when there is one.")


def opened(config: Path | None) -> tuple[Aws, Settings]:
    """Which settings are in force, and AWS as they want it used? The one place where a command reads them."""
    from . import config as configuration
    from .aws import Aws

    settings = configuration.load(config)
    return Aws.of(settings), settings


def _say(line: str) -> None:
    click.echo(line, err=True)


@click.command(epilog="Example: slipway plan images --target lambda")
@MODEL
@TARGET
@SIGN
@CONFIG
@JSON
def plan(model: str, target: str, key: Path | None, config: Path | None, as_json: bool) -> None:
    """Show what a deploy of MODEL would change, and change nothing."""
    from .deploy import prepare
    from .targets import open_target

    place = open_target(target, *opened(config))
    with tempfile.TemporaryDirectory(prefix="slipway-") as scratch:
        prepared = prepare(model, Path(scratch), place, say=_say, key=key, consent=lambda _: None)
    if as_json:
        found = prepared.plan
        click.echo(json.dumps({"plan": found.title, "again": str(prepared.again) if prepared.again else None,
                               "steps": [str(step) for step in found.steps], "facts": list(found.facts),
                               "checks": [{"what": check.what, "found": check.found} for check in found.checks]}))
        return
    if prepared.again:
        click.echo(f"{prepared.again}; this deploys it again, where somebody says so (--again)")
    click.echo(prepared.plan.title)
    for line in (*(f"costs by  {fact}" for fact in prepared.plan.facts),
                 *(f"looked at {check}" for check in prepared.plan.checks)):
        click.echo(f"     {line}")
    click.echo("\n".join(prepared.plan.lines()) or "     nothing to do: it is in service already")


@click.command(epilog="Example: slipway deploy images --target lambda")
@MODEL
@TARGET
@click.option("--probe", type=click.File("rb"),
              help="JSON lines: requests that a canary asks of the old and the new version, to compare their answers.")
@click.option("--again", is_flag=True,
              help="Bring a release that a rollback took back; needed where there is no terminal to ask on.")
@SIGN
@CONFIG
@JSON
def deploy(
    model: str, target: str, probe: IO[bytes] | None, again: bool, key: Path | None, config: Path | None, as_json: bool
) -> None:
    """Take the approved version of MODEL into service.

    Pulls the version in Production, refuses it unless every file is the one that was approved, converts it to ONNX,
    compares its answers with the native model's, uploads it and publishes it; then asks it its golden requests, and
    only then lets the alias name it.
    """
    from .deploy import deploy as run
    from .deploy import prepare
    from .errors import CanaryFailed
    from .progress import shown
    from .targets import open_target

    aws, settings = opened(config)
    place = open_target(target, aws, settings)
    aws.require_credentials()  # before minutes are spent on what they would end
    probes = _probes(probe) if probe else []
    with tempfile.TemporaryDirectory(prefix="slipway-") as scratch:
        prepared = prepare(model, Path(scratch), place, say=_say, key=key, consent=_asking(again))
        try:
            made = run(prepared, aws, place, probes=probes, sending=shown,
                       report=lambda step, seconds: _say(f"{step}  {seconds:.1f} s"))
        except CanaryFailed as error:
            _show(error.judged, as_json)
            raise
    if as_json:
        click.echo(json.dumps(asdict(made)))
        return
    done = f"{made.steps} steps" if made.steps else "nothing to do"
    _show(made.judged, as_json)
    click.echo(f"{made.model}/{made.version} is in service as {made.place}, version {made.published} ({done})")
    click.echo(f"digest {made.digest}")


def _asking(again: bool) -> Consent:
    """Whoever brings back what a rollback took away is told so, and asked on a terminal where nobody said so before."""
    from .again import TakenBack, refuse
    from .errors import Refused

    def ask(found: TakenBack) -> None:
        if not again and not sys.stdin.isatty():
            refuse(found)
        _say(f"{found}; this deploys it again")
        if not again and not click.confirm(f"Deploy {found.release} again?", err=True):
            raise Refused(f"nothing was changed: that was a no. Next: {found.stays}")

    return ask


def _show(judged: Sequence[Judged], as_json: bool) -> None:
    """Tell what was judged, test by test; as JSON, of a version that was sent back."""
    from .traffic import Verdict

    if as_json:
        click.echo(json.dumps({"judged": [asdict(one) for one in judged]}))
        return
    for one in judged:
        colour = {Verdict.BROKEN: "red", Verdict.WITHIN: "green", Verdict.FEW: "yellow"}[one.verdict]
        seen, wanted = one.lines()
        click.echo(f"  {click.style(f'{one.verdict:<16}', fg=colour)}  {one.test:<14} {seen}")
        click.echo(f"  {'':<16}  {'':<14} {wanted}")


def _probes(lines: IO[bytes]) -> list[Any]:
    from .errors import ConfigurationInvalid

    found = []
    for number, line in enumerate(lines, start=1):
        try:
            found.append(json.loads(line))
        except ValueError as error:
            raise ConfigurationInvalid(f"--probe, line {number}: not JSON: {error}") from None
    return found


@click.command(epilog="Example: slipway rollback images --to 2")
@MODEL
@click.option("--to", "version", type=int, help="A version that was in service before; the previous one without it.")
@click.option("--dry-run", is_flag=True, help="Show the plan and change nothing.")
@DEPLOYED
@CONFIG
@JSON
def rollback(
    model: str, version: int | None, dry_run: bool, target: str | None, config: Path | None, as_json: bool
) -> None:
    """Bring the previous release of MODEL back, from what AWS and S3 hold: the registry may be gone."""
    from .deploy import rollback as run
    from .targets import target_of

    aws, settings = opened(config)
    place = target_of(model, target, aws, settings)
    back = place.plan_back(model, version)
    _say(back.plan.title)
    if dry_run:
        click.echo("\n".join(back.plan.lines()))
        return
    entry = run(back, aws, place, report=lambda step, seconds: _say(f"{step}  {seconds:.1f} s"))
    shipped = entry.shipped
    if as_json:
        click.echo(json.dumps({"model": model, "version": shipped.version, "digest": shipped.digest,
                               "target": place.name, "published": entry.published}))
        return
    click.echo(f"{model}/{shipped.version} is in service again as {place.place(model)}, version {entry.published}")
    click.echo(f"digest {shipped.digest}")
    _say(f"Next: slipway promote {model}/{shipped.version} --to Production to stay with it; "
         f"slipway deploy {model} --target {place.name} --again to undo this")


@click.command(epilog="Example: slipway verify images")
@MODEL
@DEPLOYED
@click.option("--key", type=click.Path(exists=True, dir_okay=False, path_type=Path),
              envvar="SLIPWAY_VERIFY_KEY", help="A public key: what serves must be signed by its owner.")
@CONFIG
@JSON
def verify(model: str, target: str | None, key: Path | None, config: Path | None, as_json: bool) -> None:
    """Prove from the outside that what serves MODEL is what was shipped; exit 1 when it is not."""
    from .deploy import verify as run
    from .errors import Refused
    from .targets import target_of

    place = target_of(model, target, *opened(config))
    findings = run(model, place, key)
    if as_json:
        click.echo(json.dumps([asdict(finding) for finding in findings]))
    else:
        for finding in findings:
            mark = click.style("right", fg="green") if finding.right else click.style("WRONG", fg="red")
            click.echo(f"  {mark}  {finding.what:<20} {finding.found}")
    if wrong := [finding.what for finding in findings if not finding.right]:
        raise Refused(f"what serves {model} is not what was approved: {', '.join(wrong)}. "
                      f"Next: slipway deploy {model} --target {place.name}, and look who changed it")


@click.command(epilog="Example: slipway status images")
@click.argument("model", required=False, callback=model_named)
@CONFIG
@JSON
def status(model: str | None, config: Path | None, as_json: bool) -> None:
    """Show registry, journal and AWS side by side, for MODEL or for every model, and where they differ."""
    from .progress import counted
    from .status import all_of, models
    from .targets import open_target

    aws, settings = opened(config)
    deployed = models(aws, settings, model)
    wanted = {model: deployed.get(model, ())} if model else deployed
    with counted("asking", len(wanted)) as looked:
        found = all_of(wanted, lambda name: open_target(name, aws, settings), looked)
    if as_json:
        click.echo(json.dumps([asdict(one) for one in found]))
        return
    for one in found:
        click.echo("\n".join(one.lines()))
    if not found:
        click.echo("nothing was deployed yet. Next: slipway deploy MODEL")


@click.command(epilog="""\b
Example:
  slipway invoke images --file digits.json
  echo '{"instances": [[0.1, 0.2]]}' | slipway invoke iris --file -""")
@MODEL
@click.option("--file", "body", type=click.File("rb"), required=True,
              help='JSON such as {"instances": [...]}; - reads standard input.')
@DEPLOYED
@CONFIG
def invoke(model: str, body: IO[bytes], target: str | None, config: Path | None) -> None:
    """Ask the version of MODEL in service for an answer, through boto3."""
    from .deploy import invoke as ask
    from .errors import Refused
    from .targets import target_of

    request = body.read()
    try:
        json.loads(request)
    except ValueError as error:
        raise click.UsageError(f"{getattr(body, 'name', 'standard input')}: not JSON: {error}") from None
    answer = json.loads(ask(model, request, target_of(model, target, *opened(config))))
    if "error" in answer:
        raise Refused(f"{model} refused the request ({answer.get('status')}): {answer['error']}")
    click.echo(json.dumps(answer))
