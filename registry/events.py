"""What subscribers are told, and how it is signed. No I/O happens here.

The ledger is the outbox: an entry is there exactly when what it tells happened, so nothing can be lost between the two.
An event's id follows from the entry, so a delivery made twice is recognised as one.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import uuid
from dataclasses import dataclass
from datetime import datetime

from registry.ledger import Entry, Kind, canonical, stamp
from registry.wire import MovedBody, read
from registry.words import Stage

_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 300.0


@dataclass(frozen=True, slots=True)
class Event:
    """One entry as subscribers get it: `id` is the same however often it is delivered."""

    id: str
    entry: int
    body: str


def event_of(entry: Entry, subscriber: str) -> Event:
    """The event that tells one subscriber of an entry, in the shape of MLflow's own webhooks."""
    said = {
        "entity": "model_version",
        "action": entry.kind.value,
        "timestamp": stamp(entry.at),
        "data": {
            "name": entry.model, "version": str(entry.version), "actor": entry.actor.name,
            "verified": entry.actor.verified, "ledger": {"seq": entry.seq, "hash": entry.hash},
            **{key: value for key, value in json.loads(entry.body).items() if key != "files"},
        },
    }  # fmt: skip
    return Event(str(uuid.uuid5(uuid.NAMESPACE_URL, f"{subscriber} {entry.hash}")), entry.seq, canonical(said))


def headers(event: Event, secret: str | None, now: datetime) -> dict[str, str]:
    """MLflow's webhook headers: HMAC-SHA256 over `{id}.{timestamp}.{body}`, as its documentation has it."""
    timestamp = str(int(now.timestamp()))
    made = {
        "Content-Type": "application/json",
        "X-MLflow-Delivery-Id": event.id,
        "X-MLflow-Timestamp": timestamp,
    }
    if secret:
        signed = f"{event.id}.{timestamp}.{event.body}".encode()
        mac = hmac.new(secret.encode(), signed, hashlib.sha256).digest()
        made["X-MLflow-Signature"] = f"v1,{base64.b64encode(mac).decode()}"
    return made


def pause(failures: int) -> float:
    """Seconds to wait after so many failures in a row: doubling, up to five minutes."""
    return float(min(_LONGEST_PAUSE, _FIRST_PAUSE * 2 ** max(0, failures - 1)))


def released(entry: Entry) -> bool:
    """Does this entry put a version into Production?"""
    return entry.kind is Kind.MOVED and read(MovedBody, entry.body).target == Stage.PRODUCTION.value
