"""Signatures over a bundle, by OpenSSF's model-signing, where it is installed and a key is configured."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

from .errors import BundleInvalid, ConfigurationInvalid
from .runtime.manifest import SIGNATURE


def sign(folder: Path, private_key: Path) -> Path:
    """Sign every file of a bundle; the signature's path.

    Raises:
        ConfigurationInvalid: model-signing is not installed, or the file is no private EC key.
    """
    signing, folder = _installed(), folder.resolve()  # what is signed must not say where the folder lay
    written = folder / SIGNATURE
    try:
        config = signing.signing.Config().use_elliptic_key_signer(private_key=private_key)
        config.set_hashing_config(_hashing(signing, folder)).sign(folder, written)
        written.write_bytes(_steadied(written.read_bytes(), private_key))
    except ValueError as error:  # what cryptography says of a file that is no such key
        raise ConfigurationInvalid(f"{private_key.name} is no private EC key: {str(error).splitlines()[0]}") from None
    return written


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


def _steadied(signature: bytes, private_key: Path) -> bytes:
    """The same signature, the same bytes for the same bundle, so that a deploy done twice changes nothing.

    model-signing 1.1 writes what it signs in an order that differs from process to process, and signs it with chance.
    Here it is sorted, and signed as RFC 6979 says, in the same envelope (DSSE 1.0).
    """
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    key: Any = load_pem_private_key(private_key.read_bytes(), None)
    told = json.loads(signature)
    envelope = told["dsseEnvelope"]
    payload = json.dumps(json.loads(base64.b64decode(envelope["payload"])), sort_keys=True).encode()
    kind = envelope["payloadType"].encode()
    signed = b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)
    hashed = {256: hashes.SHA256(), 384: hashes.SHA384(), 521: hashes.SHA512()}[key.key_size]
    envelope["payload"] = base64.b64encode(payload).decode()
    envelope["signatures"][0]["sig"] = base64.b64encode(
        key.sign(signed, ec.ECDSA(hashed, deterministic_signing=True))).decode()
    return (json.dumps(told, indent=1, sort_keys=True) + "\n").encode()


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
