"""The jobs for CI do what they say: on a fresh clone, in an environment of its own, step by step as they are written.

Registry and AWS are a real server behind logins and the local AWS. The steps are run with a scikit-learn model, and
once more with a Keras model in the environment of these tests, where the install step finds nothing to do.
SLIPWAY_WORKFLOW_FRAMEWORK=keras runs all of it with a Keras model, which installs TensorFlow as well.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

from serving.localaws import running
from tests.registry.servers import PASSWORD, POLICY, running_with_logins

ROOT = Path(__file__).parent.parent
WORKFLOW = ROOT / ".github" / "workflows" / "promote.yml"
FRAMEWORK = os.environ.get("SLIPWAY_WORKFLOW_FRAMEWORK", "scikit-learn")
TRAINS = {"scikit-learn": ("tabular", "--algorithm", "linear"), "keras": ("images",)}
OURS = ("MLFLOW_", "SLIPWAY_", "AWS_", "GITHUB_", "PYTHON", "VIRTUAL_ENV")


@dataclass(frozen=True)
class Place:
    """Where jobs run: a fresh clone, and what the server and AWS are called."""

    home: Path
    server: str
    aws: Mapping[str, str]

    @property
    def clone(self) -> Path:
        """The folder that the job starts in."""
        return self.home / "clone"

    def run(self, command: str, **env: str) -> subprocess.CompletedProcess[str]:
        """One step in the clone, with nothing of this environment but the way to Python and to its packages."""
        kept = {key: value for key, value in os.environ.items() if not key.startswith(OURS)}
        elsewhere = [one for one in kept["PATH"].split(os.pathsep) if not one.startswith(sys.prefix)]
        kept["PATH"] = os.pathsep.join([str(Path(sys._base_executable).parent), *elsewhere])  # type: ignore[attr-defined]
        return subprocess.run(
            ["bash", "-eo", "pipefail", "-c", command], cwd=self.clone, capture_output=True, text=True,
            env={**kept, "AWS_ENDPOINT_URL": self.aws["AWS_ENDPOINT_URL"], **env},
        )  # fmt: skip

    def person(self, who: str, *words: str) -> subprocess.CompletedProcess[str]:
        """Somebody with an installation of their own runs `slipway`."""
        login = {"MLFLOW_TRACKING_URI": self.server, "MLFLOW_TRACKING_USERNAME": who,
                 "MLFLOW_TRACKING_PASSWORD": PASSWORD, "SLIPWAY_USER": who}  # fmt: skip
        kept = {key: value for key, value in os.environ.items() if not key.startswith(OURS[:4])}
        return subprocess.run([sys.executable, str(ROOT / "slipway.py"), *words], cwd=self.home, env={**kept, **login},
                              capture_output=True, text=True)  # fmt: skip

    def secrets(self) -> dict[str, str]:
        """What was typed into the settings of whoever runs the jobs."""
        keys = {name: self.aws[name] for name in ("AWS_DEFAULT_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}
        return {"MLFLOW_TRACKING_URI": self.server, "MLFLOW_TRACKING_USERNAME": "ci",
                "MLFLOW_TRACKING_PASSWORD": PASSWORD, **keys}  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A fresh clone; a server that holds github/1 and gitlab/1, registered by ana and nothing more; a local AWS."""
    if not (ROOT / ".git").exists() or shutil.which("git") is None:
        pytest.skip("needs git, and a checkout to clone")
    home = tmp_path_factory.mktemp("workflow")
    clone_into(home)
    (home / "server").mkdir()
    with running() as aws, running_with_logins(home / "server", ("ana", "bo", "ci"), POLICY) as server:
        made = Place(home, server, aws)
        for name in ("github", "gitlab"):
            trained = made.person("ana", "train", *TRAINS[FRAMEWORK], "--name", name)
            assert trained.returncode == 0, trained.stderr
        yield made


def clone_into(home: Path) -> None:
    """Clone this checkout into the folder that jobs start in."""
    subprocess.run(["git", "clone", "-q", ROOT, home / "clone"], check=True)
    here = subprocess.run(["git", "diff", "HEAD", "--binary"], cwd=ROOT, check=True, capture_output=True).stdout
    if here:  # what is changed here and not committed yet goes along
        subprocess.run(["git", "apply"], cwd=home / "clone", input=here, check=True)


@pytest.fixture(scope="module")
def lent(place: Place) -> Place:
    """Another clone, whose environment is the packages of these tests: TensorFlow is not installed once more."""
    home = place.home / "lent"
    home.mkdir()
    clone_into(home)
    made = replace(place, home=home)
    venv = made.clone / ".venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True)
    (site,) = venv.glob("lib/*/site-packages")
    # The clone's own modules first; of an editable installation over there only its entry points are seen.
    (site / "lent.pth").write_text(f"{made.clone}\n{sysconfig.get_path('purelib')}\n")
    command = venv / "bin" / "slipway"
    command.write_text(f"#!{venv}/bin/python\nimport sys\nfrom slipway import main\nsys.exit(main())\n")
    command.chmod(0o755)
    (venv / ".promoter").touch()
    return made


def job() -> Any:
    """The workflow's one job, as it is written."""
    return yaml.safe_load(WORKFLOW.read_text(encoding="utf-8"))["jobs"]["promote"]


