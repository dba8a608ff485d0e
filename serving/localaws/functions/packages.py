"""Zips of functions and layers: checked, unpacked once, kept by their hash."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import io
import lzma
import os
import shutil
import threading
import uuid
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from serving.localaws.errors import AwsError
from serving.localaws.functions.limits import UNZIPPED_BYTES


@dataclass(frozen=True, slots=True)
class Package:
    """An unpacked zip.

    Attributes:
        sha256: Hash of the zip's bytes, hexadecimal.
        size: Of the zip, in bytes.
        unzipped: Of its files, in bytes.
        folder: Where they are.
        archive: Where the zip itself is.
    """

    sha256: str
    size: int
    unzipped: int
    folder: Path
    archive: Path

    @property
    def code_sha256(self) -> str:
        """The hash as Lambda writes it: base64."""
        return base64.b64encode(bytes.fromhex(self.sha256)).decode()


class PackageStore:
    """Where are the unpacked zips? Equal bytes are unpacked once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known: dict[str, Package] = {}
        self._lock = threading.Lock()

    def add(self, content: bytes) -> Package:
        """Unpack a zip, or find it unpacked.

        Raises:
            AwsError: It is no zip, has a path outside its folder, or is too large unpacked.
        """
        sha256 = hashlib.sha256(content).hexdigest()
        with self._lock:
            if sha256 not in self._known:
                self._known[sha256] = self._unpack(content, sha256)
            return self._known[sha256]

    def known(self, sha256: str) -> Package:
        """The package with this hash, which was unpacked before a restart.

        Raises:
            KeyError: It is not there any more.
        """
        archive = self._folder / sha256 / "package.zip"
        if sha256 not in self._known and archive.is_file():
            self.add(archive.read_bytes())
        return self._known[sha256]

    def archive(self, sha256: str) -> bytes | None:
        """The zip with this hash, if it is here."""
        package = self._known.get(sha256)
        return package.archive.read_bytes() if package else None

    def merged(self, layers: Sequence[Package]) -> Path | None:
        """The folder that plays /opt for these layers, later ones winning; None without layers."""
        if not layers:
            return None
        if len(layers) == 1:
            return layers[0].folder
        name = hashlib.sha256("\n".join(layer.sha256 for layer in layers).encode()).hexdigest()
        target = self._folder / "merged" / name
        with self._lock:
            if not target.is_dir():
                self._merge(layers, target)
        return target

    def _merge(self, layers: Sequence[Package], target: Path) -> None:
        draft = target.with_name(f"{target.name}.{uuid.uuid4().hex}")
        for layer in layers:
            shutil.copytree(layer.folder, draft, dirs_exist_ok=True, copy_function=_link)
        draft.rename(target)

    def _unpack(self, content: bytes, sha256: str) -> Package:
        home = self._folder / sha256
        try:
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                unzipped = sum(entry.file_size for entry in archive.infolist())
                if unzipped > UNZIPPED_BYTES:
                    raise _invalid(f"Unzipped size must be smaller than {UNZIPPED_BYTES} bytes")
                if not home.is_dir():
                    self._extract(archive, content, home)
        except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError, RuntimeError, ValueError) as error:
            raise _invalid(
                "Could not unzip uploaded file. Please check your file, then try to upload again."
            ) from error
        return Package(sha256, len(content), unzipped, home / "files", home / "package.zip")

    def _extract(self, archive: zipfile.ZipFile, content: bytes, home: Path) -> None:
        draft = home.with_name(f"{home.name}.{uuid.uuid4().hex}")
        try:
            for entry in archive.infolist():
                if entry.filename.startswith("/") or ".." in Path(entry.filename).parts:
                    raise ValueError(f"{entry.filename} leaves its folder")
                written = Path(archive.extract(entry, draft / "files"))
                if written.is_file():
                    written.chmod((entry.external_attr >> 16) & 0o555 | 0o444)  # /var/task is read-only
            (draft / "files").mkdir(parents=True, exist_ok=True)
            (draft / "package.zip").write_bytes(content)
            draft.rename(home)
        finally:
            shutil.rmtree(draft, ignore_errors=True)


def check_size(code: Package, layers: Sequence[Package]) -> None:
    """Refuse code and layers that are too large together, as Lambda does.

    Raises:
        AwsError: They are.
    """
    total = code.unzipped + sum(layer.unzipped for layer in layers)
    if total > UNZIPPED_BYTES:
        raise _invalid(
            f"Function code combined with layers exceeds the maximum allowed size of {UNZIPPED_BYTES} bytes. "
            f"The actual size is {total} bytes."
        )


def _link(source: str, target: str) -> None:
    """Hard-link a layer's file instead of copying it; a later layer's file replaces an earlier one's."""
    with contextlib.suppress(FileNotFoundError):
        Path(target).unlink()
    os.link(source, target)


def _invalid(message: str) -> AwsError:
    return AwsError("InvalidParameterValueException", message)
