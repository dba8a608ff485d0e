"""A bundle that was signed is known for it; one that was changed, or signed by another, is not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives import serialization as pem
from cryptography.hazmat.primitives.asymmetric import ec

from serving import bundle as bundles
from serving import signing
from serving.errors import BundleInvalid, ConfigurationInvalid
from serving.runtime.core import Predictor
from serving.serve_commands import bundle as command

from .small import bundle_of

pytest.importorskip("model_signing", reason="the extra 'signing' is not installed")


def keys(folder: Path, name: str, curve: type[ec.EllipticCurve] = ec.SECP256R1) -> tuple[Path, Path]:
    """A private and a public EC key, as files."""
    key = ec.generate_private_key(curve())
    private, public = folder / f"{name}.pem", folder / f"{name}.pub"
    private.write_bytes(key.private_bytes(pem.Encoding.PEM, pem.PrivateFormat.PKCS8, pem.NoEncryption()))
    public.write_bytes(key.public_key().public_bytes(pem.Encoding.PEM, pem.PublicFormat.SubjectPublicKeyInfo))
    return private, public


@pytest.fixture
def signed(tmp_path: Path) -> tuple[Path, Path]:
    private, public = keys(tmp_path, "ours")
    folder = bundle_of("rows", tmp_path / "bundle")
    signing.sign(folder, private)
    return folder, public


def test_a_signed_bundle_verifies_and_serves(signed: tuple[Path, Path]) -> None:
    folder, public = signed
    signing.verify(folder, public)
    assert bundles.verify(folder)
    assert Predictor(folder).manifest.name == "rows"


def test_a_change_behind_the_signature_is_seen_even_where_the_manifest_agrees(signed: tuple[Path, Path]) -> None:
    folder, public = signed
    body = (folder / "manifest.json").read_text()
    (folder / "manifest.json").write_text(body.replace('"version": 3', '"version": 4'))
    assert bundles.verify(folder).manifest.version == 4
    with pytest.raises(BundleInvalid, match="does not hold"):
        signing.verify(folder, public)


def test_another_persons_signature_does_not_count(signed: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(BundleInvalid, match="does not hold"):
        signing.verify(signed[0], keys(tmp_path, "theirs")[1])


def test_where_a_key_is_configured_a_bundle_without_signature_is_refused(
        signed: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    folder, public = signed
    monkeypatch.setenv("SLIPWAY_VERIFY_KEY", str(public))
    assert CliRunner().invoke(command, ["verify", str(folder)]).exit_code == 0
    (folder / "model.sig").unlink()
    refused = CliRunner().invoke(command, ["verify", str(folder)]).exception
    assert isinstance(refused, BundleInvalid)
    assert "has no model.sig" in str(refused)


def test_a_file_that_is_no_key_is_named(tmp_path: Path) -> None:
    (tmp_path / "key.pem").write_text("nonsense")
    with pytest.raises(ConfigurationInvalid, match=r"key.pem is no private EC key"):
        signing.sign(bundle_of("rows", tmp_path / "bundle"), tmp_path / "key.pem")


def test_the_same_bundle_has_the_same_signature_whatever_the_process_and_the_folder(tmp_path: Path) -> None:
    public = keys(tmp_path, "ours")[1]
    found = []
    for seed in ("1", "2", "3"):
        folder = bundle_of("rows", tmp_path / seed / "bundle")
        code = f"import pathlib, serving.signing as s; s.sign(pathlib.Path('{seed}/bundle'), pathlib.Path('ours.pem'))"
        done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True,
                              env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(Path.cwd())})
        assert done.returncode == 0, done.stderr
        signing.verify(folder, public)
        found.append((folder / "model.sig").read_bytes())
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize("curve", [ec.SECP256R1, ec.SECP384R1, ec.SECP521R1])
def test_a_key_on_each_curve_that_model_signing_takes_signs(curve: type[ec.EllipticCurve], tmp_path: Path) -> None:
    private, public = keys(tmp_path, "ours", curve)
    folder = bundle_of("rows", tmp_path / "bundle")
    signing.sign(folder, private)
    signing.verify(folder, public)
