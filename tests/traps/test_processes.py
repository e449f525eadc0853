"""Traps 31b and 31c: two branches of one participant, and two processes with one incarnation."""

from __future__ import annotations

import os
import signal
import warnings
from collections.abc import Callable
from typing import Any

import pytest

from paxcommit import ClusterError, ConfigurationError, EnlistError, ForkedProcessError, Settings
from paxcommit.cluster import initialise
from paxcommit.drivers import choose_async
from tests.traps.lab import BOTH


async def test_trap_31b_asking_again_is_getting_the_same_branch(lab, surface):
    """A second connection would wait for the locks of the first, once that is prepared."""
    key = lab.key()
    async with surface.open(lab.settings()) as coordinator, coordinator.transaction() as tx:
        first = await surface.insert(tx, "orders", key)
        again = await tx.connection("orders")
        assert again is first
        await surface.execute(again, f"UPDATE entry SET key = key WHERE key = '{key}'")
        await surface.insert(tx, "billing", key)
    assert lab.holders(key) == BOTH


@pytest.mark.parametrize("ours_first", [True, False], ids=["connection", "enlist"])
async def test_trap_31b_a_second_branch_is_refused_and_the_first_goes_on(lab, surface, ours_first):
    """R4: whoever enlists a participant twice hears so at once, and nothing is lost by it."""
    key = lab.key()
    async with surface.open(lab.settings()) as coordinator:
        mine = await surface.connect(lab.dsn("orders"))
        other = await surface.connect(lab.dsn("orders"))
        async with coordinator.transaction() as tx:
            if ours_first:
                await surface.insert(tx, "orders", key)
            else:
                await tx.enlist("orders", mine)
                await surface.execute(mine, f"INSERT INTO entry (key) VALUES ('{key}')")
                with pytest.raises(EnlistError, match="that connection"):
                    await tx.connection("orders")
            with pytest.raises(EnlistError, match="one branch"):
                await tx.enlist("orders", other)
            # It was left as it was: idle, and still its owner's.
            await surface.execute(other, "VACUUM entry")
            await surface.insert(tx, "billing", key)
        assert await surface.value(mine, "SELECT count(*) FROM entry WHERE false") == 0
        await surface.close(mine)
        await surface.close(other)
    assert lab.holders(key) == BOTH


async def test_trap_31b_one_database_has_one_name(lab):
    """Two names for it would be two branches that wait for each other."""
    billing = lab.dsn("billing")
    with pytest.raises(ConfigurationError, match="same database"):
        Settings.load(lab.settings(participants={"billing": billing, "invoices": billing}))
    disguised = billing.replace("127.0.0.1", "localhost")
    with pytest.raises((ClusterError, ConfigurationError), match="invoices"):
        await initialise(
            Settings.load(lab.settings(participants={"billing": billing, "invoices": disguised})),
            choose_async(),
        )


def in_a_fork(*attempts: Callable[[], Any]) -> list[str]:
    """Say what each attempt raises in a forked child; the child touches nothing of the parent's."""
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # 3.12 and later: we have threads
        pid = os.fork()
    if pid == 0:
        try:
            signal.alarm(10)  # a child that is not refused may hang
            for attempt in attempts:
                try:
                    attempt()
                    said = "nothing"
                except BaseException as error:  # noqa: BLE001 - it is what the parent asks for
                    said = type(error).__name__
                os.write(writing, f"{said}\n".encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as child:
        said = child.read().split()
    os.waitpid(pid, 0)
    return said


def first_step(surface, it: Any) -> Any:
    """Run a call up to where it would wait for the first time; the child has no event loop."""
    return it.send(None) if surface.name != "threads" else it


async def test_trap_31c_a_forked_child_may_not_touch_the_transaction(lab, surface):
    """Parent and child would both own ballot 0 of one txid: only the parent may commit."""
    key = lab.key()
    async with surface.open(lab.settings()) as coordinator:
        inner = getattr(coordinator, "inner", coordinator)
        blocking = surface.name == "threads"
        async with coordinator.transaction() as tx:
            await surface.insert(tx, "orders", key)
            mine = getattr(tx, "inner", tx)
            leave = mine.__exit__ if blocking else mine.__aexit__
            failed = ValueError("in the child")
            said = in_a_fork(
                lambda: first_step(surface, leave(None, None, None)),
                lambda: first_step(surface, leave(ValueError, failed, None)),
                lambda: first_step(surface, mine.connection("orders")),
                lambda: first_step(surface, mine.connection("billing")),
                lambda: first_step(surface, mine.enlist("billing", object())),
                lambda: first_step(surface, inner.close()),
            )
            assert said == [ForkedProcessError.__name__] * 6
            await surface.insert(tx, "billing", key)
    assert lab.holders(key) == BOTH


async def test_trap_31c_a_forked_child_may_not_begin_one_either(lab, surface):
    """The counter was copied, too: both would draw the same next txid."""
    key = lab.key()
    async with surface.open(lab.settings()) as coordinator:
        inner = getattr(coordinator, "inner", coordinator)
        blocking = surface.name == "threads"
        made = inner.transaction()
        enter = made.__enter__ if blocking else made.__aenter__

        async def work(tx: Any) -> None:
            raise AssertionError("never called")

        said = in_a_fork(
            inner.transaction,
            lambda: first_step(surface, enter()),
            lambda: first_step(surface, inner.run(work)),
            lambda: first_step(surface, inner.outcome(made.id, force=True)),
        )
        assert said == [ForkedProcessError.__name__] * 4
        tx = coordinator.transaction()
        await surface.transfer(tx, key)
        assert tx.id.seq == made.id.seq + 1
    assert lab.holders(key) == BOTH
