"""What went wrong once, and must not again."""

from __future__ import annotations

import asyncio
import contextlib
import secrets

import asyncpg
import psycopg
import psycopg_pool
import pytest

from paxcommit import Outcome, OutcomeUnknown, Settings, TransactionAborted, TxId
from paxcommit.cluster import initialise
from paxcommit.drivers import choose_async, choose_sync
from paxcommit.ids import Gid
from paxcommit.ports import BeginOptions
from paxcommit.protocol.resource_manager import Prepared
from paxcommit.runtime.threads import network
from paxcommit.runtime.threads.run import run_statements
from paxcommit.sql.branch import open_branch, prepare_branch
from paxcommit.testing.failpoints import FailpointReached, raise_at

from .shop import ends_in, eventually
from .surfaces import SURFACES

pytestmark = pytest.mark.asyncio(loop_scope="module")

_A_HANG = 60.0
_NO_VOTES = "lock table paxcommit.transaction in access exclusive mode"


def pool_of_one(surface, dsn):
    """The driver's own pool, and how to borrow from it."""
    if surface.name == "asyncpg":
        pool = asyncpg.create_pool(dsn, min_size=1, max_size=1)
        return pool, pool.acquire
    pool = psycopg_pool.AsyncConnectionPool(dsn, min_size=1, max_size=1, open=False)
    return pool, pool.connection


def is_clean(surface, raw) -> bool:
    """Whether the next user may work on it as on any other connection of the pool."""
    if surface.name == "asyncpg":
        return not raw.is_in_transaction()
    idle = psycopg.pq.TransactionStatus.IDLE
    return raw.autocommit is False and raw.info.transaction_status is idle


async def test_a_cancelled_task_keeps_its_own_connection_until_the_commit_let_go(
    coordinator, surface, shop, note, connect
):
    """Else its pool lends the connection to the next user in the middle of the commit."""
    if surface.name == "blocking":
        pytest.skip("a thread cannot be cancelled")
    pool, borrow = pool_of_one(surface, shop.place("orders").dsn)
    tx = coordinator.transaction()

    async def first() -> None:
        async with borrow() as raw, tx:
            await tx.enlist("orders", raw)
            await surface.run(raw, f"insert into note values ('{tx.id}')")
            await note(tx, "billing")

    async def second() -> tuple[bool, bool, list]:
        async with borrow() as raw:
            clean = is_clean(surface, raw)
            marked = await surface.run(raw, "select current_setting('paxcommit.txid', true)")
            return clean, shop.noted(tx.id) == {"orders", "billing"}, marked

    bystander = await connect("stock")
    async with pool:
        with contextlib.ExitStack() as votes:
            for name in ("a1", "a2", "a3"):
                votes.enter_context(shop.holding(name, _NO_VOTES))
            leaving = asyncio.create_task(first())
            await eventually(lambda: shop.prepared(tx.id) == {"orders", "billing"})
            leaving.cancel()
            borrowing = asyncio.create_task(second())
            for _ in range(20):  # time enough for whoever would lend it already
                await surface.run(bystander, "select 1")
            assert not leaving.done()
            assert not borrowing.done()
        with pytest.raises(asyncio.CancelledError):
            await leaving
        clean, over, [(mark,)] = await borrowing
    assert (clean, over) == (True, True)
    assert not mark
    assert shop.noted(tx.id) == {"orders", "billing"}
    assert not shop.prepared(tx.id)


