"""Which container serves, and what is it given?"""

from __future__ import annotations

import re
from pathlib import Path

from ... import package
from ...bundle import Bundle
from ...errors import ConfigurationInvalid, Refused

# Who publishes AWS's images where it is not the first; by SageMaker's SDK 3.27.0, `image_uris.retrieve("pytorch", ...,
# version="2.6", py_version="py312", image_scope="inference")`, asked for every region 2026-11-25.
PUBLISHER = "763104351884"
PUBLISHERS = {
    "af-south-1": "626614931356", "ap-east-1": "871362719292", "ap-east-2": "975050140332",
    "ap-northeast-3": "364406365360", "ap-south-2": "772153158452", "ap-southeast-3": "907027046896",
    "ap-southeast-4": "457447274322", "ap-southeast-5": "550225433462", "ap-southeast-6": "633930458069",
    "ap-southeast-7": "590183813437", "ca-west-1": "204538143572", "cn-north-1": "727897471807",
    "cn-northwest-1": "727897471807", "eu-central-2": "380420809688", "eu-south-1": "692866216735",
    "eu-south-2": "503227376785", "il-central-1": "780543022126", "me-central-1": "914824155844",
    "me-south-1": "217643126080", "mx-central-1": "637423239942", "us-gov-east-1": "446045086412",
    "us-gov-west-1": "442386744353",
}
PREBUILT = "pytorch-inference:2.6-cpu-py312"
# Where AWS's images look for the handler; the SDK sets the same two.
HANDLER = {"SAGEMAKER_PROGRAM": "inference.py", "SAGEMAKER_SUBMIT_DIRECTORY": "/opt/ml/model/code"}


def prebuilt(region: str) -> str:
    """What is the address of AWS's own image in this region?"""
    suffix = ".cn" if region.startswith("cn-") else ""
    return f"{PUBLISHERS.get(region, PUBLISHER)}.dkr.ecr.{region}.amazonaws.com{suffix}/{PREBUILT}"


def is_prebuilt(image: str) -> bool:
    """Is it one of AWS's, which run a handler, and not our own server?"""
    return "pytorch-inference" in image.rsplit("/", 1)[-1]


def environment(image: str) -> dict[str, str]:
    """Which variables does its container need?"""
    return dict(HANDLER) if is_prebuilt(image) else {}


def archive(bundle: Bundle, image: str, scratch: Path) -> Path:
    """Where is the model.tar.gz that this image serves?

    Raises:
        ConfigurationInvalid: the tag does not say which Python the image has.
        Refused: scikit-learn itself has to serve it, and the image is AWS's.
    """
    if not is_prebuilt(image):
        return package.write_tar(bundle.folder, scratch / "model.tar.gz")
    named = re.search(r"-py3(\d+)\b", image)
    if not named:
        raise ConfigurationInvalid(f"sagemaker.image: {image} does not say its Python (-py312), for which libraries "
                                   "are packed. Next: a tag that does")
    if bundle.manifest.engine != "onnx":
        raise Refused(f"{bundle.manifest.name}/{bundle.manifest.version} is served by scikit-learn itself, and AWS's "
                      "image has imported a NumPy and SciPy of its own before our handler is. Next: sagemaker.image: "
                      "the image that the Dockerfile builds from this bundle")
    layer = package.build_layer(package.layer_spec(f"python3.{named[1]}", "x86_64"))
    return package.build_model_archive(bundle, layer, scratch)
