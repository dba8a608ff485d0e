"""What a registry holds is read without MLflow, and reads the same from a database and from a server."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import mlflow
import pytest

from registry import RegistryMisconfigured, ReleaseMissing, Stage, reading, release
from registry.ledger import first_bad
from registry.logins import Login, login
from registry.read_database import DatabaseReader
from registry.read_server import plainly, server_reader
from registry.reading import Reader
from tests.registry.servers import PASSWORD
from tests.registry.world import World

pytestmark = pytest.mark.filterwarnings("ignore:.*transition_model_version_stage:FutureWarning")


@pytest.fixture(params=["database", "server"])
def registry(request: pytest.FixtureRequest, world: World) -> Iterator[tuple[World, Reader]]:
    """A world and what reads it, over each of the two ways."""
    if request.param == "server":
        uri = request.getfixturevalue("server")
        request.getfixturevalue("remote")
        yield world, server_reader(uri)
    else:
        yield world, DatabaseReader(f"sqlite:///{world.folder / 'mlflow.db'}")


def test_every_reader_says_what_mlflow_says(registry: tuple[World, Reader]) -> None:
    world, reader = registry
    world.released("contract")
    second = world.candidate("contract")
    found = reader.model("contract")
    assert found is not None
    assert dict(found.aliases) == {"champion": 1}
    assert reader.version("contract", 2) == second
    assert reader.numbers("contract") == [1, 2]
    assert found in reader.models()
    champion = reading.in_stage("contract", Stage.PRODUCTION, reader)
    assert champion is not None
    assert (champion.number, champion.stage) == (1, Stage.PRODUCTION)
    assert reading.in_stage("contract", Stage.STAGING, reader) is None


def test_every_reader_tells_what_is_not_there_from_what_is(registry: tuple[World, Reader]) -> None:
    world, reader = registry
    world.candidate("absent")
    client = mlflow.MlflowClient()
    client.delete_model_version("absent", "1")
    client.create_registered_model("it's")
    assert reader.version("absent", 1) is None, "a deleted version is no version"
    assert reader.version("absent", 2) is None
    assert reader.model("nowhere") is None
    assert (reader.model("it's"), reader.numbers("it's")) == (reading.Model("it's", {}), [])


def test_every_reader_hands_over_the_whole_ledger_in_pages(registry: tuple[World, Reader]) -> None:
    world, reader = registry
    world.released("pages")
    entries = reading.entries(reader, "pages")
    assert [entry.kind.value for entry in entries] == ["registered", "checked", "approved", "moved"]
    assert reading.entries(reader, "pages", 1, after=entries[1].seq) == entries[2:]
    assert reading.entries(reader, "pages", 9) == []
    page = reader.page(None, None, 0)
    whole = reading.entries(reader)
    assert first_bad(whole, (page.head_seq, page.head_hash)) is None


# --- a database


def test_a_database_that_slipway_never_wrote_to_has_an_empty_ledger_and_stays_as_it_was(world: World) -> None:
    with sqlite3.connect(world.folder / "mlflow.db") as database:
        for table in ("slipway_ledger", "slipway_head", "slipway_frozen"):
            database.execute(f"DROP TABLE {table}")
    before = (world.folder / "mlflow.db").read_bytes()
    assert reading.whole_ledger() == ([], (0, "0" * 64))
    assert (world.folder / "mlflow.db").read_bytes() == before


def test_a_file_that_is_no_registry_says_so_and_what_to_do(world: World) -> None:
    sqlite3.connect(world.folder / "empty.db").close()
    (world.folder / "empty.db").touch()
    world.monkeypatch.setenv("MLFLOW_REGISTRY_URI", "sqlite:///empty.db")
    with pytest.raises(RegistryMisconfigured, match=r"no registry of MLflow 3\.17: .*mlflow db upgrade sqlite"):
        reading.in_stage("images", Stage.PRODUCTION)


# --- a server


def test_a_login_goes_along(logins: str) -> None:
    with pytest.raises(RegistryMisconfigured, match=r"does not let us in \(401\). Next: set MLFLOW_TRACKING_USERNAME"):
        server_reader(logins).models()


def test_a_name_and_password_open_the_door(logins: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "ana")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", PASSWORD)
    server_reader(logins).page(None, None, 0)


def test_a_login_is_found_where_mlflow_finds_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for variable in ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN"):
        monkeypatch.delenv(variable, raising=False)
    assert login() == Login()
    (tmp_path / ".mlflow").mkdir()
    said = "[mlflow]\nmlflow_tracking_username = eve\nmlflow_tracking_password = word\n"
    (tmp_path / ".mlflow" / "credentials").write_text(said)
    assert login().basic == ("eve", "word")
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "ana")
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "t0ken")
    assert (login().basic, login().headers) == (("ana", "word"), {}), "as in MLflow, a password goes before a token"
    assert Login(token="t0ken").headers == {"Authorization": "Bearer t0ken"}


def test_what_is_signed_by_mlflows_plugins_is_asked_through_mlflow(remote: World, server: str) -> None:
    remote.candidate("signed")
    remote.monkeypatch.setenv("MLFLOW_TRACKING_AUTH", "nobody-knows")
    through = server_reader(server)
    assert through.ask.__module__ == "registry.mlflow_store"
    remote.monkeypatch.delenv("MLFLOW_TRACKING_AUTH")
    assert server_reader(server).ask.__module__ == plainly(server, Login()).__module__ == "registry.read_server"


# --- without MLflow


@pytest.mark.parametrize(
    "words",
    [("history", "images"), ("history", "images", "--json"), ("ledger", "verify"), ("ledger", "export")],
    ids=" ".join,
)
def test_who_only_reads_does_not_wait_for_mlflow(world: World, words: tuple[str, ...]) -> None:
    world.released()
    assert _imports(f"sys.argv[1:] = {list(words)!r}; import slipway; slipway.main()") == []


def test_a_release_is_read_without_mlflow(world: World) -> None:
    world.released()
    assert _imports("import registry; assert registry.release('images').version == 1") == []


def _imports(code: str) -> list[str]:
    """Run this in a process of its own; which of the heavy modules did it import?"""
    root = Path(__file__).parents[2]
    told = f"import atexit, sys; atexit.register(lambda: print([m for m in {HEAVY!r} if m in sys.modules])); {code}"
    env = {**os.environ, "PYTHONPATH": str(root)}
    done = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stderr
    found: list[str] = eval(done.stdout.splitlines()[-1])  # noqa: S307  our own list
    return found


HEAVY = ("mlflow", "numpy", "pandas", "sklearn", "flask", "tensorflow")


def test_a_copy_of_a_database_is_not_the_database(world: World) -> None:
    shutil.copy(world.folder / "mlflow.db", world.folder / "other.db")
    world.candidate()
    world.monkeypatch.setenv("MLFLOW_REGISTRY_URI", "slipway:sqlite:///other.db")
    with pytest.raises(Exception, match="no model images here"):
        release("images")
    world.monkeypatch.delenv("MLFLOW_REGISTRY_URI")
    with pytest.raises(ReleaseMissing):
        release("images")
