"""When no answer comes: the effect is Unknown, and the connection is never used again."""

from __future__ import annotations

import asyncio
import threading

import pytest

from paxcommit.ports import AsyncPool, AsyncSession, BeginOptions
from paxcommit.sql.statement import DatabaseError, Notice, Sql, Unanswered
from paxcommit.testing import Place, Server

from .conftest import Kit

BLOCK = Sql("SELECT pg_advisory_lock($1)", (4711,))
"""Waits for as long as the ``holder`` fixture holds the lock."""

BLOCKED = (
    "select pid from pg_stat_activity"
    " where datname = current_database() and wait_event_type = 'Lock' and query ~ 'advisory_lock'"
)


@pytest.fixture
async def holder(connect, dsn: str) -> AsyncSession:
    session = await connect(dsn)
    await session.execute(BLOCK)
    return session


@pytest.fixture
def gone(eventually, place: Place):
    async def gone(pid: int) -> None:
        await eventually(
            place, f"select not exists (select from pg_stat_activity where pid = {pid})"
        )

    return gone


async def test_discard_from_another_thread_ends_a_call_under_way(
    session: AsyncSession, holder: AsyncSession, place: Place, eventually
):
    call = asyncio.create_task(session.execute(BLOCK))
    await eventually(place, BLOCKED)
    threading.Thread(target=session.discard).start()
    with pytest.raises(Unanswered):
        await call
    assert session.broken


async def test_discard_ends_a_call_of_the_users_own(
    kit: Kit, session: AsyncSession, holder: AsyncSession, place: Place, eventually
):
    call = asyncio.create_task(kit.execute(session.raw, "SELECT pg_advisory_lock(4711)"))
    await eventually(place, BLOCKED)
    session.discard()
    with pytest.raises(Exception, match=r"closed|lost"):
        await call
    assert kit.is_closed(session.raw)


@pytest.mark.parametrize("where", ["here", "in a thread"])
async def test_discard_of_an_idle_session_closes_it(
    kit: Kit, session: AsyncSession, gone, where: str
):
    ((pid,),) = (await session.execute(Sql("SELECT pg_backend_pid()"))).rows
    if where == "here":
        session.discard()
    else:
        await asyncio.to_thread(session.discard)
    session.discard()
    assert session.broken
    assert not session.in_transaction
    with pytest.raises(Unanswered):
        await session.execute(Sql("SELECT 1"))
    with pytest.raises(Unanswered):
        await session.begin(BeginOptions())
    await session.settle()
    await gone(pid)
    assert kit.is_closed(session.raw)


def test_discard_after_the_event_loop_has_ended(kit: Kit, dsn: str):
    if kit.name == "asyncpg":
        pytest.skip("asyncpg's connections cannot be closed without their event loop")
    session = asyncio.run(kit.driver.connect(dsn, timeout=10))
    session.discard()
    assert kit.is_closed(session.raw)


async def test_a_cancelled_call_leaves_the_session_broken(
    session: AsyncSession, holder: AsyncSession, place: Place, eventually
):
    """Trap 33."""
    call = asyncio.create_task(session.execute(BLOCK))
    await eventually(place, BLOCKED)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert session.broken
    with pytest.raises(Unanswered):
        await session.execute(Sql("SELECT 1"))


async def test_a_cancellation_anywhere_is_an_answer_or_a_broken_session(
    connect, dsn: str, gid: str
):
    """Trap 33: never a session that looks sound and is out of step."""

    async def branch(session: AsyncSession, gid: str) -> str:
        await session.begin(BeginOptions())
        await session.execute(Sql("SELECT pg_current_xact_id()::text, $1::int", (1,)))
        tag = (await session.execute(Sql(f"PREPARE TRANSACTION '{gid}'"))).tag
        await session.settle()
        return tag

    completed = cut = 0
    for steps in range(1, 100):
        session = await connect(dsn)
        task = asyncio.create_task(branch(session, f"{gid}-{steps}"))
        for _ in range(steps):
            await asyncio.sleep(0)  # one step of the event loop
        task.cancel()
        try:
            assert await task == "PREPARE TRANSACTION"
            completed += 1
        except asyncio.CancelledError:
            cut += 1
            assert session.broken
        else:
            assert not session.broken
            assert (await session.execute(Sql("SELECT 7"))).rows == [(7,)]
        session.discard()
        if completed == 3:
            break
    assert cut > 3


async def test_a_terminated_backend_is_told_by_its_sqlstate_and_the_session_is_broken(
    session: AsyncSession, holder: AsyncSession, place: Place, eventually
):
    call = asyncio.create_task(session.execute(BLOCK))
    pid = await eventually(place, BLOCKED)
    place.execute(f"select pg_terminate_backend({pid})")
    with pytest.raises(DatabaseError) as caught:
        await call
    assert caught.value.sqlstate == "57P01"
    assert session.broken


async def test_a_backend_terminated_while_idle(session: AsyncSession, place: Place):
    ((pid,),) = (await session.execute(Sql("SELECT pg_backend_pid()"))).rows
    assert place.execute(f"select pg_terminate_backend({pid}, 10000)") == [(True,)]
    with pytest.raises((Unanswered, DatabaseError)) as caught:
        await session.execute(Sql("INSERT INTO account VALUES (1, 0)"))
    assert isinstance(caught.value, Unanswered) or caught.value.sqlstate == "57P01"
    assert session.broken


