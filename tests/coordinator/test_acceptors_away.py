"""F acceptors may be away, and nobody notices; with more of them nothing is decided, or lost.

And what a participant that goes away means to the transactions it is in, and to the others.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from paxcommit import (
    NotEnoughAcceptors,
    Outcome,
    OutcomeUnknown,
    ParticipantUnavailable,
    TransactionAborted,
)
from paxcommit.testing import Cluster, Layout

from .shop import Frozen, Shop, ends_in, eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module")
def shop(module_cluster: Callable[..., Cluster]) -> Iterator[Shop]:
    """``orders`` and ``billing`` on a server without an acceptor, ``stock`` beside ``a2``."""
    names = ("x1", "stock", "x3", "orders", "x5", "x6", "x7", "billing")
    made = Layout.create(module_cluster(4), participants=names)
    places = {name: made.place(name) for name in ("orders", "billing", "stock")}
    shop = Shop.create(Layout(made.cluster, made.acceptor_places, places), deadline=30.0)
    yield shop
    shop.close()


@contextlib.asynccontextmanager
async def away(shop: Shop, coordinator: Any, *acceptors: str) -> AsyncIterator[None]:
    """Stop servers as a crash would; afterwards they are back, and the coordinator with them."""
    servers = [shop.place(name).server for name in acceptors]
    incarnation = coordinator.transaction().id.coordinator
    await eventually(lambda: shop.lock_holders(incarnation) == set(shop.acceptors))
    for server in servers:
        server.stop("immediate")
    try:
        yield
    finally:
        for server in servers:
            if not server.is_running:
                server.start()
        await eventually(lambda: shop.lock_holders(incarnation) == set(shop.acceptors))


@pytest.mark.parametrize("gone", ["a1", "a2", "a3"])
async def test_with_one_away_commits_go_on(coordinator, surface, shop, note, gone):
    async with away(shop, coordinator, gone):
        async with coordinator.transaction() as tx:
            await note(tx, "orders", "billing")
        async with surface.open(shop.settings) as opened_meanwhile:
            async with opened_meanwhile.transaction() as second:
                await note(second, "orders", "billing")
            assert await opened_meanwhile.outcome(tx.id) is Outcome.COMMITTED
    for each in (tx, second):
        assert each.outcome is Outcome.COMMITTED
        assert shop.noted(each.id) == {"orders", "billing"}
        assert gone not in shop.accepted(each.id)
        assert not shop.prepared(each.id)


async def test_one_that_goes_away_in_the_block_is_not_missed(coordinator, shop, note):
    async with contextlib.AsyncExitStack() as stack:
        async with coordinator.transaction() as tx:
            await note(tx, "orders", "billing")
            await stack.enter_async_context(away(shop, coordinator, "a3"))
        assert tx.outcome is Outcome.COMMITTED
    assert shop.noted(tx.id) == {"orders", "billing"}


async def test_with_two_away_it_is_unknown_until_one_is_back(coordinator, surface, shop, note):
    """One acceptor has all votes: that is no decision, and enough for recovery to make it one."""
    tx = coordinator.transaction(deadline=1.0)
    async with contextlib.AsyncExitStack() as stack:
        async with ends_in(OutcomeUnknown) as caught, tx:
            await note(tx, "orders", "billing")
            await stack.enter_async_context(away(shop, coordinator, "a1", "a3"))
        assert caught.value.txid == tx.id
        assert tx.outcome is Outcome.OPEN
        assert shop.prepared(tx.id) == {"orders", "billing"}
        with pytest.raises(NotEnoughAcceptors):
            async with coordinator.transaction():
                pass
        with pytest.raises(NotEnoughAcceptors):
            async with surface.open(shop.settings):
                pass
        shop.place("a3").server.start()
        async with surface.open(shop.settings, recover=True) as another:
            await eventually(lambda: not shop.prepared(tx.id), "recovery finishes it")
            assert await another.outcome(tx.id) is Outcome.COMMITTED
    assert shop.noted(tx.id) == {"orders", "billing"}
    assert await coordinator.outcome(tx.id) is Outcome.COMMITTED


async def test_a_participant_that_is_down_holds_up_no_other(coordinator, surface, shop, note):
    settings = shop.with_options(connect_timeout=1.0)
    async with (
        away(shop, coordinator, "a2"),  # and stock, on the same server
        surface.open(settings) as opened_meanwhile,
    ):
        async with opened_meanwhile.transaction() as tx:
            await note(tx, "orders", "billing")
            with pytest.raises(ParticipantUnavailable, match="stock"):
                await tx.connection("stock")
        assert tx.outcome is Outcome.COMMITTED
        async with (
            ends_in(ParticipantUnavailable),
            opened_meanwhile.transaction() as refused,
        ):
            await note(refused, "orders", "stock")
        assert refused.outcome is Outcome.ABORTED
        shop.place("stock").server.start()

        async def works() -> bool:
            try:
                async with opened_meanwhile.transaction() as late:
                    await note(late, "orders", "stock")
            except ParticipantUnavailable:
                return False
            return late.outcome is Outcome.COMMITTED

        await eventually(works, "it is used once it is back")
    assert shop.noted(tx.id) == {"orders", "billing"}
    assert shop.noted(refused.id) == set()


async def test_a_server_restarted_inside_the_block_aborts_all(coordinator, shop, note):
    """Only what is prepared survives a restart, and nothing was."""
    incarnation = coordinator.transaction().id.coordinator
    async with ends_in(TransactionAborted, match="stock"), coordinator.transaction() as tx:
        await note(tx, "orders", "stock")
        shop.place("stock").server.restart("fast")
    assert tx.outcome is Outcome.ABORTED
    assert shop.noted(tx.id) == set()
    assert not shop.prepared(tx.id)
    await eventually(lambda: shop.lock_holders(incarnation) == set(shop.acceptors))
    async with coordinator.transaction() as next_one:  # on connections that are new
        await note(next_one, "orders", "stock")
    assert shop.noted(next_one.id) == {"orders", "stock"}


async def test_without_faults_the_votes_are_at_f_plus_1_acceptors(coordinator, shop, note):
    async def accepted() -> set[str]:
        async with coordinator.transaction() as tx:
            await note(tx, "orders", "billing")
        assert await coordinator.outcome(tx.id) is Outcome.COMMITTED
        return set(shop.accepted(tx.id))

    async def at_two() -> bool:  # a busy machine may hedge
        return len(await accepted()) == 2

    await eventually(at_two)


async def test_a_decision_outlives_each_of_the_acceptors_that_have_it(coordinator, shop, note):
    async def known_to_two() -> Any:
        async with coordinator.transaction() as tx:
            await note(tx, "orders", "billing")
        return len(shop.accepted(tx.id)) == 2 and tx

    tx = await eventually(known_to_two)
    for gone in sorted(shop.accepted(tx.id)):
        async with away(shop, coordinator, gone):
            # One of two that answer has it: nobody can tell that it was chosen ...
            assert await coordinator.outcome(tx.id) in (Outcome.OPEN, Outcome.COMMITTED)
            # ... but a ballot finds it, and then it stands at two again.
            assert await coordinator.outcome(tx.id, force=True) is Outcome.COMMITTED
            assert await coordinator.outcome(tx.id) is Outcome.COMMITTED


async def test_one_that_hangs_holds_up_no_commit(coordinator, shop, note):
    backends = shop.place("a1").execute(
        "select pid from pg_stat_activity"
        " where datname = current_database() and pid <> pg_backend_pid() and client_port <> 0"
    )
    with contextlib.ExitStack() as thaw:
        for (pid,) in backends:
            thaw.enter_context(Frozen(pid)).freeze()
        for _ in range(3):
            async with coordinator.transaction() as tx:
                await note(tx, "orders", "billing")
            assert tx.outcome is Outcome.COMMITTED
    assert backends
