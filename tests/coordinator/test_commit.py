"""Leaving the block commits everywhere; an exception in it commits nowhere."""

from __future__ import annotations

import asyncio

import pytest

from paxcommit import EnlistError, Outcome, TransactionAborted, TxId, UsageError
from paxcommit.testing import failpoints

from .shop import Frozen, ends_in, eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.mark.parametrize("names", [("orders", "billing"), ("orders", "billing", "stock")])
async def test_all_participants_commit(coordinator, shop, note, names):
    async with coordinator.transaction() as tx:
        await note(tx, *names)
        assert shop.noted(tx.id) == set()
    assert tx.outcome is Outcome.COMMITTED
    assert shop.noted(tx.id) == set(names)
    assert not shop.prepared(tx.id)
    assert shop.rows(tx.id) == dict.fromkeys(names, "branch")
    assert not tx.unapplied


async def test_an_exception_aborts_everywhere_and_is_raised_again(coordinator, shop, note):
    error = ValueError("the user's own")
    async with ends_in(ValueError, match="own") as caught, coordinator.transaction() as tx:
        await note(tx, "orders", "billing")
        raise error
    assert caught.value is error
    assert tx.outcome is Outcome.ABORTED
    assert shop.noted(tx.id) == set()
    assert not shop.rows(tx.id)
    assert not shop.accepted(tx.id)


async def test_the_id_exists_before_anything_else(coordinator):
    tx = coordinator.transaction()
    assert TxId.parse(str(tx.id)) == tx.id
    assert tx.outcome is Outcome.OPEN
    other = coordinator.transaction()
    assert other.id != tx.id


async def test_the_fault_free_case_costs_what_the_paper_says(coordinator, shop, note):
    async with coordinator.transaction() as warm_up:
        await note(warm_up, "orders", "billing")
    with failpoints.record() as steps:
        async with coordinator.transaction() as tx:
            await note(tx, "orders", "billing")
    assert tx.outcome is Outcome.COMMITTED
    begun = [step for step in steps if step.endswith(".before")]
    asked = [step for step in begun if step.startswith("phase2a:")]
    assert len(set(asked)) == len(asked) in (2, 3), "F+1 of 2F+1, unless a busy machine hedges"
    assert sorted(set(begun) - set(asked)) == [
        *("commit-prepared:billing.before", "commit-prepared:orders.before"),
        *("prepare:billing.before", "prepare:orders.before"),
    ]
    last_prepare = max(steps.index(f"prepare:{name}.after") for name in ("orders", "billing"))
    assert last_prepare < min(map(steps.index, asked))
    decided = steps.index("tell:committed")
    assert sum(f"phase2a:a{n}.after" in steps[:decided] for n in (1, 2, 3)) >= 2
    assert decided < min(steps.index(f"commit-prepared:{n}.before") for n in ("orders", "billing"))


async def test_the_acceptors_hold_j_and_every_vote_at_ballot_0(coordinator, shop, note):
    async with coordinator.transaction() as tx:
        await note(tx, "orders", "billing")
    held = shop.accepted(tx.id)
    assert len(held) >= 2
    for accepted in held.values():
        assert accepted == {"*": [0, "J:billing,orders"], "orders": [0, "P"], "billing": [0, "P"]}


async def test_a_single_participant_commits_in_one_phase(coordinator, surface, shop, note):
    with failpoints.record() as steps:
        async with coordinator.transaction() as tx:
            await note(tx, "orders")
    assert [step for step in steps if step.endswith(".before")] == ["commit-only:orders.before"]
    assert shop.noted(tx.id) == {"orders"}
    assert shop.rows(tx.id) == {"orders": "only"}
    assert not shop.accepted(tx.id)
    assert tx.outcome is Outcome.COMMITTED
    async with surface.open(shop.settings) as another:
        assert await another.outcome(tx.id) is Outcome.COMMITTED


