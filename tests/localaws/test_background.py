"""`slipway local up|status|down|reset`: started once, found again, and nothing is left behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.localaws.conftest import BUCKET, client_for
from tests.localaws.test_process_life import alive, family, gone


class Desk:
    """Runs the command in a folder of its own, as a user would."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        argv = [sys.executable, "-m", "serving.localaws", *arguments]
        path = os.pathsep.join(filter(None, [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH")]))
        return subprocess.run(argv, cwd=self.folder, capture_output=True, text=True, stdin=subprocess.DEVNULL,
                              env={**os.environ, "PYTHONPATH": path}, timeout=60)  # fmt: skip


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path)
    yield made
    made("down")


def test_up_is_found_again_and_down_leaves_nothing_but_the_account(desk: Desk) -> None:
    first = desk("up", "--port", "0", "--json")
    assert first.returncode == 0, first.stderr
    told = json.loads(first.stdout)
    pids = [told["pid"], *family(told["environment"])]

    again = desk("up")
    assert f"there already: process {told['pid']}" in again.stderr
    shell = subprocess.run(["sh", "-c", f"{again.stdout}echo $AWS_ENDPOINT_URL"], capture_output=True, text=True)
    assert shell.stdout.strip() == told["environment"]["AWS_ENDPOINT_URL"]

    status = json.loads(desk("status", "--json").stdout)
    assert (status["pid"], status["holds"]["functions"]) == (told["pid"], 1)
    refused = desk("reset", "--yes")
    assert (refused.returncode, "a local AWS runs in" in refused.stderr) == (1, True)

    assert desk("down").stdout == f"stopped, process {told['pid']}\n"
    assert gone(pids), [pid for pid in pids if alive(pid)]
    assert desk("status").returncode == 1

    environment = json.loads(desk("up", "--port", "0", "--json").stdout)["environment"]
    assert len(client_for(environment, "lambda").list_functions()["Functions"]) == 1


def test_reset_asks_and_deletes_only_what_is_its_own(desk: Desk) -> None:
    environment = json.loads(desk("up", "--port", "0", "--json").stdout)["environment"]
    client_for(environment, "s3").put_object(Bucket=BUCKET, Key="a", Body=b"1")
    assert desk("down").returncode == 0
    state = desk.folder / ".slipway" / "local"
    (state / "mine.txt").write_text("kept")
    unasked = desk("reset")
    assert (unasked.returncode, (state / "account.json").exists()) == (2, True)
    assert desk("reset", "--yes").stdout == "the account in .slipway/local is gone; left alone: mine.txt\n"
    assert [entry.name for entry in state.iterdir()] == ["mine.txt"]


def test_a_folder_that_holds_no_account_is_not_deleted(desk: Desk) -> None:
    (desk.folder / "photos").mkdir()
    (desk.folder / "photos" / "objects").write_text("not ours")
    refused = desk("reset", "--yes", "--state", "photos")
    assert (refused.returncode, (desk.folder / "photos" / "objects").exists()) == (1, True)


def test_up_says_why_it_did_not_start(desk: Desk) -> None:
    failed = desk("up", "--port", "0", "--image", "no-command")
    assert failed.returncode == 3
    assert "no-command" in failed.stderr


def test_a_word_that_is_no_subcommand_is_not_run(desk: Desk) -> None:
    assert desk("upp").returncode == 2
