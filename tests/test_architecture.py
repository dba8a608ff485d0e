"""The arrows between the folders, who may import what, and that the pins agree. Read from the source, not run."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import distribution
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
FOLDERS = ("train", "registry", "serving")
FORBIDDEN = {("registry", "train"), ("registry", "serving"), ("train", "serving"), ("serving", "train")}
# Who may import a vendor's library; the longest prefix of a module's path decides.
EDGES = {
    "mlflow": ("train/tracking.py", "registry/mlflow_store.py", "registry/model_files.py", "registry/store.py",
               "registry/store_rows.py", "registry/server.py", "registry/pages.py", "registry/identity.py",
               "registry/token_login.py", "registry/guarded.py", "registry/origins.py", "serving/mlflow_plugin.py"),
    "boto3": ("serving/aws/",),
    "botocore": ("serving/aws/", "serving/localaws/"),
    "sagemaker": ("serving/targets/sagemaker/",),
    "moto": ("serving/localaws/",),
}


def modules(*folders: str) -> Iterator[tuple[str, ast.Module]]:
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.py")):
            yield path.relative_to(ROOT).as_posix(), ast.parse(path.read_text(encoding="utf-8"))


def imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module


def test_arrows_point_only_from_train_and_serving_to_registry() -> None:
    wrong = [f"{path} imports {name}" for folder in FOLDERS for path, tree in modules(folder)
             for name in imported(tree) if (folder, name.split(".")[0]) in FORBIDDEN]
    assert wrong == []


def test_folders_meet_only_at_the_face() -> None:
    wrong = [f"{path} imports {name}" for folder in FOLDERS for path, tree in modules(folder)
             for name in imported(tree) if "." in name and name.split(".")[0] in set(FOLDERS) - {folder}]
    assert wrong == []


@pytest.mark.parametrize("library", EDGES)
def test_a_vendors_library_is_imported_only_at_its_edge(library: str) -> None:
    wrong = [path for path, tree in modules(*FOLDERS) if any(n.split(".")[0] == library for n in imported(tree))
             and not path.startswith(EDGES[library])]
    assert wrong == []


@pytest.mark.parametrize("path", [path for path, _ in modules("serving/runtime")])
def test_what_travels_imports_only_what_its_layer_holds(path: str) -> None:
    listed = pins((ROOT / "serving" / "runtime" / "requirements.txt").read_text(encoding="utf-8"))
    native = pins((ROOT / "serving" / "runtime" / "requirements-native.txt").read_text(encoding="utf-8"))
    allowed = {*sys.stdlib_module_names, *listed, *(extra("serve") if "server" in path else ()),
               *(native if path.endswith("/native.py") else ())}
    if path.endswith("/inference.py"):  # stands beside the runtime in model.tar.gz, and brings it by name
        allowed |= {"serving", "sagemaker_inference"}
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    wrong = [name for name in imported(tree) if {"PIL": "pillow"}.get(top := name.split(".")[0], top) not in allowed]
    assert wrong == []


def test_help_and_the_faces_import_nothing_heavy() -> None:
    code = ("import sys, click.testing, slipway, train, registry, serving, serving.commands, registry.commands;"
            "r = click.testing.CliRunner().invoke(slipway.cli, ['--help']); assert r.exit_code == 0, r.output;"
            "print([m for m in ('tensorflow', 'keras', 'mlflow', 'boto3', 'moto', 'sklearn') if m in sys.modules])")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.strip() == "[]", done.stderr


def pins(text: str) -> dict[str, str]:
    return dict(re.findall(r"^\s*-?\s*([A-Za-z0-9_.-]+)==([^\s;]+)", text, re.M))


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-promoter.lock"])
def test_a_lock_names_no_host_pins_everything_and_is_ordered_as_make_lock_writes_it(lock: str) -> None:
    lines = (ROOT / lock).read_text(encoding="utf-8").splitlines()
    assert all(re.fullmatch(r"[a-z0-9._-]+==[^\s/]+", line) for line in lines)
    assert lines == sorted(lines, key=lambda line: line.split("==")[0])


@pytest.mark.parametrize("file", [
    "conda.yaml", "serving/runtime/requirements.txt", "serving/runtime/requirements-native.txt",
    "requirements-promoter.lock",
])
def test_every_pin_elsewhere_is_the_locks(file: str) -> None:
    locked = pins((ROOT / "requirements.lock").read_text(encoding="utf-8"))
    elsewhere = pins((ROOT / file).read_text(encoding="utf-8"))
    assert elsewhere
    assert elsewhere == {name: locked[name.lower().replace("_", "-")] for name in elsewhere}


def test_the_promoters_lock_is_all_that_its_extra_needs_and_nothing_else() -> None:
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    found: set[str] = set()
    todo = [Requirement(line) for line in (*listed["dependencies"], *listed["optional-dependencies"]["promoter"])]
    while todo:
        one = todo.pop()
        if canonicalize_name(one.name) not in found:
            found.add(canonicalize_name(one.name))
            needs = map(Requirement, distribution(one.name).requires or ())
            todo += [needed for needed in needs if needed.marker is None or needed.marker.evaluate({"extra": ""})]
    assert set(pins((ROOT / "requirements-promoter.lock").read_text())) == found
    assert "tensorflow" not in found


def test_the_image_installs_what_the_server_needs_and_as_the_lock_has_it() -> None:
    locked = pins((ROOT / "requirements.lock").read_text(encoding="utf-8"))
    line = re.search(r"^RUN pip install --no-cache-dir --no-deps (.*)$", (ROOT / "Dockerfile").read_text(), re.M)
    assert line is not None
    asked = line[1].split()
    assert asked == [f"{name}=={locked[name]}" for name in (word.split("==")[0] for word in asked)]
    assert {word.split("==")[0] for word in asked} == extra("serve")


def extra(name: str) -> set[str]:
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"][name]
    return {re.split(r"[\[<>=~ ]", entry)[0].lower() for entry in listed}


def test_serving_installs_no_tensorflow_and_training_no_aws_sdk() -> None:
    assert not extra("serve") & {"tensorflow", "keras", "mlflow", "scikit-learn"}
    assert not extra("train") & {"boto3", "botocore", "sagemaker", "moto"}
    conda = yaml.safe_load((ROOT / "conda.yaml").read_text())
    piped = next(d["pip"] for d in conda["dependencies"] if isinstance(d, dict))
    assert not {p.split("==")[0].lower() for p in piped} & {"boto3", "botocore", "sagemaker", "moto"}
