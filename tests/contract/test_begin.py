"""Transactions: the driver's own bookkeeping, before and after a PREPARE by plain statement."""

from __future__ import annotations

import contextlib

import pytest

from paxcommit.ports import AsyncSession, BeginOptions
from paxcommit.sql.statement import DatabaseError, Sql, Unanswered
from paxcommit.testing import Place

from .conftest import Kit

INSERT = "INSERT INTO account VALUES ({}, 0)"


@pytest.fixture(params=["own", "pooled"])
async def session(request, connect, open_pool, dsn: str) -> AsyncSession:
    """A pool's connections may begin and end otherwise than one that the user brings."""
    if request.param == "own":
        return await connect(dsn)
    return await open_pool(dsn).acquire(10)


async def ids(place: Place) -> list[int]:
    return [number for (number,) in place.execute("select id from account order by id")]


async def test_the_drivers_own_savepoints_nest_inside_begin(
    kit: Kit, session: AsyncSession, place: Place
):
    """Trap 1: after a plain BEGIN, asyncpg's ``transaction()`` would raise InterfaceError."""
    await session.begin(BeginOptions())
    assert session.in_transaction
    async with kit.transaction(session.raw):
        await kit.execute(session.raw, INSERT.format(1))
        with contextlib.suppress(ZeroDivisionError):
            async with kit.transaction(session.raw):
                await kit.execute(session.raw, INSERT.format(2))
                raise ZeroDivisionError
    await kit.execute(session.raw, INSERT.format(3))
    assert session.in_transaction
    assert await ids(place) == []
    assert (await session.execute(Sql("COMMIT"))).tag == "COMMIT"
    await session.settle()
    assert await ids(place) == [1, 3]


@pytest.mark.parametrize("ending", ["PREPARE TRANSACTION '{gid}'", "COMMIT", "ROLLBACK", "SELECT"])
async def test_after_settle_the_driver_begins_anew(
    kit: Kit, session: AsyncSession, place: Place, gid: str, ending: str
):
    """Trap 1: asyncpg would go on believing in its transaction, and nest the next one in it."""
    await session.begin(BeginOptions())
    await session.execute(Sql(INSERT.format(1)))
    await session.execute(Sql(ending.format(gid=gid)))
    await session.settle()
    assert not session.broken
    assert not session.in_transaction
    assert place.prepared() == ([gid] if "PREPARE" in ending else [])
    async with kit.transaction(session.raw):
        await kit.execute(session.raw, INSERT.format(2))
        assert session.in_transaction
    assert not session.in_transaction
    assert await ids(place) == ([1, 2] if ending == "COMMIT" else [2])


async def test_a_session_begins_again_and_again(session: AsyncSession, place: Place, gid: str):
    for number in range(3):
        await session.begin(BeginOptions())
        await session.execute(Sql(INSERT.format(number)))
        tag = (await session.execute(Sql(f"PREPARE TRANSACTION '{gid}-{number}'"))).tag
        assert tag == "PREPARE TRANSACTION"
        await session.settle()
        tag = (await session.execute(Sql(f"COMMIT PREPARED '{gid}-{number}'"))).tag
        assert tag == "COMMIT PREPARED"
    assert await ids(place) == [0, 1, 2]


async def test_prepare_in_a_failed_transaction_answers_the_tag_rollback(
    session: AsyncSession, place: Place, gid: str
):
    """Trap 1: it raises nothing, so whoever does not read the tag commits half a transaction."""
    await session.begin(BeginOptions())
    await session.execute(Sql(INSERT.format(1)))
    with pytest.raises(DatabaseError):
        await session.execute(Sql("SELECT 1/0"))
    result = await session.execute(Sql(f"PREPARE TRANSACTION '{gid}'"))
    assert result.tag == "ROLLBACK"
    await session.settle()
    assert not session.broken
    assert place.prepared() == []


async def test_insert_and_prepare_travel_in_one_string(
    session: AsyncSession, place: Place, gid: str
):
    """Trap 18; the tag is that of the PREPARE."""
    await session.begin(BeginOptions())
    result = await session.execute(
        Sql(
            f"{INSERT.format(1)}; SET CONSTRAINTS ALL IMMEDIATE; SET LOCAL lock_timeout = '5s';"
            f" PREPARE TRANSACTION '{gid}'"
        )
    )
    assert result.tag == "PREPARE TRANSACTION"
    assert not session.in_transaction
    await session.settle()
    assert place.prepared() == [gid]


