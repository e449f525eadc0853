"""A connection of the user's own runs a branch, and is the user's again afterwards."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import asyncpg
import psycopg
import psycopg_pool
import pytest
import pytest_asyncio

from paxcommit import ConfigurationError, EnlistError, Outcome, TransactionAborted, UsageError

from .shop import Shop, ends_in
from .surfaces import Surface

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module")
async def own(connect: Callable[..., Any]) -> Any:
    """A connection to ``orders``."""
    return await connect("orders")


async def usable(surface: Surface, shop: Shop, raw: Any, name: str = "orders") -> bool:
    """Whether it is idle, and carries nothing of ours."""
    what = "select pg_backend_pid(), current_user::text, current_setting('role')"
    [(pid, user, role)] = await surface.run(raw, what)
    [[state]] = shop.look(name, "select state from pg_stat_activity where pid = %s", pid)
    return (state, user, role) == ("idle", "postgres", "none")


async def test_an_own_connection_takes_part_and_is_usable_afterwards(
    coordinator, surface, shop, note, own
):
    for _ in range(2):
        async with coordinator.transaction() as tx:
            await tx.enlist("orders", own)
            await surface.run(own, f"insert into note values ('{tx.id}')")
            await note(tx, "billing")
        assert shop.noted(tx.id) == {"orders", "billing"}
        assert await usable(surface, shop, own)


async def test_after_an_abort_it_is_usable(coordinator, surface, shop, note, own):
    async with ends_in(KeyError), coordinator.transaction() as tx:
        await tx.enlist("orders", own)
        await surface.run(own, f"insert into note values ('{tx.id}')")
        await note(tx, "billing")
        raise KeyError
    assert shop.noted(tx.id) == set()
    assert await usable(surface, shop, own)


async def test_after_a_failed_statement_it_is_usable(coordinator, surface, shop, own):
    async with ends_in(TransactionAborted), coordinator.transaction() as tx:
        await tx.enlist("orders", own)
        await tx.connection("billing")
        with pytest.raises(Exception, match="zero"):
            await surface.run(own, "select 1/0")
    assert await usable(surface, shop, own)


async def test_alone_it_commits_in_one_phase(coordinator, surface, shop, own):
    async with coordinator.transaction() as tx:
        await tx.enlist("orders", own)
        await surface.run(own, f"insert into note values ('{tx.id}')")
    assert shop.rows(tx.id) == {"orders": "only"}
    assert await usable(surface, shop, own)


async def test_it_runs_at_the_isolation_level_asked_for(coordinator, shop, surface, own):
    async with coordinator.transaction() as tx:
        await tx.enlist("orders", own, isolation="serializable", read_only=True)
        assert await surface.run(own, "show transaction_isolation") == [("serializable",)]
        assert await surface.run(own, "show transaction_read_only") == [("on",)]
    assert await usable(surface, shop, own)


@pytest.mark.parametrize("database", ["billing", "a1"])
async def test_a_connection_to_another_database_is_refused(
    coordinator, surface, shop, note, database, connect
):
    elsewhere = await connect(database)
    async with coordinator.transaction() as tx:
        with pytest.raises(EnlistError, match="orders"):
            await tx.enlist("orders", elsewhere)
        assert await usable(surface, shop, elsewhere, database)
        await note(tx, "orders")  # the transaction goes on without it
    assert tx.outcome is Outcome.COMMITTED


async def test_a_busy_connection_is_refused_and_left_as_it_was(coordinator, surface, own):
    await surface.run(own, "begin")
    await surface.run(own, "create temp table mine (n int) on commit drop")
    async with coordinator.transaction() as tx:
        with pytest.raises(EnlistError, match="transaction open"):
            await tx.enlist("orders", own)
        assert await surface.run(own, "select count(*) from mine") == [(0,)]
    await surface.run(own, "rollback")


async def test_a_closed_connection_is_refused(coordinator, surface, shop, connect):
    closed = await connect("orders")
    await surface.close(closed)
    async with coordinator.transaction() as tx:
        with pytest.raises(EnlistError, match="closed"):
            await tx.enlist("orders", closed)


async def test_what_is_no_connection_of_the_driver_is_refused(coordinator):
    async with coordinator.transaction() as tx:
        for thing in (object(), "postgresql://somebody:secret@host/database", None):
            with pytest.raises(EnlistError) as caught:
                await tx.enlist("orders", thing)
            assert "secret" not in str(caught.value)


async def test_an_unknown_participant_is_named(coordinator, shop, own, surface):
    async with coordinator.transaction() as tx:
        with pytest.raises(ConfigurationError, match=r"'order'.*orders"):
            await tx.enlist("order", own)
        with pytest.raises(ConfigurationError, match=r"'order'.*orders"):
            await tx.connection("order")
    assert await usable(surface, shop, own)


async def test_once_only(coordinator, surface, shop, own):
    async with coordinator.transaction() as tx:
        await tx.enlist("orders", own)
        with pytest.raises(EnlistError):
            await tx.enlist("orders", own)
        with pytest.raises(EnlistError, match="enlisted"):
            await tx.connection("orders")


async def test_one_connection_is_in_one_transaction(coordinator, surface, shop, own):
    async with coordinator.transaction() as tx:
        await tx.enlist("orders", own)
        await surface.run(own, f"insert into note values ('{tx.id}')")
        async with coordinator.transaction() as second:
            with pytest.raises(EnlistError):
                await second.enlist("orders", own)
    assert shop.noted(tx.id) == {"orders"}


async def test_after_the_block_it_is_refused(coordinator, shop, surface, own):
    async with coordinator.transaction() as tx:
        pass
    with pytest.raises(UsageError):
        await tx.enlist("orders", own)
    assert await usable(surface, shop, own)


async def test_a_user_who_may_not_be_the_gids_owner_is_refused(coordinator, surface, shop, connect):
    """R18: recovery could not finish what this user prepares."""
    shop.look("orders", "drop role if exists clerk")
    shop.look("orders", "create role clerk login")
    clerk = await connect("orders", user="clerk")
    async with coordinator.transaction() as tx:
        with pytest.raises(EnlistError, match="SET ROLE"):
            await tx.enlist("orders", clerk)
        assert await surface.run(clerk, "select current_user::text") == [("clerk",)]
    shop.look("orders", "drop role clerk")


async def test_with_an_own_connection_the_block_ends_when_it_is_idle(
    coordinator, surface, shop, note, own
):
    """Whatever ``wait`` says: the connection is the user's again."""
    async with coordinator.transaction(wait="decided") as tx:
        await tx.enlist("orders", own)
        await surface.run(own, f"insert into note values ('{tx.id}')")
        await note(tx, "billing")
    assert await usable(surface, shop, own)
    assert "orders" not in shop.prepared(tx.id)