async def test_a_single_participant_that_failed_is_aborted(coordinator, surface, shop, note):
    async with ends_in(TransactionAborted), coordinator.transaction() as tx:
        orders = await tx.connection("orders")
        await note(tx, "orders")
        with pytest.raises(Exception, match="zero"):
            await surface.run(orders, "select 1/0")
    assert tx.outcome is Outcome.ABORTED
    assert shop.noted(tx.id) == set()
    assert not shop.rows(tx.id)


async def test_two_enlisted_of_which_one_wrote_go_through_the_acceptors(
    coordinator, surface, shop, note
):
    async with coordinator.transaction() as tx:
        await note(tx, "orders")
        await surface.run(await tx.connection("billing"), "select count(*) from note")
    assert shop.rows(tx.id) == {"orders": "branch"}
    assert {held["*"][1] for held in shop.accepted(tx.id).values()} == {"J:orders"}


@pytest.mark.parametrize("names", [(), ("orders",), ("orders", "billing")])
async def test_what_wrote_nothing_leaves_no_trace(coordinator, surface, shop, names):
    async with coordinator.transaction() as tx:
        for name in names:
            await surface.run(await tx.connection(name), "select count(*) from note")
    assert tx.outcome is Outcome.COMMITTED
    assert not shop.rows(tx.id)
    assert not shop.accepted(tx.id)
    assert await coordinator.outcome(tx.id) is Outcome.OPEN


async def test_the_drivers_savepoints_work_inside(coordinator, surface, shop, note):
    async with coordinator.transaction() as tx:
        await note(tx, "orders", "billing")
        orders = await tx.connection("orders")
        async with ends_in(Exception, match="zero"), surface.savepoint(orders):
            await surface.run(orders, f"insert into note values ('{tx.id}', 'undone')")
            await surface.run(orders, "select 1/0")
        async with surface.savepoint(orders):
            await surface.run(orders, f"insert into note values ('{tx.id}', 'kept')")
    texts = shop.look("orders", "select text from note where txid = %s order by 1", str(tx.id))
    assert texts == [("",), ("kept",)]


async def leave(tx, note, surface, backend) -> None:
    async with tx:
        await note(tx, "orders", "billing")
        [(backend.pid,)] = await surface.run(
            await tx.connection("orders"), "select pg_backend_pid()"
        )


@pytest.mark.parametrize("wait", ["decided", "applied"])
async def test_waiting_for_the_decision_and_waiting_until_it_is_applied(surface, shop, note, wait):
    async with surface.open(shop.settings) as coordinator:
        tx = coordinator.transaction(wait=wait)
        with Frozen() as backend:
            leaving = asyncio.create_task(leave(tx, note, surface, backend))
            with failpoints.call_at("tell:committed", backend.freeze):
                await eventually(lambda: tx.outcome is Outcome.COMMITTED)
            if wait == "decided":
                await leaving
            else:
                await eventually(lambda: shop.prepared(tx.id) == {"orders"})
                assert not leaving.done()
            assert "orders" in shop.prepared(tx.id)
        await leaving
    # close() has waited for the rest
    assert shop.noted(tx.id) == {"orders", "billing"}
    assert not shop.prepared(tx.id)


async def test_nothing_joins_before_or_after_the_block(coordinator, note):
    tx = coordinator.transaction()
    with pytest.raises(UsageError, match="not entered"):
        await tx.connection("orders")
    async with tx:
        await note(tx, "orders")
    with pytest.raises(UsageError):
        await tx.connection("billing")
    async with ends_in(UsageError, match="entered before"), tx:
        pass


async def test_asking_again_gives_the_same_connection(coordinator):
    async with coordinator.transaction() as tx:
        orders = await tx.connection("orders")
        assert await tx.connection("orders") is orders


async def test_a_participant_has_one_branch(coordinator, surface, shop, connect):
    own = await connect("orders")
    async with coordinator.transaction() as tx:
        await tx.connection("orders")
        with pytest.raises(EnlistError, match="already"):
            await tx.enlist("orders", own)
    assert await surface.run(own, "select 1") == [(1,)]
