"""The drivers' own pools: what is broken never comes back, and a slot is never lost."""

from __future__ import annotations

import asyncio

import pytest

from paxcommit.ports import AsyncPool, AsyncSession, BeginOptions, Isolation
from paxcommit.sql.statement import DatabaseError, Sql, Unanswered
from paxcommit.testing import Place

from .conftest import Kit


async def backend(session: AsyncSession) -> int:
    ((pid,),) = (await session.execute(Sql("SELECT pg_backend_pid()"))).rows
    return pid


async def is_alive(place: Place, pid: int) -> bool:
    return bool(place.execute(f"select from pg_stat_activity where pid = {pid}"))


@pytest.fixture
def pool(open_pool, dsn: str) -> AsyncPool:
    return open_pool(dsn, max_size=1)


async def test_a_session_is_lent_again(pool: AsyncPool):
    pids = set()
    for _ in range(3):
        session = await pool.acquire(10)
        pids.add(await backend(session))
        await pool.release(session)
    assert len(pids) == 1


async def test_sessions_are_in_autocommit(pool: AsyncPool, place: Place):
    session = await pool.acquire(10)
    await session.execute(Sql("INSERT INTO account VALUES (1, 0)"))
    assert not session.in_transaction
    assert place.execute("select id from account") == [(1,)]


async def test_no_more_than_max_size(open_pool, dsn: str):
    pool = open_pool(dsn, max_size=2)
    first, second = await pool.acquire(10), await pool.acquire(10)
    with pytest.raises(Unanswered):
        await pool.acquire(0.1)
    assert await backend(first) != await backend(second)
    waiting = asyncio.create_task(pool.acquire(30))
    await pool.release(first)
    await backend(await waiting)


async def test_many_at_once_open_one_pool(open_pool, dsn: str):
    pool = open_pool(dsn, max_size=4)
    sessions = await asyncio.gather(*(pool.acquire(10) for _ in range(4)))
    assert len({await backend(session) for session in sessions}) == 4


@pytest.mark.parametrize("left", ["discarded", "in a transaction", "failed", "cancelled", "ended"])
async def test_a_session_left_unfinished_is_closed_and_its_slot_is_free(
    pool: AsyncPool, place: Place, eventually, left: str
):
    """Trap 32."""
    session = await pool.acquire(10)
    pid = await backend(session)
    await session.begin(BeginOptions())
    await session.execute(Sql("INSERT INTO account VALUES (1, 0)"))
    if left == "discarded":
        session.discard()
    elif left == "failed":
        with pytest.raises(DatabaseError):
            await session.execute(Sql("SELECT 1/0"))
    elif left == "cancelled":
        call = asyncio.create_task(session.execute(Sql("SELECT pg_sleep(1000)")))
        await eventually(place, f"select wait_event from pg_stat_activity where pid = {pid}")
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
    elif left == "ended":
        place.execute(f"select pg_terminate_backend({pid}, 10000)")
    await pool.release(session)
    session = await pool.acquire(10)
    assert await backend(session) != pid
    assert not session.in_transaction
    if left == "cancelled":  # the server does not look at its socket while it sleeps
        place.execute(f"select pg_terminate_backend({pid}, 10000)")
    await eventually(place, f"select not exists (select from pg_stat_activity where pid = {pid})")
    assert place.execute("select id from account") == []


@pytest.mark.parametrize("use", [True, False], ids=["used", "unused"])
async def test_a_backend_that_ends_costs_no_slot(pool: AsyncPool, place: Place, use: bool):
    """Whatever asyncpg's event loop has heard of it by then; it may end halfway, by itself.

    What has not been heard of yet is lent once more, and never again.
    """
    for steps in range(8):
        session = await pool.acquire(10)
        try:
            pid = await backend(session)
        except (Unanswered, DatabaseError):
            await pool.release(session)
            session = await pool.acquire(10)
            pid = await backend(session)
        place.execute(f"select pg_terminate_backend({pid}, 10000)")
        for _ in range(steps):
            await asyncio.sleep(0)  # one step of the event loop
        if use:
            with pytest.raises((Unanswered, DatabaseError)):
                await session.execute(Sql("SELECT 1"))
        await pool.release(session)


