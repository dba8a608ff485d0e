"""Layers are on the function's path as on AWS, and are listed by the runtime they are for."""

from __future__ import annotations

import io
import json
import uuid
import zipfile
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.localaws.conftest import BUCKET, Maker, zipped

USE = "import part\ndef handler(e, c):\n    return [part.NAME, part.__file__]\n"


def publish(lambdas: Any, name: str, files: dict[str, str | bytes], **settings: Any) -> str:
    """A new version of a layer; its ARN."""
    arn: str = lambdas.publish_layer_version(LayerName=name, Content={"ZipFile": zipped(files)}, **settings)[
        "LayerVersionArn"
    ]
    return arn


def answer(lambdas: Any, name: str) -> Any:
    """What the function says to an empty event."""
    return json.loads(lambdas.invoke(FunctionName=name)["Payload"].read())


@pytest.fixture
def layer() -> str:
    """A layer name that no other test uses."""
    return f"layer-{uuid.uuid4().hex[:12]}"


@pytest.mark.parametrize("place", ["python", "python/lib/{runtime}/site-packages"])
def test_both_places_of_a_layer_are_imported_from(
    lambdas: Any, make_function: Maker, layer: str, runtime: str, place: str
) -> None:
    arn = publish(lambdas, layer, {f"{place.format(runtime=runtime)}/part.py": "NAME = 'layer'\n"})
    assert answer(lambdas, make_function(USE, Layers=[arn]))[0] == "layer"


def test_the_functions_own_files_win_over_a_layers(lambdas: Any, make_function: Maker, layer: str) -> None:
    arn = publish(lambdas, layer, {"python/part.py": "NAME = 'layer'\n"})
    code = {"ZipFile": zipped({"main.py": USE, "part.py": "NAME = 'own'\n"})}
    assert answer(lambdas, make_function(Code=code, Layers=[arn]))[0] == "own"


def test_a_later_layer_wins_over_an_earlier_one(lambdas: Any, make_function: Maker, layer: str) -> None:
    arns = [publish(lambdas, layer, {"python/part.py": f"NAME = {text!r}\n", f"python/{text}.py": ""}) for text in "ab"]
    assert answer(lambdas, make_function(USE, Layers=arns))[0] == "b"
    assert answer(lambdas, make_function(USE, Layers=arns[::-1]))[0] == "a"


def test_one_layer_is_unpacked_once_for_all_its_functions(lambdas: Any, make_function: Maker, layer: str) -> None:
    arn = publish(lambdas, layer, {"python/part.py": "NAME = 1\n"})
    places = {answer(lambdas, make_function(USE + f"# {n}\n", Layers=[arn]))[1] for n in range(2)}
    assert len(places) == 1


def test_versions_are_listed_newest_first_and_by_runtime(lambdas: Any, layer: str, runtime: str) -> None:
    publish(lambdas, layer, {"a": "1"}, CompatibleRuntimes=[runtime])
    publish(lambdas, layer, {"a": "2"})
    listed = lambdas.list_layer_versions(LayerName=layer)["LayerVersions"]
    assert [version["Version"] for version in listed] == [2, 1]
    matching = lambdas.list_layer_versions(LayerName=layer, CompatibleRuntime=runtime)["LayerVersions"]
    assert [version["Version"] for version in matching] == [1]
    assert lambdas.list_layer_versions(LayerName="never-published", CompatibleRuntime=runtime)["LayerVersions"] == []


def test_a_layer_comes_from_s3_and_not_from_a_missing_key(lambdas: Any, s3: Any, layer: str) -> None:
    s3.put_object(Bucket=BUCKET, Key="layers/one.zip", Body=zipped({"python/part.py": ""}))
    made = lambdas.publish_layer_version(LayerName=layer, Content={"S3Bucket": BUCKET, "S3Key": "layers/one.zip"})
    assert made["Version"] == 1
    with pytest.raises(ClientError, match="NoSuchKey"):
        lambdas.publish_layer_version(LayerName=layer, Content={"S3Bucket": BUCKET, "S3Key": "layers/two.zip"})


def test_code_and_layers_together_may_not_pass_250_mib(lambdas: Any, make_function: Maker, layer: str) -> None:
    half = publish(lambdas, layer, {"python/weights": bytes(140_000_000)})
    other = publish(lambdas, layer, {"python/more": bytes(130_000_000)})
    make_function(Layers=[half])
    with pytest.raises(ClientError, match="exceeds the maximum allowed size of 262144000 bytes") as caught:
        make_function(Layers=[half, other])
    assert caught.value.response["Error"]["Code"] == "InvalidParameterValueException"
    with pytest.raises(ClientError, match="Unzipped size must be smaller than 262144000 bytes"):
        publish(lambdas, layer, {"python/weights": bytes(262_144_001)})


def test_a_layer_that_does_not_exist_is_refused(make_function: Maker) -> None:
    with pytest.raises(ClientError, match="does not exist"):
        make_function(Layers=["arn:aws:lambda:us-east-1:123456789012:layer:nope:1"])


def test_a_zip_that_is_none_or_leaves_its_folder_is_refused(make_function: Maker) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.py", "x = 1\n" * 200)
    damaged = bytearray(packed.getvalue())
    damaged[34:38] = b"\xff" * 4  # the packed bytes begin there, behind a header of 30 and the name
    for content in (b"not a zip", zipped({"../outside.py": ""}), bytes(damaged)):
        with pytest.raises(ClientError, match="Could not unzip uploaded file"):
            make_function(Code={"ZipFile": content})


def test_the_zip_of_a_function_and_of_a_layer_can_be_fetched_and_hashed(
    lambdas: Any, make_function: Maker, layer: str
) -> None:
    import base64
    import hashlib
    from urllib.request import urlopen

    arn = publish(lambdas, layer, {"python/part.py": ""})
    function = lambdas.get_function(FunctionName=make_function())
    places = {
        function["Code"]["Location"]: function["Configuration"]["CodeSha256"],
        (found := lambdas.get_layer_version_by_arn(Arn=arn)["Content"])["Location"]: found["CodeSha256"],
    }
    for place, sha256 in places.items():
        with urlopen(place) as response:  # noqa: S310 - the local AWS gave the address
            assert base64.b64encode(hashlib.sha256(response.read()).digest()).decode() == sha256


def test_lists_come_in_pages_as_on_aws(lambdas: Any, layer: str) -> None:
    for n in range(5):
        publish(lambdas, layer, {"python/part.py": f"NAME = {n}\n"})
    pages = lambdas.get_paginator("list_layer_versions").paginate(LayerName=layer, PaginationConfig={"PageSize": 2})
    assert [[one["Version"] for one in page["LayerVersions"]] for page in pages] == [[5, 4], [3, 2], [1]]
    with pytest.raises(ClientError, match="InvalidParameterValueException"):
        lambdas.list_layer_versions(LayerName=layer, Marker="nobody's")
