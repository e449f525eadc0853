"""The few Protocols that a driver adapter implements; the runtime sees nothing else of a driver.

An adapter is a small package in ``adapters/`` that registers a `Driver` in the entry-point group
``paxcommit.drivers``.  ``tests/contract`` holds every adapter to what is promised here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Protocol

from paxcommit.sql.statement import Result, Sql

__all__ = [
    "AsyncDriver",
    "AsyncPool",
    "AsyncSession",
    "BeginOptions",
    "Driver",
    "Isolation",
    "SyncDriver",
    "SyncPool",
    "SyncSession",
]

Isolation = Literal["read committed", "repeatable read", "serializable"]


@dataclass(frozen=True, slots=True)
class BeginOptions:
    """How a branch's transaction begins; None leaves the database's own default.

    Attributes:
        isolation: The isolation level.
        read_only: Whether the server is to refuse writes.
    """

    isolation: Isolation | None = None
    read_only: bool | None = None


class AsyncSession(Protocol):
    """One connection to one database, used by one task at a time.

    Any cancellation or time-out during a call leaves the session `broken`.
    """

    @property
    def raw(self) -> Any:
        """The driver's own connection, as the user knows it."""

    @property
    def broken(self) -> bool:
        """Whether the session can no longer be trusted to be in step with its server."""

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction block is open, by the server's last ReadyForQuery."""

    async def execute(self, sql: Sql) -> Result:
        """Run `sql` to its ReadyForQuery.

        Without arguments, rows come back only if the text is a single statement that gives rows
        (and has no other ``;`` in it); the tag always does, and the notices do if they are wanted.

        Raises:
            DatabaseError: The server answered with an error.  After one that ended the connection
                (57P01, …) the session is broken as well.
            Unanswered: No complete answer; the effect is unknown and the session is broken.
        """

    async def begin(self, options: BeginOptions, first: Sql | None = None) -> None:
        """Begin a transaction such that the driver's own savepoints work inside it.

        When it raises, the session is as before, or broken.

        Args:
            options: How.
            first: A statement without arguments to run at once, in the same round trip if the
                driver can.

        Raises:
            DatabaseError, Unanswered: As `execute`.
        """

    async def settle(self) -> None:
        """Bring the driver's own bookkeeping back to idle, whatever the transaction came to.

        Called once after `begin`, when the branch is prepared, committed or rolled back (or was
        lost).  Rolls back a transaction that is still open; keeps a prepared one.  Afterwards the
        connection is as it was before `begin`, or `broken`.  Never raises, but it may talk to the
        server: bound it by cancellation, or by `discard`, either of which leaves it broken.
        """

    def discard(self) -> None:
        """Cut the connection at once, from any thread; the session is broken from now on."""


class AsyncPool(Protocol):
    """The driver's own pool of sessions to one database, all in autocommit."""

    async def acquire(self, timeout: float) -> AsyncSession:
        """Lend a session.

        Args:
            timeout: Seconds to wait for one.

        Raises:
            Unanswered: None came in time, or the server is not reachable.
            DatabaseError: The server refused the connection.
        """

    async def release(self, session: AsyncSession) -> None:
        """Take a session back; a broken one is closed, never lent again.  Never raises.

        What its user left behind (settings, locks, …) is gone before it is lent again, and soon
        if it is not; but nobody waits here for the server.
        """

    async def close(self, timeout: float) -> None:
        """Close all sessions, at the latest after `timeout` seconds.  Never raises."""


class AsyncDriver(Protocol):
    """An asyncio driver."""

    async def connect(self, dsn: str, *, timeout: float) -> AsyncSession:
        """Open a dedicated session in autocommit.

        Args:
            dsn: A ``postgresql://`` URL; never echoed in an error (trap 34).
            timeout: Seconds.

        Raises:
            DatabaseError: The server refused (08004 where the driver does not tell the SQLSTATE).
            Unanswered: It was not reached.
            DriverError: The DSN has something this driver cannot do; names the option only.
        """

    def open_pool(self, dsn: str, *, max_size: int, timeout: float) -> AsyncPool:
        """Make a pool; nothing is connected until the first `acquire`.

        Args:
            dsn: As in `connect`.
            max_size: Connections at most.
            timeout: Seconds to connect one.
        """

    def adopt(self, raw: object) -> AsyncSession:
        """Wrap a connection that the user owns; it is never closed by us unless `discard`-ed.

        Raises:
            EnlistError: It is not a connection of this driver, is closed, or has a transaction
                open already; it was left as it was.
        """


class SyncSession(Protocol):
    """`AsyncSession` for threads: one thread at a time, except `discard`."""

    @property
    def raw(self) -> Any:
        """The driver's own connection, as the user knows it."""

    @property
    def broken(self) -> bool:
        """Whether the session can no longer be trusted to be in step with its server."""

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction block is open, by the server's last ReadyForQuery."""

    def execute(self, sql: Sql) -> Result:
        """As `AsyncSession.execute`."""

    def begin(self, options: BeginOptions, first: Sql | None = None) -> None:
        """As `AsyncSession.begin`."""

    def settle(self) -> None:
        """As `AsyncSession.settle`."""

    def discard(self) -> None:
        """As `AsyncSession.discard`; a call under way in another thread ends in `Unanswered`."""


class SyncPool(Protocol):
    """`AsyncPool` for threads."""

    def acquire(self, timeout: float) -> SyncSession:
        """As `AsyncPool.acquire`."""

    def release(self, session: SyncSession) -> None:
        """As `AsyncPool.release`."""

    def close(self, timeout: float) -> None:
        """As `AsyncPool.close`."""


class SyncDriver(Protocol):
    """A blocking driver, safe to use from many threads at once."""

    def connect(self, dsn: str, *, timeout: float) -> SyncSession:
        """As `AsyncDriver.connect`."""

    def open_pool(self, dsn: str, *, max_size: int, timeout: float) -> SyncPool:
        """As `AsyncDriver.open_pool`."""

    def adopt(self, raw: object) -> SyncSession:
        """As `AsyncDriver.adopt`."""


@dataclass(frozen=True, slots=True)
class Driver:
    """What an adapter registers: one name, and the surfaces it has.

    Attributes:
        name: As in ``driver="asyncpg"``.
        aio: For `AsyncCoordinator`, or None.
        sync: For `Coordinator`, or None.
    """

    name: str
    aio: AsyncDriver | None
    sync: SyncDriver | None
