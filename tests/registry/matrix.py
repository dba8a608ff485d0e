# mypy: disallow-untyped-calls=False
# MLflow's own functions carry no annotations.
"""Who may do what, as docs/governance.md says it: the roles, the actions, and each by REST and by MLflow's client.

`tests/registry/registry_ui.py` does the same in MLflow's registry UI.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import requests
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

from registry.digest import digest_of
from registry.wire import EvidenceShape, FileShape
from registry.words import FileDigest
from tests.registry import saying
from tests.registry.servers import ADMIN, PASSWORD

DOCUMENT = Path(__file__).parents[2] / "docs" / "governance.md"
DESCRIBED = "the best"
PEOPLE = {"author": "ana", "reviewer": "bo", "second reviewer": "cy", "CI": "ci", "admin": "root"}
FILES = (FileDigest("MLmodel", "1" * 64, 10),)
EVIDENCE = EvidenceShape(
    digest=digest_of(FILES), files=tuple(FileShape(path=f.path, sha256=f.sha256, size=f.size) for f in FILES),
    held_out="2" * 64, rows=100, paired=None, measures={"accuracy": 0.9, "recall_macro": 0.9, "recall_lowest": 0.8},
    measured=saying.evidence().measured,
).dump()  # fmt: skip


@dataclass(frozen=True)
class Row:
    """What the document says of one action: whether each role may, and where the registry UI offers it."""

    may: dict[str, bool]
    offered: str


def documented() -> dict[str, Row]:
    """The table of the document, by action."""
    text = DOCUMENT.read_text().split("## The matrix")[1]
    lines = [line for line in text.splitlines() if line.startswith("|") and not line.startswith("|-")]
    head, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    roles = head[1:-1]
    return {name: Row({role: _YES_OR_NO[cell] for role, cell in zip(roles, cells, strict=True)}, offered)
            for name, *cells, offered in rows}


_YES_OR_NO = {"yes": True, "no": False}


@dataclass
class Registry:
    """A server, spoken to by anybody over one of its prefixes."""

    address: str
    run: dict[str, str]
    prefix: str = "api"
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    session: requests.Session = field(default_factory=requests.Session)

    def ask(self, who: str | None, method: str, path: str, **how: Any) -> requests.Response:
        auth = None if who is None else ADMIN if who == "root" else (who, PASSWORD)
        return self.session.request(method, f"{self.address}/{self.prefix}/2.0/{path}", auth=auth, timeout=30, **how)

    def version(self, *states: str) -> str:
        """A model of its own with ana's version 1, taken through these states."""
        name = f"m{next(self.numbers)}"
        self._done("ana", "POST", "mlflow/registered-models/create", json={"name": name})
        source = f"{self.run['artifact_uri']}/{name}"
        made = {"name": name, "source": source, "run_id": self.run["run_id"]}
        self._done("ana", "POST", "mlflow/model-versions/create", json=made)
        for state in states:
            assert {
                "checked": lambda: self.tag("ci", name, "slipway.evidence", EVIDENCE),
                "approved": lambda: self.tag("bo", name, "slipway.approval", "fine"),
                "rejected": lambda: self.tag("cy", name, "slipway.rejection", "class 6"),
                "released": lambda: self.move("ci", name, "Production"),
            }[state]().ok
        return name

    def _done(self, who: str, method: str, path: str, **how: Any) -> requests.Response:
        answer = self.ask(who, method, path, **how)
        assert answer.ok, answer.text
        return answer

    def tag(self, who: str | None, name: str, key: str, value: str) -> requests.Response:
        said = {"name": name, "version": "1", "key": key, "value": value}
        return self.ask(who, "POST", "mlflow/model-versions/set-tag", json=said)

    def untag(self, who: str | None, name: str, key: str) -> requests.Response:
        said = {"name": name, "version": "1", "key": key}
        return self.ask(who, "DELETE", "mlflow/model-versions/delete-tag", json=said)

    def move(self, who: str | None, name: str, stage: str) -> requests.Response:
        said = {"name": name, "version": "1", "stage": stage, "archive_existing_versions": False}
        return self.ask(who, "POST", "mlflow/model-versions/transition-stage", json=said)

    def alias(self, who: str | None, name: str, alias: str) -> requests.Response:
        said = {"name": name, "alias": alias, "version": "1"}
        return self.ask(who, "POST", "mlflow/registered-models/alias", json=said)

    def unalias(self, who: str | None, name: str, alias: str) -> requests.Response:
        return self.ask(who, "DELETE", "mlflow/registered-models/alias", json={"name": name, "alias": alias})

    def move_a_copy(self, who: str | None, name: str) -> requests.Response:
        copy = f"{name}-copy"
        self._done("ana", "POST", "mlflow/registered-models/create", json={"name": copy})
        tags = [{"key": "slipway.approval", "value": "bo"}, {"key": "slipway.evidence", "value": "passed"}]
        said = {"name": copy, "source": f"models:/{name}/1", "run_id": self.run["run_id"], "tags": tags}
        made = self._done("ana", "POST", "mlflow/model-versions/create", json=said)
        assert "tags" not in made.json()["model_version"]
        return self.move(who, copy, "Production")

    def glass(self, who: str | None, name: str) -> requests.Response:
        return self.tag(who, name, "slipway.break_glass", json.dumps({"reason": "the site is down"}))

    def file(self, who: str | None, method: str, name: str) -> requests.Response:
        root = self.run["artifact_uri"].removeprefix("mlflow-artifacts:/")
        if method == "DELETE":
            return self.ask(who, method, f"mlflow-artifacts/artifacts/{root}/{name}")
        return self.ask(who, method, f"mlflow-artifacts/artifacts/{root}/{name}/MLmodel", data=b"changed")

    def describe(self, who: str | None, name: str) -> requests.Response:
        said = {"name": name, "version": "1", "description": DESCRIBED}
        return self.ask(who, "PATCH", "mlflow/model-versions/update", json=said)

    def register(self, who: str | None, name: str) -> requests.Response:
        said = {"name": name, "source": f"{self.run['artifact_uri']}/other", "run_id": self.run["run_id"]}
        return self.ask(who, "POST", "mlflow/model-versions/create", json=said)

    def delete(self, who: str | None, name: str) -> requests.Response:
        return self.ask(who, "DELETE", "mlflow/model-versions/delete", json={"name": name, "version": "1"})

    def delete_model(self, who: str | None, name: str) -> requests.Response:
        return self.ask(who, "DELETE", "mlflow/registered-models/delete", json={"name": name})

    def rename(self, who: str | None, name: str) -> requests.Response:
        said = {"name": name, "new_name": f"{name}-{who}"}
        return self.ask(who, "POST", "mlflow/registered-models/rename", json=said)


