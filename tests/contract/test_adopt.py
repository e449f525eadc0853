"""Connections that belong to the user: taken as they are, given back as they were."""

from __future__ import annotations

import asyncpg
import psycopg
import psycopg.rows
import psycopg_pool
import pytest

import paxcommit_asyncpg
import paxcommit_psycopg
from paxcommit.errors import EnlistError
from paxcommit.ports import BeginOptions
from paxcommit.sql.statement import Sql
from paxcommit.testing import Place

from .conftest import Kit


@pytest.fixture
async def raw(kit: Kit, dsn: str):
    connection = await kit.connect(dsn)
    yield connection
    await kit.close(connection)


def autocommit(raw: object) -> bool | None:
    return getattr(raw, "autocommit", None)


@pytest.mark.parametrize("ending", ["PREPARE TRANSACTION '{gid}'", "COMMIT", "SELECT"])
async def test_an_adopted_connection_is_afterwards_as_before(
    kit: Kit, raw, place: Place, gid: str, ending: str
):
    """Trap 34a: psycopg's autocommit would leak to whoever uses the connection next."""
    before = autocommit(raw)
    session = kit.driver.adopt(raw)
    assert session.raw is raw
    await session.begin(BeginOptions())
    await kit.execute(raw, "INSERT INTO account VALUES (1, 0)")
    await session.execute(Sql(ending.format(gid=gid)))
    await session.settle()
    assert not session.broken
    assert not kit.is_closed(raw)
    assert not session.in_transaction
    assert autocommit(raw) == before
    async with kit.transaction(raw):
        await kit.execute(raw, "INSERT INTO account VALUES (2, 0)")
    found = place.execute("select id from account order by id")
    assert found == ([(1,), (2,)] if ending == "COMMIT" else [(2,)])


async def test_statements_outside_begin_are_in_autocommit(kit: Kit, raw, place: Place):
    before = autocommit(raw)
    session = kit.driver.adopt(raw)
    await session.execute(Sql("INSERT INTO account VALUES ($1, 0)", (1,)))
    assert not session.in_transaction
    assert autocommit(raw) == before
    assert place.execute("select id from account") == [(1,)]


async def test_a_connection_in_a_transaction_is_refused(kit: Kit, raw):
    async with kit.transaction(raw):
        await kit.execute(raw, "SELECT 1")
        with pytest.raises(EnlistError, match="transaction"):
            kit.driver.adopt(raw)
        await kit.execute(raw, "INSERT INTO account VALUES (1, 0)")  # and left as it was


async def test_a_closed_connection_is_refused(kit: Kit, raw):
    await kit.close(raw)
    with pytest.raises(EnlistError, match="closed"):
        kit.driver.adopt(raw)


@pytest.mark.parametrize("other", [None, object(), "postgresql://x:s3cret@y/z"])
async def test_what_is_no_connection_is_refused_without_echoing_it(kit: Kit, other: object):
    with pytest.raises(EnlistError) as caught:
        kit.driver.adopt(other)
    assert "s3cret" not in str(caught.value)


async def test_a_connection_of_another_driver_is_refused(dsn: str, kit: Kit):
    for connect in (asyncpg.connect, psycopg.AsyncConnection.connect):
        raw = await connect(dsn)
        ours = isinstance(raw, asyncpg.Connection) == (kit.name == "asyncpg")
        if not ours or kit.name == "psycopg-sync":
            with pytest.raises(EnlistError):
                kit.driver.adopt(raw)
        await raw.close()


async def test_discard_closes_an_adopted_connection(kit: Kit, raw):
    session = kit.driver.adopt(raw)
    session.discard()
    assert kit.is_closed(raw)
    assert session.broken


async def test_the_users_row_factory_does_not_reach_us(dsn: str, kit: Kit):
    if kit.name == "asyncpg":

        class MyRecord(asyncpg.Record):
            def __iter__(self):
                return iter(self.keys())

        raw = await asyncpg.connect(dsn, record_class=MyRecord)
    else:
        raw = await kit.connect(dsn)
        raw.row_factory = psycopg.rows.dict_row
    session = kit.driver.adopt(raw)
    assert (await session.execute(Sql("SELECT $1::int AS a", (1,)))).rows == [(1,)]
    assert (await session.execute(Sql("SHOW client_encoding"))).rows == [("UTF8",)]
    await kit.close(raw)


async def test_a_proxy_of_an_asyncpg_pool(dsn: str, gid: str):
    """Its slot comes back, and no listener of ours makes the pool warn (warnings are errors)."""
    driver = paxcommit_asyncpg.driver.aio
    async with asyncpg.create_pool(dsn, min_size=0, max_size=1) as pool:
        for _ in range(2):
            proxy = await pool.acquire(timeout=10)
            session = driver.adopt(proxy)
            await session.begin(BeginOptions())
            await session.execute(Sql("INSERT INTO account VALUES (1, 0)"))
            await session.execute(Sql(f"PREPARE TRANSACTION '{gid}'"))
            await session.settle()
            await session.execute(Sql(f"ROLLBACK PREPARED '{gid}'"))
            await pool.release(proxy)
            assert session.broken
            with pytest.raises(EnlistError, match="pool"):
                driver.adopt(proxy)
        session = driver.adopt(await pool.acquire(timeout=10))
        session.discard()
        async with pool.acquire(timeout=10) as proxy:
            assert await proxy.fetchval("SELECT 1") == 1


async def test_a_connection_of_a_psycopg_pool_that_takes_closed_ones_back(dsn: str):
    """With ``close_returns=True``, close() does not close; discard() has to all the same."""
    driver = paxcommit_psycopg.driver.aio
    async with psycopg_pool.AsyncConnectionPool(
        dsn, min_size=0, max_size=1, close_returns=True, open=False
    ) as pool:
        raw = await pool.getconn(10)
        session = driver.adopt(raw)
        await session.begin(BeginOptions())
        session.discard()
        assert raw.closed
        await pool.putconn(raw)
        raw = await pool.getconn(10)
        session = driver.adopt(raw)
        await session.begin(BeginOptions())
        await session.settle()
        assert raw.autocommit is False
        await pool.putconn(raw)


async def test_a_psycopg_connection_in_pipeline_mode_is_refused(dsn: str):
    driver = paxcommit_psycopg.driver.aio
    raw = await psycopg.AsyncConnection.connect(dsn, autocommit=True)
    async with raw, raw.pipeline():
        with pytest.raises(EnlistError, match="pipeline"):
            driver.adopt(raw)


async def test_no_notice_handler_stays_behind(kit: Kit, raw):
    session = kit.driver.adopt(raw)
    await session.execute(Sql("DO $$ begin raise warning 'w'; end $$", notices=True))
    left = raw._log_listeners if kit.name == "asyncpg" else raw._notice_handlers
    assert not left
