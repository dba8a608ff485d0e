"""docs/local-aws.md does what it says: its blocks run, and its tables are what the tests found."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path

import pytest

from serving.localaws.commands import local
from tests.localaws.players import DIFFERENCES
from tests.localaws.reach import places

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "local-aws.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    """The page's blocks in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", TEXT, re.S | re.M)


@pytest.mark.parametrize("source", blocks("python"))
def test_the_pages_programs_run(source: str, tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", source], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("source", blocks("sh"))
def test_the_pages_commands_run(source: str, tmp_path: Path) -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["/bin/sh", "-euc", source],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PATH": path},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "slipway-123456789012-us-east-1\n"


FRAMEWORKS = [
    *("mlflow", "tensorflow", "keras", "torch", "sklearn", "pandas", "onnx", "onnxruntime", "sagemaker"),
    *("registry", "train"),
]
REFUSING = f"""
import sys
class Refusing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {FRAMEWORKS}:
            raise ImportError(name + " is not for other projects")
sys.meta_path.insert(0, Refusing())
"""


def test_another_projects_tests_run_as_the_page_shows_without_any_framework_of_ours(tmp_path: Path) -> None:
    named = [(source.splitlines()[0].removeprefix("# "), source) for source in blocks("python")]
    files = {name: source for name, source in named if re.fullmatch(r"\w+\.py", name)}
    assert len(files) == 2
    (tmp_path / "refusing").mkdir()
    for name, source in {**files, "refusing/sitecustomize.py": REFUSING}.items():
        (tmp_path / name).write_text(source)
    path = os.pathsep.join([str(tmp_path / "refusing"), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(tmp_path)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": path},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout


def test_every_option_is_in_the_pages_table() -> None:
    shown = {option.opts[0] for option in local.params if not getattr(option, "hidden", True)}
    told = set(re.findall(r"^\| `(--[a-z-]+)", TEXT, re.M))
    assert {name.replace("--no-sandbox", "--sandbox") for name in told} == shown


TESTS = dict(zip(["ours", "moto", "ministack", "seaweedfs"],
                 [re.findall(r"`(tests/[^`]+)`", row.split("|")[2])
                  for row in TEXT.partition("| emulator | its tests ")[2].splitlines()[2:6]], strict=True))


def test_the_table_of_tests_is_what_is_collected(request: pytest.FixtureRequest) -> None:
    session = request.session
    found: dict[str, set[str]] = {name: set() for name in TESTS}
    for item in session.items:
        for place in places(item):
            found[place].add(item.path.relative_to(ROOT).as_posix())
    unlisted = {place: [file for file in sorted(files) if not any(fnmatch(file, one) for one in TESTS[place])]
                for place, files in found.items()}
    assert not any(unlisted.values()), f"docs/local-aws.md, Which tests run where, does not list {unlisted}"
    chosen = session.config.option.keyword or session.config.option.markexpr
    if session.config.args_source is pytest.Config.ArgsSource.TESTPATHS and not chosen:
        stale = {place: [one for one in listed if not any(fnmatch(file, one) for file in found[place])]
                 for place, listed in TESTS.items()}
        assert not any(stale.values()), f"docs/local-aws.md, Which tests run where, lists what is gone: {stale}"


PLAYERS = ["ours", "moto", "ministack", "seaweedfs"]


@pytest.mark.parametrize("player", PLAYERS)
def test_the_table_of_second_opinions_counts_the_differences(player: str) -> None:
    table = TEXT.partition("| law of AWS ")[2].splitlines()[2:]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table if line.startswith("|")]
    answers = [row[1 + PLAYERS.index(player)] for row in rows]
    agreeing = ("yes", "yes, with `--auth`", "-")
    assert len([answer for answer in answers if answer not in agreeing]) == len(DIFFERENCES[player])
