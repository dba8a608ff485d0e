"""How the local AWS is started; no moto is imported here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Options:
    """What its user may choose.

    Attributes:
        port: On 127.0.0.1; 0 takes a free one.
        state: Where the account is kept over restarts; a temporary folder when None.
        settle_seconds: How long a changed function stays Pending or InProgress.
        speed: SageMaker's waiting times, such as baking, are divided by this.
        image: ``PATTERN=COMMAND`` each: how container images are played, before the built-in way for AWS's own.
        faults: A YAML file with a list ``faults``: what goes wrong from the start.
        auth: Refuse requests that are not signed with a secret that the account knows.
        sandbox: Use bubblewrap where it works, for AWS's own read-only paths.
    """

    port: int = 4566
    state: Path | None = None
    settle_seconds: float = 0.0
    speed: float = 1.0
    image: tuple[str, ...] = ()
    faults: Path | None = None
    auth: bool = False
    sandbox: bool = True
