"""`slipway bundle` and `slipway serve`: what would be shipped, on disk and on this machine."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from .bundle import Bundle


class _Unnamed(click.Command):
    """A command whose name nobody types: it is used, and called in its help, by its group's."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """In which context does it run? In its group's place."""
        if parent is not None:
            info_name, parent = parent.info_name, parent.parent
        return super().make_context(info_name, args, parent, **extra)


class BundleGroup(click.Group):
    """`bundle verify DIR`, and `bundle MODEL -o DIR` for any other first word."""

    def resolve_command(
            self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        """Which command do these words mean? One that is no command's name is a model's."""
        if args and args[0] not in self.commands:
            args = ["build", *args]
        return super().resolve_command(ctx, args)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options of MODEL as its own, for that is how they are typed."""
        with formatter.section("Options of MODEL"):
            options = [one for one in build.get_params(ctx) if isinstance(one, click.Option)]
            formatter.write_dl([told for one in options if (told := one.get_help_record(ctx))])
        self.format_commands(ctx, formatter)


@click.group(cls=BundleGroup, subcommand_metavar="MODEL[@STAGE] -o DIR | verify DIR", options_metavar="", epilog="""\b
Example:
  slipway bundle images@Production -o bundle
  slipway bundle verify bundle""")
def bundle() -> None:
    """Write the bundle of an approved version, or check one."""


@bundle.command(name="build", cls=_Unnamed, hidden=True, epilog="Example: slipway bundle images@Production -o bundle")
@click.argument("model", metavar="MODEL[@STAGE]")
@click.option("--output", "-o", "into", type=click.Path(path_type=Path), required=True, help="A new or empty folder.")
@click.option("--sign", "key", type=click.Path(exists=True, dir_okay=False, path_type=Path),
              envvar="SLIPWAY_SIGNING_KEY", help="A private EC key (PEM) to sign the bundle with.")
@click.option("--json", "as_json", is_flag=True, help="Print the manifest as JSON.")
def build(model: str, into: Path, key: Path | None, as_json: bool) -> None:
    """Write the bundle of MODEL's version in Production, or in the stage after @."""
    if into.exists() and (not into.is_dir() or any(into.iterdir())):
        raise click.UsageError(f"{into} is there and not empty; name a new folder")
    made = built(model, into)
    if key:
        from . import signing

        signing.sign(made.folder, key)
    _show(made, as_json)


@bundle.command(epilog="Example: slipway bundle verify bundle")
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--key", type=click.Path(exists=True, dir_okay=False, path_type=Path),
              envvar="SLIPWAY_VERIFY_KEY", help="A public key: the bundle must be signed by its owner.")
@click.option("--json", "as_json", is_flag=True, help="Print the manifest as JSON.")
def verify(folder: Path, key: Path | None, as_json: bool) -> None:
    """Check that every file of FOLDER is the one its manifest names."""
    from . import bundle as bundles
    from . import signing

    found = bundles.verify(folder)
    if key:
        signing.verify(folder, key)
    _show(found, as_json)


@click.command(epilog="""\b
Example:
  slipway serve images --port 8080
  slipway serve ./bundle""")
@click.argument("model")
@click.option("--port", type=click.IntRange(0, 65535), default=8080, show_default=True, help="0 takes a free one.")
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option("--workers", type=click.IntRange(1), default=1, show_default=True, help="Processes that share the port.")
def serve(model: str, port: int, host: str, workers: int) -> None:
    """Serve MODEL's approved version, or a bundle's folder, on this machine.

    The page at / tries a request by hand; /openapi.json describes the model, /metrics what was asked.
    """
    from .runtime.server.run import serve as run
    from .runtime.server.settings import Settings

    with tempfile.TemporaryDirectory(prefix="slipway-") as scratch:
        folder = _folder(model, Path(scratch))
        settings = Settings(folder, host=host, port=port, workers=workers)
        code = _run(run, settings, lambda port: click.echo(f"serving on http://{host}:{port}/", err=True))
    if code:
        raise click.exceptions.Exit(code)


def built(model: str, into: Path) -> Bundle:
    """Which bundle does the registry's version in this stage make?

    Args:
        model: a registered model's name, with @ and a stage where it is not Production.
        into: where it is written.
    """
    from registry import Stage, download, release

    from . import bundle as bundles

    name, _, stage = model.partition("@")
    if "/" in name:
        model = name.split("/")[0]
        raise click.UsageError(f"found {name}, wanted a model, of which the version in a stage is taken. "
                               f"Next: {model}, or {model}@Staging")
    try:
        wanted = Stage.named(stage) if stage else Stage.PRODUCTION
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    chosen = release(name, wanted)
    with tempfile.TemporaryDirectory(prefix="slipway-") as scratch:
        return bundles.build(chosen, download(chosen, Path(scratch) / "model"), into)


def _folder(model: str, scratch: Path) -> Path:
    if (Path(model) / "manifest.json").is_file():
        return Path(model)
    return built(model, scratch / "bundle").folder


def _run(run: Any, settings: Any, ready: Any) -> int:
    from .errors import BundleInvalid
    from .runtime.errors import BundleBroken

    try:
        return int(run(settings, ready=ready))
    except BundleBroken as error:
        raise BundleInvalid(str(error)) from None


def _show(made: Bundle, as_json: bool) -> None:
    manifest = made.manifest
    if as_json:
        click.echo(json.dumps(json.loads(manifest.to_bytes())))
        return
    parity = manifest.parity
    click.echo(f"{manifest.name}/{manifest.version} {manifest.digest}")
    click.echo(f"  {manifest.source['format']} as {manifest.engine}; {parity.labels_equal} of {parity.rows} golden and "
               f"{parity.edge_labels_equal} of {parity.edge_rows} awkward requests answered alike, "
               f"no difference above {max(parity.max_abs_diff, parity.edge_max_abs_diff):.0e}")
    for file in manifest.files:
        click.echo(f"  {file.sha256[:12]}  {file.size:>10,}  {file.path}")