async def test_after_prepare_and_settle_a_session_goes_back(
    pool: AsyncPool, place: Place, gid: str
):
    pids = set()
    for number in range(3):
        session = await pool.acquire(10)
        pids.add(await backend(session))
        await session.begin(BeginOptions(isolation="serializable"))
        await session.execute(Sql(f"INSERT INTO account VALUES ({number}, 0)"))
        await session.execute(Sql(f"PREPARE TRANSACTION '{gid}'"))
        await session.settle()
        await session.execute(Sql(f"COMMIT PREPARED '{gid}'"))
        await pool.release(session)
    assert len(pids) == 1
    assert place.execute("select count(*) from account") == [(3,)]


async def test_nothing_of_one_user_reaches_the_next(pool: AsyncPool, kit: Kit, place: Place):
    """Settings, roles, advisory locks and cursors end with the loan, for every driver."""
    session = await pool.acquire(10)
    pid = await backend(session)
    await session.execute(
        Sql(
            "SET work_mem = '77kB'; SET ROLE pg_monitor; SELECT pg_advisory_lock(815);"
            " DECLARE c CURSOR WITH HOLD FOR SELECT 1; LISTEN x"
        )
    )
    await pool.release(session)
    session = await pool.acquire(10)
    assert await backend(session) == pid
    ((memory, role, locks, cursors, channels),) = (
        await session.execute(
            Sql(
                "SELECT current_setting('work_mem'), current_setting('role'),"
                " (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = $1),"
                " (SELECT count(*) FROM pg_cursors WHERE name = 'c'),"
                " (SELECT count(*) FROM pg_listening_channels())",
                (pid,),
            )
        )
    ).rows
    assert memory != "77kB"
    assert (role, locks, cursors, channels) == ("none", 0, 0, 0)


async def test_what_a_user_left_does_not_stand_until_the_next_one_comes(
    pool: AsyncPool, place: Place, eventually
):
    session = await pool.acquire(10)
    pid = await backend(session)
    await session.execute(Sql("SELECT pg_advisory_lock(816)"))
    await pool.release(session)
    await eventually(
        place,
        "select not exists (select from pg_locks where locktype = 'advisory' and objid = 816)",
    )
    session = await pool.acquire(10)
    assert await backend(session) == pid


async def test_what_is_lent_again_at_once_is_not_taken_for_idle(pool: AsyncPool, kit: Kit):
    """Or it would be cleaned under its next user's hands."""
    if kit.name != "asyncpg":
        pytest.skip("psycopg's are cleaned before they go back")
    session = await pool.acquire(10)
    waiting = asyncio.create_task(pool.acquire(10))
    await asyncio.sleep(0)
    await pool.release(session)
    session = await waiting
    assert not pool._idle
    await pool.release(session)
    assert len(pool._idle) == 1


@pytest.mark.parametrize("isolation", [None, "serializable"])
async def test_the_next_user_begins_clean_and_can_prepare(
    pool: AsyncPool, place: Place, gid: str, isolation: Isolation | None
):
    """An UNLISTEN in its own transaction would refuse PREPARE; a rollback, bring settings back."""
    session = await pool.acquire(10)
    pid = await backend(session)
    await session.execute(
        Sql("LISTEN x; SET work_mem = '77kB'; SET default_transaction_read_only = on")
    )
    await pool.release(session)
    for number, end in enumerate((f"PREPARE TRANSACTION '{gid}'", "ROLLBACK")):
        session = await pool.acquire(10)
        await session.begin(BeginOptions(isolation), Sql("SET LOCAL search_path = ''"))
        assert await backend(session) == pid
        memory, level = (
            (await session.execute(Sql("SELECT current_setting('work_mem')"))).rows,
            (await session.execute(Sql("SELECT current_setting('transaction_isolation')"))).rows,
        )
        assert memory != [("77kB",)]
        assert level == [(isolation or "read committed",)]
        await session.execute(Sql(f"INSERT INTO public.account VALUES ({number}, 0)"))
        assert (await session.execute(Sql(end))).tag.startswith(end.split()[0])
        await session.settle()
        await pool.release(session)
    place.execute(f"rollback prepared '{gid}'")
    session = await pool.acquire(10)
    assert (await session.execute(Sql("SELECT current_setting('work_mem')"))).rows != [("77kB",)]


