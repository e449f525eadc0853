"""asyncpg's own pool, opened when it is first used."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any, TypeAlias

import asyncpg
import asyncpg.pool

from paxcommit.ports import AsyncSession
from paxcommit.sql.statement import Unanswered
from paxcommit_asyncpg import dsn as dsns
from paxcommit_asyncpg.connection import BranchConnection
from paxcommit_asyncpg.failures import translate
from paxcommit_asyncpg.session import AsyncpgSession

__all__ = ["AsyncpgPool"]

_Pool: TypeAlias = "asyncpg.pool.Pool[Any]"

_LINGER = 0.05
"""Seconds that a connection may lie idle with what its last user left behind, such as a lock."""


class AsyncpgPool:
    """An `AsyncPool` on asyncpg; it keeps no connection that nobody asked for.

    What a user left behind on a connection is taken away together with its next user's BEGIN: a
    round trip of its own would be a sixth of all that a commit makes.  Where no next user comes
    soon, the pool cleans up by itself, or a session's advisory lock would stand on.

    Args:
        dsn: Checked already.
        max_size: Connections at most.
        timeout: Seconds to connect one, and to clean one up for its next user.
    """

    def __init__(self, dsn: str, *, max_size: int, timeout: float) -> None:
        self._dsn = dsn
        self._max_size = max_size
        self._timeout = timeout
        self._opening = asyncio.Lock()
        self._pool: _Pool | None = None
        self._lent = 0
        self._closed = False
        self._idle: dict[BranchConnection, float] = {}
        self._cleaning: dict[BranchConnection, asyncio.Task[None]] = {}
        self._sweeper: asyncio.TimerHandle | None = None

    async def acquire(self, timeout: float) -> AsyncpgSession:
        """See `AsyncPool.acquire`."""
        self._lent += 1
        try:
            return await self._acquire(timeout)
        except BaseException:
            self._lent -= 1
            raise

    async def _acquire(self, timeout: float) -> AsyncpgSession:
        try:
            pool = self._pool or await self._open()
            while True:
                # With a slot to spare nobody waits for one, and connecting has a limit of its own:
                # then the commit is spared a timer.
                limit = None if self._lent <= self._max_size else timeout
                proxy = await pool.acquire(timeout=limit)
                # The proxy passes on what it does not know itself, and the stubs do not know that.
                raw: BranchConnection = proxy.unwrapped()  # type: ignore[attr-defined]
                self._idle.pop(raw, None)
                session = AsyncpgSession(proxy, raw)
                if (cleaning := self._cleaning.get(raw)) is None:
                    return session
                await self._cleaned(cleaning, session)
                if not session.broken:
                    return session
                session.discard()  # it could not be cleaned
        except (asyncpg.ClientConfigurationError, ValueError):
            raise dsns.malformed() from None  # asyncpg echoes parts of it (trap 34)
        except TimeoutError as exc:
            raise Unanswered(f"no connection within {timeout:g} s") from exc
        except Unanswered:
            raise
        except Exception as exc:
            raise translate(exc) from exc

    async def _cleaned(self, cleaning: asyncio.Task[None], session: AsyncpgSession) -> None:
        try:
            await asyncio.wait([cleaning])
        except BaseException:
            session.discard()  # frees the slot as well
            raise

    async def release(self, session: AsyncSession) -> None:
        """See `AsyncPool.release`."""
        try:
            await self._release(session)
        finally:
            self._lent -= 1

    async def _release(self, session: AsyncSession) -> None:
        if session.broken or session.in_transaction:
            session.discard()  # frees the slot as well
            return
        if self._pool is None:
            return
        try:
            await self._pool.release(session.raw, timeout=self._timeout)
        except Exception:  # noqa: BLE001 - e.g. a listener of the user's, with warnings as errors
            session.discard()

    async def _set_aside(self, raw: Any) -> None:
        """Stands for asyncpg's reset, after which nothing is waited for until `raw` is free."""
        raw.soiled = True
        loop = asyncio.get_running_loop()
        self._idle[raw] = loop.time() + _LINGER
        if self._sweeper is None:
            self._sweeper = loop.call_later(_LINGER, self._sweep)

    def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        due = [raw for raw, until in self._idle.items() if until <= now]
        for raw in due:
            del self._idle[raw]
            self._cleaning[raw] = loop.create_task(self._clean(raw))
        self._sweeper = loop.call_later(_LINGER, self._sweep) if self._idle else None

    async def _clean(self, raw: BranchConnection) -> None:
        try:
            async with asyncio.timeout(self._timeout):
                await raw.clean()
        except Exception:  # noqa: BLE001 - nobody knows what the next user would find
            raw.terminate()
        finally:
            del self._cleaning[raw]

    async def close(self, timeout: float) -> None:
        """See `AsyncPool.close`."""
        self._closed = True
        if self._sweeper is not None:
            self._sweeper.cancel()
        if self._pool is None:
            return
        with contextlib.suppress(Exception):  # on any of them the pool terminates its connections
            await asyncio.wait_for(self._pool.close(), timeout)

    async def _open(self) -> _Pool:
        async with self._opening:
            if self._closed:
                raise Unanswered("the pool is closed")
            if self._pool is None:
                pool = asyncpg.create_pool(
                    self._dsn,
                    min_size=0,
                    max_size=self._max_size,
                    reset=self._set_aside,
                    connection_class=BranchConnection,
                    timeout=self._timeout,
                    server_settings=dsns.server_settings(self._dsn),
                )
                await pool
                self._pool = pool
            return self._pool
