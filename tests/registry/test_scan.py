"""What could run code is found wherever it hides; what our own tasks make is not."""

from __future__ import annotations

import json
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skops.io
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from registry import scan_keras, scan_skops
from registry.scan import scan


def found(path: Path) -> tuple[str, ...]:
    return scan(path.parent, [path.name]).findings


@pytest.fixture(scope="module")
def keras() -> Any:
    import keras

    return keras


def network(keras: Any, *layers: Any) -> Any:
    image = keras.Input((4,), name="x")
    x = image
    for layer in layers:
        x = layer(x)
    return keras.Model(image, keras.layers.Dense(2)(x))


def saved(model: Any, path: Path) -> Path:
    model.save(path)
    return path


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_a_lambda_layer_is_found_in_both_of_keras_formats_however_deep(keras: Any, tmp_path: Path, suffix: str) -> None:
    layer = keras.layers.Lambda(lambda x: x * 2, output_shape=(4,), name="sly")
    flat = network(keras, layer)
    inner = keras.Sequential([keras.Input((2,)), flat_of(keras)])
    nested = network(keras, network(keras, keras.layers.Dense(4)), inner)
    for name, model in (("flat", flat), ("nested", nested)):
        said = " ".join(found(saved(model, tmp_path / f"{name}{suffix}")))
        assert "holds the Lambda layer 'sly'" in said


def flat_of(keras: Any) -> Any:
    x = keras.Input((2,))
    return keras.Model(x, keras.layers.Lambda(lambda y: y, output_shape=(2,), name="sly")(x))


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_plain_layers_and_operations_are_no_finding(keras: Any, tmp_path: Path, suffix: str) -> None:
    model = network(keras, keras.layers.BatchNormalization(), keras.layers.Reshape((2, 2)),
                    keras.layers.Bidirectional(keras.layers.GRU(3)), keras.layers.Dense(3, kernel_regularizer="l2"))
    model.compile("adam", "mse")
    assert found(saved(model, tmp_path / f"plain{suffix}")) == ()


def test_a_custom_layer_is_found(keras: Any, tmp_path: Path) -> None:
    class Mine(keras.layers.Dense):  # type: ignore[misc]  # keras has no types
        pass

    assert "custom object Mine" in found(saved(network(keras, Mine(2)), tmp_path / "m.keras"))[0]


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ({"class_name": "function", "module": "os", "config": "system"}, "calls os.system"),
        ({"class_name": "function", "module": "keras.utils", "config": "get_file"}, "calls keras.utils.get_file"),
        ({"class_name": "function", "module": "keras.config", "config": "enable_unsafe_deserialization"}, "calls"),
        ({"class_name": "TorchModuleWrapper", "module": "keras.layers", "config": {"name": "t"}}, "TorchModuleWrapper"),
        ({"class_name": "Popen", "module": "subprocess", "config": {}}, "custom object Popen"),
        ({"class_name": "__lambda__", "config": {"value": "4wEA"}}, "a lambda"),
        ({"class_name": "StringLookup", "module": "keras.layers", "config": {"name": "s", "vocabulary": "/etc/passwd"}},
         "reads its vocabulary from /etc/passwd"),
        ({"class_name": "Dense", "module": "keras.layers", "config": {}, "registered_name": "Mine>Dense"}, "custom"),
    ],
)  # fmt: skip
def test_what_got_around_keras_safe_mode_is_found(config: dict[str, Any], told: str) -> None:
    (said,) = scan_keras.findings({"module": "keras", "class_name": "Sequential", "config": {"layers": [config]}})
    assert told in said


def test_the_list_of_layers_is_keras_own_without_those_that_hold_code(keras: Any) -> None:
    own = {name for name, value in vars(keras.layers).items()
           if isinstance(value, type) and issubclass(value, keras.layers.Layer)}
    code = {"Lambda", "TorchModuleWrapper", "JaxLayer", "FlaxLayer", "TFSMLayer", "Layer", "Wrapper"}
    assert own - scan_keras.LAYERS == code


