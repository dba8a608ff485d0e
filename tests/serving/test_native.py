"""What has no ONNX is served by scikit-learn itself where a policy lets it, from types on a list alone; or refused."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import distribution, files
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from registry import Outcome, Verdict
from serving import bundle as bundles
from serving import package
from serving.bundle import Bundle
from serving.errors import Refused, Unconvertible
from serving.golden import read_golden
from serving.rehearse import rehearse
from serving.runtime.block import Block
from serving.runtime.core import GOLDEN, Predictor
from serving.runtime.errors import BundleBroken
from serving.targets.lambda_ import planning
from serving.targets.sagemaker import images

from .conftest import release_of
from .small import Front, LambdaFront, server
from .test_convert import CITIES, people, pipeline

# model, example -> what the refusal names
HASHED = "HashingVectorizer cannot be converted with hashing"
KERNEL = "KernelRidge"
PROPAGATION = "LabelPropagation"


def hashed() -> tuple[Any, Any]:
    from sklearn.feature_extraction.text import HashingVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    texts = ["a good one", "so bad", "good good", "bad, and long", "nothing", "great"] * 4
    model = make_pipeline(HashingVectorizer(n_features=64), LogisticRegression())
    return model.fit(texts, ["yes", "no", "yes", "no", "no", "yes"] * 4), texts[:6]


def kernel() -> tuple[Any, Any]:
    from sklearn.kernel_ridge import KernelRidge

    rows = np.random.default_rng(0).normal(size=(30, 3)).astype(np.float32)
    return KernelRidge(kernel="rbf").fit(rows, rows[:, 0] * rows[:, 1]), rows[:8]


def propagation() -> tuple[Any, Any]:
    from sklearn.semi_supervised import LabelPropagation

    frame = people(120)
    model = pipeline(LabelPropagation(gamma=1)).fit(frame, np.where(frame["city"] == CITIES[0], "a", "b"))
    return model, frame[:9]


MODELS: dict[str, tuple[Callable[[], tuple[Any, Any]], str]] = {
    "hashed words": (hashed, HASHED), "a kernel": (kernel, KERNEL), "a table with words": (propagation, PROPAGATION)}


@pytest.fixture(scope="module", params=MODELS)
def stored(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any, Any, str]:
    """The files of a model that does not convert, the model, requests, and what stands in the way."""
    make, why = MODELS[request.param]
    model, asked = make()
    return saved(model, asked, tmp_path_factory.mktemp("native") / "files"), model, asked, why


def saved(model: Any, asked: Any, files: Path) -> Path:
    import mlflow.sklearn
    import pandas as pd
    import skops.io
    from mlflow.models import infer_signature

    example = pd.DataFrame({"text": asked}) if isinstance(asked, list) else asked
    trusted = skops.io.get_untrusted_types(data=skops.io.dumps(model))
    mlflow.sklearn.save_model(model, files, signature=infer_signature(example), input_example=example,
                              pip_requirements=[], skops_trusted_types=trusted)
    return files


@pytest.fixture(scope="module")
def made(stored: tuple[Path, Any, Any, str], tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Its bundle, as a policy with `engines: [onnx, skops]` lets it be."""
    release = release_of(stored[0])
    verdicts = (*release.evidence.verdicts, Verdict("engine", Outcome.PASSED, "skops runs it"))
    release = replace(release, evidence=replace(release.evidence, verdicts=verdicts))
    return bundles.build(release, stored[0], tmp_path_factory.mktemp("native") / "bundle")


def said_by(model: Any, asked: Any) -> Any:
    return model.predict_proba(asked) if hasattr(model, "predict_proba") else model.predict(asked)


def body_of(bundle: Bundle) -> bytes:
    golden = read_golden(bundle.folder / GOLDEN)
    columns = {name: values.tolist() for name, values in golden.inputs.items()}
    return json.dumps({"inputs": columns}).replace("NaN", "null").encode()


