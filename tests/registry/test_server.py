"""A real `mlflow server --app-name slipway`, spoken to as the registry UI and as clients do."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import flask
import mlflow
import pytest
import requests

from registry import ModelVersion, PromotionRefused, ReleaseMissing, Stage, check, in_browser, mlflow_store, release
from registry.wire import WordShape
from tests.registry.servers import running
from tests.registry.world import World


def move_in_the_ui(server: str, name: str, version: int, stage: str) -> requests.Response:
    """Exactly what the registry UI posts when a person picks a stage and presses OK."""
    return requests.post(
        f"{server}/ajax-api/2.0/mlflow/model-versions/transition-stage",
        json={"name": name, "version": str(version), "stage": stage, "archive_existing_versions": True},
        timeout=10,
    )


def remote_refusal(version: ModelVersion) -> str:
    """What a Python client is told."""
    with pytest.raises(PromotionRefused) as caught:
        mlflow_store.move(version, Stage.PRODUCTION)
    return str(caught.value)


@pytest.mark.parametrize(("path", "origin", "told"), [
    ("/ajax-api/2.0/x", "", "; in a browser: http://localhost/slipway/approvals/it%27s%20far/1"),
    ("/below/ajax-api/2.0/x", "https://models.example.com",
     "; in a browser: https://models.example.com/below/slipway/approvals/it%27s%20far/1"),
    ("/api/2.0/x", "https://models.example.com", ""),
])
def test_a_refusal_in_the_ui_names_the_page_as_the_browser_called_the_server(path: str, origin: str, told: str) -> None:
    with flask.Flask(__name__).test_request_context(path, headers={"Origin": origin} if origin else {}):
        assert in_browser.page("it's far/1") == told
        assert in_browser.page("") == ""
    assert in_browser.page("it's far/1") == ""


def test_the_ui_is_refused_with_a_reason_and_obeyed_once_checked_and_approved(server: str, remote: World) -> None:
    version = remote.candidate("digits")
    refused = move_in_the_ui(server, "digits", 1, "Production")
    assert refused.status_code == 403
    assert refused.json()["error_code"] == "PERMISSION_DENIED"
    assert refused.json()["message"] == (
        "digits/1 may not enter Production: never checked; no approval (author ana does not count). "
        f"Next: slipway check digits/1; in a browser: {server}/slipway/approvals/digits/1"
    )
    by_a_client = remote_refusal(version)
    assert by_a_client.endswith("Next: slipway check digits/1")
    assert check.check(version).passed
    remote.acting("bo")
    mlflow_store.send_approval(version, WordShape(comment="looked at it"))
    assert move_in_the_ui(server, "digits", 1, "Production").status_code == 200
    assert remote.stages("digits") == {1: (Stage.PRODUCTION, ("champion",))}
    assert release("digits").version == 1


def test_the_ledger_is_read_over_both_prefixes(server: str, remote: World) -> None:
    remote.candidate("both")
    for prefix in ("api", "ajax-api"):
        answer = requests.get(f"{server}/{prefix}/2.0/slipway/ledger", params={"model": "both"}, timeout=10)
        assert [entry["kind"] for entry in answer.json()["entries"]] == ["registered"]


def test_a_claimed_name_travels_in_the_header_and_is_recorded_as_claimed(remote: World) -> None:
    remote.acting("eve")
    remote.candidate("named")
    assert [str(entry.actor) for entry in mlflow_store.ledger("named")] == ["eve (claimed)"]


def test_without_a_name_an_approval_typed_into_the_ui_does_not_count(server: str, remote: World) -> None:
    version = remote.candidate("typed")
    check.check(version)
    answer = requests.post(
        f"{server}/ajax-api/2.0/mlflow/model-versions/set-tag",
        json={"name": "typed", "version": "1", "key": "slipway.approval", "value": "looks good"},
        timeout=10,
    )
    assert answer.status_code == 403
    assert "nobody is named" in answer.json()["message"]


def test_an_unreleased_model_is_missing_over_rest_too(remote: World) -> None:
    remote.candidate("unreleased")
    with pytest.raises(ReleaseMissing):
        release("unreleased")


def test_json_encoded_twice_is_decided_like_any_other(server: str, remote: World) -> None:
    remote.candidate("twice")
    said = json.dumps({"name": "twice", "version": "1", "stage": "Production", "archive_existing_versions": False})
    answer = requests.post(
        f"{server}/api/2.0/mlflow/model-versions/transition-stage",
        data=json.dumps(said), headers={"Content-Type": "application/json"}, timeout=10,
    )  # fmt: skip
    assert (answer.status_code, answer.json()["error_code"]) == (403, "PERMISSION_DENIED")


def test_approved_files_cannot_be_written_and_others_can(server: str, remote: World) -> None:
    version = remote.candidate("files")
    model = mlflow.MlflowClient().get_logged_model(version.source.removeprefix("models:/"))
    path = model.artifact_location.removeprefix("mlflow-artifacts:/")
    url = f"{server}/api/2.0/mlflow-artifacts/artifacts"
    assert requests.put(f"{url}/{path}/note.txt", data=b"before", timeout=10).status_code == 200
    check.check(version)
    remote.acting("bo")
    mlflow_store.send_approval(version, WordShape())
    for spelled in (path, f"/{path}", path.replace("artifacts", "artif%61cts"), f"{path}/../artifacts"):
        assert requests.put(f"{url}/{spelled}/note.txt", data=b"after", timeout=10).status_code in (400, 403)
    for folder in (path, path.rsplit("/", 1)[0], f"{path}/note.txt"):
        assert requests.delete(f"{url}/{folder}", timeout=10).status_code == 403
    assert requests.get(f"{url}/{path}/note.txt", timeout=10).content == b"before"


def test_a_server_tells_of_models_that_only_its_policy_names_and_of_a_policy_it_does_not_understand(
    tmp_path: Path, pristine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(pristine, tmp_path / "mlflow.db")
    monkeypatch.chdir(tmp_path)
    named, wrong = "schema: 1\nmodels: {imgaes: {}}\n", "schema: 1\nci: [yes]\n"
    told = "policy.yaml: models: imgaes: no such registered model"
    policy = tmp_path / "policy.yaml"
    policy.write_text(named)
    with running(tmp_path, "slipway", {"SLIPWAY_POLICY": str(policy)}) as address:
        assert f"{told}. Its rules hold" in (tmp_path / "server.log").read_text()
        mlflow.MlflowClient(tracking_uri=address).create_registered_model("images")
        assert f"{told}; the nearest is images" in requests.get(f"{address}/slipway/approvals", timeout=30).text
        policy.write_text(wrong)
        for page in ("", "/images/1"):
            answer = requests.get(f"{address}/slipway/approvals{page}", timeout=30)
            assert answer.status_code == 500
            assert "policy.yaml:2: ci.0: found true, wanted text. Next: correct line 2" in answer.text


def test_a_number_that_no_database_holds_is_refused_and_breaks_nothing(server: str) -> None:
    for key in ("after", "version"):
        answer = requests.get(f"{server}/api/2.0/slipway/ledger", params={key: "9" * 30}, timeout=10)
        assert (answer.status_code, answer.json()["error_code"]) == (400, "INVALID_PARAMETER_VALUE")
    assert requests.get(f"{server}/slipway/approvals/images/{'9' * 30}", timeout=10).status_code == 404
