"""The workflow for CI does what it says: its steps are run in their order, for Staging and then for Production."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.serving.conftest import network_files  # noqa: F401 - a fixture
from tests.serving.test_deploy import logged, registry_and_aws, slip

ROOT = Path(__file__).parent.parent
WORKFLOW = ROOT / ".github" / "workflows" / "promote.yml"
VERSION = {"MODEL": "images", "VERSION": "1", "SLIPWAY_USER": "ci"}


@pytest.fixture(scope="module")
def candidate(tmp_path_factory: pytest.TempPathFactory, network_files: Path) -> Iterator[Path]:  # noqa: F811 - the fixture
    """The folder of a registry that holds images/1, registered by ana and nothing more."""
    home = tmp_path_factory.mktemp("workflow")
    with registry_and_aws(home):
        logged(network_files)
        yield home


def steps(stage: str) -> list[dict[str, Any]]:
    """The commands that a run for this stage takes; installing is what this very test runs in."""
    listed = yaml.safe_load(WORKFLOW.read_text(encoding="utf-8"))["jobs"]["promote"]["steps"]
    due = [step for step in listed if step.get("if", f"inputs.stage == '{stage}'") == f"inputs.stage == '{stage}'"]
    return [step for step in due if "run" in step and step["name"] != "install"]


def run(stage: str) -> dict[str, int]:
    """The exit code of each step, up to the first that fails."""
    codes: dict[str, int] = {}
    for step in steps(stage):
        command = step["run"].replace(".venv/bin/slipway", "slipway")
        done = subprocess.run(["bash", "-e", "-c", command], env={**os.environ, **VERSION, "STAGE": stage},
                              capture_output=True, text=True)
        codes[step["name"]] = done.returncode
        if done.returncode:
            break
    return codes


@pytest.mark.parametrize("stage", ["Staging", "Production"])
def test_gitlab_runs_the_very_commands_that_the_workflow_runs(stage: str, tmp_path: Path) -> None:
    job = yaml.safe_load((ROOT / "docs" / "ci" / "gitlab-ci.yml").read_text(encoding="utf-8"))["promote"]
    said = tmp_path / ".venv" / "bin" / "slipway"
    said.parent.mkdir(parents=True)
    said.write_text('#!/bin/sh\necho "$0" "$@" >> ran.txt\n')
    said.chmod(0o755)
    ours = tmp_path / "ours.txt"
    for lines in (job["script"], [step["run"] for step in steps(stage)]):
        subprocess.run(["bash", "-e", "-c", "\n".join(lines)], cwd=tmp_path, check=True,
                       env={**os.environ, **VERSION, "STAGE": stage})  # fmt: skip
        if not ours.exists():
            (tmp_path / "ran.txt").rename(ours)
    assert ours.read_text() == (tmp_path / "ran.txt").read_text() != ""


@pytest.mark.slow
def test_ci_checks_and_stages_is_refused_without_an_approval_and_then_deploys(candidate: Path) -> None:
    assert run("Staging") == {"check": 0, "promote": 0}
    assert run("Production") == {"promote": 1}
    assert slip("approve", "images/1").exit_code == 1, "CI may not approve"
    assert slip("approve", "images/1", who="bo").exit_code == 0
    assert run("Production") == {"promote": 0, "deploy": 0, "verify": 0}