async def test_a_listener_of_the_users_own_costs_no_slot(pool: AsyncPool, kit: Kit):
    """Trap 34a: asyncpg warns of it on release, and as an error the warning loses the slot."""
    for _ in range(2):
        session = await pool.acquire(10)
        if kit.name == "asyncpg":
            session.raw.add_log_listener(print)
        else:
            session.raw.add_notice_handler(print)
        await pool.release(session)
    assert await backend(await pool.acquire(10))


async def test_a_connection_closed_by_its_user_costs_no_slot(pool: AsyncPool, kit: Kit):
    session = await pool.acquire(10)
    await session.begin(BeginOptions())
    await kit.close(session.raw)
    await session.settle()
    assert session.broken
    await pool.release(session)
    assert await backend(await pool.acquire(10))


async def test_idle_connections_that_the_server_ended_are_not_lent(
    open_pool, dsn: str, place: Place
):
    pool = open_pool(dsn, max_size=3)
    sessions = [await pool.acquire(10) for _ in range(3)]
    pids = [await backend(session) for session in sessions]
    for session in sessions:
        await pool.release(session)
    place.execute(f"select pg_terminate_backend(pid, 10000) from unnest(array{pids}) pid")
    for _ in range(10):
        await asyncio.sleep(0)  # asyncpg learns of it from its event loop
    sessions = [await pool.acquire(10) for _ in range(3)]
    for session in sessions:
        assert await backend(session) not in pids
        await pool.release(session)


async def test_nothing_is_connected_before_the_first_acquire(open_pool, dsn: str, place: Place):
    open_pool(dsn + "?application_name=early", max_size=3)
    await asyncio.sleep(0)
    asked = "select count(*) from pg_stat_activity where application_name = 'early'"
    assert place.execute(asked) == [(0,)]


async def test_a_refused_connection_is_an_answer(open_pool, place: Place):
    pool = open_pool(place.server.dsn("no_such_database"))
    with pytest.raises(DatabaseError) as caught:
        await pool.acquire(0.5)
    assert caught.value.sqlstate in ("3D000", "08004")
    assert "no_such_database" in caught.value.message


async def test_an_unreachable_server_gives_no_answer(open_pool, silent, closed_port):
    for port in (silent, closed_port):
        pool = open_pool(f"postgresql://u:s3cret@127.0.0.1:{port}/d", timeout=0.5)
        for _ in range(2):
            with pytest.raises(Unanswered) as caught:
                await pool.acquire(0.5)
            assert "s3cret" not in str(caught.value)


async def test_close_ends_idle_and_lent_sessions(open_pool, dsn: str, place: Place, eventually):
    pool = open_pool(dsn, max_size=2)
    lent, idle = await pool.acquire(10), await pool.acquire(10)
    pids = [await backend(lent), await backend(idle)]
    await pool.release(idle)
    await pool.close(0.1)
    await pool.close(0.1)
    with pytest.raises(Unanswered):
        await pool.acquire(0.1)
    await pool.release(lent)
    await eventually(
        place,
        f"select not exists (select from pg_stat_activity where pid = any(array{pids}))",
    )


async def test_close_of_a_pool_that_nobody_used(open_pool, dsn: str):
    pool = open_pool(dsn)
    await pool.close(1)
    with pytest.raises(Unanswered):
        await pool.acquire(0.1)


async def test_a_cancelled_acquire_costs_no_slot(pool: AsyncPool, kit: Kit):
    session = await pool.acquire(10)
    waiting = asyncio.create_task(pool.acquire(1))
    await asyncio.sleep(0)
    waiting.cancel()
    result = await asyncio.gather(waiting, return_exceptions=True)
    assert isinstance(result[0], asyncio.CancelledError)
    await pool.release(session)
    if kit.name != "psycopg-sync":  # a thread that waits cannot be cancelled; it gets the slot
        await backend(await pool.acquire(10))
