"""Which image serves where: our table against SageMaker's own SDK, which knows every region without asking AWS."""

from __future__ import annotations

import pytest
from sagemaker.core import image_uris

from serving.errors import ConfigurationInvalid
from serving.targets.sagemaker import images

# Where the first publisher serves; the others are in the table.
ELSEWHERE = ("us-east-1", "us-west-2", "eu-west-1", "eu-central-1", "ap-northeast-1", "ap-southeast-2", "sa-east-1")


@pytest.mark.parametrize("region", [*ELSEWHERE, *images.PUBLISHERS])
def test_the_address_of_awss_image_is_the_sdks(region: str) -> None:
    told = image_uris.retrieve("pytorch", region, version="2.6", py_version="py312", instance_type="ml.m7i.large",
                               image_scope="inference")
    assert images.prebuilt(region) == told


def test_only_awss_own_image_is_given_the_handler() -> None:
    assert images.environment(images.prebuilt("us-east-1"))["SAGEMAKER_PROGRAM"] == "inference.py"
    assert images.environment("1.dkr.ecr.us-east-1.amazonaws.com/slipway-server:1") == {}


def test_an_image_whose_python_is_not_known_is_refused() -> None:
    with pytest.raises(ConfigurationInvalid, match="does not say its Python"):
        images.archive(None, "1/pytorch-inference:2.6", None)  # type: ignore[arg-type]  # neither is reached
