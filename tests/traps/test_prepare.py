"""Traps 1 to 6: PREPARE that fails silently, warns, hangs, comes late, or is busy."""

from __future__ import annotations

import asyncio

import pytest

from paxcommit import Outcome, OutcomeUnknown, TransactionAborted
from tests.traps.lab import BOTH, dies_at, until


async def test_trap_1_an_error_that_the_block_swallowed_aborts_everything(lab, surface):
    """PREPARE in a failed transaction raises nothing, so nobody may vote on its silence."""
    key = lab.key()
    async with surface.open(lab.settings()) as coordinator:
        with pytest.raises(TransactionAborted) as caught:
            async with coordinator.transaction() as tx:
                await surface.insert(tx, "orders", key)
                raw = await surface.insert(tx, "billing", key)
                with pytest.raises(Exception, match="division by zero"):
                    await surface.execute(raw, "SELECT 1 / 0")
        assert "billing" in caught.value.reason
        assert tx.outcome is Outcome.ABORTED
    assert lab.holders(key) == []


async def test_trap_1_one_participant_alone(lab, surface):
    """COMMIT in a failed transaction is answered with the tag ROLLBACK, and no error."""
    key = lab.key()
    async with surface.open(lab.settings()) as coordinator:
        with pytest.raises(TransactionAborted):
            async with coordinator.transaction() as tx:
                raw = await surface.insert(tx, "orders", key)
                with pytest.raises(Exception, match="division by zero"):
                    await surface.execute(raw, "SELECT 1 / 0")
    assert lab.holders(key) == []


async def test_trap_2_a_prepare_cancelled_in_its_wait_for_a_standby_is_no_vote(lab, surface):
    """Its tag says success; only a warning, which the user's settings may hide, says otherwise."""
    key = lab.key()
    async with surface.open(lab.settings()) as coordinator:
        lab.miss_standby()

        async def pay() -> None:
            async with coordinator.transaction(deadline=30) as tx:
                await surface.insert(tx, "orders", key)
                raw = await surface.insert(tx, "billing", key)
                await surface.execute(raw, "SET LOCAL client_min_messages = error")

        paying = asyncio.create_task(pay())
        (pid,) = await until(lambda: lab.waiting("billing", "SyncRep"), "PREPARE to wait")
        lab.far.execute(f"SELECT pg_cancel_backend({pid})")
        await until(lambda: lab.waiting("billing", "SyncRep", "ROLLBACK PREPARED"), "the rollback")
        lab.forget_standby()
        with pytest.raises(TransactionAborted, match="warning"):
            await paying
    assert lab.holders(key) == []


async def test_trap_3_the_deadline_bounds_a_prepare_that_no_server_timeout_bounds(lab, surface):
    """`statement_timeout` does not end a wait for a standby: the client must, and terminate it."""
    key = lab.key()
    async with surface.open(lab.settings()) as coordinator:
        lab.miss_standby()

        async def pay() -> None:
            async with coordinator.transaction(deadline=1) as tx:
                await surface.insert(tx, "orders", key)
                raw = await surface.insert(tx, "billing", key)
                await surface.execute(raw, "SET statement_timeout = '100ms'")

        paying = asyncio.create_task(pay())
        (pid,) = await until(lambda: lab.waiting("billing", "SyncRep"), "PREPARE to wait")
        await until(lambda: not lab.is_there("billing", pid), "the backend to be terminated")
        lab.forget_standby()
        with pytest.raises(TransactionAborted, match="deadline"):
            await asyncio.wait_for(paying, 20)
    async with surface.recovery(lab.settings()) as recovery:
        await recovery.run_once()
    assert lab.holders(key) == []


