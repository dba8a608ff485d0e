"""The only door of training to MLflow: a run opened, everything about it written, a candidate registered."""

from __future__ import annotations

import logging
import math
import os
import re
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
from mlflow import MlflowClient
from mlflow.data.code_dataset_source import CodeDatasetSource
from mlflow.data.numpy_dataset import from_numpy
from mlflow.entities import Metric, Param
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, DataType, Schema, TensorSpec

from registry import SEEN, connect, licences_of, register_candidate, row_digests, seen_rows

from .errors import UnknownName
from .settings import Scalar
from .words import Array, Dataset, Engine, Examples, Fitted, Kind, Metrics, Split, Task

FLUSH_SECONDS = 2.0
GOLDEN_ROWS = 32
# MLflow's limits on one log-batch call (mlflow.utils.validation, 3.17.2).
METRICS_PER_BATCH, PARAMS_PER_BATCH, LONGEST_NAME = 1000, 100, 250
SPELLED = {"<": "lt", ">": "gt", "=": "eq", "+": "plus", "%": "percent", "&": "and", "/": "slash", "*": "star"}
REQUIRED = {
    Engine.KERAS: ("keras", "tensorflow", "numpy"),
    Engine.SKLEARN: ("scikit-learn", "skops", "numpy", "pandas"),
}
# They repeat what is decided here: requirements and signature are explicit, and the format is .keras on purpose.
TALKERS = ("mlflow.models.model", "absl")
# What our own pipelines hold beyond the types that skops trusts by itself; MLflow stores this list with the model.
OUR_TYPES = (
    "numpy.dtype",
    "sklearn.calibration._CalibratedClassifier",
    "sklearn.calibration._SigmoidCalibration",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.tree._tree.Tree",
)
ROOT = Path(__file__).resolve().parent.parent


@contextmanager
def recording(run_name: str, *, run_id: str = "", parent: str = "") -> Iterator[Recorder]:
    """An MLflow run around the block: the one MLflow started for us, `run_id` continued, or a new one.

    With `parent` it is shown under that run.
    """
    connect()
    for name in TALKERS:
        logging.getLogger(name).setLevel(logging.ERROR)
    above = {"mlflow.parentRunId": parent} if parent else None
    with mlflow.start_run(run_id=run_id or None, run_name=None if run_id else run_name, tags=above) as run:
        recorder = Recorder(run.info.run_id, dict(run.data.params))
        mlflow.set_tags(_git_state())
        try:
            yield recorder
        finally:
            recorder.flush()


def _git_state() -> dict[str, str]:
    """The commit of this project and whether files differ from it; nothing where there is no git."""
    try:
        commit = _git("rev-parse", "HEAD")
        dirty = bool(_git("status", "--porcelain", "--untracked-files=no"))
    except (OSError, subprocess.SubprocessError):
        return {}
    return {"slipway.git.commit": commit, "slipway.git.dirty": str(dirty).lower()}


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(ROOT), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10)  # noqa: S603  fixed words
    return done.stdout.strip()


