"""One psycopg connection for threads, as the core wants to see it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

import psycopg
from psycopg.rows import tuple_row

from paxcommit.ports import BeginOptions
from paxcommit.sql.statement import Result, Sql
from paxcommit_psycopg.base import OPEN, SessionBase, begin_statement, cut

__all__ = ["PsycopgSession", "Raw"]

Raw: TypeAlias = "psycopg.Connection[Any]"


class PsycopgSession(SessionBase):
    """A `SyncSession` on psycopg.

    Args:
        raw: The connection; nobody else uses it meanwhile.
    """

    def __init__(self, raw: Raw) -> None:
        super().__init__()
        self._raw: Raw = raw
        self._autocommit = raw.autocommit

    @property
    def raw(self) -> Raw:
        """The psycopg connection."""
        return self._raw

    def execute(self, sql: Sql) -> Result:
        """See `SyncSession.execute`."""
        with self._answers(), self._notices(sql.notices) as notices, self._in_autocommit():
            with psycopg.RawCursor(self._raw, row_factory=tuple_row) as cursor:
                # Without arguments it stays a simple query, so it may not become a prepared one.
                prepare = None if sql.args else False
                cursor.execute(sql.text.encode(), sql.args or None, prepare=prepare)
                single = True
                while cursor.nextset():
                    single = False
                rows = cursor.fetchall() if single and cursor.description else []
                tag = cursor.statusmessage or ""
            return Result(rows, tag, tuple(notices))

    def begin(self, options: BeginOptions, first: Sql | None = None) -> None:
        """See `SyncSession.begin`; psycopg's own ``transaction()`` nests in a plain BEGIN."""
        with self._answers():
            self._raw.autocommit = True
        self._begun = True
        try:
            self.execute(begin_statement(options, first))
        except BaseException:
            self.settle()
            raise

    def settle(self) -> None:
        """See `SyncSession.settle`."""
        begun, self._begun = self._begun, False
        if not begun or self.broken:
            return
        try:
            if self._status in OPEN:
                self._raw.rollback()
            self._raw.autocommit = self._autocommit
        except Exception:  # noqa: BLE001 - whatever it was, driver and server are out of step
            self.discard()

    def discard(self) -> None:
        """See `SyncSession.discard`."""
        self._discarded = True
        cut(self._raw)
        # A call under way still needs libpq's connection: it sees the end of file and closes it.
        # With nobody in a call, nobody would close it.
        if self._raw.lock.acquire(blocking=False):
            try:
                self._raw.pgconn.finish()
            finally:
                self._raw.lock.release()

    @contextmanager
    def _in_autocommit(self) -> Iterator[None]:
        """Keep psycopg from opening a transaction of its own on a user's connection."""
        if self._begun or self._raw.autocommit:
            yield
            return
        self._raw.autocommit = True
        try:
            yield
        finally:
            if not self.broken:
                self._raw.autocommit = self._autocommit