async def test_a_connection_of_an_asyncpg_pool(coordinator, surface, shop, note):
    if surface.name != "asyncpg":
        pytest.skip("asyncpg's own")
    async with (
        asyncpg.create_pool(shop.place("orders").dsn, min_size=1, max_size=1) as pool,
        pool.acquire() as proxy,
    ):
        async with coordinator.transaction() as tx:
            await tx.enlist("orders", proxy)
            await surface.run(proxy, f"insert into note values ('{tx.id}')")
            await note(tx, "billing")
        assert await usable(surface, shop, proxy)
    assert shop.noted(tx.id) == {"orders", "billing"}


async def test_a_connection_of_a_psycopg_pool(coordinator, surface, shop, note):
    if surface.name != "psycopg":
        pytest.skip("psycopg's own")
    pool = psycopg_pool.AsyncConnectionPool(
        shop.place("orders").dsn, min_size=1, max_size=1, open=False
    )
    async with pool, pool.connection() as raw:
        async with coordinator.transaction() as tx:
            await tx.enlist("orders", raw)
            await surface.run(raw, f"insert into note values ('{tx.id}')")
            await note(tx, "billing")
        assert raw.autocommit is False
    assert shop.noted(tx.id) == {"orders", "billing"}


@pytest.mark.parametrize("commits", [True, False], ids=["commit", "abort"])
async def test_psycopgs_autocommit_setting_is_kept(
    coordinator, surface, shop, note, commits, connect
):
    if surface.driver != "psycopg":
        pytest.skip("psycopg's own")
    raw = await connect("orders", autocommit=False)
    try:
        async with coordinator.transaction() as tx:
            await tx.enlist("orders", raw)
            await surface.run(raw, f"insert into note values ('{tx.id}')")
            await note(tx, "billing")
            if not commits:
                raise KeyError
    except KeyError:
        pass
    assert raw.autocommit is False
    assert raw.info.transaction_status is psycopg.pq.TransactionStatus.IDLE
    await surface.run(raw, "select 1")
    assert raw.info.transaction_status is psycopg.pq.TransactionStatus.INTRANS
    assert shop.noted(tx.id) == ({"orders", "billing"} if commits else set())
