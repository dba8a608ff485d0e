"""Tokens that log a machine in: kept as hashes, with an end, revocable, beside the ledger in the same database.

A token is `slipway_ID_SECRET`. The secret is 256 random bits, so that its plain SHA-256 tells nobody anything (a slow
hash guards passwords, which people choose); it is shown once, when it is made, and kept nowhere.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import sqlalchemy as sa

from registry.ledger import moment_of, stamp
from registry.tables import TOKENS

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

LONGEST = timedelta(days=366)
_SHAPE = re.compile(r"slipway_([0-9a-f]{12})_([A-Za-z0-9_-]{43})")


@dataclass(frozen=True, slots=True)
class Owner:
    """A login of MLflow's basic-auth, and a fingerprint of it: another password, or the name given anew, is another."""

    name: str
    login: str


def fingerprint(password_hash: str) -> str:
    """Which login is it? MLflow's salted hash of its password, hashed once more, as that is nobody's to keep here."""
    return hashlib.sha256(password_hash.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Token:
    """What is known of a token without its secret."""

    id: str
    owner: Owner
    note: str
    created: datetime
    expires: datetime
    revoked: datetime | None = None

    def holds(self, now: datetime) -> bool:
        """Does it still log anybody in?"""
        return self.revoked is None and now < self.expires


def make(session: Session, owner: Owner, note: str, lasting: timedelta, now: datetime) -> tuple[Token, str]:
    """Make a token for this login, and give what its owner must keep.

    Raises:
        ValueError: when it would last for no time at all, or too long.
    """
    if not timedelta() < lasting <= LONGEST:
        raise ValueError(f"a token lasts for up to {LONGEST.days} days, not for {lasting / timedelta(days=1):g}")
    token, secret = Token(secrets.token_hex(6), owner, note, now, now + lasting), secrets.token_urlsafe(32)
    session.execute(sa.insert(TOKENS).values(
        id=token.id, owner=owner.name, login=owner.login, note=note, created=stamp(token.created),
        expires=stamp(token.expires), hash=_hash(secret),
    ))  # fmt: skip
    return token, f"slipway_{token.id}_{secret}"


def behind(session: Session, text: str, now: datetime) -> Token | None:
    """Which token is this? None when it is none of ours, has expired, or was revoked."""
    shape = _SHAPE.fullmatch(text)
    if shape is None:
        return None
    row = session.execute(sa.select(TOKENS).where(TOKENS.c.id == shape[1])).first()
    if row is None or not hmac.compare_digest(str(row.hash), _hash(shape[2])):
        return None
    token = _token(row)
    return token if token.holds(now) else None


def listed(session: Session, owner: str | None) -> list[Token]:
    """The tokens of one name, or of all (None), oldest first."""
    wanted = sa.select(TOKENS).order_by(TOKENS.c.created, TOKENS.c.id)
    if owner is not None:
        wanted = wanted.where(TOKENS.c.owner == owner)
    return [_token(row) for row in session.execute(wanted)]


def revoke(session: Session, which: str, owner: str | None, now: datetime) -> Token | None:
    """From now on this token logs nobody in; None when there is none of this id, of this owner if one is named."""
    token = next((one for one in listed(session, owner) if one.id == which), None)
    if token is None or token.revoked:
        return token
    session.execute(sa.update(TOKENS).where(TOKENS.c.id == which).values(revoked=stamp(now)))
    return replace(token, revoked=now)


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _token(row: sa.Row[tuple[object, ...]]) -> Token:
    return Token(
        id=row.id, owner=Owner(row.owner, row.login), note=row.note, created=moment_of(row.created),
        expires=moment_of(row.expires), revoked=moment_of(row.revoked) if row.revoked else None,
    )  # fmt: skip
