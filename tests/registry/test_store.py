"""The governed store through plain MLflow calls, with no server: nothing here knows slipway's client."""

from __future__ import annotations

import mlflow
import pytest
from mlflow.exceptions import MlflowException

from registry import Stage, check, mlflow_store
from registry.ledger import Kind
from registry.standing import standing
from registry.wire import WordShape
from tests.registry.world import World

# The deprecated call is what users and the registry UI make; that it is deprecated is known.
pytestmark = pytest.mark.filterwarnings("ignore:.*transition_model_version_stage:FutureWarning")


def client() -> mlflow.MlflowClient:
    return mlflow.MlflowClient()


def refusal(error: pytest.ExceptionInfo[MlflowException]) -> str:
    assert error.value.error_code == "PERMISSION_DENIED"
    return str(error.value.message)


def test_a_stage_takes_its_alias_along_and_an_alias_its_stage(world: World) -> None:
    check.check(world.candidate())
    client().transition_model_version_stage("images", "1", "staging")
    assert world.stages() == {1: (Stage.STAGING, ("challenger",))}
    client().transition_model_version_stage("images", "1", "Archived")
    assert world.stages() == {1: (Stage.ARCHIVED, ())}
    client().set_registered_model_alias("images", "challenger", "1")
    assert world.stages() == {1: (Stage.STAGING, ("challenger",))}
    client().delete_registered_model_alias("images", "challenger")
    assert world.stages() == {1: (Stage.ARCHIVED, ())}


def test_setting_champion_is_entering_production(world: World) -> None:
    check.check(world.candidate())
    with pytest.raises(MlflowException) as caught:
        client().set_registered_model_alias("images", "champion", "1")
    assert refusal(caught) == (
        "images/1 may not enter Production: no approval (author ana does not count). Next: slipway approve images/1"
    )


def test_an_alias_that_looks_like_champion_is_refused(world: World) -> None:
    world.candidate()
    with pytest.raises(MlflowException, match="would be taken for @champion"):
        client().set_registered_model_alias("images", "Champion", "1")
    client().set_registered_model_alias("images", "blue", "1")
    assert world.stages() == {1: (Stage.NONE, ("blue",))}


def test_moving_where_it_stands_changes_nothing(world: World) -> None:
    world.released()
    before = mlflow_store.ledger("images")
    client().transition_model_version_stage("images", "1", "Production")
    client().set_registered_model_alias("images", "champion", "1")
    assert mlflow_store.ledger("images") == before


def test_a_refused_move_leaves_nothing_behind(world: World) -> None:
    world.candidate()
    before = mlflow_store.ledger("images"), world.stages()
    with pytest.raises(MlflowException):
        client().transition_model_version_stage("images", "1", "Production")
    assert (mlflow_store.ledger("images"), world.stages()) == before


def test_an_archived_version_with_its_approval_is_the_way_back(world: World) -> None:
    world.released()
    world.released()
    check.check(mlflow_store.model_version("images", 1))
    client().transition_model_version_stage("images", "1", "Production")
    assert world.stages() == {1: (Stage.PRODUCTION, ("champion",)), 2: (Stage.ARCHIVED, ())}


def test_a_comparison_with_an_earlier_champion_must_be_made_again(world: World) -> None:
    world.released()
    second, third = world.approved(), world.approved()
    mlflow_store.move(second, Stage.PRODUCTION)
    with pytest.raises(MlflowException) as caught:
        client().transition_model_version_stage("images", str(third.number), "Production")
    assert "compared with 1, but 2 is champion now" in refusal(caught)


def test_the_champion_need_not_stand_up_to_itself(world: World) -> None:
    version = world.released()
    world.released()
    again = check.check(mlflow_store.model_version("images", 2))
    assert again.passed
    assert again.paired is None
    assert not check.recorded(version).passed, "the first was compared with nobody, and the second is champion now"


def test_other_bytes_need_another_approval(world: World) -> None:
    version = world.approved()
    model = client().get_logged_model(version.source.removeprefix("models:/"))
    client().log_model_artifact(model.model_id, str(world.folder / "held_out.npz"))
    check.check(version)
    with pytest.raises(MlflowException) as caught:
        client().transition_model_version_stage("images", "1", "Production")
    assert "no approval (author ana does not count; bo approved other bytes)" in refusal(caught)


def test_an_approval_of_bytes_that_are_not_the_checked_ones_is_refused(world: World) -> None:
    version = world.candidate()
    check.check(version)
    world.acting("bo")
    with pytest.raises(Exception, match="images/1 was checked again, with other bytes"):
        mlflow_store.send_approval(version, WordShape(digest="0" * 64))


def test_nothing_can_be_approved_before_it_was_checked(world: World) -> None:
    version = world.candidate()
    world.acting("bo")
    with pytest.raises(Exception, match="never checked"):
        mlflow_store.send_approval(version, WordShape())


def test_a_reader_of_the_ui_sees_evidence_and_approval_as_tags(world: World) -> None:
    world.approved()
    tags = client().get_model_version("images", "1").tags
    assert tags["slipway.evidence"].startswith("passed: accuracy 0.9")
    assert tags["slipway.approval"].startswith("bo (claimed) 20")


