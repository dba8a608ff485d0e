"""docs/aws.md does what it says: its `sh` blocks, in their order, in one shell, as somebody would type them.

Every command is a process of its own, which takes minutes, and test_end_to_end.py does the same sooner. So only where
it is asked for: slipway local --speed 100 -- python -m pytest -m aws. Never on an account: `images` may be somebody's.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from .place import is_asked

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "aws.md"


def script() -> str:
    """What the page tells its reader to run, once the account is made."""
    return "\n".join(re.findall(r"^```sh\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.S | re.M))


@pytest.mark.aws
def test_the_pages_commands_do_what_the_page_says(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    if not is_asked(request.config) or "AWS_ENDPOINT_URL" not in os.environ:
        pytest.skip("takes minutes: slipway local --speed 100 -- python -m pytest -m aws")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    here = {**os.environ, "PATH": path, "MLFLOW_DISABLE_TELEMETRY": "true", "SLIPWAY_POLICY": str(ROOT / "policy.yaml")}
    here.pop("MLFLOW_TRACKING_URI", None)
    done = subprocess.run(["bash", "-euo", "pipefail", "-c", script()], cwd=tmp_path, env=here, capture_output=True,
                          text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    for said in ("images/1 is in service as slipway-images:production", "images/1 is in service again",
                 "REPORT RequestId", "Deployment images is deleted"):
        assert said in done.stdout, said
    assert "was sent back at 50% of the requests" in done.stderr