def test_it_is_refused_by_name_and_told_of_the_policy(stored: tuple[Path, Any, Any, str], tmp_path: Path) -> None:
    with pytest.raises(Unconvertible, match=rf"{stored[3]}.*engines: \[onnx, skops\] in the policy"):
        bundles.build(release_of(stored[0]), stored[0], tmp_path / "bundle")
    failed = Verdict("engine", Outcome.FAILED, "not allowed")
    release = release_of(stored[0])
    release = replace(release, evidence=replace(release.evidence, verdicts=(failed,)))
    with pytest.raises(Unconvertible, match=stored[3]):
        bundles.build(release, stored[0], tmp_path / "bundle")


def test_the_bundle_holds_the_file_as_it_was_approved_and_says_so(
        stored: tuple[Path, Any, Any, str], made: Bundle) -> None:
    assert (made.folder / "model.skops").read_bytes() == (stored[0] / "model.skops").read_bytes()
    manifest = bundles.verify(made.folder).manifest
    assert manifest.engine == "skops"
    assert stored[3] in manifest.source["unconverted"]
    assert manifest.licences["scikit-learn"] == "BSD-3-Clause"
    assert manifest.parity.edge_rows > 0
    assert manifest.parity.max_abs_diff == 0.0
    assert manifest.parity.edge_max_abs_diff <= 1e-6  # rows asked one by one are summed in another order than together


def test_the_same_release_makes_the_same_bytes(
        stored: tuple[Path, Any, Any, str], made: Bundle, tmp_path: Path) -> None:
    again = bundles.build(release_of(stored[0]), stored[0], tmp_path / "again", natively=True)
    for path in made.folder.iterdir():
        if path.name != "manifest.json":  # which tells of the gate
            assert (again.folder / path.name).read_bytes() == path.read_bytes(), path.name


@pytest.mark.parametrize("stored", ["a table with words"], indirect=True)
def test_the_container_server_answers_as_the_model_does(stored: tuple[Path, Any, Any, str], made: Bundle) -> None:
    with server(made.folder) as (front, _):
        answered(front, stored, made)
        bad = front.ask(b'{"instances": [{"never": 1}]}', content_type="application/json")
        assert bad.status == 422


def test_a_handler_answers_as_the_model_does(stored: tuple[Path, Any, Any, str], made: Bundle, tmp_path: Path) -> None:
    shutil.copytree(made.folder, tmp_path / "bundle")
    answered(LambdaFront(tmp_path), stored, made)


def answered(front: Front, stored: tuple[Path, Any, Any, str], made: Bundle) -> None:
    reply = front.ask(body_of(made), content_type="application/json")
    assert reply.status == 200, reply.body
    np.testing.assert_allclose(reply.json["predictions"], said_by(stored[1], stored[2]), rtol=1e-6)
    if made.manifest.labels:
        assert reply.json["labels"] == list(stored[1].predict(stored[2]))


def test_a_release_that_lambda_has_no_room_for_is_refused_before_anything_is_asked_of_aws(made: Bundle) -> None:
    with pytest.raises(Refused, match=r"210 MB.*262 MB.*--target sagemaker.*ONNX: .+"):
        planning.require_fits(made.manifest)


def test_aws_own_image_is_refused_and_our_server_is_given_the_bundle_alone(made: Bundle, tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"Next: sagemaker\.image"):
        images.archive(made, images.prebuilt("eu-west-1"), tmp_path)
    with tarfile.open(images.archive(made, "123456789012.dkr.ecr.eu-west-1.amazonaws.com/ours:1", tmp_path)) as packed:
        assert set(packed.getnames()) == {"golden.npz", "manifest.json", "model.skops"}


# --- one of them is enough from here

@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    stored = saved(*kernel(), tmp_path_factory.mktemp("one") / "files")
    return bundles.build(release_of(stored), stored, tmp_path_factory.mktemp("one") / "bundle", natively=True)


@pytest.fixture
def copy(one: Bundle, tmp_path: Path) -> Path:
    return Path(shutil.copytree(one.folder, tmp_path / "copy"))