async def test_trap_4_a_gid_that_appears_after_its_connection_was_lost(lab, surface):
    """That a gid is not in `pg_prepared_xacts` never was evidence: this one comes after the abort."""
    key = lab.key("gated")
    with lab.gate("billing") as open_gate:
        async with surface.open(lab.settings()) as coordinator:
            tx = coordinator.transaction()

            async def pay() -> None:
                async with tx:
                    await surface.insert(tx, "orders", key)
                    connections.append(await surface.insert(tx, "billing", key))

            connections = []
            paying = asyncio.create_task(pay())
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


async def test_trap_5_a_late_prepare_meets_the_fence_that_recovery_left(lab, surface):
    """Recovery decides and cleans up while a PREPARE is still on its way in the server."""
    key = lab.key("gated")
    connections = []
    with lab.gate("billing") as open_gate:
        async with surface.open(lab.settings()) as coordinator:
            tx = coordinator.transaction(deadline=60)

            async def pay() -> None:
                async with tx:
                    await surface.insert(tx, "orders", key.removeprefix("gated"))
                    connections.append(await surface.insert(tx, "billing", key))

            with dies_at("prepare:orders.after"):
                paying = asyncio.create_task(pay())
                (pid,) = await until(lambda: lab.waiting("billing", "advisory"), "a slow PREPARE")
                await until(lab.place("orders").prepared, "the other branch")
                surface.cut(connections[0])
                with pytest.raises(OutcomeUnknown):
                    await paying
        async with surface.recovery(lab.settings()) as recovery:
            report = await recovery.run_once()
            assert [each.outcome for each in report.resolved] == [Outcome.ABORTED]
            assert dict(report.resolved[0].unapplied) == {}
            open_gate()
            await until(lambda: not lab.is_there("billing", pid), "the late PREPARE to end")
            assert lab.prepared() == []
            assert lab.row("billing", tx.id) == "fence"
    assert lab.holders(key) == []
    assert lab.holders(key.removeprefix("gated")) == []


async def test_trap_6_recovery_ends_a_prepare_that_is_busy(lab, surface):
    """A gid that waits for a standby is visible, and finishing it says 55000: neither is the end."""
    key = lab.key()
    connections = []
    lab.miss_standby()
    async with surface.open(lab.settings()) as coordinator:
        tx = coordinator.transaction(deadline=60)

        async def pay() -> None:
            async with tx:
                await surface.insert(tx, "orders", key)
                connections.append(await surface.insert(tx, "billing", key))

        with dies_at("prepare:orders.after"):
            paying = asyncio.create_task(pay())
            (pid,) = await until(lambda: lab.waiting("billing", "SyncRep"), "PREPARE to wait")
            await until(lab.place("orders").prepared, "the other branch")
            surface.cut(connections[0])
            with pytest.raises(OutcomeUnknown):
                await paying
    assert len(lab.prepared()) == 2
    async with surface.recovery(lab.settings()) as recovery:
        recovering = asyncio.create_task(recovery.run_once())
        await until(lambda: not lab.is_there("billing", pid), "the busy backend to end")
        lab.forget_standby()
        await recovering
        await lab.finish(recovery, tx.id)
    assert lab.holders(key) == []
    assert lab.damages(tx.id) == {}


async def test_trap_6_several_recoverers_at_once_do_no_harm(lab, surface):
    """Each may find the gid busy, or gone, because of another; none may call that damage."""
    key = lab.key()
    async with surface.open(lab.settings()) as coordinator:
        with dies_at("commit-prepared:billing.before"):
            async with coordinator.transaction() as tx:
                await surface.insert(tx, "orders", key)
                await surface.insert(tx, "billing", key)
    recoverers = [surface.recovery(lab.settings()) for _ in range(3)]
    opened = [await recoverer.__aenter__() for recoverer in recoverers]
    reports = await asyncio.gather(*(recovery.run_once() for recovery in opened))
    await lab.finish(opened[0], tx.id)
    for recoverer in recoverers:
        await recoverer.__aexit__(None, None, None)
    assert not any(report.damaged for report in reports)
    assert lab.holders(key) == BOTH
    assert lab.damages(tx.id) == {}
