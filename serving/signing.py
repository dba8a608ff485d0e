"""Signatures over a bundle, by OpenSSF's model-signing, where it is installed and a key is configured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .errors import BundleInvalid, ConfigurationInvalid
from .runtime.manifest import SIGNATURE


def sign(folder: Path, private_key: Path) -> Path:
    """Sign every file of a bundle; the signature's path.

    Raises:
        ConfigurationInvalid: model-signing is not installed, or the file is no private EC key.
    """
    signing = _installed()
    try:
        config = signing.signing.Config().use_elliptic_key_signer(private_key=private_key)
        config._signer._private_key = _Steady(config._signer._private_key)
        config.set_hashing_config(_hashing(signing, folder)).sign(folder, folder / SIGNATURE)
    except ValueError as error:  # what cryptography says of a file that is no such key
        raise ConfigurationInvalid(f"{private_key.name} is no private EC key: {str(error).splitlines()[0]}") from None
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
        config = signing.verifying.Config().use_elliptic_key_verifier(public_key=public_key)
        config.set_hashing_config(_hashing(signing, folder)).verify(folder, folder / SIGNATURE)
    except Exception as error:  # noqa: BLE001 - the library raises ValueError and cryptography's own errors
        raise BundleInvalid(f"the signature of {folder.name} does not hold: {str(error).splitlines()[0]}") from None


class _Steady:
    """An EC key that gives the same bytes the same signature (RFC 6979), so that a deploy done twice changes nothing.

    model-signing 1.1 has no setting for it.
    """

    def __init__(self, key: Any) -> None:
        self._key = key

    def sign(self, data: bytes, algorithm: Any) -> bytes:
        from cryptography.hazmat.primitives.asymmetric import ec

        return bytes(self._key.sign(data, ec.ECDSA(algorithm.algorithm, deterministic_signing=True)))

    def public_key(self) -> Any:
        return self._key.public_key()


def _hashing(signing: Any, folder: Path) -> Any:
    """The signature lies among the files that it covers, and cannot cover itself."""
    return signing.hashing.Config().set_ignored_paths(paths=[folder / SIGNATURE], ignore_git_paths=False)


def _installed() -> Any:
    try:
        import model_signing
        import model_signing.hashing
        import model_signing.signing
        import model_signing.verifying
    except ModuleNotFoundError:
        raise ConfigurationInvalid("signatures need an extra; Next: pip install 'slipway[signing]'") from None
    return model_signing
