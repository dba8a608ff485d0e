"""The approvals page on a real server with logins, and with claimed names; no browser needed, for it has no scripts."""

from __future__ import annotations

import re

import mlflow
import requests

from registry import Stage, check, mlflow_store
from registry.intervals import wilson
from registry.measured import Measured, Slice
from registry.shown import own_words
from tests.registry.saying import evidence
from tests.registry.servers import ADMIN, PASSWORD
from tests.registry.world import World


def token_of(page: requests.Response) -> str:
    found = re.search(r'name="token" value="([^"]+)"', page.text)
    assert found, page.text
    return found[1]


def digest_of(page: requests.Response) -> str:
    found = re.search(r'name="digest" value="([^"]+)"', page.text)
    assert found
    return found[1]


def decide(session: requests.Session, url: str, word: str, **fields: str) -> requests.Response:
    page = session.get(url, timeout=30)
    form = {"token": token_of(page), "digest": digest_of(page), "word": word, "comment": "seen", **fields}
    return session.post(url, data=form, timeout=30)


def test_what_waits_is_listed_with_what_is_missing(server: str, remote: World) -> None:
    check.check(remote.candidate("listed"))
    page = requests.get(f"{server}/slipway/approvals", timeout=30)
    assert page.status_code == 200
    assert 'href="/slipway/approvals/listed/1"' in page.text
    assert "no approval (author ana does not count)" in page.text


def test_candidate_and_champion_stand_side_by_side(server: str, remote: World) -> None:
    remote.released("beside")
    check.check(remote.candidate("beside", wrong=0.2))
    page = requests.get(f"{server}/slipway/approvals/beside/2", timeout=30).text
    assert "<th>beside/2</th><th>beside/1</th>" in page
    assert "against champion 1 (95 %" in page
    assert "registered by ana" in page


def test_a_reviewer_sees_who_trained_it_on_what_how_sure_the_figures_are_and_the_whole_history(
    server: str, remote: World
) -> None:
    remote.released("whole")
    version = remote.candidate("whole", wrong=0.2)
    client = mlflow.MlflowClient()
    for key, value in {"slipway.git.commit": "c0ffee" * 6, "slipway.git.dirty": "true", "slipway.data.train": "5eed",
                       "mlflow.user": "ana@laptop"}.items():  # fmt: skip
        client.set_tag(version.run_id, key, value)
    client.log_param(version.run_id, "wrong", 0.2)
    client.log_dict(version.run_id, {}, "plots/none.json")
    client.log_text(version.run_id, "<svg xmlns='http://www.w3.org/2000/svg'/>", "plots/confusion.svg")
    check.check(version)
    page = requests.get(f"{server}/slipway/approvals/whole/2", timeout=30).text
    assert "ana@laptop, 20" in page
    assert f"<code>{'c0ffee' * 6}</code> <span" in page
    assert "<th>Data, train</th><td><code>5eed</code>" in page
    for name in ("accuracy", "recall.high", "recall_lowest", "recall_macro"):
        sure = r'</td><td class="n">\d\.\d{4} <span class="soft">\(95 % \d\.\d{4} to \d\.\d{4}\)'
        assert re.search(f"<td>{re.escape(name)}{sure}", page), name
    assert "<td>wrong</td><td>0.2</td>" in page
    assert page.count("<img ") == 1
    picture = re.search(r'src="(/get-artifact[^"]+confusion\.svg)"', page)
    assert picture
    assert requests.get(server + picture[1].replace("&amp;", "&"), timeout=30).status_code == 200
    assert "whole/1</td>" in page.split("<h2>History of whole</h2>")[1], "the champion's history too"


def test_slices_are_shown_with_their_rows_and_how_sure_the_accuracy_is(server: str, remote: World) -> None:
    version = remote.candidate("cut")
    cut = Slice("colour", "<red>", 40, {"accuracy": 0.9, "recall_macro": 0.85})
    told = evidence().model_copy(update={"measured": Measured("classes", slices=(cut,))})
    mlflow_store.send_evidence(version, told)
    page = requests.get(f"{server}/slipway/approvals/cut/1", timeout=30).text
    assert "<td>colour=&lt;red&gt;</td><td class=\"n\">40</td>" in page
    low, high = wilson(0.9, 40)
    assert f"accuracy 0.9000 <span class=\"soft\">(95 % {low:.4f} to {high:.4f})</span>, recall_macro 0.8500" in page


