"""The three public surfaces behind one, so that one body of a test serves them all.

The asynchronous ones are used as they are.  `Coordinator` and `Recovery`, which block, are driven
on threads, behind the names and the ``await`` of their twins.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import asyncpg
import psycopg

from paxcommit import AsyncCoordinator, AsyncRecovery, Coordinator, Recovery
from paxcommit_psycopg.base import cut


class Surface(ABC):
    """A driver, and the coordinator that goes with it.

    Attributes:
        name: For the test's id.
        driver: What ``open`` takes.
    """

    name: str
    driver: str

    def __str__(self) -> str:
        return self.name

    @abstractmethod
    def open(self, settings: Any, **arguments: Any) -> AbstractAsyncContextManager[Any]:
        """`AsyncCoordinator.open`, or what looks like it."""

    @abstractmethod
    def recovery(self, settings: Any) -> AbstractAsyncContextManager[Any]:
        """`AsyncRecovery.open`, or what looks like it."""

    @abstractmethod
    async def connect(self, dsn: str, *, autocommit: bool = True) -> Any:
        """A connection of the user's own."""

    @abstractmethod
    def state(self, raw: Any) -> Any:
        """What the driver believes of the connection."""

    @abstractmethod
    async def in_transaction(self, raw: Any, sql: str) -> None:
        """Run a statement in the driver's own transaction, and commit it."""

    @abstractmethod
    async def execute(self, raw: Any, sql: str) -> None:
        """Run statements on the driver's own connection."""

    @abstractmethod
    async def value(self, raw: Any, sql: str) -> Any:
        """The first column of the first row."""

    @abstractmethod
    async def close(self, raw: Any) -> None:
        """Close the user's own connection."""

    def cut(self, raw: Any) -> None:
        """Lose the connection under whoever is using it; the server does not notice."""
        cut(raw)

    async def insert(self, tx: Any, participant: str, key: str) -> Any:
        """Write an entry in the participant's branch; returns the connection."""
        raw = await tx.connection(participant)
        await self.execute(raw, f"INSERT INTO entry (key) VALUES ('{key}')")
        return raw

    async def transfer(
        self, tx: Any, key: str, *more: str, participants: Sequence[str] = ("orders", "billing")
    ) -> None:
        """Write an entry in every participant, run more statements in the last one, and commit."""
        async with tx:
            for name in participants:
                raw = await self.insert(tx, name, key)
            for statement in more:
                await self.execute(raw, statement)


class Asyncpg(Surface):
    name = driver = "asyncpg"

    def open(self, settings: Any, **arguments: Any) -> AbstractAsyncContextManager[Any]:
        return AsyncCoordinator.open(settings, driver=self.driver, **arguments)

    def recovery(self, settings: Any) -> AbstractAsyncContextManager[Any]:
        return AsyncRecovery.open(settings, driver=self.driver)

    async def connect(self, dsn: str, *, autocommit: bool = True) -> Any:
        return await asyncpg.connect(dsn)  # which knows nothing else

    def state(self, raw: Any) -> Any:
        return raw.is_in_transaction(), raw.is_closed()

    async def in_transaction(self, raw: Any, sql: str) -> None:
        async with raw.transaction():
            await raw.execute(sql)

    async def execute(self, raw: Any, sql: str) -> None:
        await raw.execute(sql)

    async def value(self, raw: Any, sql: str) -> Any:
        return await raw.fetchval(sql)

    async def close(self, raw: Any) -> None:
        await raw.close()

    def cut(self, raw: Any) -> None:
        raw.terminate()


class Psycopg(Surface):
    name = driver = "psycopg"

    def open(self, settings: Any, **arguments: Any) -> AbstractAsyncContextManager[Any]:
        return AsyncCoordinator.open(settings, driver=self.driver, **arguments)

    def recovery(self, settings: Any) -> AbstractAsyncContextManager[Any]:
        return AsyncRecovery.open(settings, driver=self.driver)

    async def connect(self, dsn: str, *, autocommit: bool = True) -> Any:
        return await psycopg.AsyncConnection.connect(dsn, autocommit=autocommit)

    def state(self, raw: Any) -> Any:
        return raw.info.transaction_status, raw.autocommit, raw.closed

    async def in_transaction(self, raw: Any, sql: str) -> None:
        async with raw.transaction():
            await raw.execute(sql)

    async def execute(self, raw: Any, sql: str) -> None:
        await raw.execute(sql)

    async def value(self, raw: Any, sql: str) -> Any:
        row = await (await raw.execute(sql)).fetchone()
        return row[0]

    async def close(self, raw: Any) -> None:
        await raw.close()


