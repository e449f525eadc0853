"""`close()` waits for what is under way, refuses what is new, and always returns."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Any

import pytest

from paxcommit import Outcome, OutcomeUnknown, UsageError
from paxcommit.drivers import choose_async
from paxcommit.runtime.aio.link import Link
from paxcommit.runtime.links import LinkPlan
from paxcommit.sql.statement import Sql, Unanswered

from .shop import Frozen, Shop, eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")

_A_HANG = 30.0
"""Seconds after which something that should have ended is taken to hang."""


@contextlib.contextmanager
def silent(shop: Shop, *acceptors: str) -> Iterator[None]:
    """Freeze every connection to these acceptors: they stay up, and nobody answers."""
    with contextlib.ExitStack() as thaw:
        for name in acceptors:
            for (pid,) in shop.look(
                name,
                "select pid from pg_stat_activity"
                " where datname = current_database() and pid <> pg_backend_pid()",
            ):
                thaw.enter_context(Frozen(pid)).freeze()
        yield


async def refuses(coordinator: Any) -> bool:
    """Whether it begins nothing any more."""
    try:
        async with coordinator.transaction():
            return False
    except UsageError:
        return True


async def test_it_waits_for_a_transaction_in_its_block(surface, shop, note):
    entered, leave = asyncio.Event(), asyncio.Event()

    async def pay(tx) -> None:
        async with tx:
            await note(tx, "orders")
            entered.set()
            await leave.wait()
            await note(tx, "billing")  # it may also go on with new participants

    async with surface.open(shop.settings) as coordinator:
        tx = coordinator.transaction()
        paying = asyncio.create_task(pay(tx))
        await entered.wait()
        closing = asyncio.create_task(coordinator.close())
        await eventually(lambda: refuses(coordinator))
        assert not closing.done()
        leave.set()
        await closing
        await paying
    assert tx.outcome is Outcome.COMMITTED
    assert shop.noted(tx.id) == {"orders", "billing"}


async def test_it_waits_for_a_transaction_that_is_committing(surface, shop, note):
    async def pay(tx, backend) -> None:
        async with tx:
            await note(tx, "orders", "billing")
            [(backend.pid,)] = await surface.run(
                await tx.connection("orders"), "select pg_backend_pid()"
            )
            backend.freeze()

    async with surface.open(shop.settings) as coordinator:
        tx = coordinator.transaction()
        with Frozen() as backend:
            paying = asyncio.create_task(pay(tx, backend))
            await eventually(lambda: shop.prepared(tx.id) == {"billing"})
            closing = asyncio.create_task(coordinator.close())
            await eventually(lambda: refuses(coordinator))
            assert not closing.done()
        await closing
        await paying
    assert tx.outcome is Outcome.COMMITTED
    assert shop.noted(tx.id) == {"orders", "billing"}


async def test_afterwards_nothing_begins(surface, shop, note):
    async with surface.open(shop.settings) as coordinator:
        async with coordinator.transaction() as tx:
            await note(tx, "orders", "billing")
        await coordinator.close()
        with pytest.raises(UsageError, match="clos"):
            async with coordinator.transaction():
                pass
        await coordinator.close()  # once more is harmless
    await eventually(lambda: not shop.lock_holders(tx.id.coordinator), "the locks are free")


async def test_it_returns_in_spite_of_a_commit_that_nobody_can_decide(surface, shop, note):
    """On threads it once hung: what waited for a timer waited for ever."""

    async def pay(tx) -> None:
        async with tx:
            await note(tx, "orders", "billing")
            frozen.enter_context(silent(shop, "a2", "a3"))

    settings = shop.with_options(deadline=3.0, acceptor_timeout=_A_HANG)
    with contextlib.ExitStack() as frozen:
        async with surface.open(settings) as coordinator:
            tx = coordinator.transaction()
            paying = asyncio.create_task(pay(tx))
            await eventually(lambda: shop.prepared(tx.id) == {"orders", "billing"})
            await asyncio.wait_for(coordinator.close(0.2), _A_HANG)
            with pytest.raises(OutcomeUnknown):
                await asyncio.wait_for(paying, _A_HANG)
        assert tx.outcome is Outcome.OPEN
        assert shop.prepared(tx.id) == {"orders", "billing"}
    async with surface.recovery(shop.settings) as recovery:
        await recovery.run_once()
        resolved = await recovery.resolve(tx.id)
    assert not shop.prepared(tx.id)
    committed = resolved.outcome is Outcome.COMMITTED
    assert committed or resolved.outcome is Outcome.ABORTED
    assert shop.noted(tx.id) == ({"orders", "billing"} if committed else set())


def _nothing():
    return
    yield


def _one():
    result = yield Sql("select 1")
    return result.rows[0][0]


@pytest.mark.parametrize("turns", range(5))
async def test_a_link_ends_however_soon_after_a_job_it_is_closed(shop, turns):
    """`asyncio.wait_for` swallowed the cancellation when the job came one turn before it."""

    async def turn() -> None:
        passed = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(passed.set_result, None)
        await passed

    plan = LinkPlan(
        server="a1",
        name="acceptor a1",
        setup=_nothing,
        pulse=_one,
        down=lambda: None,
        batch=lambda _: pytest.fail("nobody votes here"),
        timeout=_A_HANG,
        heartbeat=2 * _A_HANG,
    )
    dsn = shop.place("a1").dsn
    link = Link(plan, lambda: choose_async("asyncpg").connect(dsn, timeout=_A_HANG))
    await link.tried()
    assert await link.call(_one()) == 1
    asking = asyncio.create_task(link.call(_one()))
    for _ in range(turns):
        await turn()
    await asyncio.wait_for(link.close(), _A_HANG)
    [answer] = await asyncio.gather(asking, return_exceptions=True)
    assert answer == 1 or isinstance(answer, Unanswered)
    with pytest.raises(Unanswered, match="closed"):
        await link.call(_one())