def test_a_claimed_name_approves_and_is_recorded_as_claimed(server: str, remote: World) -> None:
    version = remote.candidate("claims")
    check.check(version)
    url = f"{server}/slipway/approvals/claims/1"
    with requests.Session() as session:
        answer = decide(session, url, "approval", name="bo")
    assert answer.status_code == 200
    assert "bo (claimed)" in answer.text
    assert mlflow_store.move(version, Stage.PRODUCTION).stage is Stage.PRODUCTION


def test_the_authors_own_approval_is_refused_on_the_page_too(server: str, remote: World) -> None:
    check.check(remote.candidate("own"))
    with requests.Session() as session:
        answer = decide(session, f"{server}/slipway/approvals/own/1", "approval", name="ana")
    assert answer.status_code == 403
    assert "own/1 is not approved: author ana does not count" in answer.text


def test_a_form_from_another_site_is_refused(server: str, remote: World) -> None:
    check.check(remote.candidate("forged"))
    url = f"{server}/slipway/approvals/forged/1"
    form = {"word": "approval", "name": "bo", "token": "guessed", "comment": ""}
    assert requests.post(url, data=form, timeout=30).status_code == 403
    assert requests.post(url, data={**form, "token": ""}, cookies={"slipway_form": ""}, timeout=30).status_code == 403
    assert [entry.kind.value for entry in mlflow_store.ledger("forged")] == ["registered", "checked"]


def test_the_page_lets_no_script_run_and_nobody_frame_it(server: str, remote: World) -> None:
    check.check(remote.candidate("plain"))
    remote.acting("cy")
    comment = "<script>alert(1)</script>"
    with requests.Session() as session:
        page = decide(session, f"{server}/slipway/approvals/plain/1", "rejection", name="cy", comment=comment)
    assert comment not in page.text
    assert "&lt;script&gt;" in page.text
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in page.headers["Content-Security-Policy"]


def test_a_version_that_is_not_there_is_a_404(server: str, remote: World) -> None:
    assert requests.get(f"{server}/slipway/approvals/nowhere/1", timeout=30).status_code == 404


def test_the_description_tells_a_reader_of_the_registry_ui_what_to_decide_and_where(world: World) -> None:
    version = world.candidate()
    mlflow.MlflowClient().update_model_version("images", "1", "trained on a rainy day")
    check.check(version)
    told = str(mlflow.MlflowClient().get_model_version("images", "1").description)
    assert told.startswith("trained on a rainy day\n\n")
    assert "| accuracy | passed |" in told
    assert "(slipway/approvals/images/1)" in told
    mlflow.MlflowClient().update_model_version("images", "1", told.replace("rainy", "sunny"))
    again = str(mlflow.MlflowClient().get_model_version("images", "1").description)
    assert again == told.replace("rainy", "sunny")


def test_what_is_written_below_the_gates_is_kept_and_a_list_of_versions_shows_how_things_stand(world: World) -> None:
    version = world.candidate()
    check.check(version)
    told = str(mlflow.MlflowClient().get_model_version("images", "1").description)
    assert told.startswith("Gates and approvals, kept by slipway: every gate passed, nobody approved it yet\n")
    mlflow.MlflowClient().update_model_version("images", "1", f"{told} mind the sevens")
    again = str(mlflow.MlflowClient().get_model_version("images", "1").description)
    assert again == f"mind the sevens\n\n{told}"


def test_a_description_from_before_there_was_a_last_line_is_read_as_it_was_then() -> None:
    old = "rainy\n\n[//]: # (below: kept by slipway)\n\n| gate | verdict | numbers |"
    assert own_words(old) == "rainy"


def test_behind_a_login_the_page_knows_who_decides(logins: str, world: World) -> None:
    world.monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "ana")
    world.monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", PASSWORD)
    mlflow.set_tracking_uri(logins)
    check.check(world.candidate("secure"))
    url = f"{logins}/slipway/approvals/secure/1"
    assert requests.get(url, timeout=30).status_code == 401
    with requests.Session() as session:
        session.auth = ("bo", PASSWORD)
        assert 'name="name"' not in session.get(url, timeout=30).text
        decide(session, url, "approval", name="cy")
    entry = mlflow_store.ledger("secure")[-1]
    assert (entry.kind.value, entry.actor.name, entry.actor.verified) == ("approved", "bo", True)
    assert requests.get(f"{logins}/slipway/approvals", auth=ADMIN, timeout=30).status_code == 200
