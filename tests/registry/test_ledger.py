from __future__ import annotations

import hashlib
import json
import sqlite3
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from registry import LedgerBroken, mlflow_store
from registry.ledger import GENESIS, Draft, Entry, Kind, canonical, chained, first_bad, moment_of, stamp
from registry.ledger_commands import ledger as command
from registry.wire import EntryShape, read
from registry.words import Actor
from tests.registry.world import World

DRAFTS = st.builds(
    Draft,
    at=st.datetimes(datetime(2020, 1, 1), datetime(2040, 1, 1), timezones=st.just(UTC)),
    kind=st.sampled_from(Kind),
    model=st.text(min_size=1, max_size=8),
    version=st.integers(1, 99),
    actor=st.builds(Actor, st.text(min_size=1, max_size=8), st.booleans()),
    body=st.text(max_size=20),
)


def chain(drafts: list[Draft]) -> list[Entry]:
    entries: list[Entry] = []
    for draft in drafts:
        entries.append(chained(draft, len(entries) + 1, entries[-1].hash if entries else GENESIS))
    return entries


def head(entries: list[Entry]) -> tuple[int, str]:
    return (entries[-1].seq, entries[-1].hash) if entries else (0, GENESIS)


@given(st.lists(DRAFTS, max_size=8))
def test_an_untouched_chain_holds(drafts: list[Draft]) -> None:
    entries = chain(drafts)
    assert first_bad(entries, head(entries)) is None


@given(st.lists(DRAFTS, min_size=1, max_size=8), st.data())
def test_every_edit_is_seen_and_named(drafts: list[Draft], data: st.DataObject) -> None:
    entries = chain(drafts)
    place = data.draw(st.integers(0, len(entries) - 1))
    entry = entries[place]
    edited = data.draw(st.sampled_from([
        replace(entry, body=entry.body + "x"),
        replace(entry, version=entry.version + 1),
        replace(entry, model=entry.model + "x"),
        replace(entry, at=entry.at + timedelta(microseconds=1)),
        replace(entry, kind=Kind.MOVED if entry.kind is not Kind.MOVED else Kind.DELETED),
        replace(entry, actor=replace(entry.actor, name=entry.actor.name + "x")),
        replace(entry, actor=replace(entry.actor, verified=not entry.actor.verified)),
        replace(entry, hash="0" * 64),
    ]))  # fmt: skip
    told = first_bad([*entries[:place], edited, *entries[place + 1 :]], head(entries))
    assert told == f"entry {place + 1} was edited"


@given(st.lists(DRAFTS, min_size=1, max_size=8), st.data())
def test_every_entry_taken_out_is_seen(drafts: list[Draft], data: st.DataObject) -> None:
    entries = chain(drafts)
    place = data.draw(st.integers(0, len(entries) - 1))
    assert first_bad([*entries[:place], *entries[place + 1 :]], head(entries)) is not None


@given(st.lists(DRAFTS, min_size=2, max_size=8), st.data())
def test_every_reordering_is_seen(drafts: list[Draft], data: st.DataObject) -> None:
    entries = chain(drafts)
    shuffled = data.draw(st.permutations(entries))
    if shuffled != entries:
        assert first_bad(shuffled, head(entries)) is not None


@given(st.lists(DRAFTS, min_size=1, max_size=8), st.data())
def test_every_truncation_is_seen(drafts: list[Draft], data: st.DataObject) -> None:
    entries = chain(drafts)
    kept = data.draw(st.integers(0, len(entries) - 1))
    assert first_bad(entries[:kept], head(entries)) is not None


@given(st.lists(DRAFTS, max_size=5))
def test_an_entry_survives_the_journey_as_json(drafts: list[Draft]) -> None:
    for entry in chain(drafts):
        assert read(EntryShape, EntryShape.of(entry).dump()).entry() == entry


@given(st.datetimes(datetime(1000, 1, 1), timezones=st.just(UTC)))
def test_a_stamp_is_read_back_as_the_same_moment(moment: datetime) -> None:
    assert moment_of(stamp(moment)) == moment


# --- in the database, and as an auditor asks


def run(*words: str) -> Result:
    return CliRunner().invoke(command, list(words))


def edit(world: World, statement: str) -> None:
    with sqlite3.connect(world.folder / "mlflow.db") as database:
        database.execute(statement)


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        ("UPDATE slipway_ledger SET actor = 'cy' WHERE seq = 3", "entry 3 was edited"),
        ("DELETE FROM slipway_ledger WHERE seq = 2", "entry 2 is missing"),
        ("DELETE FROM slipway_ledger WHERE seq = 4", "the ledger ends at entry 3, its head says 4"),
        ("UPDATE slipway_ledger SET seq = 9 WHERE seq = 4", "entry 4 is missing or out of order"),
    ],
)
def test_verify_names_the_first_bad_entry_of_the_database(world: World, statement: str, told: str) -> None:
    world.released()
    assert run("verify").stdout.startswith("4 entries hold")
    edit(world, statement)
    assert isinstance(run("verify").exception, LedgerBroken)
    assert told in str(run("verify").exception)


