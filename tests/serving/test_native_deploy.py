"""A release that scikit-learn itself serves, from `slipway check` to `slipway prune`, in the commands that people type.

Emulated: SageMaker is the local AWS's, which runs our own server where the image is the Dockerfile's.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest
from sklearn.kernel_ridge import KernelRidge

from registry import register_candidate, rehearsal, row_digests, seen_rows
from serving import Aws

from .test_deploy import ROOT, answer, environment, registry_and_aws, slip
from .test_deploy_proof import by_hand
from .test_native import KERNEL
from .test_sagemaker_deploy import TARGET, changing_calls, configure, refused

ENDPOINT = "slipway-bumps"
ROWS = np.random.default_rng(0).normal(size=(120, 3)).astype(np.float32)
HEIGHT = (ROWS[:, 0] - ROWS[:, 1] + ROWS[:, 2] * ROWS[:, 0] / 2).astype(np.float64)
TRAINED, HELD_OUT = slice(0, 80), slice(80, 120)


def trained(alpha: float) -> Any:
    """Log and register a model that has no ONNX, as ana; the model."""
    model = KernelRidge(kernel="rbf", alpha=alpha).fit(ROWS[TRAINED], HEIGHT[TRAINED])
    with environment(SLIPWAY_USER="ana"), mlflow.start_run() as run:
        logged = mlflow.sklearn.log_model(
            model, name="model", serialization_format="skops", input_example=ROWS[HELD_OUT][:8],
            pip_requirements=[], metadata={"slipway": {"kind": "regression"}})
        held_out: dict[str, Any] = {"in.input": ROWS[HELD_OUT], "labels": HEIGHT[HELD_OUT]}
        seen: dict[str, Any] = {**seen_rows({"train": row_digests({"input": ROWS[TRAINED]}, HEIGHT[TRAINED])})}
        np.savez("held_out.npz", **held_out)
        np.savez("train_rows.npz", **seen)
        for name in ("held_out.npz", "train_rows.npz"):
            mlflow.log_artifact(name, "evaluation")
        register_candidate("bumps", run_id=run.info.run_id, source=logged.model_uri)
    return model


def said(*words: str, who: str = "ci") -> str:
    done = slip(*words, who=who)
    assert done.exit_code == 0, f"{words}: {done.output} {done.exception!r}"
    return done.output


def released(version: str) -> None:
    for who, *words in (("ci", "promote", version, "--to", "Staging"), ("bo", "approve", version),
                        ("ci", "promote", version, "--to", "Production")):
        said(*words, who=who)


def served(model: Any) -> int:
    """Which version answers, as this model does?"""
    body = json.dumps({"instances": ROWS[:4].tolist()}).encode()
    told = answer(slip("invoke", "bumps", "--file", "-", stdin=body))
    np.testing.assert_allclose(told["predictions"], model.predict(ROWS[:4]), rtol=1e-6)
    return int(told["model"]["version"])


def verified() -> bool:
    return all(finding["right"] for finding in answer(slip("verify", "bumps", "--json")))


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """bumps/1, in Production and nowhere deployed, once a policy allowed what it was rehearsed with; the model."""
    home = tmp_path_factory.mktemp("native")
    with pytest.MonkeyPatch.context() as patch, registry_and_aws(home, "--speed", "60"):
        patch.delenv(rehearsal.VARIABLE)  # rehearsed for real: it is the rehearsal that finds what runs it
        model = trained(0.1)
        checked = slip("check", "bumps/1")
        assert checked.exit_code == 1, f"{checked.output} {checked.exception!r}"
        assert f"{KERNEL}'>'; `engines` in the policy allows onnx" in checked.output
        assert "formats" in checked.output and "no code, no custom objects" in checked.output
        assert "allows onnx" in refused("promote", "bumps/1", "--to", "Staging")
        policy = home / "policy.yaml"
        policy.write_text((ROOT / "policy.yaml").read_text().replace("engines: [onnx]", "engines: [onnx, skops]"))
        released("bumps/1")
        yield model


@pytest.fixture(scope="module")
def deployed(first: Any) -> Any:
    """bumps/1 in service, after every place that cannot serve it said so."""
    changing_calls()
    for command in ("plan", "deploy"):
        configure()
        why = refused(command, "bumps", "--target", "lambda")
        assert "210 MB" in why and "--target sagemaker" in why and KERNEL in why
        Path("slipway.yaml").unlink()
        assert "AWS's image has imported a NumPy" in refused(command, "bumps", *TARGET)
    assert changing_calls() == []
    configure()
    assert answer(slip("deploy", "bumps", *TARGET, "--json"))["version"] == 1
    return first


def test_it_goes_all_the_way_with_a_second_version_and_back(deployed: Any) -> None:
    assert (served(deployed), verified()) == (1, True)
    second = trained(0.05)
    assert f"{KERNEL}'>'; allowed by `engines`" in said("check", "bumps/2")
    released("bumps/2")
    by_hand("cloudwatch", "put_metric_alarm", AlarmName="errors", Namespace="Any", MetricName="Bad", Statistic="Sum",
            Period=60, EvaluationPeriods=1, Threshold=1, ComparisonOperator="GreaterThanThreshold")
    configure(canary={"size": 50, "wait": 60}, alarms=["errors"])
    assert "canary 50%" in said("deploy", "bumps", *TARGET)
    assert (served(second), verified()) == (2, True)
    assert answer(slip("rollback", "bumps", "--json"))["version"] == 1
    assert (served(deployed), verified()) == (1, True)
    said("prune", "bumps", "--keep", "1", "--yes")
    assert verified()
    assert answer(slip("rollback", "bumps", "--json"))["version"] == 2, "the way back is kept"
    assert (served(second), verified()) == (2, True)
    config = Aws().endpoints.endpoint(ENDPOINT)
    assert config is not None and config.status == "InService"
