"""The server's processes: one loads the bundle, forks the others so that they share it, and passes signals on."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import time
from collections.abc import Callable

import uvloop

from ..core import GOLDEN, Predictor, golden_inputs
from ..errors import BundleBroken
from ..exchange import Exchange
from . import jpeg, pages
from .batching import Batcher, Pace, measure
from .http import App, Connection
from .quick import QuickJson
from .settings import Settings
from .tally import SharedCounts, Tally

SWEEP = 5.0  # seconds between two looks for silent connections


def serve(settings: Settings, *, ready: Callable[[int], None] = lambda port: None) -> int:
    """Serve until told to stop; the exit code.

    Args:
        settings: where and how.
        ready: told the port once the model has answered its first golden request and the port is open.

    Raises:
        BundleBroken: the bundle is not what its manifest says, or the model does not answer.
    """
    predictor = Predictor(settings.bundle, limits=settings.limits)
    pace = measure(predictor, golden_inputs(settings.bundle / GOLDEN))
    jpeg.enable()
    tally = Tally(settings.workers)
    listener = _listener(settings)
    ready(listener.getsockname()[1])
    children = _fork(settings.workers)
    if children:
        listener.close()
        return _watch(children)
    tally.use(_number)
    uvloop.run(_serve(predictor, pace, tally, settings, listener))
    if children is None:
        # onnxruntime's own end waits for threads that a fork does not copy; all is answered, so just leave.
        sys.stderr.flush()
        os._exit(0)
    return 0


_number = 0


def _fork(workers: int) -> list[int] | None:
    """The children's process ids; None in a child. Nothing runs beside the main thread yet, so forking is safe."""
    global _number
    if workers == 1:
        return []
    children = []
    for number in range(workers):
        child = os.fork()
        if not child:
            _number = number
            return None
        children.append(child)
    return children


def _watch(children: list[int]) -> int:
    """Pass on signals; when a worker dies by itself, stop the others: the platform starts the container anew."""
    left, code = set(children), 0

    def passed_on(number: int, frame: object) -> None:
        for child in left:
            os.kill(child, number)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, passed_on)
    while left:
        child, status = os.wait()
        left.discard(child)
        if os.waitstatus_to_exitcode(status):
            code = 1
            passed_on(signal.SIGTERM, None)
    return code


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
    app = App(exchange, batcher, tally, settings, pages.of(predictor, settings) if settings.pages else {})
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    # Our connections have an asyncio.Protocol's methods without its base class, which httptools' callbacks spare.
    server = await loop.create_server(lambda: Connection(app), sock=listener)  # type: ignore[arg-type, return-value]
    while not stopping.is_set():
        try:
            await asyncio.wait_for(stopping.wait(), SWEEP)
        except TimeoutError:
            _sweep(app)
    server.close()
    await _drained(app)


def _sweep(app: App) -> None:
    now = time.monotonic()
    for connection in [c for c in app.connections if not c.waits and now - c.last > app.settings.idle]:
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
