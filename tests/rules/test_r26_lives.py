"""R26: a coordinator shows that it lives before anything hangs on it, or starts nothing new."""

from __future__ import annotations

import contextlib

import psycopg
import pytest

from paxcommit import NotEnoughAcceptors
from paxcommit.testing.failpoints import call_at

from ..coordinator.shop import eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")

ACCEPTORS = {"a1", "a2", "a3"}
LOCK = (
    "pid in (select pid from pg_locks where locktype = 'advisory' and granted"
    " and ((classid::bigint << 32) | objid::bigint) = {})"
)
TAKE_AWAY = """
do $$ begin
    loop
        perform pg_terminate_backend(pid, 5000) from pg_stat_activity
        where pid <> pg_backend_pid() and {where};
        exit when pg_try_advisory_lock({coordinator});
    end loop;
end $$
"""


@contextlib.contextmanager
def taken_away(shop, name, coordinator):
    """The acceptor gives the incarnation's lock to nobody; its link is cut."""
    where = LOCK.format(coordinator)
    with psycopg.connect(shop.place(name).dsn, autocommit=True) as other:
        other.execute(TAKE_AWAY.format(where=where, coordinator=coordinator).encode())
        yield


async def test_r26_the_lock_is_held_at_a_majority_before_the_first_prepare(coordinator, shop, note):
    tx = coordinator.transaction()
    held = []
    with call_at("prepare:*.before", lambda: held.append(shop.lock_holders(tx.id.coordinator))):
        async with tx:
            await note(tx, "orders", "billing")
    assert held == [ACCEPTORS]


async def test_r26_the_locks_are_gone_with_the_coordinator(surface, shop):
    async with surface.open(shop.settings) as coordinator:
        number = coordinator.transaction().id.coordinator
        assert shop.lock_holders(number) == ACCEPTORS
    await eventually(lambda: not shop.lock_holders(number))


async def test_r26_a_lock_that_was_lost_is_retaken(coordinator, shop, note):
    """On the connection that carries the votes: they go with one another."""
    number = coordinator.transaction().id.coordinator
    await eventually(lambda: shop.lock_holders(number) == ACCEPTORS)
    assert shop.terminate("a2", LOCK.format(number)) == 1
    await eventually(lambda: shop.lock_holders(number) == ACCEPTORS, "the lock to be retaken")
    async with coordinator.transaction() as tx:
        await note(tx, "orders", "billing")
    assert shop.noted(tx.id) == {"orders", "billing"}


async def test_r26_below_a_majority_nothing_new_starts(coordinator, shop, note):
    """Whoever cannot be seen alive would be taken for dead in the middle of a commit."""
    number = coordinator.transaction().id.coordinator
    await eventually(lambda: shop.lock_holders(number) == ACCEPTORS)
    with contextlib.ExitStack() as stack:
        stack.enter_context(taken_away(shop, "a1", number))
        async with coordinator.transaction() as tx:
            await note(tx, "orders", "billing")
        assert shop.noted(tx.id) == {"orders", "billing"}, "F may be missing"

        stack.enter_context(taken_away(shop, "a3", number))
        await eventually(lambda: refused(coordinator), "it to be refused")

    await eventually(lambda: shop.lock_holders(number) == ACCEPTORS, "the locks to be retaken")
    async with coordinator.transaction() as tx:
        await note(tx, "orders", "billing")
    assert shop.noted(tx.id) == {"orders", "billing"}


async def refused(coordinator):
    """Whether a new transaction is refused, before anything of it is anywhere."""
    tx = coordinator.transaction()
    try:
        async with tx:
            return False
    except NotEnoughAcceptors as error:
        assert "Nothing was started" in str(error)  # noqa: PT017 - where it is not, we ask again
        return True
