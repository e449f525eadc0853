"""Every adapter behind one face, so that one test body holds all of them to ``paxcommit.ports``."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import socket
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import asyncpg
import psycopg
import pytest

import paxcommit_asyncpg
import paxcommit_psycopg
from paxcommit.ports import AsyncDriver, AsyncPool, AsyncSession, BeginOptions
from paxcommit.sql.statement import Result, Sql
from paxcommit.testing import Cluster, Place

_numbers = itertools.count(1)


class BridgedSession:
    """A `SyncSession` driven from a task: every call in a thread."""

    def __init__(self, session: Any) -> None:
        self.session = session

    raw = property(lambda self: self.session.raw)
    broken = property(lambda self: self.session.broken)
    in_transaction = property(lambda self: self.session.in_transaction)

    async def execute(self, sql: Sql) -> Result:
        return await self._in_thread(self.session.execute, sql)

    async def begin(self, options: BeginOptions, first: Sql | None = None) -> None:
        await self._in_thread(self.session.begin, options, first)

    async def settle(self) -> None:
        await self._in_thread(self.session.settle)

    def discard(self) -> None:
        self.session.discard()

    async def _in_thread(self, call: Callable[..., Any], *args: Any) -> Any:
        work = asyncio.ensure_future(asyncio.to_thread(call, *args))
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError:
            self.session.discard()  # a thread cannot be cancelled; this is what the runtime does
            with contextlib.suppress(Exception):
                await work
            raise


class BridgedPool:
    def __init__(self, pool: Any) -> None:
        self.pool = pool

    async def acquire(self, timeout: float) -> BridgedSession:
        return BridgedSession(await asyncio.to_thread(self.pool.acquire, timeout))

    async def release(self, session: BridgedSession) -> None:
        await asyncio.to_thread(self.pool.release, session.session)

    async def close(self, timeout: float) -> None:
        await asyncio.to_thread(self.pool.close, timeout)


class BridgedDriver:
    def __init__(self, driver: Any) -> None:
        self.driver = driver

    async def connect(self, dsn: str, *, timeout: float) -> BridgedSession:
        return BridgedSession(await asyncio.to_thread(self.driver.connect, dsn, timeout=timeout))

    def open_pool(self, dsn: str, *, max_size: int, timeout: float) -> BridgedPool:
        return BridgedPool(self.driver.open_pool(dsn, max_size=max_size, timeout=timeout))

    def adopt(self, raw: object) -> BridgedSession:
        return BridgedSession(self.driver.adopt(raw))


class Kit(ABC):
    """A driver, and how its *users* do things with its own connections."""

    name: str
    driver: AsyncDriver

    @abstractmethod
    async def connect(self, dsn: str) -> Any:
        """Connect as a user of the driver would, with its defaults."""

    @abstractmethod
    async def execute(self, raw: Any, sql: str) -> None: ...

    @abstractmethod
    def transaction(self, raw: Any) -> contextlib.AbstractAsyncContextManager[None]:
        """The driver's own ``with connection.transaction()``."""

    @abstractmethod
    async def close(self, raw: Any) -> None: ...

    @abstractmethod
    def is_closed(self, raw: Any) -> bool: ...


class Asyncpg(Kit):
    name = "asyncpg"
    driver = paxcommit_asyncpg.driver.aio

    async def connect(self, dsn: str) -> Any:
        return await asyncpg.connect(dsn)

    async def execute(self, raw: Any, sql: str) -> None:
        await raw.execute(sql)

    @contextlib.asynccontextmanager
    async def transaction(self, raw: Any) -> AsyncIterator[None]:
        async with raw.transaction():
            yield

    async def close(self, raw: Any) -> None:
        await raw.close()

    def is_closed(self, raw: Any) -> bool:
        return raw.is_closed()


class PsycopgAsync(Kit):
    name = "psycopg-async"
    driver = paxcommit_psycopg.driver.aio

    async def connect(self, dsn: str) -> Any:
        return await psycopg.AsyncConnection.connect(dsn)

    async def execute(self, raw: Any, sql: str) -> None:
        await raw.execute(sql)

    @contextlib.asynccontextmanager
    async def transaction(self, raw: Any) -> AsyncIterator[None]:
        async with raw.transaction():
            yield

    async def close(self, raw: Any) -> None:
        await raw.close()

    def is_closed(self, raw: Any) -> bool:
        return raw.closed


class PsycopgSync(Kit):
    name = "psycopg-sync"
    driver = BridgedDriver(paxcommit_psycopg.driver.sync)

    async def connect(self, dsn: str) -> Any:
        return await asyncio.to_thread(psycopg.connect, dsn)

    async def execute(self, raw: Any, sql: str) -> None:
        await asyncio.to_thread(raw.execute, sql)

    @contextlib.asynccontextmanager
    async def transaction(self, raw: Any) -> AsyncIterator[None]:
        with raw.transaction():
            yield

    async def close(self, raw: Any) -> None:
        raw.close()

    def is_closed(self, raw: Any) -> bool:
        return raw.closed


