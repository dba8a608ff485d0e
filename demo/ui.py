"""`make ui`: MLflow's own registry UI on what the demo made, until Ctrl-C or SIGTERM."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

from .services import end_as_by_ctrl_c, mlflow_server

HOME = Path(".slipway/demo").resolve()


def main() -> int:
    """Serve it on a free port and say where; 2 when there is nothing to show yet."""
    if not (HOME / "mlflow.db").is_file():
        print(f"error: nothing in {HOME} yet. Next: make demo", file=sys.stderr)
        return 2
    end_as_by_ctrl_c()
    print("starting MLflow ...")
    try:
        with mlflow_server(HOME) as address:
            print(f"open {address}/#/models/images (Ctrl-C stops it)", flush=True)
            signal.pause()
    except KeyboardInterrupt:
        print("\nstopped")
    return 0


if __name__ == "__main__":
    sys.exit(main())