async def test_settle_writes_nothing_into_the_servers_log(
    session: AsyncSession, place: Place, gid: str
):
    """A ROLLBACK without a transaction would leave a WARNING there, once per branch."""
    before = len(place.server.log())
    await session.begin(BeginOptions())
    await session.execute(Sql(INSERT.format(1)))
    await session.execute(Sql(f"PREPARE TRANSACTION '{gid}'"))
    await session.settle()
    await session.begin(BeginOptions())
    await session.settle()
    await session.settle()
    with pytest.raises(DatabaseError):
        await session.execute(Sql("SELECT 'the log gets here'::int"))
    logged = place.server.log()[before:]
    assert "the log gets here" in logged
    assert "WARNING" not in logged


async def test_settle_rolls_back_what_the_users_own_statements_began(
    kit: Kit, session: AsyncSession, place: Place
):
    await session.begin(BeginOptions())
    await kit.execute(session.raw, "ROLLBACK")
    await kit.execute(session.raw, "BEGIN")
    await kit.execute(session.raw, INSERT.format(1))
    await session.settle()
    assert not session.broken
    assert not session.in_transaction
    assert await ids(place) == []


async def test_settle_without_begin_does_nothing(session: AsyncSession):
    await session.settle()
    assert not session.broken


async def test_settle_on_a_lost_connection_does_not_raise(session: AsyncSession, place: Place):
    await session.begin(BeginOptions())
    (pid,) = (await session.execute(Sql("SELECT pg_backend_pid()"))).rows[0]
    assert place.execute(f"select pg_terminate_backend({pid}, 10000)") == [(True,)]
    await session.settle()
    assert session.broken
    with pytest.raises(Unanswered):
        await session.begin(BeginOptions())


@pytest.mark.parametrize("read_only", [None, True, False])
async def test_the_first_statement_runs_inside(kit: Kit, session: AsyncSession, read_only):
    options = BeginOptions(isolation="serializable", read_only=read_only)
    await session.begin(options, Sql("SELECT set_config('paxcommit.txid', 'ours', true)"))
    assert session.in_transaction
    asked = Sql(
        "SELECT current_setting('paxcommit.txid'), current_setting('transaction_isolation')"
    )
    async with kit.transaction(session.raw):
        assert (await session.execute(asked)).rows == [("ours", "serializable")]
    await session.execute(Sql("ROLLBACK"))
    await session.settle()
    await session.begin(BeginOptions())
    asked = Sql("SELECT current_setting('paxcommit.txid', true)")
    assert (await session.execute(asked)).rows in ([("",)], [(None,)])
    await session.settle()
    assert not session.broken


async def test_a_first_statement_that_fails(session: AsyncSession):
    with pytest.raises(DatabaseError) as caught:
        await session.begin(BeginOptions(), Sql("SELECT set_config('no.such.name', '1'"))
    assert caught.value.sqlstate == "42601"
    assert session.broken or not session.in_transaction


@pytest.mark.parametrize("isolation", ["read committed", "repeatable read", "serializable"])
@pytest.mark.parametrize("read_only", [True, False])
async def test_begin_options(session: AsyncSession, isolation, read_only: bool):
    await session.execute(Sql(f"SET default_transaction_read_only = {not read_only}"))
    await session.begin(BeginOptions(isolation=isolation, read_only=read_only))
    assert (await session.execute(Sql("SHOW transaction_isolation"))).rows == [(isolation,)]
    asked = await session.execute(Sql("SELECT current_setting('transaction_read_only')::bool"))
    assert asked.rows == [(read_only,)]
    await session.settle()
    assert not session.broken


@pytest.mark.parametrize("read_only", ["on", "off"])
async def test_no_options_leave_the_databases_own_defaults(session: AsyncSession, read_only: str):
    await session.execute(
        Sql(
            "SET default_transaction_isolation = 'repeatable read';"
            f" SET default_transaction_read_only = {read_only}"
        )
    )
    await session.begin(BeginOptions())
    assert (await session.execute(Sql("SHOW transaction_isolation"))).rows == [("repeatable read",)]
    assert (await session.execute(Sql("SHOW transaction_read_only"))).rows == [(read_only,)]
