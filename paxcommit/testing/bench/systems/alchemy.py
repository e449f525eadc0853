"""SQLAlchemy's sessions with ``twophase=True``, as its documentation has them."""

from __future__ import annotations

from time import perf_counter
from typing import Any

from paxcommit.testing.bench.job import Job
from paxcommit.testing.bench.work import TABLE

__all__ = ["Alchemy", "AsyncAlchemy"]

_DIALECTS = {"asyncpg": "asyncpg", "psycopg": "psycopg", "psycopg-sync": "psycopg"}


class AsyncAlchemy:
    """`AsyncSession`, on asyncpg or psycopg; SQLAlchemy serves its binds one after the other.

    Args:
        job: Names driver and databases.
    """

    def __init__(self, job: Job) -> None:
        self._job = job
        self._engines: list[Any] = []

    async def open(self) -> None:
        """See `AsyncSystem.open`."""
        from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine

        self._engines = [create_async_engine(url, **_pool(self._job)) for url in _urls(self._job)]
        tables, self._updates = _statements(len(self._engines))
        self._session = async_sessionmaker(
            binds=dict(zip(tables, self._engines, strict=True)), twophase=True
        )

    async def transact(self, row: int) -> float:
        """See `AsyncSystem.transact`."""
        async with self._session() as session:
            for update in self._updates:
                await session.execute(update, {"row": row})
            began = perf_counter()
            await session.commit()
            return perf_counter() - began

    async def close(self) -> None:
        """See `AsyncSystem.close`."""
        for engine in self._engines:
            await engine.dispose()


class Alchemy:
    """`Session`, on psycopg with threads.

    Args:
        job: Names databases.
    """

    def __init__(self, job: Job) -> None:
        self._job = job
        self._engines: list[Any] = []

    def open(self) -> None:
        """See `SyncSystem.open`."""
        from sqlalchemy import create_engine
        from sqlalchemy.orm import sessionmaker

        self._engines = [create_engine(url, **_pool(self._job)) for url in _urls(self._job)]
        tables, self._updates = _statements(len(self._engines))
        self._session = sessionmaker(
            binds=dict(zip(tables, self._engines, strict=True)), twophase=True
        )

    def transact(self, row: int) -> float:
        """See `SyncSystem.transact`."""
        with self._session() as session:
            for update in self._updates:
                session.execute(update, {"row": row})
            began = perf_counter()
            session.commit()
            return perf_counter() - began

    def close(self) -> None:
        """See `SyncSystem.close`."""
        for engine in self._engines:
            engine.dispose()


def _pool(job: Job) -> dict[str, Any]:
    return {"pool_size": job.pool_size, "max_overflow": 0}


def _urls(job: Job) -> list[str]:
    scheme = f"postgresql+{_DIALECTS[job.driver]}"
    return [f"{scheme}://{dsn.partition('://')[2]}" for dsn in job.participants]


def _statements(count: int) -> tuple[list[Any], list[Any]]:
    """One table and one UPDATE per bind; a table belongs to a bind, so each is one of its own."""
    from sqlalchemy import BigInteger, Column, Integer, MetaData, Table, bindparam, update

    tables = [
        Table(
            TABLE, MetaData(), Column("id", Integer, primary_key=True), Column("value", BigInteger)
        )
        for _ in range(count)
    ]
    updates = [
        update(table).where(table.c.id == bindparam("row")).values(value=table.c.value + 1)
        for table in tables
    ]
    return tables, updates
