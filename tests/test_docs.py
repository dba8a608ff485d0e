"""The README's commands do what it says, in its order: every `sh` block runs, in one shell, in a fresh folder."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from serving.localaws import running

ROOT = Path(__file__).parent.parent
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *(ROOT / "docs" / "adr").glob("*.md")])
# The first sets up what this test runs in; the others are tests of their own, or are this one.
ELSEWHERE = ("make ", "source ", "export AWS_")


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), re.S | re.M)


def project(into: Path) -> Path:
    """What a clone holds, without its history and what is built."""
    built = (".git", ".venv", ".slipway", "*.db", "mlruns", "mlartifacts", "__pycache__", ".*_cache")
    return Path(shutil.copytree(ROOT, into / "project", ignore=shutil.ignore_patterns(*built)))


def notebook(path: Path) -> str:
    """The code of a notebook, cell after cell, as a script that shows no window."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    return "\n\n".join(["import matplotlib", "matplotlib.use('Agg')", *code])


@pytest.mark.slow
def test_the_readmes_commands_run_in_its_order_and_then_the_notebook(tmp_path: Path) -> None:
    lines = [line for block in blocks(ROOT / "README.md", "sh") for line in block.splitlines()]
    script = "\n".join(line for line in lines if not line.startswith(ELSEWHERE))
    with running() as aws:
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        here = {**os.environ, **aws, "PATH": path, "SLIPWAY_USER": "root", "MLFLOW_DISABLE_TELEMETRY": "true"}
        here.pop("MLFLOW_TRACKING_URI", None)
        folder = project(tmp_path)
        done = subprocess.run(["bash", "-euo", "pipefail", "-c", script], cwd=folder, env=here,
                              capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    for said in ("images/1 registered as a candidate", "every gate passed", "exit code 1", "@champion points at it",
                 "is in service as slipway-images:production", '"labels": ["0"]', "drift     none",
                 "right  answers name"):
        assert said in done.stdout, said
    assert "no approval (author root does not count)" in done.stderr
    page = ROOT / "notebooks" / "look_before_you_approve.ipynb"
    ran = subprocess.run([sys.executable, "-c", notebook(page)], cwd=folder, env=here, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr[-2000:]
    assert "of 360 wrong" in ran.stdout


def test_what_the_readme_shows_by_hand_was_printed_in_one_run() -> None:
    by_hand = (ROOT / "README.md").read_text(encoding="utf-8").partition("## By hand")[2]
    told = set(re.findall(r"images/(\d)(?: approved,|  \w+ \(claimed\)  (?:checked|approved))? +(?:sha256 )?"
                          r"([0-9a-f]{12})\b", by_hand))
    told |= {(number, digest[:12]) for number, digest in re.findall(
        r'"version": (\d), "digest": "([0-9a-f]{64})"', by_hand)}
    told |= {(number, digest[:12]) for number, digest in re.findall(
        r"^images/(\d) is in service.*\ndigest ([0-9a-f]{64})$", by_hand, re.M)}
    assert sorted(number for number, _ in told) == ["1", "2"], f"a version has one digest, found {sorted(told)}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_to_a_file_of_ours_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?://|#)([^)#]+)", page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_of_ours_in_the_docs_exists(page: Path) -> None:
    import slipway

    words = set(re.findall(r"^(?:\$ )?(?:SLIPWAY_USER=\w+ )?slipway ([a-z]+)", page.read_text(encoding="utf-8"), re.M))
    assert words <= set(slipway.COMMANDS)