def rewritten(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    told = json.loads((folder / "manifest.json").read_bytes())
    change(told)
    (folder / "manifest.json").write_text(json.dumps(told))


def test_what_the_image_installs_for_it_is_all_that_it_needs(one: Bundle, tmp_path: Path) -> None:
    for line in (package.RUNTIME / "requirements-native.txt").read_text().splitlines():
        name = line.partition("==")[0]
        for part in {file.parts[0] for file in files(name) or ()} - {"..", "__pycache__"} if line[0] != "#" else ():
            (tmp_path / part).symlink_to(Path(str(distribution(name).locate_file(part))))
    (tmp_path / "serving").mkdir()
    (tmp_path / "serving" / "__init__.py").write_text("")
    (tmp_path / "serving" / "runtime").symlink_to(package.RUNTIME)
    ask = ("import sys, pandas; from pathlib import Path; from serving.runtime.core import Predictor;"
           "p = Predictor(Path(sys.argv[1])); print(p.answer({'inputs': [[0.1, 0.2, 0.3]]})['predictions'])")
    done = subprocess.run([sys.executable, "-S", "-s", "-c", ask, one.folder], capture_output=True, text=True,
                          cwd=tmp_path, env={"PYTHONPATH": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"})
    assert done.returncode == 0, done.stderr
    wanted = Predictor(one.folder).answer({"inputs": [[0.1, 0.2, 0.3]]})["predictions"]
    np.testing.assert_allclose(json.loads(done.stdout), wanted)


def test_a_type_that_the_manifest_does_not_list_is_not_made(copy: Path) -> None:
    from sklearn.ensemble import HistGradientBoostingRegressor

    from serving.runtime.manifest import sha256

    rows, asked = np.arange(40.0).reshape(20, 2), kernel()[1]
    files = saved(HistGradientBoostingRegressor(max_iter=2).fit(rows, rows[:, 0]), asked, copy.parent / "other")
    shutil.copyfile(files / "model.skops", copy / "model.skops")
    entry = {"path": "model.skops", "sha256": sha256(copy / "model.skops"), "size": 0}
    rewritten(copy, lambda told: told.update(files=[f for f in told["files"] if f["path"] != "model.skops"] + [entry]))
    with pytest.raises(BundleBroken, match=r"model.skops holds .*TreePredictor.*, which is not trusted"):
        Predictor(copy)


def test_another_scikit_learn_than_the_one_compared_with_does_not_serve(copy: Path) -> None:
    rewritten(copy, lambda told: told["source"].update({"scikit-learn": "1.2.3"}))
    with pytest.raises(BundleBroken, match=r"compared with scikit-learn 1\.2\.3; found .*requirements-native\.txt"):
        Predictor(copy)


class Custom:
    """Not scikit-learn's."""

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        return {}

    def predict(self, rows: Any) -> Any:
        return np.zeros(len(rows))


def calls_a_function() -> Any:
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer

    return make_pipeline(FunctionTransformer(np.load), kernel()[0])


@pytest.mark.parametrize(("harmful", "why"), [
    (Custom, r"Custom, which is not scikit-learn's"), (calls_a_function, r"calls numpy\.load")])
def test_what_could_run_code_is_never_served(harmful: Callable[[], Any], why: str, tmp_path: Path) -> None:
    files = saved(kernel()[0], kernel()[1], tmp_path / "files")
    import skops.io

    skops.io.dump(harmful(), files / "model.skops")
    with pytest.raises(Unconvertible, match=why):
        bundles.build(release_of(files), files, tmp_path / "bundle", natively=True)


def test_a_fault_of_the_estimator_is_the_models(one: Bundle) -> None:
    from serving.runtime.errors import ModelFault

    with pytest.raises(ModelFault, match="failed on these inputs"):
        Predictor(one.folder).run({one.manifest.inputs[0].name: Block("float32", (1, 2), bytes(8))})


def test_a_rehearsal_says_who_runs_it_and_why(tmp_path: Path) -> None:
    files = saved(*kernel(), tmp_path / "files")
    found = rehearse(files, "kernels", 1, "d" * 64)
    assert found["engine"] == "skops"
    assert KERNEL in found["unconverted"]
    assert (found["alike"], found["golden"]) == (8, 8)
