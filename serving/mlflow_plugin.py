"""`mlflow deployments -t lambda` and `-t slipway-sagemaker`: MLflow's own commands, with the same gates behind them.

Thin: what is done is done by the modules that the `slipway` commands call. A deployment's name is its model's.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from mlflow.deployments import PredictionsResponse
from mlflow.deployments.base import BaseDeploymentClient
from mlflow.deployments.utils import parse_target_uri
from mlflow.exceptions import MlflowException

from registry import RegistryError

from . import config as configuration
from .again import Consent, TakenBack, refuse
from .aws import Aws
from .config import Settings
from .errors import ConfigurationInvalid, NotDeployed, Refused, ServingError

PLACES = {"lambda": "lambda", "slipway-sagemaker": "sagemaker"}
OPTIONS = ("config", "again", "port", "host")
HELP = """\
Slipway deploys what was approved: -m names a version that stands in Production with a passing check and an approval
(models:/NAME/VERSION, models:/NAME@champion or models:/NAME/Production); any other is refused, with the reason.

  --name NAME     the registered model's name; it serves as PREFIX-NAME
  -t TARGET       lambda, or slipway-sagemaker
  -C config=FILE  a slipway.yaml; without it ./slipway.yaml when there is one
  -C again=true   bring a release that a rollback took back; refused without it
  -C port=N       of run-local, 8080 without it; -C host=ADDRESS, 127.0.0.1 without it

delete takes a model out of service; what was shipped stays, and create or update brings it back.
AWS endpoint, region and credentials come from where every AWS client takes them.
"""


class SlipwayDeployments(BaseDeploymentClient):
    """Deployments of registered models; see `target_help`."""

    def create_deployment(self, name: str, model_uri: str, flavor: str | None = None,
                          config: Mapping[str, Any] | None = None, endpoint: str | None = None) -> dict[str, Any]:
        """Take the approved version into service where nothing of this model serves yet."""
        with _as_mlflow(), _opened(self.target_uri, config) as (aws, settings, target):
            if self._serving(name, aws, settings) is not None:
                raise Refused(f"{name} is in service on {target} already. Next: mlflow deployments update")
            return _deploy(name, model_uri, aws, settings, target, _consent(config, "create", self.target_uri))

    def update_deployment(self, name: str, model_uri: str | None = None, flavor: str | None = None,
                          config: Mapping[str, Any] | None = None, endpoint: str | None = None) -> dict[str, Any]:
        """Take what is approved now into service; without a URI whatever stands in Production."""
        with _as_mlflow(), _opened(self.target_uri, config) as (aws, settings, target):
            if self._serving(name, aws, settings) is None:
                raise NotDeployed(f"{name} is not in service on {target}. Next: mlflow deployments create")
            return _deploy(name, model_uri, aws, settings, target, _consent(config, "update", self.target_uri))

    def delete_deployment(self, name: str, config: Mapping[str, Any] | None = None,
                          endpoint: str | None = None) -> None:
        """Take a model out of service; one that is not in service is no fault."""
        from .withdraw import withdraw

        with _as_mlflow(), _opened(self.target_uri, config) as (aws, settings, target):
            withdraw(name, target, aws, settings)

    def list_deployments(self, endpoint: str | None = None) -> list[dict[str, Any]]:
        """What serves there?"""
        from .status import models

        with _as_mlflow(), _opened(self.target_uri, None) as (aws, settings, target):
            there = [name for name, where in models(aws, settings).items() if target in where]
            found = [self._serving(name, aws, settings) for name in there]
            return [one for one in found if one is not None]

    def get_deployment(self, name: str, endpoint: str | None = None) -> dict[str, Any]:
        """What serves as this, and how does it differ from what was shipped?"""
        with _as_mlflow(), _opened(self.target_uri, None) as (aws, settings, target):
            found = self._serving(name, aws, settings)
            if found is None:
                raise NotDeployed(f"{name} is not in service on {target}. Next: mlflow deployments create")
            return found

    def predict(self, deployment_name: str | None = None, inputs: Any = None,
                endpoint: str | None = None) -> PredictionsResponse:
        """What does it answer? Takes a DataFrame, or a request's JSON as it is."""
        import json

        from .deploy import invoke
        from .targets import open_target

        with _as_mlflow(), _opened(self.target_uri, None) as (aws, settings, target):
            if deployment_name is None:
                raise ConfigurationInvalid("there are no endpoints apart from deployments. Next: --name MODEL")
            body = json.dumps(_request(inputs)).encode()
            said = json.loads(invoke(deployment_name, body, open_target(target, aws, settings)))
            if "predictions" not in said:
                raise Refused(f"{deployment_name} refused the request: {said.get('error', said)}")
            return PredictionsResponse(said)

    def _serving(self, name: str, aws: Aws, settings: Settings) -> dict[str, Any] | None:
        from .targets import open_target

        target = _place(self.target_uri)
        try:
            service = open_target(target, aws, settings).in_service(name, thoroughly=False)
        except NotDeployed:
            return None
        shipped = service.entry.shipped
        return {"name": name, "flavor": "onnx", "target": target, "version": shipped.version, "digest": shipped.digest,
                "place": service.place,
                "drift": [f"{one.what}: {one.found}" for one in service.findings if not one.right]}


