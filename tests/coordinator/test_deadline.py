"""The deadline bounds a commit: what is held up longer is aborted, and stays aborted."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest

from paxcommit import ConfigurationError, Outcome, TransactionAborted

from .shop import Shop, ends_in, eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")

_GATE = 4711
_SCHEMA = f"""
create table gated (txid text not null);
-- A deferred trigger runs inside the round trip of PREPARE; this one waits for the test.
create function pass_gate() returns trigger language plpgsql as $$
begin
    perform pg_advisory_xact_lock({_GATE});
    return null;
end $$;
create constraint trigger gate after insert on gated deferrable initially deferred
for each row execute function pass_gate();
"""


@pytest.fixture(scope="module", autouse=True)
def gated(shop: Shop) -> Iterator[None]:
    """A table at ``billing`` whose rows are prepared only while nobody holds the gate."""
    shop.look("billing", _SCHEMA)
    yield
    shop.look("billing", "drop table gated")
    shop.look("billing", "drop function pass_gate")


async def test_a_prepare_held_up_beyond_the_deadline_aborts_all(coordinator, surface, shop, note):
    with shop.holding("billing", f"select pg_advisory_lock({_GATE})"):
        async with (
            ends_in(TransactionAborted, match="deadline") as caught,
            coordinator.transaction(deadline=0.3) as tx,
        ):
            await note(tx, "orders")
            billing = await tx.connection("billing")
            await surface.run(billing, f"insert into gated values ('{tx.id}')")
        # Definite already, while the gate is still closed.
        assert caught.value.txid == tx.id
        assert tx.outcome is Outcome.ABORTED
        await eventually(lambda: shop.prepared(tx.id) == set(), "orders is rolled back")
    await eventually(lambda: not shop.waiting("billing"))
    async with surface.recovery(shop.settings) as recovery:
        await recovery.run_once()
    assert not shop.prepared(tx.id)
    assert shop.noted(tx.id) == set()
    assert shop.look("billing", "select 1 from gated where txid = %s", str(tx.id)) == []
    assert await coordinator.outcome(tx.id, force=True) is Outcome.ABORTED


async def test_a_prepare_held_up_for_less_commits(coordinator, surface, shop, note):
    """So it is the deadline, and not the wait, that aborted the other."""
    tx = coordinator.transaction()
    with shop.holding("billing", f"select pg_advisory_xact_lock({_GATE})") as holder:
        async with tx:
            await note(tx, "orders")
            billing = await tx.connection("billing")
            await surface.run(billing, f"insert into gated values ('{tx.id}')")
            holder.rollback()
    assert tx.outcome is Outcome.COMMITTED
    assert shop.look("billing", "select 1 from gated where txid = %s", str(tx.id)) == [(1,)]


@pytest.mark.parametrize("deadline", [0, -1, math.nan, math.inf, 1e12])
async def test_a_deadline_that_cannot_work_is_refused(coordinator, deadline):
    with pytest.raises(ConfigurationError, match="deadline"):
        coordinator.transaction(deadline=deadline)


async def test_a_way_to_wait_that_there_is_not_is_refused(coordinator):
    with pytest.raises(ConfigurationError, match="soon"):
        coordinator.transaction(wait="soon")
