"""docs/local-aws.md does what it says: its blocks run, and its tables are what the tests found."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from serving.localaws.commands import local
from tests.localaws.test_peers import DIFFERENCES

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


def test_every_option_is_in_the_pages_table() -> None:
    shown = {option.opts[0] for option in local.params if not getattr(option, "hidden", True)}
    told = set(re.findall(r"^\| `(--[a-z-]+)", TEXT, re.M))
    assert {name.replace("--no-sandbox", "--sandbox") for name in told} == shown


PLAYERS = ["ours", "moto", "ministack", "seaweedfs"]


@pytest.mark.parametrize("peer", PLAYERS)
def test_the_table_of_second_opinions_counts_the_differences(peer: str) -> None:
    table = TEXT.partition("| law of AWS ")[2].splitlines()[2:]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table if line.startswith("|")]
    answers = [row[1 + PLAYERS.index(peer)] for row in rows]
    agreeing = ("yes", "yes, with `--auth`", "-")
    assert len([answer for answer in answers if answer not in agreeing]) == len(DIFFERENCES[peer])