def test_weights_that_are_read_from_another_file_are_found(tmp_path: Path) -> None:
    import h5py

    with h5py.File(tmp_path / "w.h5", "w") as file:
        file["layer/far"] = h5py.ExternalLink("/etc/passwd", "/")
    assert found(tmp_path / "w.h5") == ("w.h5: weights link to /etc/passwd",)


def test_a_pickle_is_found_by_what_it_is_and_not_by_its_name(tmp_path: Path) -> None:
    body = pickle.dumps({"a": 1})
    (tmp_path / "model.json").write_bytes(body)
    with zipfile.ZipFile(tmp_path / "model.keras", "w") as archive:
        archive.writestr("config.json", "{}")
        archive.writestr("assets/vocabulary.txt", body)
    np.savez(tmp_path / "golden.npz", x=np.array([{}], dtype=object))
    assert found(tmp_path / "model.json") == ("model.json: is a pickle",)
    assert found(tmp_path / "model.keras") == ("model.keras: holds the pickle assets/vocabulary.txt",)
    assert "Python objects" in found(tmp_path / "golden.npz")[0]


@pytest.mark.parametrize("name", ["code.py", "lib.so", "model.pt2", "noname"])
def test_an_unknown_format_is_a_finding(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"x")
    assert found(tmp_path / name) == (f"{name}: is of a format that is not known to be free of code",)


def test_a_file_that_is_not_what_its_name_says_is_a_finding(tmp_path: Path) -> None:
    for name in ("a.keras", "a.skops", "a.json", "a.npz", "a.h5"):
        (tmp_path / name).write_bytes(b"not this")
        assert "cannot be read as what its name says" in found(tmp_path / name)[0]


@pytest.mark.parametrize(
    ("flavour", "told"),
    [
        ("loader_module: mlflow.pyfunc.model", "runs the model's own code"),
        ("code: code", "brings code along"),
        ("custom_objects: x", "brings custom objects along"),
    ],
)
def test_a_model_that_brings_its_own_code_is_found(tmp_path: Path, flavour: str, told: str) -> None:
    (tmp_path / "MLmodel").write_text(f"flavors:\n  python_function:\n    {flavour}\n")
    assert told in found(tmp_path / "MLmodel")[0]


def dumped(path: Path, model: Any) -> Path:
    skops.io.dump(model, path)
    return path


def test_scikit_learns_own_is_no_finding_and_a_function_is(tmp_path: Path) -> None:
    values, labels = np.random.default_rng(0).normal(size=(20, 2)), np.arange(20) % 2
    plain = make_pipeline(FunctionTransformer(np.log1p), StandardScaler(), LogisticRegression())
    plain.fit(np.abs(values), labels)
    sly = make_pipeline(FunctionTransformer(json.loads), LogisticRegression())
    assert found(dumped(tmp_path / "plain.skops", plain)) == ()
    trees = HistGradientBoostingClassifier(categorical_features=[0], max_iter=1).fit(np.round(np.abs(values)), labels)
    assert found(dumped(tmp_path / "trees.skops", trees)) == ()
    assert "json" in " ".join(found(dumped(tmp_path / "sly.skops", sly)))


@pytest.mark.parametrize(
    "node",
    [
        {"__loader__": "TypeNode", "__module__": "builtins", "__class__": "eval"},
        {"__loader__": "FunctionNode", "__module__": "numpy", "__class__": "load"},
        {"__loader__": "FunctionNode", "__module__": "os", "__class__": "system"},
        {"__loader__": "ObjectNode", "__module__": "numpy.testing", "__class__": "IgnoreException"},
        {"__loader__": "MethodNode", "__module__": "sklearn.svm", "__class__": "SVC"},
        {"__loader__": "NovelNode", "__module__": "sklearn.svm", "__class__": "SVC"},
    ],
)
def test_a_node_that_may_do_more_than_hold_values_is_found(node: dict[str, str]) -> None:
    assert len(list(scan_skops.findings({"content": [node]}))) == 1


def test_every_finding_of_many_is_counted_up_to_a_bound(tmp_path: Path) -> None:
    for index in range(30):
        (tmp_path / f"{index}.py").write_text("")
    assert len(scan(tmp_path, [f"{i}.py" for i in range(30)]).findings) == 20
