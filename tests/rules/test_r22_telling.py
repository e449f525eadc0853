"""R21, R22 and R24: what is told is definite, or says that it is not; afterwards nothing raises."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from paxcommit import Outcome, OutcomeUnknown, TransactionAborted
from paxcommit.testing import failpoints

from ..coordinator.shop import Shop, ends_in, eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")

BOTH = {"orders", "billing"}
_TRAP = """
create table trapped (txid text not null, sqlstate text not null);
-- Deferred, so it is COMMIT or PREPARE that fails, as when a disk is full.
create function spring() returns trigger language plpgsql as $$
begin
    raise exception 'sprung' using errcode = new.sqlstate;
end $$;
create constraint trigger trap after insert on trapped deferrable initially deferred
for each row execute function spring();
"""

DEFINITE = ["P0001", "23514", "40001", "40P01", "22012", "25P02", "42501", "55P03", "0A000"]
INDEFINITE = ["08006", "53100", "53200", "57014", "57P01", "58030", "XX000"]
RETRYABLE = ["40001", "40P01"]


@pytest.fixture(scope="module", autouse=True)
def trapped(shop: Shop) -> Iterator[None]:
    """A table at ``orders`` whose rows make the end of the transaction fail, as they say."""
    shop.look("orders", _TRAP)
    yield
    shop.look("orders", "drop table trapped")
    shop.look("orders", "drop function spring")


async def spring(surface, tx, sqlstate) -> None:
    orders = await tx.connection("orders")
    await surface.run(orders, f"insert into note values ('{tx.id}')")
    await surface.run(orders, f"insert into trapped values ('{tx.id}', '{sqlstate}')")


@pytest.mark.parametrize("sqlstate", DEFINITE)
async def test_r22_an_ordinary_error_of_a_one_phase_commit_is_an_abort(
    coordinator, surface, shop, sqlstate
):
    async with (
        ends_in(TransactionAborted, match=sqlstate) as caught,
        coordinator.transaction() as tx,
    ):
        await spring(surface, tx, sqlstate)
    if sqlstate != "55P03":  # what waited for a lock may be tried again, too
        assert caught.value.retryable is (sqlstate in RETRYABLE)
    assert tx.outcome is Outcome.ABORTED
    assert shop.noted(tx.id) == set()


@pytest.mark.parametrize("sqlstate", INDEFINITE)
async def test_r22_an_error_that_proves_nothing_leaves_a_one_phase_commit_unknown(
    coordinator, surface, shop, sqlstate
):
    """A COMMIT that answered 58030 has been found committed after a restart (trap 4)."""
    async with ends_in(OutcomeUnknown, match=sqlstate), coordinator.transaction() as tx:
        await spring(surface, tx, sqlstate)
    assert tx.outcome is Outcome.OPEN
    assert await coordinator.outcome(tx.id) is Outcome.OPEN
    assert await coordinator.outcome(tx.id, force=True) is Outcome.ABORTED
    assert shop.noted(tx.id) == set()
    assert shop.rows(tx.id).get("orders") == "fence"


@pytest.mark.parametrize("sqlstate", ["P0001", "40001", "53100", "58030", "57014"])
async def test_r21_until_j_is_queued_every_failure_of_a_prepare_is_an_abort(
    coordinator, surface, shop, note, sqlstate
):
    """Even one that proves nothing about its branch: without a J nobody can commit it (R7)."""
    async with ends_in(TransactionAborted, match="sprung"), coordinator.transaction() as tx:
        await note(tx, "billing")
        await spring(surface, tx, sqlstate)
    assert tx.outcome is Outcome.ABORTED
    assert not shop.accepted(tx.id)
    assert not shop.prepared(tx.id)
    assert shop.noted(tx.id) == set()


async def test_r21_once_j_is_queued_a_deadline_is_not_an_abort(coordinator, surface, shop, note):
    """One acceptor may have it, and does: an abort would be a lie that recovery shows up."""
    lock = "lock table paxcommit.transaction in access exclusive mode"
    tx = coordinator.transaction(deadline=0.5)
    with shop.holding("a1", lock), shop.holding("a2", lock):
        async with ends_in(OutcomeUnknown), tx:
            await note(tx, "orders", "billing")
        assert tx.outcome is Outcome.OPEN
        assert shop.prepared(tx.id) == BOTH

    async def resolved() -> bool:
        await recovery.run_once()
        return not shop.prepared(tx.id)

    async with surface.recovery(shop.settings) as recovery:
        await eventually(resolved)
    assert await coordinator.outcome(tx.id) is Outcome.COMMITTED
    assert shop.noted(tx.id) == BOTH


async def test_r24_what_cannot_be_applied_is_named_and_recovery_applies_it(surface, shop, note):
    """The decision stands; the participant is away when it is to be applied."""
    place = shop.place("orders")

    def go_away() -> None:
        place.server.execute(f'alter database "{place.database}" allow_connections false')
        place.server.execute(
            "select pg_terminate_backend(pid, 5000) from pg_stat_activity"
            f" where datname = '{place.database}'"
        )

    async with surface.open(shop.settings) as coordinator:
        tx = coordinator.transaction()
        try:
            with failpoints.call_at("tell:committed", go_away):
                async with tx:
                    await note(tx, "orders", "billing")
            assert tx.outcome is Outcome.COMMITTED
            assert set(tx.unapplied) == {"orders"}
        finally:
            place.server.execute(f'alter database "{place.database}" allow_connections true')
        assert shop.noted(tx.id) == {"billing"}
        assert shop.prepared(tx.id) == {"orders"}
        assert await coordinator.outcome(tx.id) is Outcome.COMMITTED
    async with surface.recovery(shop.settings) as recovery:
        await recovery.run_once()
    assert shop.noted(tx.id) == BOTH
    assert not shop.prepared(tx.id)
    assert not shop.damages(tx.id)
