"""`python -m train TASK ...` and `python -m train tune TASK ...`: what MLproject calls.

MLflow's local environment runs the python it finds on PATH, which need not be the one that
`make setup` filled. So this file, which any Python 3 can read, looks whether training can run
here, and otherwise goes on in the project's .venv.
"""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from pathlib import Path

NEEDED = ("click", "mlflow", "numpy", "sklearn", "tensorflow")


def _missing() -> list[str]:
    return [name for name in NEEDED if find_spec(name) is None]


def _change_python() -> None:
    """Go on in .venv if this python lacks what training needs; say what is missing if there is none."""
    missing, venv = _missing(), Path(__file__).resolve().parent.parent / ".venv"
    if not missing:
        return
    python = venv / "bin" / "python"
    if not python.exists() or Path(sys.prefix).resolve() == venv:
        sys.exit(f"error: {sys.executable} has no {', '.join(missing)}. Next: make setup, or activate the environment")
    os.execv(python, [str(python), "-m", "train", *sys.argv[1:]])  # noqa: S606  our own python, no shell


def run(words: list[str]) -> int:
    """Run the command that `words` are; an error of ours becomes one line on stderr and its exit code."""
    from click import ClickException

    from registry import RegistryError

    from .commands import train, tune
    from .errors import TrainError

    command, rest = (tune, words[1:]) if words[:1] == ["tune"] else (train, words)
    try:
        command.main(args=rest, prog_name="python -m train", standalone_mode=False)
    except (TrainError, RegistryError) as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    except ClickException as error:
        error.show()
        return error.exit_code
    return 0


if __name__ == "__main__":
    _change_python()
    sys.exit(run(sys.argv[1:]))
