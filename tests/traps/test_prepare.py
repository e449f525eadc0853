"""Traps 1 to 6: PREPARE that fails silently, warns, hangs, comes late, or is busy."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from paxcommit import Outcome, TransactionAborted, TxId
from tests.traps.lab import BOTH, ERRORS, dies_at, until
from tests.traps.processes import coordinators


async def swallow(surface, tx, key, *participants) -> None:
    """Commit as if the last statement had not failed."""
    async with tx:
        for name in participants:
            raw = await surface.insert(tx, name, key)
        with suppress(*ERRORS):
            await surface.execute(raw, "SELECT 1 / 0")


async def test_trap_1_an_error_that_the_block_swallowed_aborts_everything(lab, surface):
    """PREPARE in a failed transaction raises nothing, so nobody may vote on its silence."""
    key = lab.key()
    async with surface.open(lab.settings()) as coordinator:
        tx = coordinator.transaction()
        with pytest.raises(TransactionAborted, match="billing: "):
            await swallow(surface, tx, key, "orders", "billing")
        assert tx.outcome is Outcome.ABORTED
    assert lab.holders(key) == []


async def test_trap_1_one_participant_alone(lab, surface):
    """COMMIT in a failed transaction is answered with the tag ROLLBACK, and no error."""
    key = lab.key()
    async with surface.open(lab.settings()) as coordinator:
        with pytest.raises(TransactionAborted):
            await swallow(surface, coordinator.transaction(), key, "orders")
    assert lab.holders(key) == []


async def test_trap_2_a_prepare_cancelled_in_its_wait_for_a_standby_is_no_vote(lab, surface):
    """Its tag says success; only a warning, which the user's settings may hide, says otherwise."""
    key = lab.key()
    async with surface.open(lab.settings()) as coordinator:
        tx = coordinator.transaction(deadline=30)
        hide = "SET LOCAL client_min_messages = error"
        with lab.lonely():
            paying = asyncio.create_task(surface.transfer(tx, key, hide))
            (pid,) = await until(lambda: lab.waiting("billing", "SyncRep"), "PREPARE to wait")
            lab.far.execute(f"SELECT pg_cancel_backend({pid})")
            await until(lambda: lab.waiting("billing", "SyncRep", "PREPARED"), "it to be finished")
        with pytest.raises(TransactionAborted, match="warning"):
            await paying
    assert lab.holders(key) == []


async def test_trap_3_the_deadline_bounds_a_prepare_that_no_server_timeout_bounds(lab, surface):
    """`statement_timeout` does not end a wait for a standby: the client must, and terminate it."""
    key = lab.key()
    async with surface.open(lab.settings()) as coordinator:
        tx = coordinator.transaction(deadline=1)
        in_vain = "SET statement_timeout = '100ms'"
        with lab.lonely():
            paying = asyncio.create_task(surface.transfer(tx, key, in_vain))
            (pid,) = await until(lambda: lab.waiting("billing", "SyncRep"), "PREPARE to wait")
            await until(lambda: not lab.is_there("billing", pid), "the backend to be terminated")
        with pytest.raises(TransactionAborted, match="deadline"):
            await asyncio.wait_for(paying, 20)
    async with surface.recovery(lab.settings()) as recovery:
        await recovery.run_once()
    assert lab.holders(key) == []


async def test_trap_4_a_gid_that_appears_after_its_connection_was_lost(lab, surface):
    """That no gid is in `pg_prepared_xacts` is no evidence: this one comes after the abort."""
    key = lab.key("gated")
    connections = []

    async def pay(tx) -> None:
        async with tx:
            await surface.insert(tx, "orders", key)
            connections.append(await surface.insert(tx, "billing", key))

    with lab.gate("billing") as open_gate:
        async with surface.open(lab.settings()) as coordinator:
            tx = coordinator.transaction()
            paying = asyncio.create_task(pay(tx))
            await until(lambda: lab.waiting("billing", "advisory"), "PREPARE to wait")
            surface.cut(connections[0])
            with pytest.raises(TransactionAborted):
                await paying
            assert lab.prepared() == []
            open_gate()
            await until(lab.prepared, "the late gid")
            assert await coordinator.outcome(tx.id) is not Outcome.COMMITTED
    async with surface.recovery(lab.settings()) as recovery:
        await lab.finish(recovery, tx.id)
        assert (await recovery.resolve(tx.id)).outcome is Outcome.ABORTED
    assert lab.holders(key) == []


@asynccontextmanager
async def killed_while_billing_prepares(lab, surface, key, event) -> AsyncIterator[tuple]:
    """A coordinator dies while one of its PREPAREs waits in the server; gives txid and backend."""
    steps = [["never", key, ["orders", "billing"], 60]]
    async with coordinators(surface, lab, steps) as processes:
        ((begun,),) = (await processes.hear(1, "begun")).values()
        (pid,) = await until(lambda: lab.waiting("billing", event), "PREPARE to wait")
        await until(lambda: lab.gids("orders"), "the other branch")
        await processes.kill(begun["pid"])
        yield TxId.parse(begun["txid"]), pid


async def test_trap_5_a_late_prepare_meets_the_fence_that_recovery_left(lab, surface):
    """Recovery decides and cleans up while a PREPARE is still on its way in the server."""
    key = lab.key("gated")
    with lab.gate("billing") as open_gate:
        async with (
            killed_while_billing_prepares(lab, surface, key, "advisory") as (txid, pid),
            surface.recovery(lab.settings()) as recovery,
        ):
            assert len(lab.prepared()) == 1
            report = await recovery.run_once()
            assert [each.outcome for each in report.resolved] == [Outcome.ABORTED]
            assert dict(report.resolved[0].unapplied) == {}
            open_gate()
            await until(lambda: not lab.is_there("billing", pid), "the late PREPARE to end")
            assert lab.prepared() == []
            assert lab.row("billing", txid) == "fence"
    assert lab.holders(key) == []


async def test_trap_6_recovery_ends_a_prepare_that_is_busy(lab, surface):
    """A gid that waits for a standby is visible, but finishing it says 55000."""
    key = lab.key()
    with lab.lonely():
        async with (
            killed_while_billing_prepares(lab, surface, key, "SyncRep") as (txid, pid),
            surface.recovery(lab.settings()) as recovery,
        ):
            assert len(lab.prepared()) == 2
            recovering = asyncio.create_task(recovery.run_once())
            await until(lambda: not lab.is_there("billing", pid), "the busy backend to end")
            lab.forget_standby()
            await recovering
            await lab.finish(recovery, txid)
    assert lab.holders(key) == []
    assert lab.damages(txid) == {}


async def test_trap_6_several_recoverers_at_once_do_no_harm(lab, surface):
    """Each may find the gid busy, or gone, because of another; none may call that damage."""
    key = lab.key()
    async with surface.open(lab.settings()) as coordinator:
        tx = coordinator.transaction()
        with dies_at("commit-prepared:billing.before"):
            await surface.transfer(tx, key)
    recoverers = [surface.recovery(lab.settings()) for _ in range(3)]
    opened = [await recoverer.__aenter__() for recoverer in recoverers]
    reports = await asyncio.gather(*(recovery.run_once() for recovery in opened))
    await lab.finish(opened[0], tx.id)
    for recoverer in recoverers:
        await recoverer.__aexit__(None, None, None)
    assert not any(report.damaged for report in reports)
    assert lab.holders(key) == BOTH
    assert lab.damages(tx.id) == {}
