"""What both hosts are built on: where things are kept, and how processes are started."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from serving.localaws.interpreters import Interpreter
from serving.localaws.processes import Nursery
from serving.localaws.sandbox import Sandbox


@dataclass(frozen=True, slots=True)
class Premises:
    """This machine, as the hosts see it.

    Attributes:
        state: The folder for unpacked code and models.
        port: The local AWS's, on 127.0.0.1.
        interpreters: The runtimes on offer, by Lambda's name.
    """

    state: Path
    port: int
    nursery: Nursery
    sandbox: Sandbox
    interpreters: Mapping[str, Interpreter]

    @property
    def endpoint(self) -> str:
        """What AWS_ENDPOINT_URL must be."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def credentials(self) -> dict[str, str]:
        """What code gets from the role that it runs as, and where it finds AWS."""
        return {
            "AWS_ACCESS_KEY_ID": "ASIALOCALSLIPWAY0000",
            "AWS_SECRET_ACCESS_KEY": "local",
            "AWS_SESSION_TOKEN": "local",
            "AWS_ENDPOINT_URL": self.endpoint,
        }

    @property
    def interpreter_folders(self) -> frozenset[Path]:
        """Everything that the interpreters here need to run."""
        return frozenset(folder for one in self.interpreters.values() for folder in one.folders)