async def test_a_cancelled_statement_is_an_answer(
    session: AsyncSession, holder: AsyncSession, place: Place, eventually
):
    call = asyncio.create_task(session.execute(BLOCK))
    pid = await eventually(place, BLOCKED)
    place.execute(f"select pg_cancel_backend({pid})")
    with pytest.raises(DatabaseError) as caught:
        await call
    assert caught.value.sqlstate == "57014"
    assert not session.broken


@pytest.fixture(scope="module")
def alone(module_cluster) -> Server:
    """A server of this module's own, where a synchronous standby is waited for that never comes."""
    return module_cluster(
        1, settings={"synchronous_standby_names": "nobody_here", "synchronous_commit": "local"}
    ).servers[0]


@pytest.fixture
async def waiting(connect, alone: Server, gid: str, eventually):
    """A session whose PREPARE is done here and waits for the standby; and the call's task."""
    place = Place(alone, "postgres")
    session = await connect(place.dsn)
    await session.execute(Sql("SET synchronous_commit = on; SET client_min_messages = warning"))
    await session.begin(BeginOptions())
    await session.execute(Sql("SELECT pg_current_xact_id()::text"))
    call = asyncio.create_task(session.execute(Sql(f"PREPARE TRANSACTION '{gid}'", notices=True)))
    pid = await eventually(
        place,
        "select pid from pg_stat_activity"
        f" where wait_event = 'SyncRep' and query ~ '{gid}' and pid <> pg_backend_pid()",
    )
    yield session, call, pid
    session.discard()
    call.cancel()
    await asyncio.gather(call, return_exceptions=True)
    # a backend that waits for a standby does not look at its socket
    alone.execute(
        "select pg_terminate_backend(pid, 10000) from pg_stat_activity where wait_event = 'SyncRep'"
    )
    if (gid,) in alone.execute("select gid from pg_prepared_xacts"):
        alone.execute(f"rollback prepared '{gid}'")


async def test_prepare_cancelled_while_it_waits_for_a_standby_warns(waiting, alone: Server, gid):
    """Trap 2: the tag says success, and only WARNING 01000 tells that it may be prepared here only.

    No ``statement_timeout`` bounds that wait (trap 3).
    """
    session, call, pid = waiting
    alone.execute(f"select pg_cancel_backend({pid})")
    result = await call
    assert result.tag == "PREPARE TRANSACTION"
    (notice,) = result.notices
    assert isinstance(notice, Notice)
    assert (notice.severity, notice.sqlstate) == ("WARNING", "01000")
    assert "synchronous replication" in notice.message
    await session.settle()
    assert not session.broken
    assert (gid,) in alone.execute("select gid from pg_prepared_xacts")


async def test_a_time_out_while_the_gid_is_there_is_unknown(
    waiting, alone: Server, gid, eventually
):
    """Traps 3 and 4: our caller's time-out raises although the gid appears; the session is lost."""
    session, call, pid = waiting
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await call
    assert session.broken
    alone.execute(f"select pg_terminate_backend({pid}, 10000)")
    await eventually(
        Place(alone, "postgres"),
        f"select exists (select from pg_prepared_xacts where gid = '{gid}')",
    )


async def test_discard_during_prepare_is_unknown(waiting, alone: Server, gid):
    session, call, _ = waiting
    session.discard()
    with pytest.raises(Unanswered):
        await call
    assert session.broken


@pytest.fixture(scope="module")
def mortal(module_cluster) -> Server:
    """A server to kill."""
    return module_cluster(1).servers[0]


async def test_a_server_killed_in_the_middle_of_a_call(connect, mortal: Server, eventually):
    place = Place(mortal, "postgres")
    holder, session = await connect(place.dsn), await connect(place.dsn)
    await holder.execute(BLOCK)
    call = asyncio.create_task(session.execute(BLOCK))
    await eventually(place, BLOCKED)
    try:
        await asyncio.to_thread(mortal.stop, "immediate")
        with pytest.raises((Unanswered, DatabaseError)) as caught:
            await call
        assert isinstance(caught.value, Unanswered) or caught.value.sqlstate[:2] == "57"
        assert session.broken
        with pytest.raises((Unanswered, DatabaseError)):
            await holder.execute(Sql("SELECT 1"))
        assert holder.broken
    finally:
        await asyncio.to_thread(mortal.start)


async def ask(pool: AsyncPool) -> None:
    # asyncpg learns from its event loop that a connection is gone, so perhaps a little late
    session = await pool.acquire(0.5)
    try:
        await session.execute(Sql("SELECT 1"))
    finally:
        await pool.release(session)


async def test_a_pool_recovers_once_the_server_is_back(open_pool, mortal: Server):
    place = Place(mortal, "postgres")
    pool = open_pool(place.dsn, max_size=2)
    lent = await pool.acquire(10)
    idle = await pool.acquire(10)
    await pool.release(idle)
    await asyncio.to_thread(mortal.kill)
    try:
        with pytest.raises((Unanswered, DatabaseError)):
            await lent.execute(Sql("SELECT 1"))
        for _ in range(3):
            with pytest.raises((Unanswered, DatabaseError)):
                await ask(pool)
        await pool.release(lent)
    finally:
        await asyncio.to_thread(mortal.start)
    first, second = await pool.acquire(10), await pool.acquire(10)
    for session in (first, second):
        assert (await session.execute(Sql("SELECT 1"))).rows == [(1,)]
        await pool.release(session)
