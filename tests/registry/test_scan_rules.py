"""Each rule of the look inside a model's files by itself: what passes, and what is named. No framework is asked."""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from registry import scan_keras, scan_skops
from registry.measured import Scan
from registry.scan import harms, scan

PICKLES = [bytes([0x80, protocol]) for protocol in (2, 3, 4, 5)]


def archived(path: Path, entries: Mapping[str, bytes | str]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, body in entries.items():
            archive.writestr(name, body)
    return path


def array(*values: object) -> bytes:
    body = io.BytesIO()
    np.save(body, np.array(values, dtype=object if values and isinstance(values[0], dict) else float))
    return body.getvalue()


def weights(path: Path | io.BytesIO, far: bool = False) -> Path | io.BytesIO:
    with h5py.File(path, "w") as file:
        file["layers/dense/kernel"] = np.zeros(3)
        file["layers/alias"] = h5py.SoftLink("/layers/dense")
        if far:
            file["layers/far"] = h5py.ExternalLink("/etc/passwd", "/")
    return path


def test_every_file_is_looked_into_and_named_with_its_folder(tmp_path: Path) -> None:
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "x.py").write_text("")
    (tmp_path / "MODEL.JSON").write_text("{}")
    told = ("code/x.py: is of a format that is not known to be free of code",)
    assert scan(tmp_path, ["code/x.py", "MODEL.JSON"]) == Scan(2, told)


@pytest.mark.parametrize("head", PICKLES)
def test_a_pickle_of_every_protocol_is_found_in_a_file_and_in_an_archive(tmp_path: Path, head: bytes) -> None:
    (tmp_path / "x.txt").write_bytes(head + b"K\x01.")
    assert harms(tmp_path / "x.txt") == ("is a pickle",)
    packed = archived(tmp_path / "x.keras", {"config.json": "{}", "assets/a": head + b"K\x01."})
    assert harms(packed) == ("holds the pickle assets/a",)
    assert pickle.loads(head + b"K\x01.") == 1  # noqa: S301 - made above: it is one indeed


@pytest.mark.parametrize("body", [b"\x80\x01", b"\x80\x06", b"\x81\x02"])
def test_what_only_begins_like_a_pickle_is_not_called_one(tmp_path: Path, body: bytes) -> None:
    (tmp_path / "x.txt").write_bytes(body)
    (said,) = harms(tmp_path / "x.txt")
    assert said.startswith("cannot be read as what its name says")