async def test_a_login_that_starts_as_another_role_applies_its_commits_at_once(surface, shop, note):
    """R18: the gid's owner is who finishes it, also where nobody configured a role."""
    suffix = secrets.token_hex(4)
    login, owner = f"login_{suffix}", f"owner_{suffix}"
    for server in {place.server for place in shop.participants.values()}:
        server.execute(f"create role {owner}")
        server.execute(f"create role {login} login in role {owner}")
        server.execute(f"alter role {login} set role = '{owner}'")
    await initialise(shop.settings, choose_async("asyncpg"), roles=[login, owner])
    for name in shop.participants:
        shop.look(name, f"grant select, insert on note to {owner}")
    dsns = {
        name: place.server.dsn(place.database, user=login)
        for name, place in shop.participants.items()
    }
    settings = Settings(**{**shop.layout.settings, **shop.options, "participants": dsns})
    async with surface.open(settings) as coordinator:
        async with coordinator.transaction() as tx:
            await note(tx, "orders", "billing")
        assert shop.noted(tx.id) == {"orders", "billing"}
        assert not shop.prepared(tx.id)
        assert not tx.unapplied
        async with coordinator.transaction() as enlisting:
            own = await surface.connect(dsns["orders"])
            await enlisting.enlist("orders", own)
            await surface.run(own, f"insert into note values ('{enlisting.id}')")
            await note(enlisting, "billing")
        assert await surface.run(own, "select current_user::text") == [(owner,)]
        await surface.close(own)
        assert shop.noted(enlisting.id) == {"orders", "billing"}
        assert not shop.prepared(enlisting.id)


async def test_a_tiny_deadline_does_not_keep_recovery_from_finishing(surface, shop, note):
    """It bounds the commit; a recoverer that gave up as fast would never end."""
    left = []
    async with surface.open(shop.settings) as coordinator:
        for _ in range(3):
            with contextlib.ExitStack() as dies:
                for name in ("a1", "a2", "a3"):
                    error = FailpointReached("the coordinator dies")
                    dies.enter_context(raise_at(f"phase2a:{name}.before", error))
                async with ends_in(OutcomeUnknown), coordinator.transaction() as tx:
                    await note(tx, "orders", "billing")
            left.append(tx.id)
        assert all(shop.prepared(txid) for txid in left)
    tiny = shop.with_options(deadline=0.005)
    async with surface.recovery(tiny) as recovery:
        await recovery.run_once()
        assert not any(shop.prepared(txid) for txid in left)
        outcomes = {(await recovery.resolve(txid)).outcome for txid in left}
    assert Outcome.OPEN not in outcomes
    async with surface.open(tiny) as coordinator:
        tx = coordinator.transaction()
        with contextlib.suppress(TransactionAborted, OutcomeUnknown):
            async with tx:
                await note(tx, "orders", "billing")
    async with surface.recovery(tiny) as recovery:
        await eventually(lambda: _swept(recovery, shop, tx.id))
        outcome = (await recovery.resolve(tx.id, force=True)).outcome
    committed = outcome is Outcome.COMMITTED
    assert shop.noted(tx.id) == ({"orders", "billing"} if committed else set())


async def _swept(recovery, shop, txid) -> bool:
    await recovery.run_once()
    return not shop.prepared(txid)


def leave_in_doubt(shop, count: int) -> list[TxId]:
    """Branches of a coordinator that is dead, at ``orders``."""
    [[digest]] = shop.look("a1", "select digest from paxcommit.epoch")
    coordinator = secrets.randbits(63)
    txids = [TxId(1, coordinator, seq) for seq in range(1, count + 1)]
    session = choose_sync("psycopg").connect(shop.place("orders").dsn, timeout=10.0)
    for txid in txids:
        session.begin(BeginOptions())
        run_statements(session, open_branch(txid))
        session.raw.execute(f"insert into note values ('{txid}')")
        answer = run_statements(session, prepare_branch(Gid(digest, txid, "orders", 3600)))
        assert isinstance(answer, Prepared)
    session.discard()
    return txids


async def test_more_cases_than_threads_do_not_starve_recovery(shop, monkeypatch):
    """Cases waited for steps on the threads that they themselves took."""
    monkeypatch.setattr(network, "_MAX_THREADS", 40)
    txids = leave_in_doubt(shop, 40)
    async with SURFACES["blocking"].recovery(shop.settings) as recovery:
        report = await asyncio.wait_for(recovery.run_once(), _A_HANG)
    resolved = {each.txid: each.outcome for each in report.resolved}
    assert {txid: resolved.get(txid) for txid in txids} == dict.fromkeys(txids, Outcome.ABORTED)
    assert not shop.prepared()
