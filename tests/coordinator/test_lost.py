"""A resource manager that lost its transaction before the commit aborts all of it."""

from __future__ import annotations

import pytest

from paxcommit import Outcome, OutcomeUnknown, TransactionAborted

from .shop import ends_in

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def backend(tx, surface, name) -> int:
    """The server process of the transaction's branch."""
    [(pid,)] = await surface.run(await tx.connection(name), "select pg_backend_pid()")
    return pid


@pytest.mark.parametrize("lost", ["orders", "billing"])
async def test_a_branch_whose_backend_was_terminated_aborts_all(
    coordinator, surface, shop, note, lost
):
    async with ends_in(TransactionAborted, match=lost), coordinator.transaction() as tx:
        await note(tx, "orders", "billing", "stock")
        assert shop.terminate(lost, f"pid = {await backend(tx, surface, lost)}") == 1
    assert tx.outcome is Outcome.ABORTED
    assert shop.noted(tx.id) == set()
    assert not shop.prepared(tx.id)
    assert not shop.accepted(tx.id)


async def test_a_reader_whose_backend_was_terminated_leaves_no_half(
    coordinator, surface, shop, note
):
    """It has nothing to lose, so both ends are right; but only one of them may be shown."""
    committed = True
    try:
        async with coordinator.transaction() as tx:
            await note(tx, "orders", "billing")
            assert shop.terminate("stock", f"pid = {await backend(tx, surface, 'stock')}") == 1
    except TransactionAborted:
        committed = False
    assert tx.outcome is (Outcome.COMMITTED if committed else Outcome.ABORTED)
    assert shop.noted(tx.id) == ({"orders", "billing"} if committed else set())


async def test_a_single_branch_that_was_terminated_is_not_called_committed(
    coordinator, surface, shop, note
):
    """In one phase the answer to COMMIT may be all there was, so unknown is honest too."""
    async with ends_in((TransactionAborted, OutcomeUnknown)), coordinator.transaction() as tx:
        await note(tx, "orders")
        assert shop.terminate("orders", f"pid = {await backend(tx, surface, 'orders')}") == 1
    assert await coordinator.outcome(tx.id, force=True) is Outcome.ABORTED
    assert shop.noted(tx.id) == set()
