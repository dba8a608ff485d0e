"""S3 as this project uses it: created once, proven by what S3 computed, gone on with after a kill."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import io
import os
import subprocess
import sys
import tracemalloc
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import boto3
import pytest

from serving import Settings
from serving.aws import Aws, FunctionConfig, FunctionState, multipart
from serving.aws.functions import fetched
from serving.aws.multipart import Parts
from serving.errors import AwsConflict, AwsFailed, AwsMissing
from serving.localaws import running

from .recorded import door
from .test_deploy import environment

BUCKET, MIB = "slipway-123456789012-us-east-1", 1 << 20


@pytest.fixture(scope="module", autouse=True)
def account() -> Iterator[None]:
    with running() as variables, environment(**variables):
        yield


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A file of five parts, and its SHA-256."""
    path = tmp_path_factory.mktemp("large") / "model.onnx"
    path.write_bytes(b"".join(bytes([n]) * (16 * MIB) for n in range(4)) + b"the last part")
    return path, hashlib.sha256(path.read_bytes()).hexdigest()


def calls(operation: str) -> int:
    return sum(call["operation"] == operation for call in door("GET", "calls"))


def cut_off(key: str, path: Path, parts: list[int], part: int = multipart.PART) -> None:
    """What a killed upload leaves: these parts of the file and no object."""
    s3 = boto3.client("s3")
    number = s3.create_multipart_upload(Bucket=BUCKET, Key=key, ChecksumAlgorithm="SHA256")["UploadId"]
    content = path.read_bytes()
    for n in parts:
        body = content[(n - 1) * part : n * part]
        s3.upload_part(Bucket=BUCKET, Key=key, UploadId=number, PartNumber=n, Body=body,
                       ChecksumSHA256=base64.b64encode(hashlib.sha256(body).digest()).decode())
    door("DELETE", "calls")


def test_a_large_file_is_proven_by_its_parts_without_being_fetched(large: tuple[Path, str], tmp_path: Path) -> None:
    path, sha256 = large
    sent: list[int] = []
    Aws().storage.create_object(BUCKET, "large", path, sha256, sent=sent.append)
    assert sum(sent) == path.stat().st_size
    door("DELETE", "calls")
    found = Aws().storage.object(BUCKET, "large")
    assert found is not None and found.is_file(path, sha256)
    assert calls("GetObject") == 0
    other = tmp_path / "other"
    other.write_bytes(path.read_bytes()[:-1] + b"!")
    assert not found.is_file(other, sha256), "what somebody wrote beside the object is no proof"
    assert Aws().storage.sha256(BUCKET, "large") == sha256


def test_what_a_killed_upload_left_is_gone_on_with_and_nothing_is_sent_twice(large: tuple[Path, str]) -> None:
    path, sha256 = large
    cut_off("cut", path, [1, 3])
    Aws().storage.create_object(BUCKET, "cut", path, sha256)
    assert (calls("UploadPart"), calls("CreateMultipartUpload")) == (3, 0)
    found = Aws().storage.object(BUCKET, "cut")
    assert found is not None and Aws().storage.sha256(BUCKET, "cut") == sha256


def test_parts_of_another_size_are_not_gone_on_with(large: tuple[Path, str]) -> None:
    path, sha256 = large
    cut_off("recut", path, [1], part=5 * MIB)
    Aws().storage.create_object(BUCKET, "recut", path, sha256)
    assert (calls("UploadPart"), calls("CreateMultipartUpload")) == (5, 1)
    assert Aws().storage.sha256(BUCKET, "recut") == sha256


def test_a_large_file_is_created_only_once_and_leaves_no_parts(large: tuple[Path, str], tmp_path: Path) -> None:
    path, sha256 = large
    Aws().storage.create_object(BUCKET, "once", path, sha256)
    with pytest.raises(AwsConflict):
        Aws().storage.create_object(BUCKET, "once", path, sha256)
    left = boto3.client("s3").list_multipart_uploads(Bucket=BUCKET).get("Uploads", [])
    assert [upload["Key"] for upload in left if upload["Key"] == "once"] == []


def test_what_nobody_writes_twice_is_fetched_once_and_comes_in_the_order_asked_for() -> None:
    storage, keys = Aws().storage, [f"journal/{n:06}.json" for n in range(12)]
    for key in keys:
        storage.create_bytes(BUCKET, key, key.encode())
    door("DELETE", "calls")
    assert storage.read_unchanging(BUCKET, keys[::-1]) == [key.encode() for key in keys[::-1]]
    assert storage.read_unchanging(BUCKET, keys) == [key.encode() for key in keys]
    assert calls("GetObject") == len(keys)
    with pytest.raises(AwsMissing):
        storage.read_unchanging(BUCKET, [*keys, "journal/000012.json"])


@pytest.mark.parametrize("operation", ["CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload"])
def test_a_lost_answer_ends_in_the_same_object(large: tuple[Path, str], operation: str) -> None:
    path, sha256 = large
    door("POST", "faults", {"kind": "lost", "service": "s3", "operation": operation})
    Aws().storage.create_object(BUCKET, f"lost-{operation}", path, sha256)
    found = Aws().storage.object(BUCKET, f"lost-{operation}")
    assert found is not None and found.is_file(path, sha256)


def test_the_key_that_encrypts_can_be_named(tmp_path: Path) -> None:
    path = tmp_path / "small"
    path.write_bytes(b"small")
    Aws(kms_key="alias/ours").storage.create_object(BUCKET, "small", path, hashlib.sha256(b"small").hexdigest())
    head = boto3.client("s3").head_object(Bucket=BUCKET, Key="small")
    assert (head["ServerSideEncryption"], head["SSEKMSKeyId"]) == ("aws:kms", "alias/ours")


