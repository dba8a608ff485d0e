"""Requests that wait at the same moment answered together, and refused before too many wait.

There is no timer: what one turn of the event loop brought is answered at its end, so a lone request waits for nobody.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from math import isclose

from ..block import Block, Blocks, joined
from ..core import Predictor
from ..errors import RuntimeFault
from ..exchange import Asked, Exchange, Response
from .tally import Tally

_log = logging.getLogger(__name__)

# Rows of one batch: as many as are answered in this time, between these numbers. The first to come waits for the last.
BATCH = 0.001  # seconds
FEWEST_ROWS, MOST_ROWS = 64, 2048
GAIN = 1.3  # what a batch must gain per row to be worth joining and cutting arrays
SLOW = 0.002  # seconds; a model this slow runs beside the event loop, so that /ping is still answered


class Overloaded(RuntimeFault):
    """Would this request wait too long?"""

    status = 503


class Unforeseen(RuntimeFault):
    """Did something fail that nobody thought of? The client is told, and whoever waits behind it is answered."""

    def __init__(self) -> None:
        super().__init__("the server failed at this request; its log says why")


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast does the model answer?

    Attributes:
        one: seconds for a request of one row.
        row: seconds for each row of a batch.
        together: whether requests gain by being answered together, and get the same answers.
    """

    one: float
    row: float
    together: bool


def measure(predictor: Predictor, golden: Blocks, *, rows: int = 16, turns: int = 9) -> Pace:
    """How fast does this model answer its golden requests, alone and together?"""
    many = {name: joined([block] * (rows // len(block) + 1)).rows(0, rows) for name, block in golden.items()}
    one = {name: block.rows(0, 1) for name, block in many.items()}
    alone, together = _fastest(predictor, one, turns), _fastest(predictor, many, turns)
    row = together / rows
    gains = alone / row >= GAIN and _agree(predictor, many)
    return Pace(alone, row if gains else alone, gains)


def _fastest(predictor: Predictor, blocks: Blocks, turns: int) -> float:
    ready, best = predictor.prepare(blocks)[0], float("inf")
    for _ in range(turns):
        started = time.perf_counter()
        predictor.run(ready)
        best = min(best, time.perf_counter() - started)
    return best


def _agree(predictor: Predictor, many: Blocks) -> bool:
    together = predictor.predict(many)
    rows = len(next(iter(many.values())))
    alone = [predictor.predict({k: v.rows(i, i + 1) for k, v in many.items()}) for i in range(rows)]
    return all(len(block) == rows and _same(block, joined([a[name] for a in alone]))
               for name, block in together.items())


def _same(a: Block, b: Block) -> bool:
    if (a.shape, a.dtype) != (b.shape, b.dtype):
        return False
    if not a.dtype.startswith("float"):
        return a.data == b.data
    return all(isclose(x, y, rel_tol=1e-4, abs_tol=1e-5) for x, y in zip(a.flat(), b.flat(), strict=True))


@dataclass(slots=True)
class Waiting:
    """A request that waits, and who is told its answer?"""

    asked: Asked
    reply: Callable[[Response], None]


class Batcher:
    """Answers what waits, at the end of each turn of the event loop.

    Args:
        exchange: reads and writes, and holds the predictor.
        pace: how fast the model is.
        wait: seconds that a request may have to wait.
        tally: is told what happened.
    """

    def __init__(self, exchange: Exchange, pace: Pace, wait: float, tally: Tally) -> None:
        self._exchange = exchange
        self._pace = pace
        row = max(pace.row, 1e-7)
        self._most = max(1, int(wait / row))
        self._batch = min(MOST_ROWS, max(FEWEST_ROWS, int(BATCH / row)))
        self._tally = tally
        self._queue: deque[Waiting] = deque()
        self._rows = 0
        self._running = False
        self._loop = asyncio.get_running_loop()
        self._beside = ThreadPoolExecutor(1) if pace.one > SLOW else None

    @property
    def idle(self) -> bool:
        """Does nothing wait or run?"""
        return not self._queue and not self._running

    def submit(self, asked: Asked, reply: Callable[[Response], None]) -> None:
        """Answer this request when its turn comes.

        Raises:
            Overloaded: too much waits already.
        """
        if self._rows >= self._most:
            self._tally.add("overloads")
            raise Overloaded("too many requests wait; try again later")
        self._queue.append(Waiting(asked, reply))
        self._rows += asked.rows
        if not self._running:
            self._running = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        if self._beside:
            batch = self._next()
            job = self._loop.run_in_executor(self._beside, self._answers, batch)
            job.add_done_callback(lambda done: self._told(batch, done.result()))
            return
        # Only what waited when this turn began: what comes meanwhile waits for the next.
        for _ in range(len(self._queue)):
            if not self._queue:
                break
            batch = self._next()
            self._tell(batch, self._answers(batch))
        self._running = False

    def _told(self, batch: list[Waiting], answers: list[Blocks | RuntimeFault]) -> None:
        self._tell(batch, answers)
        self._running = bool(self._queue)
        if self._running:
            self._flush()

    def _next(self) -> list[Waiting]:
        first = self._queue.popleft()
        batch, rows = [first], first.asked.rows
        while self._pace.together and self._queue and rows + self._queue[0].asked.rows <= self._batch:
            if not _joins(first.asked.ready, self._queue[0].asked.ready):
                break
            batch.append(self._queue.popleft())
            rows += batch[-1].asked.rows
        self._rows -= rows
        return batch

    def _answers(self, batch: list[Waiting]) -> list[Blocks | RuntimeFault]:
        try:
            return self._together(batch)
        except Exception:  # noqa: BLE001 - what escaped from here would end the answering of all that wait
            _log.exception("requests could not be answered")
            return [Unforeseen()] * len(batch)

    def _together(self, batch: list[Waiting]) -> list[Blocks | RuntimeFault]:
        self._tally.add("batches")
        if len(batch) == 1:
            return [self._run(batch[0].asked.ready)]
        names = batch[0].asked.ready
        said = self._run({name: joined(w.asked.ready[name] for w in batch) for name in names})
        if isinstance(said, RuntimeFault):  # one request must not spoil another's answer
            return [self._run(w.asked.ready) for w in batch]
        sizes = [w.asked.rows for w in batch]
        parts = zip(*(block.cut(sizes) for block in said.values()), strict=True)
        return [dict(zip(said, blocks, strict=True)) for blocks in parts]

    def _run(self, ready: Blocks) -> Blocks | RuntimeFault:
        try:
            return self._exchange.predictor.run(ready)
        except RuntimeFault as fault:
            return fault

    def _tell(self, batch: list[Waiting], answers: list[Blocks | RuntimeFault]) -> None:
        for waiting, said in zip(batch, answers, strict=True):
            try:
                waiting.reply(self._response(waiting, said))
            except Exception:  # noqa: BLE001 - as in `_answers`
                _log.exception("an answer could not be given")

    def _response(self, waiting: Waiting, said: Blocks | RuntimeFault) -> Response:
        if isinstance(said, RuntimeFault):
            return self._exchange.refuse(said)
        try:
            return self._exchange.write(waiting.asked, said)
        except Exception:  # noqa: BLE001 - as in `_answers`
            _log.exception("an answer could not be written")
            return self._exchange.refuse(Unforeseen())


def _joins(a: Blocks, b: Blocks) -> bool:
    return [block.shape[1:] for block in a.values()] == [b[name].shape[1:] for name in a]
