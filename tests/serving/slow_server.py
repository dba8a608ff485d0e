"""Our server as an image whose model takes its time: `python slow_server.py SECONDS`. Its answers are the same."""

from __future__ import annotations

import sys
import time

from serving.runtime import core
from serving.runtime.block import Block, Blocks
from serving.runtime.server.run import main


class Slow(core.OnnxEngine):
    """Waits for so long before each answer, whatever else this machine does."""

    seconds = float(sys.argv.pop())

    def run(self, names: list[str], inputs: Blocks) -> list[Block]:
        """What the model says, later."""
        time.sleep(self.seconds)
        return super().run(names, inputs)


core.OnnxEngine = Slow  # type: ignore[misc]  # the server has no way to be slow on purpose
sys.exit(main())