@pytest.mark.parametrize("name", ["a.txt", "a.md", "a.csv", "a.lgb", "a.yaml", "a.yml", "a.json", "MLmodel"])
def test_text_that_is_text_is_no_finding_and_bytes_that_are_none_are_one(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text('{"a": 1}')
    assert harms(tmp_path / name) == ()
    (tmp_path / name).write_bytes(b"\xff\xfe")
    assert "cannot be read" in harms(tmp_path / name)[0]


def test_a_tag_that_makes_an_object_is_no_yaml_of_ours(tmp_path: Path) -> None:
    for name in ("a.yaml", "MLmodel"):
        (tmp_path / name).write_text("a: !!python/object/apply:os.system [ls]")
        (said,) = harms(tmp_path / name)
        assert said.startswith("cannot be read as what its name says")
        assert "\n" not in said


def test_json_that_is_too_deep_to_read_is_a_finding(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("[" * 100_000)
    assert "cannot be read" in harms(tmp_path / "a.json")[0]


def test_mlflows_own_loaders_are_no_finding(tmp_path: Path) -> None:
    path = tmp_path / "MLmodel"
    for name in ("sklearn", "tensorflow", "keras", "onnx", "xgboost", "lightgbm"):
        path.write_text(f"flavors: {{python_function: {{loader_module: mlflow.{name}}}, other: null}}")
        assert harms(path) == ()
    path.write_text("flavors: {python_function: {code: code}, keras: {custom_objects: x}}")
    assert harms(path) == ("flavour python_function brings code along", "flavour keras brings custom objects along")


def test_an_array_of_numbers_is_no_finding_whatever_its_header(tmp_path: Path) -> None:
    for version in ((1, 0), (2, 0)):
        with (tmp_path / "a.npy").open("wb") as file:
            np.lib.format.write_array(file, np.zeros(3), version=version)
        assert harms(tmp_path / "a.npy") == ()
    (tmp_path / "a.npy").write_bytes(array({}))
    assert harms(tmp_path / "a.npy") == ("a.npy holds Python objects, which are a pickle",)
    packed = archived(tmp_path / "a.npz", {"x.npy": array(1.0), "y.npy": array({})})
    assert harms(packed) == ("y.npy holds Python objects, which are a pickle",)


@pytest.mark.parametrize("name", ["/etc/cron", "\\\\host\\x", "assets/../../x", ".."])
def test_an_archive_that_writes_outside_of_itself_is_found(tmp_path: Path, name: str) -> None:
    path = archived(tmp_path / "a.keras", {"config.json": "{}", name: "x"})
    assert any("outside of it" in said for said in harms(path))


def test_a_keras_file_is_its_configuration_its_weights_and_assets(tmp_path: Path) -> None:
    body = io.BytesIO()
    weights(body)
    whole: dict[str, bytes | str] = {"config.json": "{}", "metadata.json": "{}",
                                     "model.weights.h5": body.getvalue(), "assets/v..txt": "a"}
    assert harms(archived(tmp_path / "a.keras", whole)) == ()
    assert harms(archived(tmp_path / "a.keras", {**whole, "x": "y"})) == ("holds x, which no .keras file has",)
    weights(body := io.BytesIO(), far=True)
    far_away = {**whole, "model.weights.h5": body.getvalue()}
    assert harms(archived(tmp_path / "a.keras", far_away)) == ("weights link to /etc/passwd",)
    sly = {**whole, "config.json": json.dumps({"class_name": "Lambda", "config": {"name": "f"}})}
    assert harms(archived(tmp_path / "a.keras", sly)) == ("holds the Lambda layer 'f', which is code",)


def test_hdf5_is_looked_into_by_both_its_names_and_links_within_it_are_no_finding(tmp_path: Path) -> None:
    for name in ("a.h5", "a.hdf5"):
        weights(tmp_path / name)
        assert harms(tmp_path / name) == ()
        with h5py.File(tmp_path / name, "a") as file:
            file.attrs["model_config"] = json.dumps({"class_name": "Popen", "module": "subprocess"})
        assert harms(tmp_path / name) == ("holds the custom object Popen of subprocess",)


def test_numbers_that_lie_in_another_file_are_found_however_they_are_borrowed(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        group = file.create_group("deep").create_group("er")
        group.create_dataset("raw", (1,), "u1", external=[("/etc/passwd", 0, 1)])
        layout = h5py.VirtualLayout((1,), "f8")
        layout[0] = h5py.VirtualSource("/elsewhere.h5", "x", (1,))[0]
        group.create_virtual_dataset("virtual", layout)
        group["after"] = np.zeros(1)
    assert harms(tmp_path / "a.h5") == (
        "weights raw are read from another file", "weights virtual are read from another file",
    )  # fmt: skip


def test_a_skops_file_is_its_schema_and_arrays(tmp_path: Path) -> None:
    tree = {"content": [{"__loader__": "DictNode", "__module__": "builtins", "__class__": "dict"}]}
    whole: dict[str, bytes | str] = {"schema.json": json.dumps(tree), "1.npy": array(1.0),
                                     "2.npz": "scipy reads it without pickles"}
    assert harms(archived(tmp_path / "a.skops", whole)) == ()
    assert harms(archived(tmp_path / "a.skops", {**whole, "x": "y"})) == ("holds x, which no .skops file has",)
    objects = {**whole, "1.npy": array({}), "0/../x.npy": array(1.0)}
    assert harms(archived(tmp_path / "a.skops", objects)) == (
        "holds 0/../x.npy, outside of it", "1.npy holds Python objects, which are a pickle",
    )  # fmt: skip
    sly = {**whole, "schema.json": json.dumps(tree).replace('"dict"', '"eval"')}
    assert harms(archived(tmp_path / "a.skops", sly)) == ("holds the custom object builtins.eval",)


# --- ONNX


def far(place: str) -> TensorProto:
    tensor = helper.make_tensor("w", TensorProto.FLOAT, [1], [0.0])
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="offset", value="/0")
    tensor.external_data.add(key="location", value=place)
    return tensor


def constant(tensor: TensorProto) -> Any:
    return helper.make_node("Constant", [], ["c"], value=tensor)


def graph(*nodes: Any, weights: tuple[TensorProto, ...] = ()) -> Any:
    return helper.make_graph(nodes, "g", [], [], weights)


def function(tensor: TensorProto) -> Any:
    return helper.make_function("own", "f", [], ["c"], [constant(tensor)], [helper.make_opsetid("", 21)])


@pytest.mark.parametrize("place", ["/etc/passwd", "../x", "a/../../x"])
@pytest.mark.parametrize("where", ["weights", "constant", "inner", "function"])
def test_a_tensor_that_is_read_from_outside_of_the_model_is_found_wherever_it_stands(
    tmp_path: Path, place: str, where: str
) -> None:
    tensor = far(place)
    model = helper.make_model({
        "weights": graph(weights=(tensor,)),
        "constant": graph(constant(tensor)),
        "inner": graph(helper.make_node("If", ["x"], ["y"], then_branch=graph(weights=(tensor,)), else_branch=graph())),
        "function": graph(),
    }[where], functions=[function(tensor)] if where == "function" else [])
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    assert harms(tmp_path / "m.onnx") == (f"reads {place}, outside of the model",)


def test_weights_beside_the_model_and_within_it_are_no_finding(tmp_path: Path) -> None:
    model = helper.make_model(graph(constant(far("m..data")), weights=(far("part/w.bin"),)))
    onnx.save(model, tmp_path / "m.onnx")
    assert harms(tmp_path / "m.onnx") == ()


# --- Keras' configuration, part by part

HARMLESS: list[dict[str, Any]] = [
    {"class_name": "Dense", "module": "keras.layers", "config": {"name": "d"}},
    {"class_name": "Dense", "module": "keras.src.layers.core.dense", "config": {}},
    {"class_name": "Dense"},
    {"class_name": "Functional", "module": "keras.models"},
    {"class_name": "Functional", "module": "keras.src.models.functional", "registered_name": "Functional"},
    {"class_name": "Functional"},
    {"class_name": "DTypePolicy", "module": "keras"},
    {"class_name": "__keras_tensor__"},
    {"class_name": "GlorotUniform"},
    {"class_name": "Variable"},
    {"class_name": "Zeros", "module": "keras.initializers"},
    {"class_name": "Adam", "module": "keras.optimizers"},
    {"class_name": "Add", "module": "keras.ops"},
    {"class_name": "function", "module": "keras.activations", "config": "relu"},
    {"class_name": "function", "module": "keras.losses", "config": "mse"},
    {"class_name": "StringLookup", "module": "keras.layers", "config": {"vocabulary": ["a"]}},
    {"class_name": "Hashing", "module": "keras.layers", "config": {"vocabulary": "/etc/passwd"}},
    {"module": "os"},
]
HARMFUL: list[tuple[dict[str, Any], str]] = [
    ({"class_name": "Lambda", "config": {"name": "f"}}, "holds the Lambda layer 'f', which is code"),
    ({"class_name": "Lambda", "module": "keras.layers"}, "holds the Lambda layer None, which is code"),
    ({"class_name": "__lambda__"}, "holds a lambda, code too"),
    ({"class_name": ["Dense"]}, "holds a lambda, code too"),
    ({"class_name": "function", "module": "keras.ops", "config": "add"}, "calls keras.ops.add"),
    ({"class_name": "function", "config": "relu"}, "calls None.relu"),
    ({"class_name": "Dense", "module": "mine.layers"}, "holds the custom object Dense of mine.layers"),
    ({"class_name": "Dense", "module": "mine.keras.layers"}, "holds the custom object Dense of mine.keras.layers"),
    ({"class_name": "Mine", "module": "keras.layers", "config": {"name": "m"}},
     "holds the custom object Mine 'm' of keras.layers"),
    ({"class_name": "Mine", "module": "keras"}, "holds the custom object Mine of keras"),
    ({"class_name": "Mine", "module": "keras.models"}, "holds the custom object Mine of keras.models"),
    ({"class_name": "Mine"}, "holds the custom object Mine of no module"),
    ({"class_name": "Map", "module": "keras.ops"}, "holds the custom object Map of keras.ops"),
    ({"class_name": "get_file", "module": "keras.utils"}, "holds the custom object get_file of keras.utils"),
    ({"class_name": "Zeros", "module": "initializers"}, "holds the custom object Zeros of initializers"),
    ({"class_name": "Dense", "module": "keras.layers", "registered_name": "a>b"},
     "holds the custom object Dense of keras.layers"),
    *(({"class_name": name, "module": "keras.layers", "config": {"name": "v", "vocabulary": "/etc/passwd"}},
       f"{name} 'v' reads its vocabulary from /etc/passwd") for name in ("StringLookup", "IntegerLookup",
                                                                        "TextVectorization")),
]  # fmt: skip


@pytest.mark.parametrize("part", HARMLESS)
def test_what_only_computes_is_no_finding(part: dict[str, Any]) -> None:
    assert list(scan_keras.findings({"layers": [{"deep": [part]}]})) == []


@pytest.mark.parametrize(("part", "told"), HARMFUL)
def test_what_is_not_known_to_be_harmless_is_named(part: dict[str, Any], told: str) -> None:
    assert list(scan_keras.findings({"layers": [{"deep": [part]}]})) == [told]


# --- skops' tree, node by node


@pytest.mark.parametrize(
    ("loader", "module", "name", "told"),
    [
        ("ObjectNode", "sklearn.svm", "SVC", None),
        ("ObjectNode", "numpy", "float64", None),
        ("ObjectNode", "scipy.sparse", "csr_matrix", None),
        ("ObjectNode", "collections", "OrderedDict", None),
        ("ObjectNode", "collections", "defaultdict", None),
        ("ObjectNode", "datetime", "timedelta", None),
        ("TypeNode", "builtins", "int", None),
        ("FunctionNode", "numpy", "log1p", None),
        ("FunctionNode", "scipy.special", "expit", None),
        ("PartialNode", "functools", "partial", None),
        ("PartialNode", "functools", "reduce", "calls functools.reduce"),
        ("PartialNode", "os", "partial", "calls os.partial"),
        ("MethodNode", "numpy", "log1p", "calls numpy.log1p"),
        ("OperatorFuncNode", "numpy", "log1p", "calls numpy.log1p"),
        ("FunctionNode", "numpy", "fromfile", "calls numpy.fromfile"),
        ("FunctionNode", "numpy.lib", "log1p", "calls numpy.lib.log1p"),
        ("FunctionNode", "sklearn.utils", "resample", "calls sklearn.utils.resample"),
        ("ObjectNode", "sklearnery", "SVC", "holds the custom object sklearnery.SVC"),
        ("ObjectNode", "collections", "UserDict", "holds the custom object collections.UserDict"),
        ("ObjectNode", "datetime", "OrderedDict", "holds the custom object datetime.OrderedDict"),
        ("ObjectNode", "sklearn.datasets", "fetch_openml", "holds the custom object sklearn.datasets.fetch_openml"),
        ("ObjectNode", "sklearn.datasets._base", "x", "holds the custom object sklearn.datasets._base.x"),
        ("ObjectNode", "sklearn.datasetsish", "x", None),
        ("ListNode", "os", "system", "holds the custom object os.system"),
        ("NovelNode", "sklearn.svm", "SVC", "holds a node of the kind NovelNode"),
    ],
)  # fmt: skip
def test_a_node_is_known_by_its_loader_and_its_type(loader: str, module: str, name: str, told: str | None) -> None:
    node = {"__loader__": loader, "__module__": module, "__class__": name}
    assert list(scan_skops.findings({"content": {"a": [node]}, "protocol": 1})) == ([told] if told else [])


def node(loader: str, module: str, name: str) -> list[str]:
    return list(scan_skops.findings({"__loader__": loader, "__module__": module, "__class__": name}))


def test_numpys_and_sklearns_doors_to_files_code_and_the_network_are_closed() -> None:
    doors = ("load", "fromfile", "loadtxt", "genfromtxt", "memmap", "save", "savez", "savetxt", "frompyfunc",
             "vectorize", "apply_along_axis", "apply_over_axes", "fromregex", "DataSource")
    for name in doors:
        assert node("FunctionNode", "numpy", name) == [f"calls numpy.{name}"]
    for module in ("sklearn.datasets", "sklearn.externals", "sklearn.utils._testing", "sklearn.utils._joblib",
                   "numpy.f2py", "numpy.testing", "numpy.ctypeslib", "numpy.distutils", "scipy.io", "scipy.datasets"):
        for within in (module, f"{module}.deeper"):
            assert node("ObjectNode", within, "x") == [f"holds the custom object {within}.x"]


def test_every_plain_value_that_skops_writes_is_no_finding() -> None:
    for name in ("bool", "bytearray", "bytes", "complex", "dict", "float", "frozenset", "int", "list", "object", "set",
                 "slice", "str", "tuple", "range", "NoneType"):
        assert node("TypeNode", "builtins", name) == []
    for name in ("eval", "exec", "open", "getattr", "__import__", "compile"):
        assert node("TypeNode", "builtins", name) == [f"holds the custom object builtins.{name}"]
    for loader in ("Dict", "DefaultDict", "List", "Tuple", "Set", "Json", "Bytes", "Bytearray", "Slice", "Cached",
                   "NdArray", "MaskedArray", "SparseMatrix", "RandomState", "RandomGenerator", "DType",
                   "DatetimeTimedelta", "Object", "Type", "Tree", "Loss", "SGD", "QuadTree", "Reduce"):
        assert node(f"{loader}Node", "numpy", "x") == []


def test_a_loader_of_the_models_own_is_found_and_xgboosts_numbers_are_not(tmp_path: Path) -> None:
    (tmp_path / "MLmodel").write_text("flavors: {python_function: {loader_module: mine}}")
    assert harms(tmp_path / "MLmodel") == ("is loaded by mine, which runs the model's own code",)
    (tmp_path / "model.ubj").write_bytes(b"{L\x00")
    assert harms(tmp_path / "model.ubj") == ()
