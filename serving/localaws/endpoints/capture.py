"""Data capture: requests and answers of an endpoint, as JSON lines in S3.

https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-data-capture-endpoint.html
"""

from __future__ import annotations

import base64
import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from serving.localaws import account
from serving.localaws.account import Location
from serving.localaws.endpoints.container import Reply
from serving.localaws.endpoints.records import Settings


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request to a variant and its answer."""

    endpoint: str
    variant: str
    headers: Mapping[str, str]
    body: bytes
    reply: Reply
    inference_id: str = ""


def wanted(settings: Settings | None, draw: float) -> bool:
    """Is this request to be captured? ``draw`` is uniform in [0, 1)."""
    return (
        bool(settings and settings.get("EnableCapture")) and draw * 100 < (settings or {})["InitialSamplingPercentage"]
    )


def write(exchange: Exchange, settings: Settings, moment: datetime) -> Location:
    """Put one exchange where the configuration says; returns where that is."""
    place = Location.parse(settings["DestinationS3Uri"])
    folder = "/".join(filter(None, [place.key.strip("/"), exchange.endpoint, exchange.variant]))
    name = f"{moment:%M-%S}-{moment.microsecond // 1000:03d}-{uuid.uuid4()}.jsonl"
    target = Location(place.bucket, f"{folder}/{moment:%Y/%m/%d/%H}/{name}")
    account.write_object(target, (json.dumps(record(exchange, settings, moment)) + "\n").encode())
    return target


def record(exchange: Exchange, settings: Settings, moment: datetime) -> dict[str, object]:
    """One line of a capture file."""
    modes = {option["CaptureMode"] for option in settings["CaptureOptions"]}
    data: dict[str, object] = {}
    if modes & {"Input", "InputAndOutput"}:
        kind = exchange.headers.get("Content-Type", "")
        data["endpointInput"] = _side("INPUT", kind, exchange.body, settings)
    if modes & {"Output", "InputAndOutput"}:
        kind = exchange.reply.headers.get("content-type", "")
        data["endpointOutput"] = _side("OUTPUT", kind, exchange.reply.body, settings)
    metadata = {"eventId": str(uuid.uuid4()), "inferenceTime": moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")}
    if exchange.inference_id:
        metadata["inferenceId"] = exchange.inference_id
    return {"captureData": data, "eventMetadata": metadata, "eventVersion": "0"}


def _side(mode: str, content_type: str, body: bytes, settings: Settings) -> dict[str, str]:
    listed: Settings = settings.get("CaptureContentTypeHeader") or {}
    bare = content_type.partition(";")[0].strip().lower()
    if bare in (listed.get("JsonContentTypes") or ()):
        encoding = "JSON"
    elif bare in (listed.get("CsvContentTypes") or ()):
        encoding = "CSV"
    else:
        encoding = "BASE64"  # what AWS does with every content type that the configuration does not list
    data = base64.b64encode(body).decode() if encoding == "BASE64" else body.decode("utf-8", "replace")
    return {"observedContentType": content_type, "mode": mode, "data": data, "encoding": encoding}
