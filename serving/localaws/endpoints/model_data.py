"""A model's files, from S3 to the folder that plays /opt/ml/model; equal bytes are unpacked once."""

from __future__ import annotations

import hashlib
import io
import lzma
import shutil
import tarfile
import threading
import uuid
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from serving.localaws import account
from serving.localaws.account import Location, ObjectMissing
from serving.localaws.endpoints.records import Settings, invalid


class ModelData:
    """Where are the unpacked models?"""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()

    def fetch(self, container: Settings) -> Path:
        """The folder with a container's model data; an empty one when it has none.

        Raises:
            AwsError: The data is missing, or no archive that may be unpacked.
        """
        place, whole_prefix = source(container)
        if place is None:
            return self._kept("none", lambda folder: None)
        try:
            if whole_prefix:
                return self._prefix(place)
            return self._archive(account.read_object(place), place)
        except ObjectMissing as error:
            raise missing(place) from error

    def _archive(self, content: bytes, place: Location) -> Path:
        def unpack(folder: Path) -> None:
            try:
                with tarfile.open(fileobj=io.BytesIO(content), mode="r:*") as archive:
                    archive.extractall(folder, filter="data")
            except (tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, OSError) as error:
                raise invalid(f"Failed to extract model data archive from URL {place}: {error}") from error

        return self._kept(hashlib.sha256(content).hexdigest(), unpack)

    def _prefix(self, place: Location) -> Path:
        files = {item.key[len(place.key) :]: account.read_object(item) for item in account.list_objects(place)}
        contents = {name.lstrip("/"): data for name, data in files.items() if name and not name.endswith("/")}
        if not contents:
            raise missing(place)
        lines = [f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in sorted(contents.items())]

        def write(folder: Path) -> None:
            for name, data in contents.items():
                if ".." in Path(name).parts:
                    raise invalid(f"{place}{name} leaves its folder")
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                (folder / name).write_bytes(data)

        return self._kept(hashlib.sha256("".join(lines).encode()).hexdigest(), write)

    def _kept(self, name: str, fill: Callable[[Path], Any]) -> Path:
        target = self._folder / name
        with self._lock:
            if not target.is_dir():
                draft = self._folder / f"{name}.{uuid.uuid4().hex}"
                draft.mkdir(parents=True)
                try:
                    fill(draft)
                    draft.rename(target)
                finally:
                    shutil.rmtree(draft, ignore_errors=True)
        return target


def source(container: Settings) -> tuple[Location | None, bool]:
    """Where a container's model data is, and whether it is a whole prefix instead of one archive."""
    found: Settings = (container.get("ModelDataSource") or {}).get("S3DataSource") or {}
    address = container.get("ModelDataUrl") or found.get("S3Uri")
    if not address:
        return None, False
    return Location.parse(address), found.get("CompressionType") == "None" and found.get("S3DataType") == "S3Prefix"


def check(container: Settings) -> None:
    """Refuse a container whose model data is not there, as CreateModel does.

    Raises:
        AwsError: It is not.
    """
    place, whole_prefix = source(container)
    if place is None:
        return
    try:
        if whole_prefix:
            next(account.list_objects(place))
        else:
            account.read_object(place)
    except (ObjectMissing, StopIteration) as error:
        raise missing(place) from error


def missing(place: Location) -> Exception:
    """SageMaker's answer for model data that is not there."""
    return invalid(f"Could not find model data at {place}.")