def github(place: Place, stage: str, model: str = "github", framework: str = FRAMEWORK) -> dict[str, int]:
    """Run the workflow as GitHub would; the exit code of each step, up to the first that fails."""
    inputs = {"model": model, "version": "1", "stage": stage, "framework": framework}
    known = {f"inputs.{name}": value for name, value in inputs.items()}
    known |= {f"{kind}.{name}": value for kind in ("secrets", "vars") for name, value in place.secrets().items()}
    env = {name: re.sub(r"\$\{\{ ([\w.]+) \}\}", lambda m: known[m[1]], text) for name, text in job()["env"].items()}
    env |= {"GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": str(place.home / "summary.md")}
    codes: dict[str, int] = {}
    for step in job()["steps"]:
        if "run" in step and due(step.get("if"), known):
            done = place.run(step["run"], **env)
            codes[step["name"]] = done.returncode
            if done.returncode:
                print(done.stdout, done.stderr)  # pytest shows it where the codes are wrong
                break
    return codes


def due(condition: str | None, known: Mapping[str, str]) -> bool:
    """Is this step's `if` true? A comparison with a word is all that the workflow says."""
    if condition is None:
        return True
    name, word = condition.split(" == ")
    return known[name] == word.strip("'")


def gitlab(place: Place, stage: str) -> subprocess.CompletedProcess[str]:
    """Run the job as GitLab would: all its lines in one shell."""
    said = yaml.safe_load((ROOT / "docs" / "ci" / "gitlab-ci.yml").read_text(encoding="utf-8"))
    variables = {name: one["value"] if isinstance(one, dict) else one for name, one in said["variables"].items()}
    asked = {"MODEL": "gitlab", "VERSION": "1", "STAGE": stage, "FRAMEWORK": FRAMEWORK}
    assert asked.keys() <= variables.keys()
    lines = [*said["promote"]["before_script"], *said["promote"]["script"]]
    return place.run("\n".join(lines), **{**variables, **asked, **place.secrets()})


def moves(place: Place, model: str) -> list[tuple[str, bool]]:
    """Who moved this model's versions, and whether a login proved it."""
    answer = requests.get(f"{place.server}/api/2.0/slipway/ledger", params={"model": model}, auth=("bo", PASSWORD),
                          timeout=30)  # fmt: skip
    return [(entry["actor"], entry["verified"]) for entry in answer.json()["entries"] if entry["kind"] == "moved"]


def test_before_its_own_steps_the_workflow_takes_a_checkout_and_this_python() -> None:
    checkout, python, *own = job()["steps"]
    assert [step["uses"].split("@")[0] for step in (checkout, python)] == ["actions/checkout", "actions/setup-python"]
    assert python["with"]["python-version"] in ("3.11", "3.12")
    assert all("run" in step for step in own)


@pytest.mark.slow
def test_the_workflow_installs_checks_and_stages_is_refused_without_an_approval_and_then_deploys(place: Place) -> None:
    assert github(place, "Staging") == {"install": 0, "check": 0, "promote": 0}
    assert github(place, "Production") == {"install": 0, "promote": 1}
    assert place.person("ci", "approve", "github/1").returncode == 1, "CI may not approve"
    assert place.person("bo", "approve", "github/1").returncode == 0
    assert github(place, "Production") == {"install": 0, "promote": 0, "deploy": 0, "verify": 0}
    assert moves(place, "github") == [("ci", True), ("ci", True)]
    summary = (place.home / "summary.md").read_text()
    assert "### github/1 is in Staging" in summary
    assert "### github/1 is in Production" in summary
    installed = {path.name.split("-")[0].lower() for path in place.clone.glob(".venv/lib/*/site-packages/*.dist-info")}
    assert ("tensorflow" in installed) == (FRAMEWORK == "keras"), "a job installs what its model needs"


@pytest.mark.slow
@pytest.mark.skipif(FRAMEWORK == "keras", reason="the tests beside it do so, with an installation of their own")
def test_a_keras_model_goes_the_same_way_where_the_install_step_finds_all_of_it_there(lent: Place) -> None:
    trained = lent.person("ana", "train", "images", "--algorithm", "dense", "--epochs", "30", "--name", "digits")
    assert trained.returncode == 0, trained.stderr
    assert github(lent, "Staging", "digits", "keras") == {"install": 0, "check": 0, "promote": 0}
    assert lent.person("bo", "approve", "digits/1").returncode == 0
    released = github(lent, "Production", "digits", "keras")
    assert released == {"install": 0, "promote": 0, "deploy": 0, "verify": 0}
    assert not (lent.clone / ".venv" / "bin" / "pip").exists(), "nothing was installed"


@pytest.mark.slow
def test_gitlabs_lines_do_the_same_on_the_same_server(place: Place) -> None:
    staged = gitlab(place, "Staging")
    assert staged.returncode == 0, staged.stderr
    refused = gitlab(place, "Production")
    assert (refused.returncode, "no approval" in refused.stderr) == (1, True), refused.stderr
    assert place.person("bo", "approve", "gitlab/1").returncode == 0
    released = gitlab(place, "Production")
    assert released.returncode == 0, released.stderr
    assert moves(place, "gitlab") == [("ci", True), ("ci", True)]
