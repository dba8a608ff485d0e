"""Which local command plays a container image? A mapping from patterns of image addresses to command lines."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from serving.localaws.errors import LocalAwsError
from serving.localaws.interpreters import Interpreter

_TOOLKIT = Path(__file__).with_name("toolkit.py")
_PYTHON = re.compile(r"-py3(\d+)\b")
# AWS's own inference images all call model_fn, input_fn, predict_fn and output_fn of the model's code/inference.py.
_PREBUILT = r"/[^/]*(pytorch-inference|tensorflow-inference|scikit-learn|xgboost)[^/]*$"


@dataclass(frozen=True, slots=True)
class Recipe:
    """How images whose address holds the pattern are played.

    ``{port}``, ``{model_dir}`` and ``{python}`` of the command are filled in.
    """

    pattern: str
    command: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> Recipe:
        """Read ``PATTERN=COMMAND``.

        Raises:
            LocalAwsError: It is not that, or the pattern is no regular expression.
        """
        pattern, equals, command = text.partition("=")
        try:
            re.compile(pattern)
        except re.error as error:
            raise LocalAwsError(f"--image {text}: {pattern} is no regular expression ({error})") from error
        if not equals or not shlex.split(command):
            raise LocalAwsError(
                f"--image {text}: wanted PATTERN=COMMAND, such as my-image='{{python}} serve.py {{port}}'"
            )
        return cls(pattern, tuple(shlex.split(command)))

    def argv(self, port: int, model_dir: Path, python: Path) -> list[str]:
        """The command line for one container."""
        values = {"port": str(port), "model_dir": str(model_dir), "python": str(python)}
        return [part.format(**values) for part in self.command]


# Our own server is what an image of the name slipway-anything holds; it reads its port and its bundle from variables.
OURS = Recipe(r"/slipway[^/]*$", ("{python}", "-m", "serving.runtime.server"))
DEFAULT = Recipe(_PREBUILT, ("{python}", str(_TOOLKIT), "{model_dir}", "{port}"))


class Images:
    """The recipes, the user's before the built-in ones."""

    def __init__(self, recipes: Sequence[Recipe]) -> None:
        self._recipes = (*recipes, OURS, DEFAULT)

    @staticmethod
    def python(image: str, interpreters: Mapping[str, Interpreter]) -> Path:
        """The interpreter for an image: of the Python that its tag names, where it is on offer, else this one."""
        named = _PYTHON.search(image)
        found = interpreters.get(f"python3.{named[1]}") if named else None
        return found.executable if found else Path(sys.executable)

    def recipe(self, image: str) -> Recipe | None:
        """How this image is played, if anyone said so."""
        return next((recipe for recipe in self._recipes if re.search(recipe.pattern, image)), None)
