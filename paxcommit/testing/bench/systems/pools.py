"""The drivers' own pools with the drivers' own defaults, as every system uses them."""

from __future__ import annotations

from typing import Any, Protocol

from paxcommit.testing.bench.work import TABLE

__all__ = ["AsyncPool", "SyncPool", "open_async", "open_sync"]

_UPDATE = f"UPDATE {TABLE} SET value = value + 1 WHERE id = "
_DECIDE = f"INSERT INTO {TABLE}_decision (gid) VALUES "


class AsyncPool(Protocol):
    """A pool of one database's connections; a connection's `execute` runs a plain statement."""

    async def acquire(self) -> Any:
        """Borrow a connection."""

    async def release(self, connection: Any) -> None:
        """Give it back."""

    async def update(self, connection: Any, row: int) -> None:
        """Do the work."""

    async def decide(self, connection: Any, gid: str) -> None:
        """Write a decision row, durably."""

    async def close(self) -> None:
        """Close all connections."""


class SyncPool(Protocol):
    """See `AsyncPool`."""

    def acquire(self) -> Any:
        """See `AsyncPool.acquire`."""

    def release(self, connection: Any) -> None:
        """See `AsyncPool.release`."""

    def update(self, connection: Any, row: int) -> None:
        """See `AsyncPool.update`."""

    def decide(self, connection: Any, gid: str) -> None:
        """See `AsyncPool.decide`."""

    def close(self) -> None:
        """See `AsyncPool.close`."""


class _Asyncpg:
    def __init__(self, pool: Any) -> None:
        self._pool = pool

    async def acquire(self) -> Any:
        return await self._pool.acquire()

    async def release(self, connection: Any) -> None:
        await self._pool.release(connection)

    async def update(self, connection: Any, row: int) -> None:
        await connection.execute(f"{_UPDATE}$1", row)

    async def decide(self, connection: Any, gid: str) -> None:
        await connection.execute(f"{_DECIDE}($1)", gid)

    async def close(self) -> None:
        await self._pool.close()


class _PsycopgAsync:
    def __init__(self, pool: Any) -> None:
        self._pool = pool

    async def acquire(self) -> Any:
        return await self._pool.getconn()

    async def release(self, connection: Any) -> None:
        await self._pool.putconn(connection)

    async def update(self, connection: Any, row: int) -> None:
        await connection.execute(f"{_UPDATE}%s", (row,))

    async def decide(self, connection: Any, gid: str) -> None:
        await connection.execute(f"{_DECIDE}(%s)", (gid,))

    async def close(self) -> None:
        await self._pool.close()


class _PsycopgSync:
    def __init__(self, pool: Any) -> None:
        self._pool = pool

    def acquire(self) -> Any:
        return self._pool.getconn()

    def release(self, connection: Any) -> None:
        self._pool.putconn(connection)

    def update(self, connection: Any, row: int) -> None:
        connection.execute(f"{_UPDATE}%s", (row,))

    def decide(self, connection: Any, gid: str) -> None:
        connection.execute(f"{_DECIDE}(%s)", (gid,))

    def close(self) -> None:
        self._pool.close()


async def open_async(driver: str, dsn: str, size: int) -> AsyncPool:
    """Open a pool of asyncpg, or of psycopg's asyncio half."""
    if driver == "asyncpg":
        import asyncpg

        return _Asyncpg(await asyncpg.create_pool(dsn, min_size=0, max_size=size))
    import psycopg_pool

    pool = psycopg_pool.AsyncConnectionPool(
        dsn, kwargs={"autocommit": True}, min_size=0, max_size=size, open=False
    )
    await pool.open()
    return _PsycopgAsync(pool)


def open_sync(dsn: str, size: int) -> SyncPool:
    """Open a pool of psycopg for threads."""
    import psycopg_pool

    pool = psycopg_pool.ConnectionPool(
        dsn, kwargs={"autocommit": True}, min_size=0, max_size=size, open=False
    )
    pool.open()
    return _PsycopgSync(pool)
