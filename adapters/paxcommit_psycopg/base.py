"""What the sync and the async session share: reading results, and cutting the wire."""

from __future__ import annotations

import contextlib
import os
import select
import socket
from collections.abc import Iterator
from typing import Any

import psycopg
from psycopg.errors import Diagnostic
from psycopg.pq import PipelineStatus, TransactionStatus

from paxcommit.errors import EnlistError
from paxcommit.ports import BeginOptions
from paxcommit.sql.statement import Notice, Sql, Unanswered
from paxcommit_psycopg.failures import is_answer, translate

__all__ = ["OPEN", "SessionBase", "begin_statement", "check_adoptable", "cut", "is_stale"]

OPEN = (TransactionStatus.INTRANS, TransactionStatus.INERROR)
"""A transaction block is open, and no call is under way."""


class SessionBase:
    """The part of a session that never waits."""

    _raw: psycopg.BaseConnection[Any]

    def __init__(self) -> None:
        self._discarded = False
        self._begun = False

    @property
    def broken(self) -> bool:
        """See `AsyncSession.broken`."""
        return self._discarded or self._raw.closed

    @property
    def in_transaction(self) -> bool:
        """See `AsyncSession.in_transaction`."""
        return not self.broken and self._status is not TransactionStatus.IDLE

    @property
    def _status(self) -> TransactionStatus:
        return self._raw.info.transaction_status

    def discard(self) -> None:
        """See `AsyncSession.discard`."""
        raise NotImplementedError

    @contextlib.contextmanager
    def _answers(self) -> Iterator[None]:
        """Translate failures, and discard the connection unless the server answered (trap 32)."""
        if self.broken:
            raise Unanswered("the connection is closed")
        try:
            yield
        except Exception as exc:
            if not is_answer(exc):
                self.discard()
            raise translate(exc) from exc
        except BaseException:
            self.discard()
            raise

    @contextlib.contextmanager
    def _notices(self, wanted: bool) -> Iterator[list[Notice]]:
        """Listen for one call only: nothing of ours stays on a connection of somebody's pool."""
        notices: list[Notice] = []
        if not wanted:
            yield notices
            return

        def handler(diag: Diagnostic) -> None:
            notices.append(
                Notice(
                    diag.severity_nonlocalized or diag.severity or "",
                    diag.sqlstate or "",
                    diag.message_primary or "",
                )
            )

        self._raw.add_notice_handler(handler)
        try:
            yield notices
        finally:
            self._raw.remove_notice_handler(handler)


def begin_statement(options: BeginOptions, first: Sql | None) -> Sql:
    """Spell BEGIN, and what follows at once; what is None is left to the database's default."""
    words = ["BEGIN"]
    if options.isolation is not None:
        words.append(f"ISOLATION LEVEL {options.isolation.upper()}")
    if options.read_only is not None:
        words.append("READ ONLY" if options.read_only else "READ WRITE")
    begin = " ".join(words)
    return Sql(f"{begin}; {first.text}" if first else begin)


def check_adoptable(raw: psycopg.BaseConnection[Any]) -> None:
    """Refuse a connection that is not free for a transaction of ours.

    Raises:
        EnlistError: It is closed, in a transaction, or in pipeline mode.
    """
    if raw.closed:
        raise EnlistError("the connection is closed")
    if raw.info.transaction_status is not TransactionStatus.IDLE:
        raise EnlistError("the connection has a transaction open; enlist it before it begins")
    if raw.info.pipeline_status is not PipelineStatus.OFF:
        raise EnlistError("the connection is in pipeline mode")


def is_stale(raw: psycopg.BaseConnection[Any]) -> bool:
    """Whether an idle connection has been closed by the server; asks the socket, not the server."""
    poll = select.poll()
    try:
        poll.register(raw.pgconn.socket, select.POLLIN)
        for _ in range(8):  # a farewell comes first, then the end of file
            if not poll.poll(0):
                break
            raw.pgconn.consume_input()
    except psycopg.Error:
        return True
    return raw.closed


def cut(raw: psycopg.BaseConnection[Any]) -> None:
    """Shut the connection's socket, from any thread; a call that waits on it sees the end of file.

    The descriptor stays open and libpq stays its only owner.
    """
    with contextlib.suppress(psycopg.Error, OSError):
        fd = raw.pgconn.socket
        twin = socket.socket(fileno=os.dup(fd))
        with contextlib.closing(twin):
            # libpq may have closed its descriptor, and another thread reused the number, before we
            # duplicated it; libpq never opens a second one, so this tells whose twin we hold.
            if raw.pgconn.socket == fd:
                twin.shutdown(socket.SHUT_RDWR)
