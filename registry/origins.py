# mypy: disallow-untyped-calls=False
# MLflow's own functions carry no annotations.
"""Where do the files of a version that is being registered lie, and which run made them? Asked of the tracking store.

MLflow's server takes a `runs:/` address as it is, and finds out at each download what it means then; and it believes
the run that a client names beside a logged model. Both are settled here, once, when the version is registered.
"""

from __future__ import annotations

from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE
from mlflow.store.artifact.runs_artifact_repo import RunsArtifactRepository
from mlflow.store.artifact.utils.models import _parse_model_uri
from mlflow.tracking import MlflowClient
from mlflow.tracking._model_registry.fluent import _get_logged_models_from_run


def settled(source: str, run_id: str | None) -> str:
    """The same files by an address that means these and no others.

    Raises:
        MlflowException: 400, when the run is not the one that logged the model, or several models may be meant.
    """
    if source.startswith("runs:"):
        source = _of_run(source)
    if run_id and source.startswith("models:/") and (logged := _parse_model_uri(source).model_id):
        made_by = MlflowClient().get_logged_model(logged).source_run_id
        if made_by and made_by != run_id:
            raise _wrong(f"{source} was logged by run {made_by}, not by {run_id}. Next: leave the run out")
    return source


def _of_run(source: str) -> str:
    """As `mlflow.register_model` reads it: the model that the run logged under this name, else the run's own folder."""
    run_id, name = RunsArtifactRepository.parse_runs_uri(source)
    models = _get_logged_models_from_run(MlflowClient().get_run(run_id), name) if name else []
    if len(models) > 1:
        raise _wrong(f"run {run_id} logged several models {name!r}. Next: register one by models:/<model id>")
    return f"models:/{models[0].model_id}" if models else str(RunsArtifactRepository.get_underlying_uri(source))


def _wrong(message: str) -> MlflowException:
    return MlflowException(message, error_code=INVALID_PARAMETER_VALUE)