@pytest.fixture(params=[Asyncpg, PsycopgAsync, PsycopgSync], ids=lambda kind: kind.name)
def kit(request: pytest.FixtureRequest) -> Kit:
    return request.param()


@pytest.fixture
def driver(kit: Kit) -> AsyncDriver:
    return kit.driver


@pytest.fixture(scope="session")
def database(cluster: Cluster) -> Iterator[Place]:
    """One database for the whole suite, on a server that is never stopped."""
    server, name = cluster.servers[0], f"contract_{os.getpid()}"
    server.execute(f"create database {name}")
    yield Place(server, name)
    server.execute(f"drop database {name} with (force)")


@pytest.fixture
def place(database: Place) -> Iterator[Place]:
    """That database, empty but for the table ``account(id primary key, balance)``."""
    database.execute("create table account (id int primary key, balance int not null)")
    yield database
    database.execute(
        "select pg_terminate_backend(pid, 10000) from pg_stat_activity"
        " where datname = current_database() and pid <> pg_backend_pid()"
    )
    for gid in database.prepared():
        database.execute(f"rollback prepared '{gid}'")
    database.execute("drop table account")


@pytest.fixture
def dsn(place: Place) -> str:
    return place.dsn


@pytest.fixture
async def connect(driver: AsyncDriver) -> AsyncIterator[Callable[[str], Awaitable[AsyncSession]]]:
    """Open dedicated sessions that are discarded after the test."""
    sessions: list[AsyncSession] = []

    async def connect(dsn: str) -> AsyncSession:
        sessions.append(await driver.connect(dsn, timeout=10))
        return sessions[-1]

    yield connect
    for session in sessions:
        session.discard()


@pytest.fixture
async def session(connect: Callable[[str], Awaitable[AsyncSession]], dsn: str) -> AsyncSession:
    return await connect(dsn)


@pytest.fixture
async def open_pool(driver: AsyncDriver) -> AsyncIterator[Callable[..., AsyncPool]]:
    """Open pools that are closed after the test; ``open_pool(dsn, max_size=…)``."""
    pools: list[AsyncPool] = []

    def open_pool(dsn: str, *, max_size: int = 1, timeout: float = 10) -> AsyncPool:
        pools.append(driver.open_pool(dsn, max_size=max_size, timeout=timeout))
        return pools[-1]

    yield open_pool
    for pool in pools:
        await pool.close(5)


@pytest.fixture
def gid() -> str:
    """A name for a prepared transaction that nobody else uses on these servers."""
    return f"contract-{os.getpid()}-{next(_numbers)}"


@pytest.fixture
def eventually() -> Callable[[Place, str], Awaitable[Any]]:
    """Ask a database until the answer is neither null, false nor 0; return it."""

    async def ask(place: Place, question: str) -> Any:
        give_up = time.monotonic() + 30
        while time.monotonic() < give_up:
            rows = await asyncio.to_thread(place.execute, question)
            if rows and rows[0][0]:
                return rows[0][0]
        pytest.fail(f"never came true: {question}")

    return ask


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port of this machine where connecting is refused."""
    with socket.socket() as bound:  # bound, so that nobody takes it; not listening
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


@pytest.fixture
def silent() -> Iterator[int]:
    """A port of this machine where connections are taken, and never a word is said."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
        yield server.getsockname()[1]


class Proxy:
    """A TCP proxy in front of a server, which can fall silent in the middle of anything.

    Attributes:
        port: Where it listens.
        connections: How many it has taken.
    """

    port: int

    def __init__(self, host: str, port: int) -> None:
        self.connections = 0
        self._target = (host, port)
        self._speaking = asyncio.Event()
        self._speaking.set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: list[asyncio.StreamWriter] = []

    async def __aenter__(self) -> Proxy:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for writer in self._writers:
            writer.close()

    def fall_silent(self) -> None:
        """From now on, take everything and pass on nothing, in either direction."""
        self._speaking.clear()

    def speak(self) -> None:
        """Pass on what came meanwhile, and whatever comes."""
        self._speaking.set()

    async def speak_again(self) -> None:
        """Likewise, and wait until both ends have closed every connection."""
        self.speak()
        async with asyncio.timeout(30):
            await asyncio.gather(*self._tasks)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        there, back = await asyncio.open_connection(*self._target)
        self._writers += [writer, back]
        for source, sink in ((reader, back), (there, writer)):
            self._tasks.add(asyncio.create_task(self._relay(source, sink)))

    async def _relay(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(65536):
                await self._speaking.wait()
                sink.write(data)
                await sink.drain()
        sink.close()


@pytest.fixture
async def proxy(place: Place) -> AsyncIterator[Proxy]:
    async with Proxy(place.server.host, place.server.port) as proxy:
        yield proxy


@pytest.fixture
def proxied(proxy: Proxy, place: Place) -> str:
    """The DSN of ``place``, by way of the proxy; without TLS, whose attempts would count."""
    server = place.server
    direct = f"{server.host}:{server.port}/"
    return place.dsn.replace(direct, f"127.0.0.1:{proxy.port}/") + "?sslmode=disable"
