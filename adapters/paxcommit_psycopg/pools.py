"""psycopg_pool's pools, opened when they are first used."""

from __future__ import annotations

import asyncio
import threading
import time
from contextlib import suppress
from typing import Any

import psycopg
import psycopg_pool

from paxcommit.ports import AsyncSession, SyncSession
from paxcommit.sql.cleaning import CLEAN
from paxcommit.sql.statement import DatabaseError, Unanswered
from paxcommit_psycopg import dsn as dsns
from paxcommit_psycopg.aio import PsycopgAsyncSession
from paxcommit_psycopg.base import is_stale
from paxcommit_psycopg.blocking import PsycopgSession
from paxcommit_psycopg.failures import translate, translate_connect

__all__ = ["PsycopgAsyncPool", "PsycopgPool"]


class _Failures:
    """The last failure to connect: psycopg's pools only log it, and tell the caller to wait."""

    def __init__(self) -> None:
        self._last: tuple[float, Exception] | None = None

    def note(self, exc: Exception) -> None:
        """Keep it."""
        self._last = (time.monotonic(), exc)

    def explain(self, since: float, timeout: float) -> DatabaseError | Unanswered:
        """Why nobody was lent a connection since then."""
        if self._last is not None and self._last[0] >= since:
            return translate_connect(self._last[1])
        return Unanswered(f"no connection within {timeout:g} s")


class PsycopgPool:
    """A `SyncPool` on psycopg; it keeps no connection that nobody asked for.

    Args:
        dsn: Checked already.
        max_size: Connections at most.
        timeout: Seconds to connect one, and to clean one up for its next user.
    """

    def __init__(self, dsn: str, *, max_size: int, timeout: float) -> None:
        self._timeout = timeout
        self._closed = False
        self._failures = failures = _Failures()

        class Connection(psycopg.Connection[Any]):
            @classmethod
            def connect(cls, conninfo: str = "", **kwargs: Any) -> Any:
                try:
                    return super().connect(conninfo, **kwargs)
                except Exception as exc:
                    failures.note(exc)
                    raise

        self._pool = psycopg_pool.ConnectionPool[Any](
            dsn,
            connection_class=Connection,
            kwargs={"autocommit": True, **dsns.options(timeout)},
            min_size=0,
            max_size=max_size,
            reconnect_timeout=0,  # the next to ask tries again; no storm on a server that is away
            open=False,
        )

    def acquire(self, timeout: float) -> PsycopgSession:
        """See `SyncPool.acquire`."""
        since = time.monotonic()
        if self._closed:
            raise Unanswered("the pool is closed")
        try:
            self._pool.open()
            while is_stale(raw := self._pool.getconn(since + timeout - time.monotonic())):
                raw.pgconn.finish()
                self._pool.putconn(raw)
        except psycopg_pool.PoolTimeout:
            raise self._failures.explain(since, timeout) from None
        except Exception as exc:
            raise translate(exc) from exc
        return PsycopgSession(raw)

    def release(self, session: SyncSession) -> None:
        """See `SyncPool.release`."""
        try:
            if session.broken or session.in_transaction:
                session.discard()
            else:
                watchdog = threading.Timer(self._timeout, session.discard)
                watchdog.start()
                try:
                    session.execute(CLEAN)
                finally:
                    watchdog.cancel()
                    watchdog.join()  # or it might hit the connection's next user
        except Exception:  # noqa: BLE001 - nobody knows what the next user would find
            session.discard()
        finally:
            with suppress(Exception):
                self._pool.putconn(session.raw)

    def close(self, timeout: float) -> None:
        """See `SyncPool.close`."""
        self._closed = True
        with suppress(Exception):
            self._pool.close(timeout)


class PsycopgAsyncPool:
    """An `AsyncPool` on psycopg; it keeps no connection that nobody asked for.

    Args:
        dsn: Checked already.
        max_size: Connections at most.
        timeout: Seconds to connect one, and to clean one up for its next user.
    """

    def __init__(self, dsn: str, *, max_size: int, timeout: float) -> None:
        self._timeout = timeout
        self._closed = False
        self._cleaning: set[asyncio.Task[None]] = set()
        self._failures = failures = _Failures()

        class Connection(psycopg.AsyncConnection[Any]):
            @classmethod
            async def connect(cls, conninfo: str = "", **kwargs: Any) -> Any:
                try:
                    return await super().connect(conninfo, **kwargs)
                except Exception as exc:
                    failures.note(exc)
                    raise

        self._pool = psycopg_pool.AsyncConnectionPool[Any](
            dsn,
            connection_class=Connection,
            kwargs={"autocommit": True, **dsns.options(timeout)},
            min_size=0,
            max_size=max_size,
            reconnect_timeout=0,  # the next to ask tries again; no storm on a server that is away
            open=False,
        )

    async def acquire(self, timeout: float) -> PsycopgAsyncSession:
        """See `AsyncPool.acquire`."""
        since = time.monotonic()
        if self._closed:
            raise Unanswered("the pool is closed")
        try:
            await self._pool.open()
            while is_stale(raw := await self._pool.getconn(since + timeout - time.monotonic())):
                raw.pgconn.finish()
                await self._pool.putconn(raw)
        except psycopg_pool.PoolTimeout:
            raise self._failures.explain(since, timeout) from None
        except Exception as exc:
            raise translate(exc) from exc
        return PsycopgAsyncSession(raw)

    async def release(self, session: AsyncSession) -> None:
        """See `AsyncPool.release`."""
        cleaning = asyncio.create_task(self._clean(session))
        self._cleaning.add(cleaning)
        cleaning.add_done_callback(self._cleaning.discard)

    async def _clean(self, session: AsyncSession) -> None:
        try:
            if session.broken or session.in_transaction:
                session.discard()
            else:
                async with asyncio.timeout(self._timeout):
                    await session.execute(CLEAN)
        except Exception:  # noqa: BLE001 - nobody knows what the next user would find
            session.discard()
        finally:
            with suppress(Exception):
                await self._pool.putconn(session.raw)

    async def close(self, timeout: float) -> None:
        """See `AsyncPool.close`."""
        self._closed = True
        if self._cleaning:
            await asyncio.wait(self._cleaning, timeout=timeout)
        with suppress(Exception):
            await self._pool.close(timeout)
