"""One psycopg connection for asyncio, as the core wants to see it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeAlias, TypeVar

import psycopg
from psycopg.rows import tuple_row

from paxcommit.ports import BeginOptions
from paxcommit.sql.statement import Result, Sql
from paxcommit_psycopg.base import OPEN, SessionBase, begin_statement, cut

__all__ = ["AsyncRaw", "PsycopgAsyncSession"]

AsyncRaw: TypeAlias = "psycopg.AsyncConnection[Any]"
_T = TypeVar("_T")


class PsycopgAsyncSession(SessionBase):
    """An `AsyncSession` on psycopg.

    Args:
        raw: The connection, used on the running event loop and by nobody else meanwhile.
    """

    def __init__(self, raw: AsyncRaw) -> None:
        super().__init__()
        self._raw: AsyncRaw = raw
        self._loop = asyncio.get_running_loop()
        self._autocommit = raw.autocommit

    @property
    def raw(self) -> AsyncRaw:
        """The psycopg connection."""
        return self._raw

    async def execute(self, sql: Sql) -> Result:
        """See `AsyncSession.execute`."""
        with self._answers():
            return await self._uncancelled(self._execute(sql))

    async def begin(self, options: BeginOptions, first: Sql | None = None) -> None:
        """See `AsyncSession.begin`; psycopg's own ``transaction()`` nests in a plain BEGIN."""
        with self._answers():
            await self._raw.set_autocommit(True)
        self._begun = True
        try:
            await self.execute(begin_statement(options, first))
        except BaseException:
            await self.settle()
            raise

    async def settle(self) -> None:
        """See `AsyncSession.settle`."""
        begun, self._begun = self._begun, False
        if not begun or self.broken:
            return
        try:
            with self._answers():
                await self._uncancelled(self._settle())
        except Exception:  # noqa: BLE001 - whatever it was, driver and server are out of step
            self.discard()

    def discard(self) -> None:
        """See `AsyncSession.discard`."""
        self._discarded = True
        cut(self._raw)
        try:
            running = asyncio.get_running_loop()
        except RuntimeError:
            running = None
        if running is self._loop:
            self._finish()
            return
        try:
            self._loop.call_soon_threadsafe(self._finish)
        except RuntimeError:  # the loop is closed, so nobody can be in a call
            self._raw.pgconn.finish()

    def _finish(self) -> None:
        # A call under way still needs libpq's connection: it sees the end of file and closes it.
        # With nobody in a call, nobody would close it.
        if not self._raw.lock.locked():
            self._raw.pgconn.finish()

    async def _execute(self, sql: Sql) -> Result:
        with self._notices(sql.notices) as notices:
            async with (
                self._in_autocommit(),
                psycopg.AsyncRawCursor(self._raw, row_factory=tuple_row) as cursor,
            ):
                # Without arguments it stays a simple query, so it may not become a prepared one.
                prepare = None if sql.args else False
                await cursor.execute(sql.text.encode(), sql.args or None, prepare=prepare)
                single = True
                while cursor.nextset():
                    single = False
                rows = await cursor.fetchall() if single and cursor.description else []
                return Result(rows, cursor.statusmessage or "", tuple(notices))

    async def _settle(self) -> None:
        if self._status in OPEN:
            await self._raw.rollback()
        await self._raw.set_autocommit(self._autocommit)

    async def _uncancelled(self, work: Coroutine[Any, Any, _T]) -> _T:
        """Run `work` out of reach of our caller's cancellation, which cuts the wire instead.

        psycopg answers a cancellation by cancelling in the server and waiting for the end of it,
        for as long as the network pleases.
        """
        task = asyncio.ensure_future(work)
        try:
            await asyncio.wait((task,))
        except asyncio.CancelledError:
            self.discard()
            task.add_done_callback(_retrieve)
            await asyncio.wait((task,))  # it sees the end of file now
            raise
        return task.result()

    @asynccontextmanager
    async def _in_autocommit(self) -> AsyncIterator[None]:
        """Keep psycopg from opening a transaction of its own on a user's connection."""
        if self._begun or self._raw.autocommit:
            yield
            return
        await self._raw.set_autocommit(True)
        try:
            yield
        finally:
            if not self.broken:
                await self._raw.set_autocommit(self._autocommit)


def _retrieve(task: asyncio.Task[Any]) -> None:
    if not task.cancelled():
        task.exception()  # seen, so that asyncio does not report it
