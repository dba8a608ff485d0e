# mypy: disallow-untyped-calls=False
# MLflow's store carries no annotations.
"""Any order of anything anybody can do: stage, alias and ledger agree, and nothing unworthy reaches Production.

An oracle beside the store, written from docs/governance.md in the plainest words, says what ought to happen.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import ClassVar

import flask
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from mlflow.entities.model_registry import ModelVersionTag
from mlflow.exceptions import MlflowException

from registry.ledger import Entry, first_bad
from registry.replay import at
from registry.store import GovernedStore
from registry.words import Stage
from tests.registry.saying import evidence

START = datetime(2026, 1, 1, tzinfo=UTC)
PEOPLE = st.sampled_from(["ana", "bo", "cy", "ci", "anonymous"])
NUMBERS = st.integers(1, 3)
WORDS = ["approval", "rejection", "withdrawal"]
MOSTLY = st.sampled_from([True, True, True, False])
STAGES = st.sampled_from(["Production", "Staging", "Production", "None", "Archived"])


@dataclass
class Life:
    """What the oracle remembers of one version."""

    author: str
    stage: str = "None"
    evidence: tuple[str, bool, datetime, tuple[int, str] | None] | None = None
    yes: dict[tuple[str, str], datetime] = field(default_factory=dict)
    no: set[tuple[str, str]] = field(default_factory=set)
    relied_on: bool = False


class Registry(RuleBasedStateMachine):
    """People and machines at one model with up to three versions."""

    pristine: ClassVar[Path]

    @initialize()
    def begin(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="registry-interleavings-"))
        shutil.copy(self.pristine, self.folder / "mlflow.db")
        self.now = START
        self.store = GovernedStore(f"sqlite:///{self.folder / 'mlflow.db'}", clock=lambda: self.now)
        self.store.create_registered_model("m")
        self.lives: dict[int, Life] = {}
        self.seen: list[tuple[datetime, dict[int, str]]] = []
        for author in ("ana", "ana", "bo"):
            self.register(author)

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self.store.engine.dispose()
            GovernedStore._engine_map.pop(f"sqlite:///{self.folder / 'mlflow.db'}", None)
            shutil.rmtree(self.folder)

    def attempt(self, expected: bool, act: object, *words: object, who: str, login: bool = False) -> None:
        """Do something as somebody; it must succeed exactly when the oracle says so."""
        self.now += timedelta(seconds=1)
        os.environ["SLIPWAY_USER"] = who
        try:
            with _LoggedIn(who) if login else nullcontext():
                act(*words)  # type: ignore[operator]
            done = True
        except MlflowException as refused:
            assert refused.error_code in ("PERMISSION_DENIED", "RESOURCE_DOES_NOT_EXIST"), refused
            done = False
        assert done == expected, f"{who}: {words}"

    def register(self, who: str) -> None:
        self.attempt(True, self.store.create_model_version, "m", f"/files/{len(self.lives)}", who=who)
        self.lives[len(self.lives) + 1] = Life(who)

    @rule(number=NUMBERS, reviewer=st.sampled_from(["bo", "cy", "ana", "cy", "ci", "anonymous"]), stage=STAGES)
    def the_usual_way(self, number: int, reviewer: str, stage: str) -> None:
        """Most of what happens in life; without it a random walk would seldom leave the ground."""
        self.check("ci", number, "a", good=True, compares=True)
        self.say(reviewer, number, "approval")
        self.move("ana", number, stage, login=False, by_alias=False)

    @rule(number=NUMBERS, days=st.sampled_from([1, 40]), second=st.sampled_from(WORDS))
    def second_thoughts(self, number: int, days: int, second: str) -> None:
        """Approved, then something happens, then checked again and moved."""
        self.check("ci", number, "a", good=True, compares=True)
        self.say("cy", number, "approval")
        self.say("bo", number, second)
        self.wait(days)
        self.check("ci", number, "a", good=True, compares=True)
        self.move("ana", number, "Production", login=False, by_alias=True)

    @rule(who=PEOPLE, number=NUMBERS, letter=st.sampled_from("aab"), good=MOSTLY, compares=MOSTLY)
    def check(self, who: str, number: int, letter: str, good: bool, compares: bool) -> None:
        champion = self.champion()
        paired = (champion, self.lives[champion].evidence[0]) if champion and compares else None  # type: ignore[index]
        shape = evidence(letter, good, paired)
        expected = number in self.lives and who != "anonymous"
        tag = ModelVersionTag("slipway.evidence", shape.dump())
        self.attempt(expected, self.store.set_model_version_tag, "m", number, tag, who=who)
        if expected:
            self.lives[number].evidence = (shape.digest, good, self.now, paired)

    @rule(who=PEOPLE, number=NUMBERS, word=st.sampled_from(["approval", *WORDS]))
    def say(self, who: str, number: int, word: str) -> None:
        life = self.lives.get(number)
        digest = life.evidence[0] if life and life.evidence else ""
        if word == "withdrawal":
            said = life is not None and (any(w == who for w, _ in life.yes) or any(w == who for w, _ in life.no))
            expected = bool(digest) and said
        else:
            expected = bool(digest) and life is not None and self.may_approve(who, life)
        tag = ModelVersionTag(f"slipway.{word}", "because")
        self.attempt(expected, self.store.set_model_version_tag, "m", number, tag, who=who)
        if expected and life:
            if word == "approval":
                life.no.discard((who, digest))
                life.yes[who, digest] = self.now
                return
            life.yes = {said: when for said, when in life.yes.items() if said[0] != who}
            if word == "rejection":
                life.no.add((who, digest))
            else:
                life.no = {said for said in life.no if said[0] != who}

    @rule(who=PEOPLE, number=NUMBERS, stage=STAGES, login=st.booleans(), by_alias=st.booleans())
    def move(self, who: str, number: int, stage: str, login: bool, by_alias: bool) -> None:
        life = self.lives.get(number)
        self.now += timedelta(seconds=1)
        expected = life is not None and self.may_move(who, life, stage, login)
        self.now -= timedelta(seconds=1)
        alias = Stage(stage).alias
        if by_alias and alias:
            self.attempt(expected, self.store.set_registered_model_alias, "m", alias, number, who=who, login=login)
        else:
            words = ("m", number, stage, False)
            self.attempt(expected, self.store.transition_model_version_stage, *words, who=who, login=login)
        if expected and life and life.stage != stage:
            if login and stage == "Production" and life.evidence and self.may_approve(who, life):
                life.yes.setdefault((who, life.evidence[0]), self.now)
            self.settle(number, stage)

    @rule(who=PEOPLE, alias=st.sampled_from(["champion", "challenger"]))
    def drop_alias(self, who: str, alias: str) -> None:
        stage = Stage.of_alias(alias)
        holder = next((n for n, life in self.lives.items() if stage and life.stage == stage.value), None)
        expected = not (holder and alias == "champion" and who in ("ci", "anonymous"))
        self.attempt(expected, self.store.delete_registered_model_alias, "m", alias, who=who)
        if holder and expected:
            self.settle(holder, "Archived")

    @rule(days=st.sampled_from([1, 1, 20, 40]))
    def wait(self, days: int) -> None:
        self.now += timedelta(days=days)

    # --- the oracle

    def champion(self) -> int | None:
        return next((n for n, life in self.lives.items() if life.stage == "Production"), None)

    def may_approve(self, who: str, life: Life) -> bool:
        return who not in ("ci", "anonymous", life.author)

    def may_move(self, who: str, life: Life, stage: str, login: bool) -> bool:
        if life.stage == stage:
            return True
        if stage in ("None", "Archived"):
            return life.stage != "Production" or who not in ("ci", "anonymous")
        if life.evidence is None:
            return False
        digest, good, when, paired = life.evidence
        champion = self.champion()
        rival = champion if champion and self.lives[champion] is not life else None
        now_champion = (rival, self.lives[rival].evidence[0]) if rival else None  # type: ignore[index]
        gates = good and self.now - when <= timedelta(days=30) and (now_champion is None or paired == now_champion)
        if stage == "Staging":
            return gates
        month = timedelta(days=30)
        approved = any(d == digest and self.now - t <= month and self.may_approve(w, life)
                       for (w, d), t in life.yes.items())  # fmt: skip
        moving = login and self.may_approve(who, life) and (who, digest) not in life.yes
        rejected = any(d == digest for _, d in life.no)
        return gates and not rejected and (approved or moving)

    def settle(self, number: int, stage: str) -> None:
        for life in self.lives.values():
            if stage in ("Staging", "Production") and life.stage == stage:
                life.stage = "Archived"
        self.lives[number].stage = stage

    # --- what must always hold

    @invariant()
    def stage_alias_and_ledger_agree(self) -> None:
        if not hasattr(self, "store"):
            return
        found = {}
        for number in self.lives:
            version = self.store.get_model_version("m", number)
            stage = Stage(version.current_stage)
            assert set(version.aliases) == ({stage.alias} - {None}), version
            found[number] = stage.value
        assert found == {number: life.stage for number, life in self.lives.items()}
        assert list(found.values()).count("Production") <= 1
        entries, head = self.entries()
        assert first_bad(entries, head) is None
        self.seen.append((self.now, found))
        assert {s.version: s.stage.value for s in at(entries, self.now)} == found

    def entries(self) -> tuple[list[Entry], tuple[int, str]]:
        page = self.store.ledger_page()
        return [shape.entry() for shape in page.entries], (page.head_seq, page.head_hash)

    @rule()
    def history_at_any_moment_is_what_was_seen_then(self) -> None:
        for moment, found in self.seen:
            assert {s.version: s.stage.value for s in at(self.entries()[0], moment)} == found


class _LoggedIn(AbstractContextManager[None]):
    """A request whose login the server has proved."""

    def __init__(self, who: str) -> None:
        self._context = flask.Flask("login").test_request_context()
        self._who = who

    def __enter__(self) -> None:
        self._context.push()
        flask.g.mlflow_authenticated_user = self._who

    def __exit__(self, *_: object) -> None:
        self._context.pop()


def test_any_interleaving_is_decided_as_the_oracle_says(pristine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLIPWAY_USER", "ana")
    monkeypatch.chdir(pristine.parent)  # no policy file: the built-in one
    Registry.pristine = pristine
    examples = int(os.environ.get("SLIPWAY_EXAMPLES", "10"))
    limits = settings(
        max_examples=examples, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
    )
    run_state_machine_as_test(Registry, settings=limits)
