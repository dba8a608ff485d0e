"""An AWS whose caller dies, within this process: for a try that needs a clock of its own. Others are really killed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from serving import Aws
from serving.aws import Endpoints, Scaling, Storage

from .recorded import Killed

CHANGING = frozenset({
    "abort", "create_bytes", "create_object", "delete", "create_model", "create_config", "create_endpoint",
    "update_endpoint", "reweigh", "delete_endpoint", "delete_config", "delete_model", "scale", "unscale"})


class Mortal:
    """One service of AWS, whose changing calls are counted, and which dies right after one of them was answered."""

    def __init__(self, service: Any, made: list[str], dies_after: int) -> None:
        self._service, self._made, self._dies_after = service, made, dies_after

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._service, name)
        return self._counted(name, found) if name in CHANGING else found

    def _counted(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*arguments: Any, **named: Any) -> Any:
            said = call(*arguments, **named)
            self._made.append(name)
            if len(self._made) == self._dies_after:
                raise Killed
            return said

        return counted


class MortalAws(Aws):
    """Counts the calls that change anything, and dies right after one of them: SageMaker may still be busy with it."""

    def __init__(self, dies_after: int = 0) -> None:
        super().__init__()
        self.made: list[str] = []
        self._dies_after = dies_after

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        return Mortal(found, self.made, self._dies_after) if isinstance(found, Storage | Endpoints | Scaling) else found
