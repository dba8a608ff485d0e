"""A registry behind a tracking server, read over MLflow's REST API and our one route beside it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import requests
from pydantic import ValidationError

from registry.advisory import entries_in
from registry.errors import RegistryMisconfigured, RegistryUnreachable
from registry.identity import HEADER, claimed_name
from registry.ledger import GENESIS, Entry
from registry.logins import Login, login
from registry.reading import Model
from registry.whereabouts import unreachable
from registry.wire import EntryShape, LedgerPage
from registry.words import ModelVersion, Stage

LEDGER_ROUTE = "/api/2.0/slipway/ledger"
_TIMEOUT = 30
_MOST = 1000  # models or versions in one answer


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server answered: the HTTP status, and the body as text."""

    status: int
    text: str

    def json(self) -> Any:
        """The body, which MLflow's routes make JSON."""
        return json.loads(self.text)


Ask = Callable[[str, Mapping[str, str]], Answer]


def server_reader(uri: str) -> ServerReader:
    """The reader for a server, with the login in force; what MLflow must sign, MLflow sends."""
    known = login()
    if known.signed:
        from registry.mlflow_store import ask_signed

        return ServerReader(uri, ask_signed(uri))
    return ServerReader(uri, plainly(uri, known))


def plainly(uri: str, known: Login) -> Ask:
    """Ask by GET, with a name and password, a token, or nothing."""

    def ask(path: str, params: Mapping[str, str]) -> Answer:
        """Ask once, for the claimed name."""
        try:
            answer = requests.get(
                f"{uri.rstrip('/')}{path}", params=params, headers={HEADER: claimed_name(), **known.headers},
                auth=known.basic, verify=known.certificate, cert=known.own_certificate, timeout=_TIMEOUT,
            )  # fmt: skip
        except requests.RequestException as error:
            raise RegistryUnreachable(unreachable(uri, str(error))) from error
        return Answer(answer.status_code, answer.text)

    return ask


@dataclass(frozen=True, slots=True)
class ServerReader:
    """What stands behind one server."""

    uri: str
    ask: Ask

    def page(self, model: str | None, version: int | None, after: int) -> LedgerPage:
        """The next ledger entries."""
        asked = {"model": model, "version": version, "after": after}
        answer = self.ask(LEDGER_ROUTE, {key: str(value) for key, value in asked.items() if value is not None})
        if answer.status == 404:
            return self._in_tags(model, version, after)
        try:
            return LedgerPage.model_validate_json(self._good(answer).text)
        except ValidationError as error:
            raise RegistryMisconfigured(f"{self.uri} answered with something that is no ledger page") from error

    def advisory(self) -> bool:
        """Does this server run without slipway?"""
        return self.ask(LEDGER_ROUTE, {"model": ""}).status == 404

    def own_name(self) -> str | None:
        """Whom does the server take us for? None where it has no logins."""
        answer = self.ask("/api/2.0/mlflow/users/current", {})
        return str(answer.json()["user"]["username"]) if answer.status == 200 else None

    def _in_tags(self, model: str | None, version: int | None, after: int) -> LedgerPage:
        """All that a server without slipway can tell: the entries that clients left in its versions' tags."""
        if model is None:
            raise RegistryMisconfigured(f"{self.uri} shows no ledger. Next: start the server with --app-name slipway")
        if version is None:
            listed = list(self._versions(model))
        else:
            found = self._found("model-versions/get", {"name": model, "version": str(version)})
            listed = [found["model_version"]] if found else []
        entries = sorted((entry for said in listed for entry in _advice(said)), key=lambda entry: entry.seq)
        shapes = tuple(EntryShape.of(entry) for entry in entries if entry.seq > after)
        return LedgerPage(entries=shapes, head_seq=0, head_hash=GENESIS)

    def model(self, name: str) -> Model | None:
        """A model by name."""
        found = self._found("registered-models/get", {"name": name})
        return None if found is None else _model(found["registered_model"])

    def version(self, model: str, number: int) -> ModelVersion | None:
        """A version by number."""
        found = self._found("model-versions/get", {"name": model, "version": str(number)})
        return None if found is None else _word(found["model_version"])

    def numbers(self, model: str) -> Sequence[int]:
        """The numbers of all versions of a model."""
        return sorted(int(version["version"]) for version in self._versions(model))

    def _versions(self, model: str) -> Iterator[Any]:
        quote = '"' if "'" in model else "'"
        return self._listed("model-versions/search", "model_versions", {"filter": f"name = {quote}{model}{quote}"})

    def models(self) -> Sequence[Model]:
        """All models, by name."""
        listed = self._listed("registered-models/search", "registered_models", {})
        return sorted(map(_model, listed), key=lambda model: model.name)

    def _listed(self, route: str, key: str, params: Mapping[str, str]) -> Iterator[Any]:
        token = ""
        while True:
            asked = {**params, "max_results": str(_MOST), **({"page_token": token} if token else {})}
            answer = self._good(self.ask(f"/api/2.0/mlflow/{route}", asked)).json()
            yield from answer.get(key, ())
            token = answer.get("next_page_token", "")
            if not token:
                return

    def _found(self, route: str, params: Mapping[str, str]) -> Any:
        answer = self.ask(f"/api/2.0/mlflow/{route}", params)
        return None if _missing(answer) else self._good(answer).json()

    def _good(self, answer: Answer) -> Answer:
        if answer.status == 200:
            return answer
        if answer.status in (401, 403):
            said = "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN"
            raise RegistryMisconfigured(f"{self.uri} does not let us in ({answer.status}). Next: set {said}")
        if answer.status == 400:
            raise RegistryMisconfigured(_message(answer))
        raise RegistryUnreachable(f"{self.uri} answered {answer.status}: {_message(answer)}")


def _advice(said: Any) -> list[Entry]:
    tags = {str(tag["key"]): str(tag.get("value", "")) for tag in said.get("tags", ())}
    return entries_in(tags, str(said["name"]), int(said["version"]))


def _missing(answer: Answer) -> bool:
    return answer.status == 404 and "RESOURCE_DOES_NOT_EXIST" in answer.text


def _message(answer: Answer) -> str:
    """MLflow's own words, where they are MLflow's."""
    try:
        return str(answer.json()["message"])
    except (ValueError, KeyError, TypeError):
        return answer.text[:200]


def _model(said: Any) -> Model:
    aliases = {str(a["alias"]): int(a["version"]) for a in said.get("aliases", ())}
    return Model(str(said["name"]), aliases)


def _word(said: Any) -> ModelVersion:
    return ModelVersion(
        name=str(said["name"]), number=int(said["version"]), run_id=said.get("run_id", ""),
        source=said.get("source", ""), stage=Stage(said.get("current_stage") or "None"),
    )  # fmt: skip
