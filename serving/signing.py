"""Signatures over a bundle, by OpenSSF's model-signing, where it is installed and a key is configured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .errors import BundleInvalid, ConfigurationInvalid
from .runtime.manifest import SIGNATURE


def sign(folder: Path, private_key: Path) -> Path:
    """Sign every file of a bundle; the signature's path.

    Raises:
        ConfigurationInvalid: model-signing is not installed.
    """
    _installed().signing.Config().use_elliptic_key_signer(private_key=private_key).sign(folder, folder / SIGNATURE)
    return folder / SIGNATURE


def verify(folder: Path, public_key: Path) -> None:
    """Was this bundle, file for file, signed by the owner of this key?

    Raises:
        BundleInvalid: it is not signed, by somebody else, or was changed since.
        ConfigurationInvalid: model-signing is not installed.
    """
    signing = _installed()
    if not (folder / SIGNATURE).is_file():
        raise BundleInvalid(f"{folder.name} has no {SIGNATURE}, and a key is configured; Next: sign it")
    try:
        signing.verifying.Config().use_elliptic_key_verifier(public_key=public_key).verify(folder, folder / SIGNATURE)
    except Exception as error:  # noqa: BLE001 - the library raises ValueError and cryptography's own errors
        raise BundleInvalid(f"the signature of {folder.name} does not hold: {str(error).splitlines()[0]}") from None


def _installed() -> Any:
    try:
        import model_signing
        import model_signing.signing
        import model_signing.verifying
    except ModuleNotFoundError:
        raise ConfigurationInvalid("signatures need an extra; Next: pip install model-signing pyOpenSSL") from None
    return model_signing
