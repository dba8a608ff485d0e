"""One database transaction for calls that would each open their own.

MLflow's store opens a session per method. Wrapped in `OneSession`, a method called while another of the same store and
thread is running joins its session, so everything in it is committed together or not at all.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from sqlalchemy.orm import Session

SessionFactory = Callable[..., AbstractContextManager[Session]]


class OneSession:
    """A session factory like MLflow's, re-entrant per thread; only the outermost call commits."""

    def __init__(self, factory: SessionFactory) -> None:
        """Wrap MLflow's own factory."""
        self._factory = factory
        self._open = threading.local()

    @contextmanager
    def __call__(self, read_only: bool = True) -> Iterator[Session]:
        """Join the session that is open in this thread, else open one."""
        joined: Session | None = getattr(self._open, "session", None)
        if joined is not None:
            yield joined
            return
        with self._factory(read_only=read_only) as session:
            self._open.session = session
            try:
                yield session
            finally:
                self._open.session = None
