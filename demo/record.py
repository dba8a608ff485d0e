"""What happened at each step, for a reader while it runs, as a table at the end, and as demo.json."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table


class StepFailed(Exception):
    """Did a step end otherwise than the demo needs? Names the step, what was wanted, and what was printed."""


@dataclass(slots=True)
class StepRecord:
    """What came of one step? ``outcome`` is one sentence."""

    name: str
    who: str
    seconds: float
    outcome: str


@dataclass(slots=True)
class Record:
    """All that demo.json will say."""

    steps: list[StepRecord] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)
    answers_compared: int = 0
    answers_equal: int = 0
    max_abs_diff: float = 0.0
    lambda_runtime: str = ""

    def write(self, path: Path) -> None:
        """Write demo.json, whole or not at all."""
        path.parent.mkdir(parents=True, exist_ok=True)
        scratch = path.with_suffix(".tmp")
        scratch.write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")
        scratch.replace(path)


class Stage:
    """Runs steps as different people, and remembers what happened.

    Args:
        environment: what every command is started with.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.environment = {**os.environ, **environment}
        self.record = Record()
        self._console = Console(highlight=False, soft_wrap=True)

    @contextmanager
    def step(self, name: str, who: str) -> Iterator[Callable[[str], None]]:
        """Time one step; call what is given with its outcome."""
        self._console.print(f"\n[bold]{len(self.record.steps) + 1}. {who}: {name}[/bold]")
        step = StepRecord(name, who, 0.0, "")
        started = time.monotonic()

        def ended(outcome: str) -> None:
            step.outcome = outcome

        try:
            yield ended
        except BaseException as error:
            step.outcome = f"failed: {error}"
            raise
        finally:
            step.seconds = round(time.monotonic() - started, 2)
            self.record.steps.append(step)
        self._console.print(f"   -> {step.outcome} ({step.seconds:.1f} s)", style="green")

    def run(self, who: str, *command: str, wanted: int = 0) -> str:
        """Run one command as somebody, show what it prints, and give its last line but for a hint of what is next.

        Raises:
            StepFailed: it ended with another exit code than wanted.
        """
        self._console.print(f"   $ {' '.join(command)}", style="cyan")
        environment = {**self.environment, "SLIPWAY_USER": who}
        binary = Path(sys.executable).parent / command[0]
        lines = []
        with subprocess.Popen(  # noqa: S603 - the demo's own commands, no shell
            [str(binary), *command[1:]], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as process:
            for line in process.stdout or ():
                lines.append(line.rstrip())
                self._console.print(f"     {line.rstrip()}", style="dim", markup=False)
        if process.returncode != wanted:
            raise StepFailed(f"`{' '.join(command)}` ended with {process.returncode}, wanted {wanted}: {lines[-1:]}")
        return next((line for line in reversed(lines) if line and not line.startswith("Next: ")), "")

    def refused(self, who: str, *command: str) -> str:
        """Run one command that has to be refused; remember why it was."""
        reason = self.run(who, *command, wanted=1).removeprefix("error: ")
        self.record.refusals.append(reason)
        return reason

    def table(self) -> None:
        """Print what happened at each step and how long it took."""
        table = Table(title="What happened", title_justify="left")
        for column in ("#", "who", "step", "outcome"):
            table.add_column(column)
        table.add_column("seconds", justify="right")
        for number, step in enumerate(self.record.steps, start=1):
            table.add_row(str(number), step.who, step.name, step.outcome, f"{step.seconds:.1f}")
        total = sum(step.seconds for step in self.record.steps)
        table.add_section()
        table.add_row("", "", "", "", f"{total:.1f}")
        # Without a terminal rich assumes 80 columns; a log has room for more.
        console = self._console if self._console.is_terminal else Console(width=140)
        console.print("\n", table)
