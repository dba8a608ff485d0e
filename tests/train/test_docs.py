"""The sixth task that docs/training.md shows is real: it trains, tunes and registers as it stands there."""

from __future__ import annotations

import json
import sys
import types
from pathlib import Path

import pytest

from tests.train.conftest import trained
from train import tasks

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "training.md").read_text()


def the_example() -> str:
    """The Python of the page."""
    return PAGE.partition("```python\n")[2].partition("```")[0]


def test_the_sixth_task_of_the_page_takes_less_than_sixty_lines_and_trains(monkeypatch: pytest.MonkeyPatch) -> None:
    code = the_example()
    assert len(code.splitlines()) < 60
    module = types.ModuleType("train.tasks.waves")
    exec(compile(code, "docs/training.md", "exec"), module.__dict__)  # noqa: S102  our own page
    monkeypatch.setitem(sys.modules, "train.tasks.waves", module)
    monkeypatch.setattr(tasks, "NAMES", (*tasks.NAMES, "waves"))
    made = trained("waves", epochs="12")
    assert made.trained.name == "waves"
    assert made.metrics["held_out.accuracy"] > 0.9
    assert {"learning_curves", "confusion_matrix", "precision_recall", "calibration"} <= made.pictures()


def test_every_parameter_of_data_and_descent_is_on_the_page() -> None:
    from train.descent import SETTINGS

    names = {name for task in tasks.NAMES for name in tasks.find(task).data} | set(SETTINGS)
    assert sorted(name for name in names if f"`{name}`" not in PAGE and f"--{name}`" not in PAGE) == []


def test_the_notebook_runs_from_top_to_bottom() -> None:
    cells = json.loads((ROOT / "notebooks" / "training.ipynb").read_text())["cells"]
    names: dict[str, object] = {}
    for cell in cells:
        if cell["cell_type"] == "code":
            exec("".join(cell["source"]), names)  # noqa: S102  our own notebook
    assert names["said"] is not None
