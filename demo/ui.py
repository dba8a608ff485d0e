"""`make ui`: open what the demo made in MLflow's own registry UI, until Ctrl-C."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from .services import QUIET, server_command

HOME = Path(".slipway/demo").resolve()
PORT = 5000


def main() -> int:  # noqa: RET503 - execve does not return
    """Become the MLflow server; 2 when there is nothing to show yet."""
    if not (HOME / "mlflow.db").is_file():
        print(f"error: nothing in {HOME} yet. Next: make demo", file=sys.stderr)
        return 2
    print(f"open http://127.0.0.1:{PORT}/#/models/images (Ctrl-C stops it)", file=sys.stderr)
    command = server_command(HOME, PORT)
    binary = Path(sys.executable).parent / command[0]
    os.execve(binary, [str(binary), *command[1:]], {**os.environ, **QUIET})  # noqa: S606 - no shell is wanted


if __name__ == "__main__":
    sys.exit(main())