@dataclass(frozen=True)
class Told:
    """What a person or MLflow's Python client was told, as a status."""

    status_code: int
    text: str = ""

    @property
    def ok(self) -> bool:
        return self.status_code == 200


@dataclass
class ByClient(Registry):
    """The same actions by MLflow's own Python client, which knows nothing of slipway."""

    def call(self, who: str | None, act: Callable[[MlflowClient], object]) -> Any:
        name, password = ADMIN if who == "root" else (who or "", PASSWORD if who else "")
        with pytest.MonkeyPatch.context() as said:
            said.setenv("MLFLOW_TRACKING_USERNAME", name)
            said.setenv("MLFLOW_TRACKING_PASSWORD", password)
            try:
                act(MlflowClient(self.address, self.address))
            except MlflowException as error:
                return Told(error.get_http_status_code(), str(error))
            except requests.HTTPError as error:
                assert error.response is not None
                return Told(error.response.status_code, error.response.text)
        return Told(200)

    def tag(self, who: str | None, name: str, key: str, value: str) -> Any:
        return self.call(who, lambda client: client.set_model_version_tag(name, "1", key, value))

    def untag(self, who: str | None, name: str, key: str) -> Any:
        return self.call(who, lambda client: client.delete_model_version_tag(name, "1", key))

    def move(self, who: str | None, name: str, stage: str) -> Any:
        return self.call(who, lambda client: client.transition_model_version_stage(name, "1", stage))

    def alias(self, who: str | None, name: str, alias: str) -> Any:
        return self.call(who, lambda client: client.set_registered_model_alias(name, alias, "1"))

    def unalias(self, who: str | None, name: str, alias: str) -> Any:
        return self.call(who, lambda client: client.delete_registered_model_alias(name, alias))

    def move_a_copy(self, who: str | None, name: str) -> Any:
        copied = self.call("ana", lambda client: client.copy_model_version(f"models:/{name}/1", f"{name}-copy"))
        assert copied.ok, copied
        return self.move(who, f"{name}-copy", "Production")

    def file(self, who: str | None, method: str, name: str) -> Any:
        files, run_id = get_artifact_repository(self.run["artifact_uri"], self.address), self.run["run_id"]
        if method == "DELETE":
            return self.call(who, lambda _: files.delete_artifacts(name))
        return self.call(who, lambda client: client.log_text(run_id, "changed", f"{name}/MLmodel"))

    def describe(self, who: str | None, name: str) -> Any:
        return self.call(who, lambda client: client.update_model_version(name, "1", DESCRIBED))

    def register(self, who: str | None, name: str) -> Any:
        source, run_id = f"{self.run['artifact_uri']}/other", self.run["run_id"]
        return self.call(who, lambda c: c.create_model_version(name, source, run_id, await_creation_for=0))

    def delete(self, who: str | None, name: str) -> Any:
        return self.call(who, lambda client: client.delete_model_version(name, "1"))

    def delete_model(self, who: str | None, name: str) -> Any:
        return self.call(who, lambda client: client.delete_registered_model(name))

    def rename(self, who: str | None, name: str) -> Any:
        return self.call(who, lambda client: client.rename_registered_model(name, f"{name}-{who}"))


