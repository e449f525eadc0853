"""The bare driver on threads: plain COMMIT, two-phase commit without and with a decision log."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from time import perf_counter
from typing import Any, TypeVar

from paxcommit.testing.bench.job import Job
from paxcommit.testing.bench.systems.pools import SyncPool, open_sync
from paxcommit.testing.bench.work import Names

__all__ = ["Bare", "Logged", "Plain"]

_T = TypeVar("_T")


class Plain:
    """See `aio.Plain`; a client's own thread commits at the first participant, others at the rest.

    Args:
        job: Names databases.
    """

    def __init__(self, job: Job) -> None:
        self._job = job
        self._pools: list[SyncPool] = []
        self._threads = ThreadPoolExecutor(job.pool_size * max(1, len(job.participants) - 1))

    def open(self) -> None:
        """See `SyncSystem.open`."""
        for dsn in self._job.participants:
            self._pools.append(open_sync(dsn, self._job.pool_size))

    def transact(self, row: int) -> float:
        """See `SyncSystem.transact`."""
        # One after the other: so does an application with one thread per request.
        connections = [_begin(pool, row) for pool in self._pools]
        began = perf_counter()
        self._commit(connections)
        took = perf_counter() - began
        for pool, each in zip(self._pools, connections, strict=True):
            pool.release(each)
        return took

    def close(self) -> None:
        """See `SyncSystem.close`."""
        self._threads.shutdown()
        for pool in self._pools:
            pool.close()

    def _commit(self, connections: list[Any]) -> None:
        self._parallel([partial(each.execute, "COMMIT") for each in connections])

    def _parallel(self, works: Sequence[Callable[[], _T]]) -> list[_T]:
        futures = [self._threads.submit(work) for work in works[1:]]
        first = works[0]()
        return [first, *(future.result() for future in futures)]


class Bare(Plain):
    """See `aio.Bare`.

    Args:
        job: Names databases.
    """

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        self._names = Names()

    def _commit(self, connections: list[Any]) -> None:
        name = self._names.draw()
        self._everywhere(connections, "PREPARE TRANSACTION", name)
        self._decide(name)
        self._everywhere(connections, "COMMIT PREPARED", name)

    def _decide(self, name: str) -> None:
        """Make the decision durable; here it is not."""

    def _everywhere(self, connections: list[Any], command: str, name: str) -> None:
        self._parallel(
            [
                partial(each.execute, f"{command} '{name}-{at}'")
                for at, each in enumerate(connections)
            ]
        )


class Logged(Bare):
    """See `aio.Logged`.

    Args:
        job: Names databases.
    """

    def open(self) -> None:
        """See `SyncSystem.open`."""
        super().open()
        self._log = open_sync(self._job.log, self._job.pool_size)

    def close(self) -> None:
        """See `SyncSystem.close`."""
        super().close()
        self._log.close()

    def _decide(self, name: str) -> None:
        # Here a loan costs no round trip, so it is no better to borrow it before.
        connection = self._log.acquire()
        try:
            self._log.decide(connection, name)
        finally:
            self._log.release(connection)


def _begin(pool: SyncPool, row: int) -> Any:
    connection = pool.acquire()
    connection.execute("BEGIN")
    pool.update(connection, row)
    return connection
