"""The bare driver on asyncio: plain COMMIT, two-phase commit without and with a decision log."""

from __future__ import annotations

import asyncio
from time import perf_counter
from typing import Any

from paxcommit.testing.bench.job import Job
from paxcommit.testing.bench.systems.pools import AsyncPool, open_async
from paxcommit.testing.bench.work import Names

__all__ = ["Bare", "Logged", "Plain"]


class Plain:
    """One COMMIT per database: a crash between two of them half-commits.

    Args:
        job: Names driver and databases.
    """

    def __init__(self, job: Job) -> None:
        self._job = job
        self._pools: list[AsyncPool] = []

    async def open(self) -> None:
        """See `AsyncSystem.open`."""
        for dsn in self._job.participants:
            self._pools.append(await open_async(self._job.driver, dsn, self._job.pool_size))

    async def transact(self, row: int) -> float:
        """See `AsyncSystem.transact`."""
        connections = await asyncio.gather(*(_begin(pool, row) for pool in self._pools))
        began = perf_counter()
        await self._commit(connections)
        took = perf_counter() - began
        await asyncio.gather(
            *(pool.release(each) for pool, each in zip(self._pools, connections, strict=True))
        )
        return took

    async def close(self) -> None:
        """See `AsyncSystem.close`."""
        for pool in self._pools:
            await pool.close()

    async def _commit(self, connections: list[Any]) -> None:
        await asyncio.gather(*(each.execute("COMMIT") for each in connections))


class Bare(Plain):
    """Two-phase commit that nobody can finish if this process dies.

    Args:
        job: Names driver and databases.
    """

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        self._names = Names()

    async def _commit(self, connections: list[Any]) -> None:
        name = self._names.draw()
        await _everywhere(connections, "PREPARE TRANSACTION", name)
        await self._decide(name)
        await _everywhere(connections, "COMMIT PREPARED", name)

    async def _decide(self, name: str) -> None:
        """Make the decision durable; here it is not."""


class Logged(Bare):
    """Two-phase commit as the textbook has it: the decision is durable before phase 2.

    Its connection for the log is borrowed before the commit begins, and rows are never removed:
    both flatter it.

    Args:
        job: Names driver and databases.
    """

    async def open(self) -> None:
        """See `AsyncSystem.open`."""
        await super().open()
        self._log = await open_async(self._job.driver, self._job.log, self._job.pool_size)
        self._lent: dict[asyncio.Task[Any] | None, Any] = {}

    async def transact(self, row: int) -> float:
        """See `AsyncSystem.transact`."""
        task = asyncio.current_task()
        self._lent[task] = await self._log.acquire()
        try:
            return await super().transact(row)
        finally:
            await self._log.release(self._lent.pop(task))

    async def close(self) -> None:
        """See `AsyncSystem.close`."""
        await super().close()
        await self._log.close()

    async def _decide(self, name: str) -> None:
        await self._log.decide(self._lent[asyncio.current_task()], name)


async def _begin(pool: AsyncPool, row: int) -> Any:
    connection = await pool.acquire()
    await connection.execute("BEGIN")
    await pool.update(connection, row)
    return connection


async def _everywhere(connections: list[Any], command: str, name: str) -> None:
    # Two databases of one server must not share a gid (trap 10).
    await asyncio.gather(
        *(each.execute(f"{command} '{name}-{at}'") for at, each in enumerate(connections))
    )
