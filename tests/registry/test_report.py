"""The report of a check: what a reviewer finds in the run."""

from __future__ import annotations

from pathlib import Path

import mlflow
import numpy as np
import pytest

from registry import check
from registry.answers import Amounts, Classes
from registry.figures import drawn
from tests.registry.world import World

PNG = b"\x89PNG"


def test_a_check_logs_a_report_with_candidate_and_champion_to_the_run(world: World, tmp_path: Path) -> None:
    world.released()
    version = world.candidate(wrong=0.3)
    evidence = check.check(version, draw=True)
    folder = Path(mlflow.artifacts.download_artifacts(
        run_id=version.run_id, artifact_path="check", dst_path=str(tmp_path)))
    page, text = (folder / "report.html").read_text(), (folder / "report.md").read_text()
    for verdict in evidence.verdicts:
        assert f"<td>{verdict.gate}</td>" in page
        assert f"| {verdict.gate} | {verdict.outcome.value} |" in text
    assert evidence.digest in page
    assert "beside images/1, which is in Production" in page
    figures = {path.name for path in folder.glob("*.png")}
    assert {"beside.png", "confusion.png"} <= figures
    assert page.count("data:image/png;base64,") == len(figures) == text.count("![")


def test_probabilities_are_drawn_and_numbers_are_only_set_beside_each_other() -> None:
    draw = np.random.default_rng(0)
    truth = draw.integers(0, 3, 60)
    sure = draw.dirichlet((1, 1, 1), 60)
    said = Classes(sure.argmax(1), ("a", "b", "c"), sure)
    figures = dict(drawn({"candidate": said, "champion": said}, truth))
    assert list(figures) == ["beside.png", "confusion.png", "precision_recall.png", "calibration.png"]
    assert all(body.startswith(PNG) for body in figures.values())
    assert list(dict(drawn({"candidate": Amounts(truth.astype(np.float64))}, truth))) == ["beside.png"]


@pytest.mark.parametrize("champion", [True, False])
def test_the_same_answers_draw_the_same_bytes(champion: bool) -> None:
    truth = np.array([0, 1] * 10)
    sides = {"candidate": Classes(truth, ("no", "yes"))}
    if champion:
        sides["champion"] = Classes(1 - truth, ("no", "yes"))
    assert dict(drawn(sides, truth)) == dict(drawn(sides, truth))