class Threads(Surface):
    name = "threads"
    driver = "psycopg"

    @asynccontextmanager
    async def open(self, settings: Any, **arguments: Any) -> AsyncIterator[Any]:
        inner = await asyncio.to_thread(Coordinator.open, settings, driver=self.driver, **arguments)
        try:
            yield _Coordinator(inner)
        finally:
            await asyncio.to_thread(inner.close)

    @asynccontextmanager
    async def recovery(self, settings: Any) -> AsyncIterator[Any]:
        manager = Recovery.open(settings, driver=self.driver)
        inner = await asyncio.to_thread(manager.__enter__)
        try:
            yield _Recovery(inner)
        finally:
            await asyncio.to_thread(manager.__exit__, None, None, None)

    async def connect(self, dsn: str, *, autocommit: bool = True) -> Any:
        return await asyncio.to_thread(psycopg.connect, dsn, autocommit=autocommit)

    def state(self, raw: Any) -> Any:
        return raw.info.transaction_status, raw.autocommit, raw.closed

    async def in_transaction(self, raw: Any, sql: str) -> None:
        def work() -> None:
            with raw.transaction():
                raw.execute(sql)

        await asyncio.to_thread(work)

    async def execute(self, raw: Any, sql: str) -> None:
        await asyncio.to_thread(raw.execute, sql)

    async def value(self, raw: Any, sql: str) -> Any:
        row = await asyncio.to_thread(lambda: raw.execute(sql).fetchone())
        return row[0]

    async def close(self, raw: Any) -> None:
        await asyncio.to_thread(raw.close)


SURFACES: tuple[Surface, ...] = (Asyncpg(), Psycopg(), Threads())


class _Coordinator:
    def __init__(self, inner: Coordinator) -> None:
        self.inner = inner

    def transaction(self, **arguments: Any) -> _Transaction:
        return _Transaction(self.inner.transaction(**arguments))

    async def run(self, work: Callable[[Any], Awaitable[Any]], **arguments: Any) -> Any:
        loop = asyncio.get_running_loop()

        def blocking(tx: Any) -> Any:
            return asyncio.run_coroutine_threadsafe(_work(tx), loop).result()

        async def _work(tx: Any) -> Any:
            return await work(_Transaction(tx))

        return await asyncio.to_thread(self.inner.run, blocking, **arguments)

    async def outcome(self, txid: Any, **arguments: Any) -> Any:
        return await asyncio.to_thread(self.inner.outcome, txid, **arguments)

    async def close(self, timeout: float = 10.0) -> None:
        await asyncio.to_thread(self.inner.close, timeout)


class _Transaction:
    def __init__(self, inner: Any) -> None:
        self.inner = inner

    @property
    def id(self) -> Any:
        return self.inner.id

    @property
    def outcome(self) -> Any:
        return self.inner.outcome

    @property
    def unapplied(self) -> Any:
        return self.inner.unapplied

    async def __aenter__(self) -> _Transaction:
        await asyncio.to_thread(self.inner.__enter__)
        return self

    async def __aexit__(self, *error: Any) -> None:
        await asyncio.to_thread(self.inner.__exit__, *error)

    async def connection(self, participant: str, **arguments: Any) -> Any:
        return await asyncio.to_thread(self.inner.connection, participant, **arguments)

    async def enlist(self, participant: str, raw: Any, **arguments: Any) -> None:
        await asyncio.to_thread(self.inner.enlist, participant, raw, **arguments)


class _Recovery:
    def __init__(self, inner: Recovery) -> None:
        self.inner = inner

    async def run_once(self) -> Any:
        return await asyncio.to_thread(self.inner.run_once)

    async def resolve(self, txid: Any, **arguments: Any) -> Any:
        return await asyncio.to_thread(self.inner.resolve, txid, **arguments)
