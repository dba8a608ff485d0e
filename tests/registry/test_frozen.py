"""The files of an approved version stay as they were approved, by whatever route of MLflow's server somebody writes."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import pytest
import requests
import sqlalchemy as sa

from registry import freeze, tables
from tests.registry.saying import evidence


@dataclass(frozen=True)
class Asking:
    """A server, and a run on it with one file."""

    server: str
    run_id: str
    folder: str

    @classmethod
    def of(cls, server: str, experiment: str = "0") -> Asking:
        """Make a run, and write a model's file into it."""
        run = Asking(server, "", "").api("POST", "runs/create", experiment_id=experiment).json()["run"]["info"]
        made = cls(server, run["run_id"], run["artifact_uri"].removeprefix("mlflow-artifacts:/"))
        assert made.put(f"{made.folder}/model/MLmodel", b"as approved").status_code == 200
        return made

    def api(self, method: str, path: str, who: str = "ana", **body: Any) -> requests.Response:
        """A call of MLflow's REST API."""
        url, headers = f"{self.server}/api/2.0/mlflow/{path}", {"X-Slipway-User": who}
        return requests.request(method, url, json=body, headers=headers, timeout=30)

    def put(self, path: str, data: bytes = b"changed") -> requests.Response:
        """Write an artefact."""
        return requests.put(f"{self.server}/api/2.0/mlflow-artifacts/artifacts/{path}", data=data, timeout=30)

    def upload(self, path: str, run_id: str = "") -> requests.Response:
        """Write an artefact as the UI's own route does, which names the run."""
        params = {"run_uuid": run_id or self.run_id, "path": path}
        url = f"{self.server}/ajax-api/2.0/mlflow/upload-artifact"
        return requests.post(url, params=params, data=b"changed", timeout=30)

    def approved(self, name: str, source: str) -> None:
        """Register, check and approve."""
        self.api("POST", "registered-models/create", name=name)
        made = self.api("POST", "model-versions/create", name=name, source=source, run_id=self.run_id)
        assert made.ok, made.text
        for who, key, value in (("ci", "evidence", evidence().dump()), ("bo", "approval", "fine")):
            said = {"name": name, "version": "1", "key": f"slipway.{key}", "value": value}
            assert self.api("POST", "model-versions/set-tag", who, **said).ok

    def file(self) -> bytes:
        """What the file holds now."""
        url = f"{self.server}/api/2.0/mlflow-artifacts/artifacts/{self.folder}/model/MLmodel"
        return requests.get(url, timeout=30).content


def test_the_route_that_names_a_run_writes_no_approved_file(server: str) -> None:
    asking = Asking.of(server)
    assert asking.upload("model/MLmodel").status_code == 200
    asking.put(f"{asking.folder}/model/MLmodel", b"as approved")
    asking.approved("by-run", f"mlflow-artifacts:/{asking.folder}/model")
    refused = asking.upload("model/MLmodel")
    assert (refused.status_code, asking.file()) == (403, b"as approved")
    assert "the files of by-run/1 are approved" in refused.json()["message"]
    assert asking.upload("elsewhere/MLmodel").status_code == 200


@pytest.mark.parametrize("times", [1, 5, 6, 9])
def test_a_path_however_often_it_is_escaped_writes_no_approved_file(server: str, times: int) -> None:
    asking = Asking.of(server)
    asking.approved(f"escaped-{times}", f"mlflow-artifacts:/{asking.folder}/model")
    path = f"{asking.folder.replace('artifacts', 'artifact%73')}/model/MLmodel"
    for _ in range(times):
        path = quote(path, safe="/")
    assert asking.put(path).status_code == 403
    assert requests.delete(f"{server}/api/2.0/mlflow-artifacts/artifacts/{path}", timeout=30).status_code == 403
    assert asking.file() == b"as approved"


def test_an_experiment_whose_name_for_its_files_reads_as_a_scheme_is_frozen_in_any_case(server: str) -> None:
    where = {"name": "scheme", "artifact_location": "mlflow-artifacts:/a:b"}
    experiment = Asking(server, "", "").api("POST", "experiments/create", **where).json()["experiment_id"]
    asking = Asking.of(server, experiment)
    asking.approved("scheme", f"mlflow-artifacts:/{asking.folder}/model")
    assert asking.put(f"A:{asking.folder[2:]}/model/MLmodel").status_code == 403
    assert asking.file() == b"as approved"


def test_a_version_registered_by_its_run_is_frozen_where_its_files_lie(server: str) -> None:
    asking = Asking.of(server)
    asking.approved("runs", f"runs:/{asking.run_id}/model")
    assert asking.put(f"{asking.folder}/model/MLmodel").status_code == 403
    assert asking.upload("model/more").status_code == 403
    told = requests.get(
        f"{server}/api/2.0/mlflow/model-versions/get", params={"name": "runs", "version": "1"}, timeout=30
    )
    assert told.json()["model_version"]["source"] == f"mlflow-artifacts:/{asking.folder}/model"


def test_a_model_is_not_registered_as_another_runs(server: str) -> None:
    asking, other = Asking.of(server), Asking.of(server)
    asking.api("POST", "registered-models/create", name="lent")
    logged = asking.api("POST", "logged-models", experiment_id="0", name="m", source_run_id=asking.run_id).json()
    model = logged["model"]["info"]["model_id"]
    said = {"name": "lent", "source": f"models:/{model}", "model_id": model}
    refused = asking.api("POST", "model-versions/create", **said, run_id=other.run_id)
    assert refused.status_code == 400
    assert f"was logged by run {asking.run_id}, not by {other.run_id}" in refused.json()["message"]
    assert asking.api("POST", "model-versions/create", **said, run_id=asking.run_id).ok


def test_files_registered_by_the_address_behind_a_server_are_those_that_it_serves() -> None:
    assert freeze.stored_at("s3://bucket/served/0/run/model", "s3://bucket/served/") == "0/run/model"
    assert freeze.stored_at("file:///data/served/0/model", "/data/served") == "0/model"
    assert freeze.stored_at("s3://bucket/served", "s3://bucket/served") == ""
    assert freeze.stored_at("s3://bucket/served-not/0/model", "s3://bucket/served") is None
    assert freeze.stored_at("s3://bucket/0/model") is None


def test_a_folder_above_a_frozen_one_is_found_without_asking_how_the_database_sorts() -> None:
    engine = sa.create_engine("sqlite://")
    tables.create_tables(engine)
    with sa.orm.Session(engine) as session:
        tables.freeze(session, "1/a_b/model", "images", 3)
        for path in ("1", "1/a_b", "1/a_b/model", "1/a_b/model/MLmodel"):
            assert tables.frozen_by(session, path) == "images/3"
        for path in ("1/a", "1/axb", "1/a_b/models", "2"):
            assert tables.frozen_by(session, path) is None
        seen: list[str] = []
        sa.event.listen(engine, "before_cursor_execute", lambda *said: seen.append(json.dumps(said[2])))
        tables.frozen_by(session, "1")
        assert "path >" not in seen[0]
