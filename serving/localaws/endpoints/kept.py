"""SageMaker hosting's state as JSON, and back: endpoints are started again with what they last served."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from serving.localaws.endpoints.lifecycle import Lifecycle
from serving.localaws.endpoints.records import Endpoint, Record, Shelf, Status, Variant

Json = dict[str, Any]


def dump(shelf: Shelf) -> Json:
    """One region's models, endpoint configurations and endpoints."""
    return {
        "models": [_record(record) for record in list(shelf.models.values())],
        "configs": [_record(record) for record in list(shelf.configs.values())],
        "endpoints": [_endpoint(endpoint) for endpoint in list(shelf.endpoints.values())],
        "tags": {arn: dict(tags) for arn, tags in list(shelf.tags.items())},
    }


def load(shelf: Shelf, data: Json, lifecycle: Lifecycle) -> None:
    """Put them back; every endpoint that was there is Creating again, until its containers are healthy."""
    shelf.models.update({item["name"]: _to_record(item) for item in data["models"]})
    shelf.configs.update({item["name"]: _to_record(item) for item in data["configs"]})
    shelf.tags.update(data["tags"])
    for item in data["endpoints"]:
        config = _to_record(item["config"])
        endpoint = Endpoint(item["name"], item["arn"], config, created=datetime.fromisoformat(item["created"]))
        endpoint.guardrails = item["guardrails"]
        shelf.endpoints[endpoint.name] = endpoint
        if any(variant["model"] not in shelf.models for variant in item["variants"]):
            endpoint.status, endpoint.failure = Status.FAILED, "Its model was deleted before the restart."
            continue
        kept = {variant["name"]: Variant(**variant) for variant in item["variants"]}
        lifecycle.create(endpoint, lifecycle.deployment(shelf, endpoint.name, config, kept))


def _record(record: Record) -> Json:
    return {
        "name": record.name,
        "arn": record.arn,
        "settings": dict(record.settings),
        "created": record.created.isoformat(),
    }


def _to_record(data: Json) -> Record:
    return Record(data["name"], data["arn"], data["settings"], datetime.fromisoformat(data["created"]))


def _endpoint(endpoint: Endpoint) -> Json:
    # One that is still being created is kept as it is wanted.
    deployment = endpoint.serving or endpoint.pending
    fleets = deployment.fleets.values() if deployment is not None else ()
    return {
        "name": endpoint.name,
        "arn": endpoint.arn,
        "config": _record(endpoint.config),
        "created": endpoint.created.isoformat(),
        "guardrails": endpoint.guardrails,
        "variants": [_variant(fleet.variant) for fleet in fleets],
    }


def _variant(variant: Variant) -> Json:
    kept = ("name", "model", "count", "weight")
    return {**{name: getattr(variant, name) for name in kept}, "settings": dict(variant.settings)}
