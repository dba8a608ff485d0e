"""Which command plays which image, and with which Python."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from serving.localaws import LocalAwsError
from serving.localaws.endpoints.images import DEFAULT, OURS, Images, Recipe
from serving.localaws.interpreters import Interpreter

ACCOUNT = "763104351884.dkr.ecr.us-east-1.amazonaws.com"


@pytest.mark.parametrize(
    ("image", "recipe"),
    [
        (f"{ACCOUNT}/pytorch-inference:2.6-cpu-py312", DEFAULT),
        (f"{ACCOUNT}/tensorflow-inference:2.19-cpu", DEFAULT),
        (f"{ACCOUNT}/sagemaker-scikit-learn:1.2-1-cpu-py3", DEFAULT),
        (f"{ACCOUNT}/slipway-server:0.1", OURS),
        (f"{ACCOUNT}/pytorch-training:2.6-cpu-py312", None),
        ("someone/else:1", None),
    ],
)
def test_known_images_have_a_recipe(image: str, recipe: Recipe | None) -> None:
    assert Images([]).recipe(image) is recipe


def test_the_users_own_recipe_comes_first() -> None:
    own = Recipe.parse("slipway={python} own.py {port}")
    assert Images([own]).recipe(f"{ACCOUNT}/slipway-server:0.1") is own
    assert own.argv(8080, Path("/model"), Path("/python")) == ["/python", "own.py", "8080"]


@pytest.mark.parametrize("text", ["no-equals-sign", "(=serve", "pattern="])
def test_a_recipe_that_is_none_is_told(text: str) -> None:
    with pytest.raises(LocalAwsError, match="--image"):
        Recipe.parse(text)


def test_an_image_gets_the_python_that_its_tag_names_where_it_is_on_offer() -> None:
    other = Interpreter("python3.12", Path("/usr/bin/python3.12"), ())
    offered = {"python3.12": other}
    assert Images.python(f"{ACCOUNT}/pytorch-inference:2.6-cpu-py312", offered) == other.executable
    for image in (f"{ACCOUNT}/pytorch-inference:2.5-cpu-py311", f"{ACCOUNT}/tensorflow-inference:2.19-cpu"):
        assert Images.python(image, offered) == Path(sys.executable)
