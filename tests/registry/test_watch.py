from __future__ import annotations

import base64
import hashlib
import hmac
import itertools
import json
import os
import signal
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import mlflow
import pytest
from click.testing import CliRunner, Result
from mlflow.webhooks.delivery import _generate_hmac_signature

from registry import RegistryUnreachable, mlflow_store, watch
from registry.events import pause
from registry.ledger import Entry
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
            length = int(self.headers["Content-Length"])
            body = self.rfile.read(length)
            if len(body) < length:
                return  # who sent it was killed halfway
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
    named = (headers["X-MLflow-Delivery-Id"], headers["X-MLflow-Timestamp"])
    assert headers["X-MLflow-Signature"] == _generate_hmac_signature("s3cret", *named, body.decode()), "MLflow's own"
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

    one = watch.Subscriber(watch.to_webhook(subscriber.url, None), watch.Cursor(world.folder / "state.json"))
    with pytest.raises(EnoughError):
        list(watch.follow([one], 10, sleep))
    assert waited == [pause(1), pause(2), 10]
    assert subscriber.entries() == [1, 2, 3, 4]
    history = [json.loads(line) for line in (world.folder / "state.history.jsonl").read_text().splitlines()]
    assert [line["outcome"] for line in history] == ["answered 503", "answered 503", *["accepted"] * 4]


def test_an_unreachable_subscriber_fails_with_the_cursor_where_it_was(world: World) -> None:
    world.candidate()
    failed = run("--webhook", "http://127.0.0.1:9/hook", "--state", "state.json")
    assert isinstance(failed.exception, RegistryUnreachable)
    assert watch.Cursor.of(Path("state.json"), "http://127.0.0.1:9/hook").read() == 0
    assert run("--deliveries", "--state", "state.json").stdout.endswith("  http://127.0.0.1:9/hook\n")


def deliver_and_die(entries: list[Entry], subscriber: Subscriber, state: Path, nth: int) -> bool:
    """Deliver in a process that is killed right before its nth write, to the disk or to the subscriber; was it?"""
    child = os.fork()
    if child == 0:
        writes = itertools.count(1)

        def count(event: str, args: tuple[object, ...]) -> None:
            opened = event == "open" and str(args[0]).startswith(str(state.parent)) and "r" not in str(args[1])
            if (opened or event in ("os.rename", "http.client.send", "socket.connect")) and next(writes) == nth:
                os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(count)
        cursor = watch.Cursor.of(state, subscriber.url)
        list(watch.deliver_new(entries, watch.to_webhook(subscriber.url, None), cursor))
        os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_watcher_killed_between_any_two_writes_loses_nothing_and_repeats_under_the_same_id(
    world: World, subscriber: Subscriber
) -> None:
    world.released()
    entries, repeated, deaths = mlflow_store.ledger(), 0, 0
    while True:
        state = world.folder / f"after-{deaths + 1}" / "state.json"
        state.parent.mkdir()
        subscriber.got.clear()
        if not deliver_and_die(entries, subscriber, state, deaths + 1):
            break
        deaths += 1
        assert run("--webhook", subscriber.url, "--state", str(state)).exit_code == 0
        assert sorted(set(subscriber.entries())) == [1, 2, 3, 4], deaths
        assert subscriber.entries() == sorted(subscriber.entries()), "nothing overtakes"
        assert len(set(subscriber.ids())) == 4, "a repetition has the id of what it repeats"
        assert len(subscriber.ids()) <= 5, "only what was under way is repeated"
        repeated += len(subscriber.ids()) - 4
    assert deaths >= 4 * len(entries), "connecting, sending, noting, writing and renaming, for each entry"
    assert 0 < repeated < deaths
    assert subscriber.entries() == [1, 2, 3, 4]


def test_a_line_of_history_that_was_torn_hides_no_other(world: World, subscriber: Subscriber) -> None:
    world.candidate()
    assert run("--webhook", subscriber.url).exit_code == 0
    (history,) = Path().glob("slipway-watch-*.history.jsonl")
    history.write_text(history.read_text() + '{"at": "20')
    world.candidate()
    assert run("--webhook", subscriber.url).exit_code == 0
    told = json.loads(run("--deliveries", "--json").stdout)
    assert [(one["entry"], one["outcome"]) for one in told] == [(1, "accepted"), (2, "accepted")]


def test_of_several_subscribers_one_that_fails_keeps_nobody_waiting(world: World, subscriber: Subscriber) -> None:
    world.released()
    gone = "http://127.0.0.1:9/hook"
    words = ("--webhook", gone, "--webhook", subscriber.url, "--run", "sh -c 'echo {version} >> ran.txt'")
    assert isinstance(run(*words).exception, RegistryUnreachable)
    assert isinstance(run(*words).exception, RegistryUnreachable)
    assert subscriber.entries() == [1, 2, 3, 4]
    assert Path("ran.txt").read_text() == "1\n"
    told = json.loads(run("--deliveries", "--json").stdout)
    accepted = [one["subscriber"] for one in told if one["outcome"] == "accepted"]
    assert (accepted.count(subscriber.url), accepted.count(gone), len(told)) == (4, 0, 10)


def test_who_fails_is_asked_again_later_each_time_and_the_others_as_ever(world: World, subscriber: Subscriber) -> None:
    world.candidate()
    waited: list[float] = []

    class EnoughError(Exception):
        pass

    def sleep(seconds: float) -> None:
        waited.append(seconds)
        if len(waited) == 6:
            raise EnoughError

    urls = ("http://127.0.0.1:9/hook", subscriber.url)
    both = [watch.Subscriber(watch.to_webhook(url, None), watch.Cursor.of(Path("s.json"), url)) for url in urls]
    with pytest.raises(EnoughError):
        list(watch.follow(both, 5, sleep))
    # The one that fails is due after 1, 3, 7 and 15 seconds, the other every 5.
    assert waited == [1, 2, 2, 2, 3, 5]


def test_a_command_runs_at_every_release_and_at_nothing_else(world: World) -> None:
    world.released()
    world.released()
    ran = ("--run", "sh -c 'echo {model}/{version} >> ran.txt'")
    assert run(*ran).exit_code == 0
    assert run(*ran).exit_code == 0
    assert Path("ran.txt").read_text() == "images/1\nimages/2\n"


def test_a_release_is_seen_once_by_stage_or_by_alias_however_it_was_made(world: World) -> None:
    world.released()
    world.approved()
    client = mlflow.MlflowClient()
    client.set_registered_model_alias("images", "champion", "2")
    world.approved()
    with pytest.warns(FutureWarning):
        client.transition_model_version_stage("images", "3", "Production")
    ran = ("--run", "sh -c 'echo {model}/{version} >> ran.txt'")
    assert run(*ran).exit_code == 0
    assert run(*ran).exit_code == 0
    assert Path("ran.txt").read_text() == "images/1\nimages/2\nimages/3\n"


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