@dataclass
class Recorder:
    """Writes one run; metrics wait in memory and travel in batches."""

    run_id: str
    known_params: dict[str, str] = field(default_factory=dict)
    _waiting: list[Metric] = field(default_factory=list)
    _flushed: float = field(default_factory=time.monotonic)

    def parameters(self, values: Mapping[str, Scalar]) -> None:
        """Write parameters; one that `mlflow run` wrote already keeps the text the user gave."""
        named = {allowed_name(name): str(value) for name, value in values.items()}
        fresh = [Param(name, value) for name, value in named.items() if name not in self.known_params]
        for start in range(0, len(fresh), PARAMS_PER_BATCH):
            MlflowClient().log_batch(self.run_id, params=fresh[start : start + PARAMS_PER_BATCH])

    def tags(self, values: Mapping[str, str]) -> None:
        """Write tags of the run."""
        mlflow.set_tags(dict(values))

    def epoch(self, number: int, metrics: Metrics) -> None:
        """Keep one epoch's metrics, sending what waits every two seconds at most."""
        self._keep(metrics, number)
        if time.monotonic() - self._flushed > FLUSH_SECONDS:
            self.flush()

    def metrics(self, values: Metrics) -> None:
        """Write figures that hold for the whole run."""
        self._keep(values, 0)

    def _keep(self, values: Metrics, step: int) -> None:
        now = int(time.time() * 1000)
        self._waiting += [
            Metric(allowed_name(name), value, now, step) for name, value in values.items() if math.isfinite(value)
        ]

    def flush(self) -> None:
        """Send every metric that waits."""
        while self._waiting:
            batch, self._waiting = self._waiting[:METRICS_PER_BATCH], self._waiting[METRICS_PER_BATCH:]
            MlflowClient().log_batch(self.run_id, metrics=batch)
        self._flushed = time.monotonic()

    def pictures(self, made: Mapping[str, bytes]) -> None:
        """Write PNG pictures under plots/."""
        with tempfile.TemporaryDirectory() as folder:
            for name, png in made.items():
                (Path(folder) / f"{name}.png").write_bytes(png)
            MlflowClient().log_artifacts(self.run_id, folder, "plots")

    def data(self, dataset: Dataset, split: Split) -> None:
        """Write the source and the digest of each split, as MLflow datasets and as tags."""
        source = CodeDatasetSource(tags={"path" if Path(dataset.source).exists() else "generator": dataset.source})
        parts = {"train": split.train, "validation": split.validation, "held_out": split.held_out}
        for context, examples in parts.items():
            digest = examples.digest()
            # MLflow keeps 36 characters of a digest; the tag holds all 64.
            short, inputs = digest[:36], _plain(examples.inputs)
            made = from_numpy(inputs, source, targets=examples.target, name=context, digest=short)
            mlflow.log_input(made, context=context)
            mlflow.set_tag(f"slipway.data.{context}", digest)
        self.parameters({f"rows.{context}": len(examples) for context, examples in parts.items()})
        self.parameters({"data.source": dataset.source})

    def held_out(self, examples: Examples, slices: Mapping[str, Array]) -> None:
        """Write all held-out rows, and which slice each is in, as evaluation/held_out.npz, readable without pickle."""
        arrays: dict[str, Any] = _named(_plain(examples.inputs)) | {"labels": examples.target}
        arrays |= {f"slice.{column}": np.asarray(names, dtype=str) for column, names in slices.items()}
        with tempfile.TemporaryDirectory() as folder:
            np.savez_compressed(Path(folder) / "held_out.npz", **arrays)
            MlflowClient().log_artifacts(self.run_id, folder, "evaluation")

    def seen(self, split: Split) -> None:
        """Write the digests of every row that trained or chose: the gate on overlap compares them with the held-out."""
        parts = {"train": split.train, "validation": split.validation}
        digests = {name: row_digests(_plain(rows.inputs), rows.target) for name, rows in parts.items()}
        arrays: dict[str, Any] = seen_rows(digests)
        with tempfile.TemporaryDirectory() as folder:
            np.savez(Path(folder) / Path(SEEN).name, **arrays)
            MlflowClient().log_artifacts(self.run_id, folder, str(Path(SEEN).parent))

    def model(self, fitted: Fitted, task: Task, dataset: Dataset, split: Split) -> str:
        """Log the model with signature, example, requirements and golden requests; its models:/ address."""
        rows = np.unique(np.linspace(0, len(split.held_out) - 1, GOLDEN_ROWS).astype(int))
        golden = split.held_out.take(rows)
        answers = fitted.answers(golden.inputs)
        keywords: dict[str, Any] = {
            "name": "model",
            "signature": _signature(fitted.engine, golden.inputs, answers, _output(dataset.kind)),
            "input_example": _example(fitted.engine, split.train.take(np.arange(min(2, len(split.train)))).inputs),
            "pip_requirements": requirements(fitted.engine),
            "metadata": {"slipway": _about(task.name, dataset, fitted.engine)},
        }
        info = _log(fitted, keywords)
        files = task.files(fitted) if task.files else {}
        self._golden(info.model_id, golden.inputs, {f"out.{_output(dataset.kind)}": answers}, files)
        return f"models:/{info.model_id}"

    def _golden(
        self, model_id: str, inputs: Mapping[str, Array], answers: Mapping[str, Array], files: Mapping[str, str]
    ) -> None:
        """Put golden.npz and the task's own files among the logged model's files."""
        with tempfile.TemporaryDirectory() as folder:
            arrays: dict[str, Any] = _named(_plain(inputs)) | dict(answers)
            np.savez(Path(folder) / "golden.npz", **arrays)
            for name, text in files.items():
                (Path(folder) / name).write_text(text, encoding="utf-8")
            MlflowClient().log_model_artifacts(model_id, folder)

    def register(self, name: str, source: str) -> int:
        """Register the logged model as a candidate; its version number."""
        self.flush()
        return int(register_candidate(name, run_id=self.run_id, source=source).number)


@dataclass(frozen=True, slots=True)
class Search:
    """The run of a search; its trials are runs under it, written whole when each ends."""

    run_id: str
    experiment_id: str

    def trial(
        self, number: int, params: Mapping[str, Scalar], epochs: Sequence[Metrics], figures: Mapping[str, float]
    ) -> None:
        """Write one trial as a run under the search's."""
        client, now = MlflowClient(), int(time.time() * 1000)
        tags = {"mlflow.parentRunId": self.run_id}
        run_id = client.create_run(self.experiment_id, tags=tags, run_name=f"trial-{number}").info.run_id
        steps = [(name, value, step) for step, row in enumerate(epochs, start=1) for name, value in row.items()]
        steps += [(name, value, 0) for name, value in figures.items()]
        metrics = [Metric(name, value, now, step) for name, value, step in steps if math.isfinite(value)]
        client.log_batch(run_id, params=[Param(name, str(value)) for name, value in params.items()])
        for start in range(0, len(metrics), METRICS_PER_BATCH):
            client.log_batch(run_id, metrics=metrics[start : start + METRICS_PER_BATCH])
        client.set_terminated(run_id)

    def write(self, facts: Mapping[str, Scalar], pictures: Mapping[str, bytes]) -> None:
        """Write what the search came to; processes that share it write the same names, the last one stays."""
        client = MlflowClient()
        for name, value in facts.items():
            if isinstance(value, float):
                client.log_metric(self.run_id, name, value)
            else:
                client.set_tag(self.run_id, name, str(value))
        Recorder(self.run_id).pictures(pictures)

    def close(self) -> None:
        """Mark the search's run as finished."""
        MlflowClient().set_terminated(self.run_id)


