"""A bar for a long upload, where a person is looking; a pipe is told nothing."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from .aws.multipart import Sent
from .plan import Upload

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
