"""Signed heads: proof, kept outside the database, of how far the ledger had come and what it said.

The chain alone shows an edit, but whoever owns the database can rewrite all of it. A head signed with a key that they
do not have, and kept where they cannot reach it, shows that too.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from registry.errors import LedgerBroken, RegistryMisconfigured
from registry.ledger import Entry, canonical

_SIGNED = ec.ECDSA(hashes.SHA256())


@dataclass(frozen=True, slots=True)
class Head:
    """The newest entry's number and hash, the time it was signed, and the signature in hex."""

    seq: int
    hash: str
    at: str
    signature: str = ""

    def said(self) -> bytes:
        """What is signed."""
        return canonical({"seq": self.seq, "hash": self.hash, "at": self.at}).encode()

    def dump(self) -> str:
        """As one JSON line."""
        return canonical({"seq": self.seq, "hash": self.hash, "at": self.at, "signature": self.signature})

    @classmethod
    def load(cls, text: str) -> Head:
        """Read one JSON line.

        Raises:
            RegistryMisconfigured: when it is none.
        """
        try:
            said = json.loads(text)
            return cls(int(said["seq"]), str(said["hash"]), str(said["at"]), str(said["signature"]))
        except (ValueError, KeyError, TypeError) as error:
            raise RegistryMisconfigured(f"this is no signed head: {error}") from error


def sign(head: Head, private_key: Path) -> Head:
    """Sign a head with an unencrypted EC key in PEM (`openssl ecparam -name prime256v1 -genkey -noout`)."""
    key = serialization.load_pem_private_key(private_key.read_bytes(), password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise RegistryMisconfigured(f"{private_key} is no EC private key")
    return Head(head.seq, head.hash, head.at, key.sign(head.said(), _SIGNED).hex())


def verify(head: Head, public_key: Path, entries: Iterable[Entry]) -> None:
    """Does the ledger still say what it said when this head was signed?

    Raises:
        LedgerBroken: when the signature is another's, or the ledger was rewritten or cut short.
    """
    key = serialization.load_pem_public_key(public_key.read_bytes())
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise RegistryMisconfigured(f"{public_key} is no EC public key")
    try:
        key.verify(bytes.fromhex(head.signature), head.said(), _SIGNED)
    except (InvalidSignature, ValueError):
        raise LedgerBroken(f"the head of entry {head.seq} was not signed with this key") from None
    found = {entry.seq: entry.hash for entry in entries}
    if head.seq and found.get(head.seq) != head.hash:
        word = "says something else" if head.seq in found else "is gone"
        raise LedgerBroken(f"entry {head.seq} {word} since it was signed at {head.at}: the ledger was rewritten")