def test_slipways_tags_cannot_be_written_or_deleted_by_hand(world: World) -> None:
    world.approved()
    for key in ("slipway.digest", "Slipway.Approval", " slipway.x"):
        with pytest.raises(MlflowException, match="slipway's alone"):
            client().set_model_version_tag("images", "1", key, "mine")
    with pytest.raises(MlflowException, match="stays"):
        client().delete_model_version_tag("images", "1", "slipway.evidence")
    with pytest.raises(MlflowException, match="slipway's alone"):
        client().set_registered_model_tag("images", "slipway.policy", "none")
    client().set_model_version_tag("images", "1", "note", "mine")


def test_deleting_ones_approval_withdraws_it(world: World) -> None:
    world.approved()
    with pytest.raises(MlflowException, match="ana said nothing"):
        client().delete_model_version_tag("images", "1", "slipway.approval")
    world.acting("bo")
    client().delete_model_version_tag("images", "1", "slipway.approval")
    assert "slipway.approval" not in client().get_model_version("images", "1").tags
    with pytest.raises(MlflowException, match="no approval"):
        client().transition_model_version_stage("images", "1", "Production")


def test_a_rejection_stands_until_its_giver_takes_it_back(world: World) -> None:
    world.approved()
    world.acting("cy")
    client().set_model_version_tag("images", "1", "slipway.rejection", "class 6 is poor")
    with pytest.raises(MlflowException) as caught:
        client().transition_model_version_stage("images", "1", "Production")
    assert "rejected by cy: class 6 is poor" in refusal(caught)
    client().set_model_version_tag("images", "1", "slipway.withdrawal", "it is fine")
    client().transition_model_version_stage("images", "1", "Production")


def test_evidence_that_does_not_fit_itself_is_refused(world: World) -> None:
    world.candidate()
    for text in ("passed", '{"schema": 1}', '{"schema": 1, "digest": "x"}'):
        with pytest.raises(MlflowException) as caught:
            client().set_model_version_tag("images", "1", "slipway.evidence", text)
        assert caught.value.error_code == "INVALID_PARAMETER_VALUE"


def test_a_copy_carries_neither_approval_nor_another_author(world: World) -> None:
    world.released()
    world.acting("bo")
    client().copy_model_version("models:/images/1", "copies")
    copy = client().get_model_version("copies", "1")
    assert not [key for key in copy.tags if key.startswith("slipway.")]
    assert standing(mlflow_store.ledger("copies", 1)).authors == ("ana", "bo")
    with pytest.raises(MlflowException, match="never checked"):
        client().transition_model_version_stage("copies", "1", "Production")


def test_registering_anothers_files_again_makes_nobody_a_stranger_to_them(world: World) -> None:
    version = world.candidate()
    world.acting("bo")
    client().create_registered_model("mine")
    client().create_model_version("mine", version.source, version.run_id)
    assert standing(mlflow_store.ledger("mine", 1)).authors == ("ana", "bo")


def test_what_is_relied_on_cannot_be_deleted_renamed_or_described(world: World) -> None:
    world.released()
    world.released()
    for number in ("1", "2"):
        with pytest.raises(MlflowException, match=f"images/{number} cannot be deleted"):
            client().delete_model_version("images", number)
        with pytest.raises(MlflowException, match="stays as it was read"):
            client().update_model_version("images", number, "better")
    with pytest.raises(MlflowException, match="cannot be deleted"):
        client().delete_registered_model("images")
    with pytest.raises(MlflowException, match="cannot be renamed"):
        client().rename_registered_model("images", "pictures")


def test_what_nobody_relies_on_can_go_and_says_so(world: World) -> None:
    world.candidate()
    world.candidate()
    client().update_model_version("images", "1", "a first try")
    client().delete_model_version("images", "1")
    client().rename_registered_model("images", "pictures")
    assert [entry.kind for entry in mlflow_store.ledger("images", 1)] == [Kind.REGISTERED, Kind.DELETED]
    assert standing(mlflow_store.ledger("pictures", 2)).authors == ("ana",)


def test_a_number_that_comes_back_inherits_nothing(world: World) -> None:
    world.approved()
    plain = mlflow.MlflowClient(registry_uri=f"sqlite:///{world.folder / 'mlflow.db'}")
    plain.delete_registered_model("images")
    plain.create_registered_model("images")
    plain.create_model_version("images", str(world.folder))
    with pytest.raises(MlflowException) as caught:
        client().transition_model_version_stage("images", "1", "Production")
    assert "never checked; author not recorded; no approval" in refusal(caught)


def test_archiving_nothing_with_the_archive_flag_is_no_server_error(world: World) -> None:
    world.candidate()
    client().transition_model_version_stage("images", "1", "Archived", archive_existing_versions=True)
    assert world.stages() == {1: (Stage.ARCHIVED, ())}


def test_a_policy_that_is_not_understood_refuses_and_names_the_key(world: World) -> None:
    check.check(world.candidate())
    (world.folder / "policy.yaml").write_text("schema: 1\ndefault: {}\n")
    with pytest.raises(MlflowException, match="did you mean 'defaults'"):
        client().transition_model_version_stage("images", "1", "Staging")