def run_local(name: str, model_uri: str, flavor: str | None = None, config: Mapping[str, Any] | None = None) -> None:
    """Serve the approved version on this machine, by the server that runs in the container, until Ctrl-C."""
    from .runtime.server.run import serve
    from .runtime.server.settings import Settings as ServerSettings
    from .serve_commands import built

    with _as_mlflow(), tempfile.TemporaryDirectory(prefix="slipway-") as scratch:
        given = _checked(config)
        _require_approved(name, model_uri)
        host, port = str(given.get("host", "127.0.0.1")), int(given.get("port", 8080))
        folder = built(name, Path(scratch) / "bundle").folder
        serve(ServerSettings(folder, host=host, port=port, workers=1),
              ready=lambda taken: print(f"serving on http://{host}:{taken}/", flush=True))


def target_help() -> str:
    """What can be said to these targets?"""
    return HELP


@contextmanager
def _as_mlflow() -> Iterator[None]:
    """MLflow's callers catch MLflow's exception."""
    try:
        yield
    except (ServingError, RegistryError) as error:
        raise MlflowException(str(error)) from error


@contextmanager
def _opened(uri: str, config: Mapping[str, Any] | None) -> Iterator[tuple[Aws, Settings, str]]:
    path = _checked(config).get("config")
    settings = configuration.load(Path(path) if path else None)
    yield Aws.of(settings), settings, _place(uri)


def _place(uri: str) -> str:
    return PLACES[parse_target_uri(uri)]  # type: ignore[no-untyped-call]  # MLflow's function has no types


def _checked(config: Mapping[str, Any] | None) -> Mapping[str, Any]:
    from difflib import get_close_matches

    given = config or {}
    if unknown := sorted(set(given) - set(OPTIONS)):
        near = get_close_matches(unknown[0], OPTIONS, n=1, cutoff=0)[0]
        raise ConfigurationInvalid(f"unknown option -C {unknown[0]}; the nearest is {near}")
    return given


def _consent(config: Mapping[str, Any] | None, command: str, uri: str) -> Consent:
    """Does the caller say that what a rollback took back shall come again?

    Raises:
        ConfigurationInvalid: neither yes nor no.
    """
    said = str((config or {}).get("again", "false")).lower()
    if said not in ("true", "false"):
        raise ConfigurationInvalid(f"-C again={said}: wanted true or false")

    def consent(found: TakenBack) -> None:
        if said == "false":
            model = found.release.split("/")[0]
            again = f"mlflow deployments {command} --name {model} -t {uri} -m models:/{found.release} -C again=true"
            refuse(replace(found, comes_again=again))

    return consent


def _deploy(
    name: str, model_uri: str | None, aws: Aws, settings: Settings, target: str, consent: Consent
) -> dict[str, Any]:
    import click

    from .deploy import deploy, prepare
    from .targets import open_target

    if model_uri is not None:
        _require_approved(name, model_uri)
    aws.require_credentials()
    place = open_target(target, aws, settings)
    with tempfile.TemporaryDirectory(prefix="slipway-") as scratch:
        prepared = prepare(name, Path(scratch), place, say=lambda line: click.echo(line, err=True), consent=consent)
        made = deploy(prepared, aws, place,
                      report=lambda step, seconds: click.echo(f"{step}  {seconds:.1f} s", err=True))
        flavor = str(prepared.bundle.manifest.source["format"])
    return {"name": name, "flavor": flavor, "version": made.version, "digest": made.digest, "place": made.place}


def _require_approved(name: str, model_uri: str) -> None:
    """Is this the release in Production, under its own name?

    Raises:
        Refused: it is not.
        ReleaseMissing: nothing is.
    """
    from registry import Stage, release

    found = re.fullmatch(r"models:/([^/@]+)(?:/([^/@]+)|@([^/@]+))", model_uri)
    if found is None:
        raise Refused(f"{model_uri} names no registered version, and only what was approved is deployed. "
                      "Next: -m models:/NAME/VERSION")
    model, which, alias = found[1], found[2], found[3]
    if model != name:
        raise Refused(f"a deployment has its model's name; found --name {name} for {model}. Next: --name {model}")
    approved = release(model)
    stage = Stage.PRODUCTION
    if (which or alias) not in (str(approved.version), stage.value if which else str(stage.alias)):
        raise Refused(f"{model_uri} is not what stands approved in {stage.value}, which is {model}/{approved.version}. "
                      f"Next: slipway promote {model}/VERSION --to {stage.value}")


def _request(inputs: Any) -> Any:
    """A DataFrame whose columns are numbered is rows without names; one of named columns says them."""
    if not hasattr(inputs, "columns"):
        return inputs
    split = inputs.to_dict(orient="split")
    if list(inputs.columns) == list(range(len(inputs.columns))):
        return {"instances": split["data"]}
    if len(inputs.columns) == 1:  # one tensor, a cell for each row
        return {"inputs": {str(inputs.columns[0]): [row[0] for row in split["data"]]}}
    return {"dataframe_split": {"columns": [str(name) for name in split["columns"]], "data": split["data"]}}
