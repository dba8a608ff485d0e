from __future__ import annotations

from pathlib import Path

import mlflow
import pytest
from mlflow.artifacts import download_artifacts

from registry import ReleaseMissing, ReleaseTampered, Stage, download, mlflow_store, release
from registry.digest import digest_of, hash_folder
from tests.registry.world import World


def files_of(world: World, number: int) -> Path:
    """Where the version's own files lie (a local artifact store)."""
    source = mlflow.MlflowClient().get_model_version("images", str(number)).source
    assert source is not None
    model = mlflow.MlflowClient().get_logged_model(source.removeprefix("models:/"))
    return Path(model.artifact_location.removeprefix("file://"))


def test_a_release_carries_the_bytes_and_the_people_behind_it(world: World) -> None:
    version = world.released()
    found = release("images")
    assert (found.version, found.stage, found.run_id) == (1, Stage.PRODUCTION, version.run_id)
    assert found.digest == digest_of(found.files)
    assert [str(approval.approver) for approval in found.approvals] == ["bo (claimed)"]
    assert found.evidence.passed
    assert found.moved_at == mlflow_store.ledger()[-1].at


def test_a_download_is_what_was_approved(world: World, tmp_path: Path) -> None:
    world.released()
    found = release("images")
    folder = download(found, tmp_path / "release")
    assert hash_folder(folder) == found.files
    assert not (folder / "registered_model_meta").exists()


def test_changed_missing_and_extra_files_are_named_together_and_nothing_is_left(world: World, tmp_path: Path) -> None:
    world.released()
    found = release("images")
    stored = files_of(world, 1)
    (stored / "MLmodel").write_text((stored / "MLmodel").read_text() + "\n")
    (stored / "conda.yaml").unlink()
    (stored / "sneaked.py").write_text("pass")
    with pytest.raises(ReleaseTampered) as caught:
        download(found, tmp_path / "release")
    assert (caught.value.changed, caught.value.missing, caught.value.extra) == (
        ("MLmodel",), ("conda.yaml",), ("sneaked.py",),
    )  # fmt: skip
    assert str(caught.value) == (
        "images/1 is not what was approved (changed: MLmodel; missing: conda.yaml; extra: sneaked.py); "
        f"its files are in {stored}. Next: restore the files there, or train and register a new version"
    )
    assert not (tmp_path / "release").exists()


def test_without_a_version_in_the_stage_there_is_no_release(world: World) -> None:
    world.candidate()
    with pytest.raises(ReleaseMissing, match="images has nothing in Production"):
        release("images")


def test_a_champion_that_plain_mlflow_made_is_no_release(world: World) -> None:
    world.candidate()
    plain = mlflow.MlflowClient(registry_uri=f"sqlite:///{world.folder / 'mlflow.db'}")
    plain.set_registered_model_alias("images", "champion", "1")
    with pytest.raises(ReleaseMissing, match="the ledger does not say who put it there"):
        release("images")


def test_the_previous_production_version_is_archived_and_stays_the_way_back(world: World) -> None:
    world.released()
    world.released()
    assert world.stages() == {1: (Stage.ARCHIVED, ()), 2: (Stage.PRODUCTION, ("champion",))}
    assert download_artifacts(artifact_uri="models:/images/1", dst_path=str(world.folder / "back"))
