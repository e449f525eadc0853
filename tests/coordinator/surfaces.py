"""The three surfaces under one roof, so that a test is written once: asyncpg, psycopg, blocking.

Only the bridge is here: what is behind it is the public API, and the driver's own connections.
"""

from __future__ import annotations

import asyncio
import functools
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import asyncpg
import psycopg

from paxcommit import AsyncCoordinator, AsyncRecovery, Coordinator, Recovery
from paxcommit.settings import Settings

__all__ = ["SURFACES", "Surface"]

Rows = list[tuple[Any, ...]]


class Surface(ABC):
    """One way to use paxcommit."""

    name: str
    driver: str

    def open(self, settings: Settings, *, recover: bool = False) -> Any:
        """A coordinator, in ``async with``."""
        return AsyncCoordinator.open(settings, driver=self.driver, recover=recover)

    def recovery(self, settings: Settings) -> Any:
        """A recoverer, in ``async with``."""
        return AsyncRecovery.open(settings, driver=self.driver)

    @abstractmethod
    async def connect(self, dsn: str, *, autocommit: bool = True) -> Any:
        """A connection of the user's own."""

    async def close(self, raw: Any) -> None:
        await raw.close()

    @abstractmethod
    async def run(self, raw: Any, sql: str) -> Rows:
        """One statement of the user's on the driver's own connection."""

    def savepoint(self, raw: Any) -> AbstractAsyncContextManager[Any]:
        """The driver's own nested transaction."""
        return raw.transaction()  # type: ignore[no-any-return]


class Asyncpg(Surface):
    name = driver = "asyncpg"

    async def connect(self, dsn: str, *, autocommit: bool = True) -> Any:
        return await asyncpg.connect(dsn)

    async def run(self, raw: Any, sql: str) -> Rows:
        return [tuple(record) for record in await raw.fetch(sql)]


class Psycopg(Surface):
    name = driver = "psycopg"

    async def connect(self, dsn: str, *, autocommit: bool = True) -> Any:
        return await psycopg.AsyncConnection.connect(dsn, autocommit=autocommit)

    async def run(self, raw: Any, sql: str) -> Rows:
        cursor = await raw.execute(sql)
        return await cursor.fetchall() if cursor.description else []


_threads = ThreadPoolExecutor(128, thread_name_prefix="blocking")


async def _call(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Run a blocking function on a thread."""
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(_threads, functools.partial(function, *args, **kwargs))


@asynccontextmanager
async def _entered(manager: Any) -> AsyncIterator[Any]:
    """A blocking context manager, entered and left on threads."""
    value = await _call(manager.__enter__)
    try:
        yield value
    except BaseException as error:
        if not await _call(manager.__exit__, type(error), error, error.__traceback__):
            raise
    else:
        await _call(manager.__exit__, None, None, None)


class _Bridged:
    """A blocking object whose methods are awaited."""

    def __init__(self, target: Any) -> None:
        self._target = target

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._target, name)
        return functools.partial(_call, value) if callable(value) else value


class _BridgedTransaction(_Bridged):
    async def __aenter__(self) -> _BridgedTransaction:
        await _call(self._target.__enter__)
        return self

    async def __aexit__(self, *exc: Any) -> None:
        await _call(self._target.__exit__, *exc)


class _BridgedCoordinator(_Bridged):
    def transaction(self, **options: Any) -> _BridgedTransaction:
        return _BridgedTransaction(self._target.transaction(**options))

    async def run(self, work: Callable[[Any], Awaitable[Any]], **options: Any) -> Any:
        loop = asyncio.get_running_loop()

        def blocking(tx: Any) -> Any:
            waited_for = work(_BridgedTransaction(tx))
            return asyncio.run_coroutine_threadsafe(waited_for, loop).result()  # type: ignore[arg-type]

        return await _call(self._target.run, blocking, **options)


class Blocking(Surface):
    name, driver = "blocking", "psycopg"

    @asynccontextmanager
    async def open(self, settings: Settings, *, recover: bool = False) -> AsyncIterator[Any]:
        opened = await _call(Coordinator.open, settings, driver=self.driver, recover=recover)
        async with _entered(opened) as coordinator:
            yield _BridgedCoordinator(coordinator)

    @asynccontextmanager
    async def recovery(self, settings: Settings) -> AsyncIterator[Any]:
        async with _entered(Recovery.open(settings, driver=self.driver)) as recovery:
            yield _Bridged(recovery)

    async def connect(self, dsn: str, *, autocommit: bool = True) -> Any:
        return await _call(psycopg.connect, dsn, autocommit=autocommit)

    async def close(self, raw: Any) -> None:
        raw.close()

    async def run(self, raw: Any, sql: str) -> Rows:
        cursor = await _call(raw.execute, sql)
        return cursor.fetchall() if cursor.description else []

    def savepoint(self, raw: Any) -> AbstractAsyncContextManager[Any]:
        return _entered(raw.transaction())


SURFACES: dict[str, Surface] = {each.name: each for each in (Asyncpg(), Psycopg(), Blocking())}
