"""One database transaction for calls that would each open their own.

MLflow's store opens a session per method. Inside `OneSession.transaction()` all of them join one session, so that
everything is committed together or not at all. Elsewhere MLflow's own way is kept: some of its methods rely on it,
such as reading in a fresh session what made the first one fail.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from sqlalchemy.orm import Session

SessionFactory = Callable[..., AbstractContextManager[Session]]


class OneSession:
    """A session factory like MLflow's, with transactions that span calls; only the outermost commits."""

    def __init__(self, factory: SessionFactory) -> None:
        """Wrap MLflow's own factory."""
        self._factory = factory
        self._open = threading.local()

    @contextmanager
    def __call__(self, read_only: bool = True) -> Iterator[Session]:
        """What MLflow's methods call: join the transaction that is open in this thread, else open a session as ever."""
        joined: Session | None = getattr(self._open, "session", None)
        if joined is not None:
            yield joined
        else:
            with self._factory(read_only=read_only) as session:
                yield session

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        """Open a transaction that every call of this thread joins until it ends; a nested one joins too."""
        with self(read_only=False) as session:
            outermost = getattr(self._open, "session", None) is None
            self._open.session = session
            try:
                yield session
            finally:
                if outermost:
                    self._open.session = None
