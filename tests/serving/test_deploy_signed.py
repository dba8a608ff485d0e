"""A deploy that signs: the same signature every time, found again in what serves, and wanted where a key is set."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from serving import Aws, Settings
from serving.errors import BundleInvalid
from serving.runtime.manifest import SIGNATURE
from serving.targets import open_target

from .test_deploy import answer, registered, registry_and_aws, slip
from .test_signing import keys

pytest.importorskip("model_signing", reason="the extra 'signing' is not installed")


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory, network_files: Path) -> Iterator[tuple[Path, Path]]:
    """A private and a public key, in a registry with images/1 in Production and a local AWS."""
    with registry_and_aws(tmp_path_factory.mktemp("signed")):
        registered(network_files)
        yield keys(tmp_path_factory.mktemp("keys"), "ours")


def test_bundle_sign_writes_a_signature_that_only_its_owners_key_finds(pair: tuple[Path, Path], tmp_path: Path) -> None:
    done = slip("bundle", "images", "-o", str(tmp_path / "bundle"), "--sign", str(pair[0]))
    assert done.exit_code == 0, done.output
    assert slip("bundle", "verify", str(tmp_path / "bundle"), "--key", str(pair[1])).exit_code == 0
    theirs = slip("bundle", "verify", str(tmp_path / "bundle"), "--key", str(keys(tmp_path, "theirs")[1]))
    assert isinstance(theirs.exception, BundleInvalid)


def test_what_was_deployed_without_a_signature_is_wrong_where_a_key_is_set(
        pair: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    answer(slip("deploy", "images", "--json"))
    assert slip("verify", "images").exit_code == 0
    monkeypatch.setenv("SLIPWAY_VERIFY_KEY", str(pair[1]))
    refused = slip("verify", "images")
    assert refused.exit_code != 0
    assert "has no model.sig" in refused.output


def test_a_signed_deploy_is_verified_from_what_serves_and_done_once(
        pair: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SLIPWAY_SIGNING_KEY", str(pair[0]))
    monkeypatch.setenv("SLIPWAY_VERIFY_KEY", str(pair[1]))
    assert answer(slip("deploy", "images", "--json"))["steps"] > 0
    assert answer(slip("deploy", "images", "--json"))["steps"] == 0
    assert answer(slip("plan", "images", "--json"))["steps"] == []
    findings = {found["what"]: found["right"] for found in answer(slip("verify", "images", "--json"))}
    assert findings["signature"]
    assert slip("verify", "images", "--key", str(keys(tmp_path, "theirs")[1])).exit_code != 0
    with tempfile.TemporaryDirectory() as scratch:
        folder = open_target("lambda", Aws(), Settings()).bundle_in_service("images", Path(scratch))
        assert (folder / SIGNATURE).is_file()
