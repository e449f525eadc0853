"""paxcommit itself, through its public surface."""

from __future__ import annotations

import asyncio
from time import perf_counter
from typing import Any

from paxcommit.async_coordinator import AsyncCoordinator
from paxcommit.async_transaction import AsyncTransaction
from paxcommit.coordinator import Coordinator
from paxcommit.testing.bench.job import Job
from paxcommit.testing.bench.work import TABLE
from paxcommit.transactions import Wait

__all__ = ["AsyncPaxos", "Paxos"]

_UPDATE = f"UPDATE {TABLE} SET value = value + 1 WHERE id = "


class AsyncPaxos:
    """`AsyncCoordinator`.

    Args:
        job: Names driver and settings.
    """

    def __init__(self, job: Job) -> None:
        self._job = job
        self._wait: Wait = "decided" if job.system == "paxcommit-decided" else "applied"
        self._names = sorted(job.settings["participants"])
        self._work = self._on_asyncpg if job.driver == "asyncpg" else self._on_psycopg

    async def open(self) -> None:
        """See `AsyncSystem.open`."""
        self._coordinator = await AsyncCoordinator.open(self._job.settings, driver=self._job.driver)

    async def transact(self, row: int) -> float:
        """See `AsyncSystem.transact`."""
        async with self._coordinator.transaction(wait=self._wait) as tx:
            await asyncio.gather(*(self._work(tx, name, row) for name in self._names))
            began = perf_counter()
        return perf_counter() - began

    async def close(self) -> None:
        """See `AsyncSystem.close`."""
        await self._coordinator.close()

    async def _on_asyncpg(self, tx: AsyncTransaction, name: str, row: int) -> None:
        connection = await tx.connection(name)
        await connection.execute(f"{_UPDATE}$1", row)

    async def _on_psycopg(self, tx: AsyncTransaction, name: str, row: int) -> None:
        connection = await tx.connection(name)
        await connection.execute(f"{_UPDATE}%s", (row,))


class Paxos:
    """`Coordinator`; the block serves participants one after the other, as applications do.

    Args:
        job: Names settings.
    """

    def __init__(self, job: Job) -> None:
        self._job = job
        self._wait: Wait = "decided" if job.system == "paxcommit-decided" else "applied"
        self._names = sorted(job.settings["participants"])

    def open(self) -> None:
        """See `SyncSystem.open`."""
        self._coordinator = Coordinator.open(self._job.settings, driver="psycopg")

    def transact(self, row: int) -> float:
        """See `SyncSystem.transact`."""
        with self._coordinator.transaction(wait=self._wait) as tx:
            for name in self._names:
                connection: Any = tx.connection(name)
                connection.execute(f"{_UPDATE}%s", (row,))
            began = perf_counter()
        return perf_counter() - began

    def close(self) -> None:
        """See `SyncSystem.close`."""
        self._coordinator.close()
