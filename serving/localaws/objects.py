"""S3's state: a list of objects and their versions as JSON, their bytes in files named by their hash.

moto 5.2.5 keeps buckets in memory only. Kept here are versioning and the objects; a bucket's settings are in `kept`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

from moto.s3.models import FakeBucket, FakeDeleteMarker, FakeKey, S3Backend, s3_backends

from serving.localaws.account import ACCOUNT, PARTITION

Json = dict[str, Any]

_CHECKSUM = ("checksum_algorithm", "checksum_value", "checksum_type", "checksum_parts")
_ENCRYPTION = ("encryption", "kms_key_id", "bucket_key_enabled")


class Objects:
    """Writes and reads all buckets.

    Args:
        folder: Where the objects' bytes are.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._written: dict[tuple[str, ...], str] = {}

    def dump(self) -> list[Json]:
        """Every bucket with its objects, oldest version first; bytes that are not there yet are written."""
        return [self._bucket(bucket) for bucket in list(_backend().buckets.values())]

    def _bucket(self, bucket: FakeBucket) -> Json:
        histories = [bucket.keys.getlist(name) or [] for name in list(bucket.keys)]
        return {
            "name": bucket.name,
            "region": bucket.region_name,
            "versioning": bucket.versioning_status,
            "objects": [self._object(item) for history in histories for item in list(history)],
        }

    def _object(self, item: FakeKey | FakeDeleteMarker) -> Json:
        told = {"name": item.name, "version": item._version_id, "modified": item.last_modified.isoformat()}
        if isinstance(item, FakeDeleteMarker):
            return {**told, "deleted": True}
        return {
            **told,
            "sha256": self._keep(item),
            "etag": item.etag.strip('"'),
            "metadata": dict(item.metadata),
            "tags": _backend().tagger.get_tag_dict_for_resource(item.arn),
            **{name: getattr(item, name) for name in (*_CHECKSUM, *_ENCRYPTION)},
        }

    def _keep(self, item: FakeKey) -> str:
        key = (str(item.bucket_name), item.name, item.version_id, item.etag)
        if key not in self._written:
            content = item.value
            sha256 = hashlib.sha256(content).hexdigest()
            target = self._folder / sha256
            if not target.exists():
                self._folder.mkdir(parents=True, exist_ok=True)
                draft = target.with_suffix(".part")
                draft.write_bytes(content)
                draft.rename(target)
            self._written[key] = sha256
        return self._written[key]

    def load(self, buckets: Iterable[Json]) -> None:
        """Put every bucket back that is not there."""
        backend = _backend()
        for data in buckets:
            if data["name"] not in backend.buckets:
                backend.create_bucket(data["name"], data["region"])
            bucket = backend.buckets[data["name"]]
            bucket.versioning_status = data["versioning"]
            for item in data["objects"]:
                self._restore(bucket, item)

    def _restore(self, bucket: FakeBucket, item: Json) -> None:
        if item.get("deleted"):
            marker = FakeDeleteMarker(bucket.keys.getlist(item["name"])[-1])
            marker._version_id = item["version"]
            marker.last_modified = datetime.fromisoformat(item["modified"])
            bucket.keys[item["name"]] = marker
            return
        made = FakeKey(
            name=item["name"],
            value=(self._folder / item["sha256"]).read_bytes(),
            account_id=ACCOUNT,
            region_name=bucket.region_name,
            etag=item["etag"],
            is_versioned=item["version"] is not None,
            version_id=item["version"],
            bucket_name=bucket.name,
        )
        for name in (*_CHECKSUM, *_ENCRYPTION):
            setattr(made, name, item[name])
        made.last_modified = datetime.fromisoformat(item["modified"])
        made.set_metadata(dict(item["metadata"]), replace=False)
        bucket.keys[item["name"]] = made
        if item["tags"]:
            _backend().put_object_tagging(made, item["tags"])


def _backend() -> S3Backend:
    return s3_backends[ACCOUNT][PARTITION]