@pytest.mark.parametrize(("total", "count"), [(64 * MIB + 1, 5), (160_000 * MIB, 10_000), (160_000 * MIB + 1, 9_412)])
def test_no_file_has_more_parts_than_s3_takes(total: int, count: int) -> None:
    parts = Parts.of(total)
    assert parts.count == count
    start, size = parts.span(parts.count)
    assert start + size == total


def test_a_part_that_holds_other_bytes_is_sent_again(large: tuple[Path, str], tmp_path: Path) -> None:
    path, sha256 = large
    before = tmp_path / "before"  # what the file was when the upload was cut off: as long, and not the same
    before.write_bytes(b"!" + path.read_bytes()[1:])
    cut_off("changed", before, [1, 2, 3])
    Aws().storage.create_object(BUCKET, "changed", path, sha256)
    assert (calls("UploadPart"), calls("CreateMultipartUpload")) == (3, 0), "the first, and the two that were not sent"
    assert Aws().storage.sha256(BUCKET, "changed") == sha256


@pytest.fixture(scope="module")
def heavy(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str, str]:
    """A function and a layer of 40 MB, and the SHA-256 of the zip that both were made from."""
    path = tmp_path_factory.mktemp("heavy") / "code.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("handler.py", "")
        archive.writestr("weights", os.urandom(40 * MIB))
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    aws, python = Aws(), f"python{sys.version_info.major}.{sys.version_info.minor}"
    aws.storage.create_object(BUCKET, "heavy.zip", path, sha256)
    layer = aws.functions.publish_layer("heavy", bucket=BUCKET, key="heavy.zip", runtime=python,
                                        architecture="x86_64", description="heavy")
    settings = FunctionConfig(python, "x86_64", "handler.handler", 128, 3, aws.role_arn(Settings().lambda_.role))
    aws.functions.create_function(FunctionState("heavy", "", "", "", settings, (), ""), bucket=BUCKET, key="heavy.zip")
    return layer, "heavy", sha256


def test_what_lambda_gives_back_is_hashed_and_written_in_constant_memory(
    heavy: tuple[str, str, str], tmp_path: Path
) -> None:
    layer, function, sha256 = heavy
    functions, code, stored = Aws().functions, tmp_path / "function.zip", tmp_path / "stored.zip"
    functions.layer_sha256(layer)  # what botocore loads for a first call is not counted
    tracemalloc.start()
    try:
        assert functions.layer_zip_sha256(layer) == sha256
        assert functions.function_zip(function, "$LATEST", code) == sha256
        Aws().storage.fetch(BUCKET, "heavy.zip", stored)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 15 * MIB, "the zip is 40 MB"
    assert [hashlib.sha256(path.read_bytes()).hexdigest() for path in (code, stored)] == [sha256] * 2


def test_no_version_of_a_layer_is_missed_where_lambda_gives_them_in_pages() -> None:
    python, zipped = f"python{sys.version_info.major}.{sys.version_info.minor}", io.BytesIO()
    with zipfile.ZipFile(zipped, "w") as archive:
        archive.writestr("part.py", "")
    for n in range(51):
        boto3.client("lambda").publish_layer_version(LayerName="many", Content={"ZipFile": zipped.getvalue()},
                                                     Description=str(n), CompatibleRuntimes=[python])
    door("DELETE", "calls")
    found = Aws().functions.layers("many", python).layers
    assert [layer.description for layer in found] == [str(n) for n in range(51)], "oldest first"
    assert calls("ListLayerVersions") == 2


def test_a_zip_that_breaks_off_is_no_zip(tmp_path: Path) -> None:
    class Breaks(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(b"x" * 999)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Breaks) as server:
        Thread(target=server.serve_forever).start()
        try:
            with pytest.raises(AwsFailed, match="IncompleteRead"):
                list(fetched(f"http://127.0.0.1:{server.server_port}/code.zip"))
        finally:
            server.shutdown()


UPLOADS = """
import sys
from pathlib import Path
from serving.aws import Aws
from serving.plan import Upload
from serving.progress import shown
upload = Upload(sys.argv[1], sys.argv[2], Path(sys.argv[3]), sys.argv[4], 0)
with shown(upload) as sent:
    Aws().storage.create_object(upload.bucket, upload.key, upload.path, upload.sha256, sent=sent)
"""


@pytest.mark.parametrize("terminal", [True, False])
def test_a_bar_is_drawn_of_a_long_upload_on_a_terminal_alone(terminal: bool, large: tuple[Path, str]) -> None:
    path, sha256 = large
    reads, writes = os.openpty() if terminal else os.pipe()
    said = b""
    command = [sys.executable, "-c", UPLOADS, BUCKET, f"bar-{terminal}", str(path), sha256]
    with subprocess.Popen(command, stderr=writes, env={**os.environ, "TERM": "xterm", "COLUMNS": "100"}) as process:
        os.close(writes)
        with contextlib.suppress(OSError):  # a terminal that nobody writes to any more cannot be read
            while part := os.read(reads, 65536):
                said += part
    os.close(reads)
    assert process.returncode == 0
    if terminal:
        assert b"model.onnx" in said
        assert b"67.1/67.1 MB" in said
        assert said.endswith((b"\x1b[2K", b"\x1b[?25h"))  # taken away, and the cursor is back
    else:
        assert said == b""