def test_an_export_can_be_imported_into_an_empty_database(world: World, pristine: Path, tmp_path: Path) -> None:
    world.released()
    exported = run("export").stdout
    (tmp_path / "ledger.jsonl").write_text(exported)
    (tmp_path / "other.db").write_bytes(pristine.read_bytes())
    world.monkeypatch.setenv("MLFLOW_REGISTRY_URI", f"sqlite:///{tmp_path / 'other.db'}")
    assert run("import", str(tmp_path / "ledger.jsonl")).stdout == "4 entries imported\n"
    assert run("import", str(tmp_path / "ledger.jsonl")).stdout == "0 entries imported\n"
    assert run("export").stdout == exported
    assert run("verify").exit_code == 0


def test_an_import_that_does_not_continue_the_ledger_is_refused(world: World, tmp_path: Path) -> None:
    world.released()
    lines = run("export").stdout.splitlines()
    world.candidate()
    for wrong in (lines[:2] + lines[3:], [lines[0].replace("ana", "eve"), *lines[1:]], [*lines, lines[0]]):
        (tmp_path / "wrong.jsonl").write_text("\n".join(wrong))
        refused = run("import", str(tmp_path / "wrong.jsonl"))
        assert refused.exception is None or isinstance(refused.exception, LedgerBroken)
        assert mlflow_store.whole_ledger()[1][0] == 5


@pytest.fixture
def keys(tmp_path: Path) -> tuple[Path, Path]:
    private, public = tmp_path / "key.pem", tmp_path / "key.pub.pem"
    key = ec.generate_private_key(ec.SECP256R1())
    private.write_bytes(key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ))  # fmt: skip
    public.write_bytes(key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    ))  # fmt: skip
    return private, public


def test_a_ledger_rewritten_as_a_whole_is_seen_by_a_signed_head(world: World, keys: tuple[Path, Path]) -> None:
    world.released()
    (world.folder / "head.json").write_text(run("sign", "--key", str(keys[0])).stdout)
    ask = ("verify", "--head", str(world.folder / "head.json"), "--key", str(keys[1]))
    world.candidate()
    assert run(*ask).exit_code == 0, "growing is not rewriting"
    forged = chain([Draft(e.at, e.kind, e.model, e.version, Actor("eve"), e.body) for e in mlflow_store.ledger()])
    for entry in forged:
        edit(world, f"UPDATE slipway_ledger SET actor = 'eve', prev = '{entry.prev}', hash = '{entry.hash}' "  # noqa: S608
                    f"WHERE seq = {entry.seq}")  # fmt: skip
    edit(world, f"UPDATE slipway_head SET hash = '{forged[-1].hash}'")  # noqa: S608
    assert run("verify").exit_code == 0, "the chain alone cannot see it"
    assert "entry 4 says something else since it was signed" in str(run(*ask).exception)


def test_a_ledger_cut_short_with_its_head_is_seen_by_a_signed_head(world: World, keys: tuple[Path, Path]) -> None:
    world.released()
    (world.folder / "head.json").write_text(run("sign", "--key", str(keys[0])).stdout)
    entry = mlflow_store.ledger()[1]
    edit(world, "DELETE FROM slipway_ledger WHERE seq > 2")
    edit(world, f"UPDATE slipway_head SET seq = 2, hash = '{entry.hash}'")  # noqa: S608
    assert run("verify").exit_code == 0
    told = run("verify", "--head", str(world.folder / "head.json"), "--key", str(keys[1]))
    assert "entry 4 is gone since it was signed" in str(told.exception)


def test_a_head_that_somebody_else_signed_is_refused(world: World, keys: tuple[Path, Path]) -> None:
    world.released()
    signed = json.loads(run("sign", "--key", str(keys[0])).stdout)
    (world.folder / "head.json").write_text(json.dumps({**signed, "seq": 3}))
    told = run("verify", "--head", str(world.folder / "head.json"), "--key", str(keys[1]))
    assert "was not signed with this key" in str(told.exception)


def test_a_head_without_its_key_is_a_usage_error(world: World) -> None:
    (world.folder / "head.json").write_text("{}")
    assert run("verify", "--head", str(world.folder / "head.json")).exit_code == 2
    assert isinstance(command, click.Group)


def test_an_entry_rewritten_together_with_its_own_hash_is_seen_by_the_next() -> None:
    drafts = [Draft(datetime(2026, 1, day, tzinfo=UTC), Kind.APPROVED, "m", 1, Actor("bo"), "{}") for day in (1, 2, 3)]
    entries = chain(drafts)
    forged = chained(replace(drafts[1], actor=Actor("cy")), 2, entries[0].hash)
    assert first_bad([entries[0], forged, entries[2]], head(entries)) == "entry 3 does not follow entry 2"
    assert first_bad([chained(drafts[0], 1, "1" * 64)], (1, "")) == "entry 1 does not follow entry 0"


def test_the_hash_of_an_entry_is_the_same_for_good() -> None:
    """Ledgers that were written keep holding: whoever changes how an entry is hashed breaks every one of them."""
    said = Draft(datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC), Kind.CHECKED, "größe", 7, Actor("bo", True), '{"b":1}')
    entry = chained(said, 1, "0" * 64)
    text = f'[1,"2026-01-02T03:04:05.000006Z","checked","größe",7,"bo",true,"{{\\"b\\":1}}","{"0" * 64}"]'
    assert entry.hash == hashlib.sha256(text.encode()).hexdigest()
    assert entry.prev == GENESIS
    assert canonical({"b": [1, "ö"], "a": None}) == '{"a":null,"b":[1,"ö"]}'
    with pytest.raises(ValueError, match="JSON compliant"):
        canonical(float("nan"))
