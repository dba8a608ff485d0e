"""A bar for what takes long, where a person is looking; a pipe is told nothing."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from .aws.multipart import Sent
from .plan import Upload

WAIT = 2.0  # seconds; what is over by then needs no bar
SHORT = 1 << 20  # bytes; below this a bar would be gone before it was seen


@contextmanager
def shown(upload: Upload) -> Iterator[Sent]:
    """How many bytes of how many have arrived, how fast, and how long the rest takes; to be told of each that does."""
    size = upload.path.stat().st_size
    if size < SHORT or not sys.stderr.isatty():
        yield lambda count: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn(),
               TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        line = bar.add_task(upload.path.name, total=size)
        yield lambda count: bar.advance(line, count)


@contextmanager
def counted(what: str, total: int) -> Iterator[Callable[[], None]]:
    """How many of so many are done, and how long the rest takes; to be called after each, from any thread."""
    if not total or not sys.stderr.isatty():
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    bar = Progress(*columns, console=Console(stderr=True), transient=True)
    line = bar.add_task(what, total=total)
    late = threading.Timer(WAIT, bar.start)
    late.daemon = True
    late.start()
    try:
        yield lambda: bar.advance(line)
    finally:
        late.cancel()
        late.join()
        bar.stop()
