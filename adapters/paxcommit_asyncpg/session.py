"""One asyncpg connection, as the core wants to see it."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Iterable
from typing import Any, Literal, TypeAlias

import asyncpg
import asyncpg.pool
import asyncpg.transaction

from paxcommit.ports import BeginOptions, Isolation
from paxcommit.sql.statement import DatabaseError, Notice, Result, Sql, Unanswered
from paxcommit_asyncpg.connection import BranchConnection
from paxcommit_asyncpg.failures import is_fatal, server_error, translate

__all__ = ["AsyncpgSession", "Raw"]

Raw: TypeAlias = "asyncpg.Connection[Any] | asyncpg.pool.PoolConnectionProxy[Any]"

_ISOLATION: dict[Isolation, Literal["read_committed", "repeatable_read", "serializable"]] = {
    "read committed": "read_committed",
    "repeatable read": "repeatable_read",
    "serializable": "serializable",
}
_QUERY = re.compile(r"\s*(SELECT|SHOW|VALUES|TABLE|WITH)\b", re.IGNORECASE)
_SELECT = re.compile(r"\s*SELECT\b(?!.*\bINTO\b)", re.IGNORECASE | re.DOTALL)
_RETURNING = re.compile(r"\bRETURNING\b", re.IGNORECASE)


class AsyncpgSession:
    """An `AsyncSession` on asyncpg.

    Args:
        raw: The connection, or a pool's proxy of one, used on the running event loop.
        inner: The connection behind a proxy out of a pool of ours, which only we give back.
    """

    def __init__(self, raw: Raw, inner: BranchConnection | None = None) -> None:
        self._raw = raw
        self._inner = inner
        self._con: Raw = inner or raw
        # What `BranchConnection.execute` adds is for asyncpg's own calls of it.
        self._plain = super(BranchConnection, inner).execute if inner else raw.execute
        self._loop = asyncio.get_running_loop()
        self._transaction: asyncpg.transaction.Transaction | None = None
        self._discarded = False

    @property
    def raw(self) -> Raw:
        """The asyncpg connection."""
        return self._raw

    @property
    def broken(self) -> bool:
        """See `AsyncSession.broken`."""
        return self._discarded or is_closed(self._con)

    @property
    def in_transaction(self) -> bool:
        """See `AsyncSession.in_transaction`."""
        return not self.broken and self._con.is_in_transaction()

    async def execute(self, sql: Sql) -> Result:
        """See `AsyncSession.execute`."""
        if self._discarded:
            raise Unanswered("the connection was cut")
        try:
            if self._inner is not None and self._inner.soiled:
                await self._inner.clean()
            if sql.notices:
                return await self._listen(sql)
            return Result(*await self._run(sql))
        except Exception as exc:
            raise self._failure(exc) from exc
        except BaseException:
            self.discard()
            raise

    async def begin(self, options: BeginOptions, first: Sql | None = None) -> None:
        """See `AsyncSession.begin`; a session that could not begin is broken.

        The driver must know of the transaction, or the user's own ``conn.transaction()`` refuses
        to nest (trap 1).
        """
        if self._discarded:
            raise Unanswered("the connection was cut")
        opening = ["SET TRANSACTION READ WRITE"] if options.read_only is False else []
        opening += [first.text] if first else []
        try:
            transaction = self._con.transaction(
                isolation=_ISOLATION[options.isolation] if options.isolation else None,
                readonly=bool(options.read_only),
            )
            if self._inner is not None:
                self._inner.opening = "; ".join(opening)
                opening = []
            await transaction.start()
            self._transaction = transaction
            if opening:
                await self._con.execute("; ".join(opening))
        except Exception as exc:
            self.discard()  # the driver's bookkeeping says "in a transaction", for ever
            raise translate(exc) from exc
        except BaseException:
            self.discard()
            raise

    async def settle(self) -> None:
        """See `AsyncSession.settle`."""
        transaction, self._transaction = self._transaction, None
        if transaction is None or self.broken:
            return
        try:
            if not self._con.is_in_transaction():
                # Prepared or committed by a plain statement.  The driver forgets its transaction
                # only in a ROLLBACK, and one without a transaction would leave a WARNING in the
                # server's log, once per branch.
                if self._inner is not None:
                    self._inner.is_over = True
                else:
                    await self._con.execute("BEGIN")
            await transaction.rollback()
        except Exception:  # noqa: BLE001 - whatever it was, the two are out of step
            self.discard()
        except BaseException:
            self.discard()
            raise

    def discard(self) -> None:
        """See `AsyncSession.discard`."""
        self._discarded = True
        try:
            running = asyncio.get_running_loop()
        except RuntimeError:
            running = None
        with contextlib.suppress(RuntimeError):  # the loop is closed, and its sockets with it
            if running is self._loop:
                self._terminate()
            else:
                self._loop.call_soon_threadsafe(self._terminate)

    def _terminate(self) -> None:
        # Also when the connection is closed already: only this gives its slot back to its pool.
        with contextlib.suppress(asyncpg.InterfaceError):  # it has gone back
            self._raw.terminate()

    async def _run(self, sql: Sql) -> tuple[list[tuple[Any, ...]], str]:
        text, args = sql.text, sql.args
        if not args and not _gives_rows(text):
            return [], await self._plain(text)
        if _SELECT.match(text):
            # fetch() uses the statement cache but gives no tag (trap 34a); a SELECT's is known.
            rows = _tuples(await self._con.fetch(text, *args, record_class=asyncpg.Record))
            return rows, f"SELECT {len(rows)}"
        statement = await self._con.prepare(text, record_class=asyncpg.Record)
        rows = _tuples(await statement.fetch(*args))
        return rows, statement.get_statusmsg() or ""

    def _failure(self, exc: Exception) -> DatabaseError | Unanswered:
        """Say it in the core's words; cut the connection unless the server answered (trap 32)."""
        error = server_error(exc)
        if error is None or is_fatal(error):
            self.discard()
        return translate(exc)

    async def _listen(self, sql: Sql) -> Result:
        """Listen for one call only: a listener left behind would cost a pool its slot (34a)."""
        notices: list[Notice] = []

        def listener(_: object, message: asyncpg.PostgresLogMessage) -> None:
            notices.append(
                Notice(
                    message.severity_en or message.severity or "",
                    message.sqlstate or "",
                    message.message or "",
                )
            )

        self._con.add_log_listener(listener)
        try:
            rows, tag = await self._run(sql)
            # asyncpg hands notices to the event loop before it hands over the ReadyForQuery
            # that wakes us, and the loop is first in, first out: they are all here.
            return Result(rows, tag, tuple(notices))
        finally:
            if not is_closed(self._con):
                self._con.remove_log_listener(listener)


def is_closed(raw: Raw) -> bool:
    """Whether the connection is closed, or the proxy went back to its pool."""
    try:
        return raw.is_closed()
    except asyncpg.InterfaceError:
        return True


def _gives_rows(text: str) -> bool:
    """Whether `text` is one statement that gives rows; when in doubt, no."""
    statement = text.strip().removesuffix(";")
    return ";" not in statement and bool(_QUERY.match(statement) or _RETURNING.search(statement))


def _tuples(records: Iterable[asyncpg.Record]) -> list[tuple[Any, ...]]:
    return [tuple(record) for record in records]
