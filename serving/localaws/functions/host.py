"""Runs functions: one process per concurrent event, warm ones used again, as Lambda does."""

from __future__ import annotations

import threading
from collections import defaultdict
from dataclasses import dataclass, field

from serving.localaws.errors import AwsError
from serving.localaws.functions.environment import Environment, Outcome
from serving.localaws.functions.limits import ACCOUNT_CONCURRENCY
from serving.localaws.functions.packages import PackageStore
from serving.localaws.functions.revision import Revision
from serving.localaws.premises import Premises


@dataclass(frozen=True, slots=True)
class Key:
    """Which environments may answer for each other: those of one revision of one version."""

    arn: str
    version: str
    revision_id: str

    @classmethod
    def of(cls, revision: Revision) -> Key:
        """The key of a revision's environments."""
        return cls(revision.arn, revision.version, revision.revision_id)


@dataclass(slots=True)
class _Pool:
    idle: list[Environment] = field(default_factory=list)
    busy: set[Environment] = field(default_factory=set)


class FunctionHost:
    """Where do functions run? In processes of this machine's interpreters."""

    def __init__(self, premises: Premises, packages: PackageStore) -> None:
        self._premises = premises
        self._packages = packages
        self._pools: dict[Key, _Pool] = defaultdict(_Pool)
        self._lock = threading.Lock()

    @property
    def runtimes(self) -> tuple[str, ...]:
        """Lambda's names of the runtimes on offer."""
        return tuple(self._premises.interpreters)

    def invoke(
        self, revision: Revision, payload: bytes, invoked_arn: str, *, reserved: int | None, client_context: str = ""
    ) -> tuple[Outcome, str]:
        """Run one event; returns what came of it and the log stream it is in.

        Raises:
            AwsError: As many events as allowed are running (429).
        """
        environment, alive = self._borrow(revision, reserved), False
        try:
            outcome = environment.invoke(payload, invoked_arn, client_context)
            alive = outcome.alive
        finally:
            self._give_back(environment, alive=alive)
        return outcome, environment.log_stream

    def warm(self, revision: Revision, count: int) -> None:
        """Have so many environments ready and initialised (provisioned concurrency)."""
        pool = self._pools[Key.of(revision)]
        for _ in range(count - len(pool.idle) - len(pool.busy)):
            environment = self._create(revision)
            environment.initialise()
            with self._lock:
                pool.idle.append(environment)

    def retire(self, arn: str, *, keep: Revision | None = None, version: str | None = None) -> None:
        """End the environments of a function, or of one version of it, but those of the revision to keep."""
        kept = Key.of(keep) if keep else None
        with self._lock:
            gone = [k for k in self._pools if k.arn == arn and k != kept and version in (None, k.version)]
            pools = [self._pools.pop(key) for key in gone]
        for pool in pools:
            # A busy one finishes its event on AWS; here too, unless the whole function is deleted.
            for environment in [*pool.idle, *(pool.busy if keep is None else ())]:
                environment.kill()

    def close(self) -> None:
        """End every environment."""
        with self._lock:
            arns = {key.arn for key in self._pools}
        for arn in arns:
            self.retire(arn)

    def _borrow(self, revision: Revision, reserved: int | None) -> Environment:
        limit = ACCOUNT_CONCURRENCY if reserved is None else reserved
        with self._lock:
            running = sum(len(pool.busy) for key, pool in self._pools.items() if key.arn == revision.arn)
            if running >= limit:
                raise _throttled(reserved)
            pool = self._pools[Key.of(revision)]
            while pool.idle:
                environment = pool.idle.pop()
                if environment.alive:
                    pool.busy.add(environment)
                    return environment
                environment.kill()
        environment = self._create(revision)
        with self._lock:
            self._pools[Key.of(revision)].busy.add(environment)
        return environment

    def _create(self, revision: Revision) -> Environment:
        opt = self._packages.merged([layer.package for layer in revision.layers])
        interpreter = self._premises.interpreters[revision.runtime]
        return Environment(revision, opt, interpreter, self._premises)

    def _give_back(self, environment: Environment, *, alive: bool) -> None:
        with self._lock:
            pool = self._pools.get(Key.of(environment.revision))
            current = pool is not None and environment in pool.busy
            if pool is not None:
                pool.busy.discard(environment)
                if alive and current:
                    pool.idle.append(environment)
                    return
        environment.kill()


def _throttled(reserved: int | None) -> AwsError:
    reason = (
        "ConcurrentInvocationLimitExceeded" if reserved is None else "ReservedFunctionConcurrentInvocationLimitExceeded"
    )
    return AwsError("TooManyRequestsException", "Rate Exceeded.", status=429, fields={"Reason": reason, "Type": "User"})
