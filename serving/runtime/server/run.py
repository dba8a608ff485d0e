"""The server's processes: one loads the bundle, forks the others so that they share it, and passes signals on."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress

import uvloop

from ..core import GOLDEN, Predictor, golden_inputs
from ..errors import BundleBroken
from ..exchange import Exchange
from . import jpeg, pages, workers
from .app import App
from .batching import Batcher, Pace, measure
from .http import Connection
from .quick import QuickJson
from .settings import Settings
from .tally import SharedCounts, Tally

SWEEP = 5.0  # seconds between two looks for silent connections
CONNECTIONS = 16_384  # of one worker, where the system lets it open as many files
SPARE = 64  # files that are no connections


def serve(settings: Settings, *, ready: Callable[[int], None] = lambda port: None) -> int:
    """Serve until told to stop; the exit code.

    Args:
        settings: where and how.
        ready: told the port once the model has answered its first golden request and the port is open.

    Raises:
        BundleBroken: the bundle is not what its manifest says, or the model does not answer.
    """
    # Whoever is told of the port may stop us at once: that waits until somebody hears it. Before anything is loaded,
    # as onnxruntime starts a thread, and a signal goes to any thread that does not block it.
    signal.pthread_sigmask(signal.SIG_BLOCK, workers.HEARD)
    try:
        return _served(settings, ready)
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, workers.HEARD)


def _served(settings: Settings, ready: Callable[[int], None]) -> int:
    predictor = Predictor(settings.bundle, limits=settings.limits)
    pace = measure(predictor, golden_inputs(settings.bundle / GOLDEN))
    jpeg.enable()
    tally = Tally(settings.workers)
    listener = _listener(settings)
    ready(listener.getsockname()[1])
    number = workers.start(settings.workers, listener) if settings.workers > 1 else 0
    if isinstance(number, workers.Ended):
        return number.code
    tally.use(number)
    uvloop.run(_serve(predictor, pace, tally, settings, listener))
    if settings.workers > 1:
        # onnxruntime's own end waits for threads that a fork does not copy; all is answered, so just leave.
        sys.stderr.flush()
        os._exit(0)
    return 0


def _listener(settings: Settings) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))
    except OSError as error:
        raise BundleBroken(f"cannot listen on {settings.host}:{settings.port}: {error.strerror}") from None
    listener.listen(1024)
    listener.setblocking(False)
    return listener


async def _serve(predictor: Predictor, pace: Pace, tally: Tally, settings: Settings, listener: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    exchange = Exchange(predictor, QuickJson(predictor.manifest), counts=SharedCounts(tally))
    batcher = Batcher(exchange, pace, settings.wait, tally)
    app = App(exchange, batcher, tally, settings, pages.of(predictor, settings) if settings.pages else {},
              most=_connections())
    stopping = asyncio.Event()
    for number in workers.STOPS:
        loop.add_signal_handler(number, stopping.set)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, workers.HEARD)
    # Our connections have an asyncio.Protocol's methods without its base class, which httptools' callbacks spare.
    server = await loop.create_server(lambda: Connection(app), sock=listener)  # type: ignore[arg-type, return-value]
    while not stopping.is_set():
        try:
            await asyncio.wait_for(stopping.wait(), SWEEP)
        except TimeoutError:
            _sweep(app)
    server.close()
    await _drained(app)


def _connections() -> int:
    """How many connections may there be? As many files as the system lets this process open, but a few."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):  # where even this is not allowed, it stays at what it is
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return CONNECTIONS if allowed == resource.RLIM_INFINITY else min(CONNECTIONS, max(allowed - SPARE, 1))


def _sweep(app: App) -> None:
    """Hang up on whoever is silent, sends one request for too long, or does not read what was written."""
    now, settings = time.monotonic(), app.settings
    for connection in [c for c in app.connections if not c.waits]:
        silent, slow = now - connection.last, now - connection.reads_since()
        if silent > 2 * settings.idle:
            connection.abort()
        elif silent > settings.idle or slow > settings.slow:
            connection.close()


async def _drained(app: App) -> None:
    """Answer what was asked, hang up on whoever asks nothing, and wait no longer than allowed."""
    app.draining = True
    until = time.monotonic() + app.settings.drain
    while time.monotonic() < until:
        for connection in [c for c in app.connections if not c.waits]:
            connection.close()
        if not app.connections and app.batcher.idle:
            return
        await asyncio.sleep(0.02)


def main() -> int:
    """Serve what the environment names; 0 after a clean stop, 1 when the bundle is broken."""
    try:
        return serve(Settings.of(os.environ),
                     ready=lambda port: print(f"serving on port {port}", file=sys.stderr, flush=True))
    except BundleBroken as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
