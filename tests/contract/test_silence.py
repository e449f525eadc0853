"""A network that swallows everything: nothing waits for it without a bound."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from paxcommit.ports import BeginOptions
from paxcommit.sql.statement import Sql, Unanswered

from .conftest import Kit, Proxy


async def test_a_cancelled_call_asks_nothing_of_the_server(connect, proxied: str, proxy: Proxy):
    """Trap 33: both drivers would send a cancel request, and psycopg waits for the end of it."""
    session = await connect(proxied)
    proxy.fall_silent()
    call = asyncio.create_task(session.execute(Sql("SELECT 1")))
    await asyncio.wait([call], timeout=0.05)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert session.broken
    assert proxy.connections == 1


async def test_discard_ends_a_call(connect, proxied: str, proxy: Proxy):
    session = await connect(proxied)
    proxy.fall_silent()
    call = asyncio.create_task(session.execute(Sql("SELECT 1")))
    await asyncio.wait([call], timeout=0.05)
    assert not call.done()
    session.discard()
    with pytest.raises(Unanswered):
        await call


async def test_a_cancelled_settle_leaves_the_session_broken(connect, proxied: str, proxy: Proxy):
    session = await connect(proxied)
    await session.begin(BeginOptions())
    proxy.fall_silent()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await session.settle()
    assert session.broken


async def test_release_gives_up_and_frees_the_slot(open_pool, proxied: str, proxy: Proxy):
    pool = open_pool(proxied, max_size=1, timeout=0.3)
    session = await pool.acquire(10)
    await session.execute(Sql("SELECT 1"))
    proxy.fall_silent()
    await pool.release(session)
    with contextlib.suppress(Unanswered):  # its next user may be the first to notice
        session = await pool.acquire(0.3)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await session.begin(BeginOptions())
        await pool.release(session)
    with pytest.raises(Unanswered):  # it is not lent again: connecting meets the silence
        await pool.acquire(0.3)


async def test_a_connection_that_could_not_be_cleaned_is_not_lent(
    open_pool, kit: Kit, proxied: str, proxy: Proxy
):
    if kit.name != "asyncpg":
        pytest.skip("psycopg's are cleaned before they go back")
    pool = open_pool(proxied, max_size=1, timeout=0.3)
    session = await pool.acquire(10)
    who = Sql("SELECT pg_backend_pid()")
    before = (await session.execute(who)).rows
    await pool.release(session)
    proxy.fall_silent()
    while not pool._cleaning:  # noqa: ASYNC110 - nobody is told when it begins
        await asyncio.sleep(0)
    waiting = asyncio.create_task(pool.acquire(10))
    await asyncio.wait(pool._cleaning.values())
    assert not waiting.done()
    proxy.speak()
    assert (await (await waiting).execute(who)).rows != before


async def test_close_does_not_wait_for_lent_sessions(open_pool, proxied: str, proxy: Proxy):
    pool = open_pool(proxied, max_size=2, timeout=0.3)
    lent = await pool.acquire(10)
    call = asyncio.create_task(lent.execute(Sql("SELECT 1")))
    proxy.fall_silent()
    await pool.close(0.1)
    lent.discard()
    await asyncio.gather(call, return_exceptions=True)
    await pool.release(lent)


async def test_connecting_gives_up_and_closes_what_comes_too_late(
    kit: Kit, proxied: str, proxy: Proxy
):
    proxy.fall_silent()
    with pytest.raises(Unanswered):
        await kit.driver.connect(proxied, timeout=0.3)
    await proxy.speak_again()