CHECKED, APPROVED, RELEASED = ("checked",), ("checked", "approved"), ("checked", "approved", "released")
Action = Callable[[Registry, str | None, str], Any]
ACTIONS: dict[str, tuple[tuple[str, ...], Action]] = {
    "register a version": ((), lambda r, who, m: r.register(who, m)),
    "record evidence": ((), lambda r, who, m: r.tag(who, m, "slipway.evidence", EVIDENCE)),
    "move an unchecked version to Staging": ((), lambda r, who, m: r.move(who, m, "Staging")),
    "move a checked version to Staging": (CHECKED, lambda r, who, m: r.move(who, m, "Staging")),
    "set @challenger on a checked version": (CHECKED, lambda r, who, m: r.alias(who, m, "challenger")),
    "move an unchecked version to Production": ((), lambda r, who, m: r.move(who, m, "Production")),
    "move a checked version to Production": (CHECKED, lambda r, who, m: r.move(who, m, "Production")),
    "set @champion on a checked version": (CHECKED, lambda r, who, m: r.alias(who, m, "champion")),
    "move an approved version to Production": (APPROVED, lambda r, who, m: r.move(who, m, "Production")),
    "move a rejected version to Production": (
        ("checked", "approved", "rejected"), lambda r, who, m: r.move(who, m, "Production"),
    ),
    "move an approved version's copy to Production": (APPROVED, lambda r, who, m: r.move_a_copy(who, m)),
    "break the glass on a checked version": (CHECKED, lambda r, who, m: r.glass(who, m)),
    "break the glass on an unchecked version": ((), lambda r, who, m: r.glass(who, m)),
    "approve": (CHECKED, lambda r, who, m: r.tag(who, m, "slipway.approval", "fine")),
    "reject": (CHECKED, lambda r, who, m: r.tag(who, m, "slipway.rejection", "poor")),
    "withdraw the reviewer's approval": (APPROVED, lambda r, who, m: r.untag(who, m, "slipway.approval")),
    "archive the Production version": (RELEASED, lambda r, who, m: r.move(who, m, "Archived")),
    "delete @champion": (RELEASED, lambda r, who, m: r.unalias(who, m, "champion")),
    "write a tag of one's own": (APPROVED, lambda r, who, m: r.tag(who, m, "note", "mine")),
    "write another slipway tag": (APPROVED, lambda r, who, m: r.tag(who, m, "Slipway.digest", "mine")),
    "delete the evidence tag": (CHECKED, lambda r, who, m: r.untag(who, m, "slipway.evidence")),
    "delete an unchecked version": ((), lambda r, who, m: r.delete(who, m)),
    "delete an approved version": (APPROVED, lambda r, who, m: r.delete(who, m)),
    "delete the model of an approved version": (APPROVED, lambda r, who, m: r.delete_model(who, m)),
    "delete the model of a released version": (RELEASED, lambda r, who, m: r.delete_model(who, m)),
    "rename the model of a released version": (RELEASED, lambda r, who, m: r.rename(who, m)),
    "describe an unchecked version": ((), lambda r, who, m: r.describe(who, m)),
    "describe an approved version": (APPROVED, lambda r, who, m: r.describe(who, m)),
    "write a file of an unchecked version": ((), lambda r, who, m: r.file(who, "PUT", m)),
    "write a file of an approved version": (APPROVED, lambda r, who, m: r.file(who, "PUT", m)),
    "delete the files of an approved version": (APPROVED, lambda r, who, m: r.file(who, "DELETE", m)),
}  # fmt: skip


def opened(address: str) -> Registry:
    """A server to act on, with a run of ana's for the versions to come."""
    registry = Registry(address, {})
    said = {"experiment_id": "0", "start_time": 0}
    info = registry.ask("ana", "POST", "mlflow/runs/create", json=said).json()["run"]["info"]
    registry.run = {"run_id": info["run_id"], "artifact_uri": info["artifact_uri"]}
    return registry
