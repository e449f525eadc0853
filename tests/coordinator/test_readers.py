"""Participants that wrote nothing are left out of J (R15); isolation levels."""

from __future__ import annotations

import pytest

from paxcommit import Outcome, TransactionAborted
from paxcommit.testing import failpoints

from .shop import ends_in

pytestmark = pytest.mark.asyncio(loop_scope="module")

READ = "select count(*) from note"


@pytest.mark.parametrize("declared", [True, False], ids=["declared", "undeclared"])
@pytest.mark.parametrize("isolation", ["read committed", "repeatable read", "serializable"])
async def test_a_reader_is_left_out_of_j(coordinator, surface, shop, note, declared, isolation):
    with failpoints.record() as steps:
        async with coordinator.transaction(isolation=isolation) as tx:
            await note(tx, "orders", "billing")
            stock = await tx.connection("stock", read_only=True if declared else None)
            await surface.run(stock, READ)
    assert shop.noted(tx.id) == {"orders", "billing"}
    assert {held["*"][1] for held in shop.accepted(tx.id).values()} == {"J:billing,orders"}
    assert shop.rows(tx.id) == {"orders": "branch", "billing": "branch"}
    how = "commit-reader" if isolation == "serializable" else "end-reader"
    ended = steps.index(f"{how}:stock.after")
    first_vote = next(at for at, step in enumerate(steps) if step.startswith("phase2a:"))
    if isolation == "serializable":
        assert ended < first_vote  # its reads are checked when it commits, so before the decision
    else:
        assert first_vote < ended


async def test_a_reader_is_in_its_transaction_until_the_decision(coordinator, surface, shop, note):
    """So whatever it locked stays locked; here a table, which takes no transaction id."""

    def locked() -> bool:
        return bool(
            shop.look(
                "stock",
                "select 1 from pg_locks where relation = 'note'::regclass"
                " and mode = 'AccessShareLock' and pid <> pg_backend_pid()",
            )
        )

    held: list[bool] = []
    with failpoints.call_at("tell:committed", lambda: held.append(locked())):
        async with coordinator.transaction() as tx:
            await note(tx, "orders", "billing")
            await surface.run(await tx.connection("stock"), READ)
    assert held == [True]
    assert not locked()


async def test_a_serializable_reader_that_cannot_commit_aborts_all(
    coordinator, surface, shop, note
):
    def terminate() -> None:
        shop.terminate("stock", f"pid = {pid}")

    tx = coordinator.transaction(isolation="serializable")
    with failpoints.call_at("commit-reader:stock.before", terminate):
        async with ends_in(TransactionAborted), tx:
            await note(tx, "orders", "billing")
            [(pid,)] = await surface.run(await tx.connection("stock"), "select pg_backend_pid()")
    assert shop.noted(tx.id) == set()
    assert not shop.prepared(tx.id)
    assert not shop.accepted(tx.id)


async def test_a_reader_that_writes_after_it_was_asked_is_rolled_back(
    coordinator, surface, shop, note
):
    """A thread of the user's that goes on although the block is over."""
    if surface.name != "blocking":
        pytest.skip("a hook cannot wait for a coroutine")
    tx = coordinator.transaction()
    with failpoints.call_at("phase2a:*.before", lambda: stock.execute(insert)):
        async with tx:
            await note(tx, "orders", "billing")
            stock = await tx.connection("stock")
            insert = f"insert into note values ('{tx.id}')"
    assert tx.outcome is Outcome.COMMITTED
    assert shop.noted(tx.id) == {"orders", "billing"}


async def test_declared_read_only_refuses_writes(coordinator, surface, shop, note):
    async with ends_in(Exception, match="read-only"), coordinator.transaction() as tx:
        await note(tx, "orders")
        billing = await tx.connection("billing", read_only=True)
        await surface.run(billing, f"insert into note values ('{tx.id}')")
    assert tx.outcome is Outcome.ABORTED
    assert shop.noted(tx.id) == set()


async def test_a_whole_transaction_can_be_read_only_but_for_one_connection(
    coordinator, surface, shop
):
    async with coordinator.transaction(read_only=True) as tx:
        orders = await tx.connection("orders", read_only=False)
        billing = await tx.connection("billing")
        assert await surface.run(billing, "show transaction_read_only") == [("on",)]
        await surface.run(orders, f"insert into note values ('{tx.id}')")
    assert shop.noted(tx.id) == {"orders"}


async def test_isolation_per_transaction_and_per_connection(coordinator, surface):
    async with coordinator.transaction(isolation="serializable") as tx:
        orders = await tx.connection("orders")
        billing = await tx.connection("billing", isolation="repeatable read")
        stock = await tx.connection("stock", isolation="read committed")
        levels = [
            await surface.run(connection, "show transaction_isolation")
            for connection in (orders, billing, stock)
        ]
    assert levels == [[("serializable",)], [("repeatable read",)], [("read committed",)]]


async def test_the_databases_default_isolation_is_left_alone(coordinator, surface, shop):
    async with coordinator.transaction() as tx:
        orders = await tx.connection("orders")
        assert await surface.run(orders, "show transaction_isolation") == [("read committed",)]