def search_run(run_id: str, name: str) -> Search:
    """The run of a search: `run_id` if the search has one, else the one MLflow started for us, else a new one."""
    connect()
    started = os.environ.pop("MLFLOW_RUN_ID", "")
    wanted = run_id or started
    client = MlflowClient()
    if wanted:
        run = client.get_run(wanted)
        client.update_run(wanted, status="RUNNING")
    else:
        with mlflow.start_run(run_name=name) as run:
            mlflow.set_tags(_git_state())
    return Search(run.info.run_id, run.info.experiment_id)


def request_of(run_id: str) -> str:
    """The request that a run was started with, as JSON.

    Raises:
        UnknownName: there is no such run, or it is none of ours.
    """
    connect()
    try:
        return MlflowClient().get_run(run_id).data.tags["slipway.request"]
    except (KeyError, MlflowException):
        raise UnknownName("training run", run_id, []) from None


def allowed_name(name: str) -> str:
    """`name` as MLflow allows it for metrics and parameters: other characters are spelled out, so names stay apart."""
    return re.sub(r"[^\w\-. :]", _spelled, name, flags=re.ASCII)[:LONGEST_NAME]


def _spelled(found: re.Match[str]) -> str:
    return f"_{SPELLED.get(found[0], f'u{ord(found[0]):x}')}_"


def requirements(engine: Engine) -> list[str]:
    """What loading the model needs, pinned to what trained it."""
    return [f"{name}=={metadata.version(name)}" for name in ("mlflow", *REQUIRED[engine])]


def _output(kind: Kind) -> str:
    return "probabilities" if kind is Kind.CLASSIFICATION else "prediction"


def _about(task: str, dataset: Dataset, engine: Engine) -> dict[str, Any]:
    licences = licences_of(("mlflow", *REQUIRED[engine]))
    facts = {"schema": 1, "task": task, "kind": dataset.kind.value, "labels": list(dataset.labels)}
    return facts | {"licences": licences}


def _plain(inputs: Mapping[str, Array]) -> dict[str, Array]:
    """The arrays with object text turned into NumPy unicode, which is stored without pickle."""
    return {name: np.asarray(v, dtype=str) if v.dtype == object else v for name, v in inputs.items()}


def _named(inputs: Mapping[str, Array]) -> dict[str, Array]:
    return {f"in.{name}": values for name, values in inputs.items()}


def _signature(engine: Engine, inputs: Mapping[str, Array], answers: Array, output: str) -> ModelSignature:
    out = Schema([TensorSpec(answers.dtype, (-1, *answers.shape[1:]), output)])
    if engine is Engine.SKLEARN:
        return ModelSignature(Schema([ColSpec(_column_type(v), name) for name, v in inputs.items()]), out)
    return ModelSignature(Schema([_tensor(name, values) for name, values in inputs.items()]), out)


def _tensor(name: str, values: Array) -> TensorSpec:
    # Text is said to be "object": MLflow 3.17.2 would pass NumPy's own unicode arrays on to Keras, which refuses them.
    return TensorSpec(values.dtype, (-1, *values.shape[1:]), name)


def _column_type(values: Array) -> DataType:
    return DataType.string if values.dtype.kind in "OU" else DataType.float


def _example(engine: Engine, inputs: Mapping[str, Array]) -> Any:
    if engine is Engine.KERAS:
        return dict(inputs)
    import pandas as pd

    return pd.DataFrame(dict(inputs))


def _log(fitted: Fitted, keywords: dict[str, Any]) -> Any:
    if fitted.engine is Engine.KERAS:
        import mlflow.tensorflow

        # Not mlflow.keras.log_model: in 3.17.2 it fails as soon as there is an input example (no such folder).
        return mlflow.tensorflow.log_model(fitted.native, keras_model_kwargs={"save_format": "keras"}, **keywords)
    import mlflow.sklearn

    predict = "predict_proba" if keywords["metadata"]["slipway"]["kind"] == Kind.CLASSIFICATION.value else "predict"
    keywords |= {"pyfunc_predict_fn": predict, "skops_trusted_types": list(OUR_TYPES)}
    return mlflow.sklearn.log_model(fitted.native, **keywords)
