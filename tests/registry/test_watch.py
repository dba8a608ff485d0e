from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import mlflow
import pytest
from click.testing import CliRunner, Result

from registry import RegistryUnreachable, mlflow_store, watch
from registry.events import pause
from registry.watch_commands import watch as command
from tests.registry.world import World


@dataclass
class Subscriber:
    """An HTTP server that remembers what it accepted, and refuses as often as it is told to."""

    url: str = ""
    refusals: int = 0
    got: list[tuple[dict[str, str], bytes]] = field(default_factory=list)

    def entries(self) -> list[int]:
        return [json.loads(body)["data"]["ledger"]["seq"] for _, body in self.got]

    def ids(self) -> list[str]:
        return [headers["X-MLflow-Delivery-Id"] for headers, _ in self.got]


@pytest.fixture
def subscriber() -> Iterator[Subscriber]:
    known = Subscriber()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            known.refusals -= 1
            if known.refusals < 0:
                known.got.append((dict(self.headers), body))
            self.send_response(503 if known.refusals >= 0 else 200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Be quiet."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    known.url = f"http://127.0.0.1:{server.server_port}/hook"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield known
    server.shutdown()
    server.server_close()


def run(*words: str) -> Result:
    return CliRunner().invoke(command, [*words, "--once"])


def test_every_entry_is_delivered_once_in_order_and_signed_as_mlflow_signs(
    world: World, subscriber: Subscriber
) -> None:
    world.monkeypatch.setenv("SLIPWAY_WEBHOOK_SECRET", "s3cret")
    world.released()
    assert run("--webhook", subscriber.url).exit_code == 0
    assert run("--webhook", subscriber.url).exit_code == 0
    assert subscriber.entries() == [1, 2, 3, 4]
    headers, body = subscriber.got[-1]
    signed = f"{headers['X-MLflow-Delivery-Id']}.{headers['X-MLflow-Timestamp']}.{body.decode()}".encode()
    mac = base64.b64encode(hmac.new(b"s3cret", signed, hashlib.sha256).digest()).decode()
    assert headers["X-MLflow-Signature"] == f"v1,{mac}"
    told = json.loads(body)
    assert (told["entity"], told["action"], told["data"]["target"]) == ("model_version", "moved", "Production")


def test_a_refused_delivery_is_made_again_and_nothing_overtakes_it(world: World, subscriber: Subscriber) -> None:
    world.released()
    subscriber.refusals = 2
    waited: list[float] = []

    class EnoughError(Exception):
        pass

    def sleep(seconds: float) -> None:
        waited.append(seconds)
        if len(waited) == 3:
            raise EnoughError

    cursor = watch.Cursor(world.folder / "state.json")
    with pytest.raises(EnoughError):
        list(watch.follow(watch.to_webhook(subscriber.url, None), cursor, 10, sleep))
    assert waited == [pause(1), pause(2), 10]
    assert subscriber.entries() == [1, 2, 3, 4]
    history = [json.loads(line) for line in (world.folder / "state.history.jsonl").read_text().splitlines()]
    assert [line["outcome"] for line in history] == ["answered 503", "answered 503", *["accepted"] * 4]


def test_an_unreachable_subscriber_fails_with_the_cursor_where_it_was(world: World) -> None:
    world.candidate()
    failed = run("--webhook", "http://127.0.0.1:9/hook", "--state", "state.json")
    assert isinstance(failed.exception, RegistryUnreachable)
    assert watch.Cursor(Path("state.json")).read() == 0


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize("dies", ["before the delivery", "after the delivery", "after the cursor"])
def test_a_watcher_killed_anywhere_loses_nothing_and_repeats_under_the_same_id(
    world: World, subscriber: Subscriber, dies: str
) -> None:
    world.released()
    state = world.folder / "state.json"
    entries = mlflow_store.ledger()
    child = os.fork()
    if child == 0:
        cursor, deliver = watch.Cursor(state), watch.to_webhook(subscriber.url, None)
        for place, entry in enumerate(entries):
            if place == 2 and dies == "before the delivery":
                os.kill(os.getpid(), signal.SIGKILL)
            deliver(entry)
            if place == 2 and dies == "after the delivery":
                os.kill(os.getpid(), signal.SIGKILL)
            cursor.write(entry.seq)
            if place == 2:
                os.kill(os.getpid(), signal.SIGKILL)
    assert os.WIFSIGNALED(os.waitpid(child, 0)[1])
    assert run("--webhook", subscriber.url, "--state", str(state)).exit_code == 0
    assert sorted(set(subscriber.entries())) == [1, 2, 3, 4]
    assert len(set(subscriber.ids())) == 4
    assert len(subscriber.ids()) == (5 if dies == "after the delivery" else 4)


def test_a_command_runs_at_every_release_and_at_nothing_else(world: World) -> None:
    world.released()
    world.released()
    ran = ("--run", "sh -c 'echo {model}/{version} >> ran.txt'")
    assert run(*ran).exit_code == 0
    assert run(*ran).exit_code == 0
    assert Path("ran.txt").read_text() == "images/1\nimages/2\n"


def test_a_command_that_fails_is_run_again(world: World) -> None:
    world.released()
    assert isinstance(run("--run", "false").exception, RegistryUnreachable)
    assert run("--run", "touch done.txt").exit_code == 0
    assert Path("done.txt").exists()


def test_a_champion_that_the_ledger_does_not_know_is_named(world: World) -> None:
    world.released()
    world.candidate()
    plain = mlflow.MlflowClient(registry_uri=f"sqlite:///{world.folder / 'mlflow.db'}")
    plain.set_registered_model_alias("images", "champion", "2")
    told = run("--run", "true")
    assert "warning: images/2 is @champion, but the ledger says images/1" in told.stderr


def test_watching_for_nothing_is_a_usage_error(world: World) -> None:
    assert run().exit_code == 2
    assert run("--run", "true", "--webhook", "http://x").exit_code == 2
