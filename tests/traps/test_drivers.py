"""Traps 32 to 34: drivers that run ahead, tasks that are cancelled, and passwords that leak."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import pytest

from paxcommit import Coordinator, Outcome, Settings, TransactionAborted
from paxcommit.cluster import initialise
from paxcommit.drivers import choose_async
from tests.traps.lab import BOTH, ERRORS, EVERY_VOTE, PASSWORD, STEPS, at, dies_at, until
from tests.traps.surfaces import SURFACES, Surface


async def test_trap_32_a_connection_that_did_not_answer_is_never_lent_again(lab, surface):
    """Its PREPARE may still happen: back in a pool, the next user's work would be part of it."""
    gated, key = lab.key("gated"), lab.key()
    async with surface.open(lab.settings(pool_size=1)) as coordinator:
        with lab.gate("billing"):
            tx = coordinator.transaction(deadline=1)
            paying = asyncio.create_task(surface.transfer(tx, gated))
            (silent,) = await until(lambda: lab.waiting("billing", "advisory"), "PREPARE")
            with pytest.raises(TransactionAborted, match="deadline"):
                await asyncio.wait_for(paying, 20)
            # The pool has one connection, and it is another one.
            async with coordinator.transaction() as tx:
                raw = await surface.insert(tx, "billing", key)
                assert await surface.value(raw, "SELECT pg_backend_pid()") != silent
                await surface.insert(tx, "orders", key)
            assert not lab.is_there("billing", silent)
    assert lab.holders(key) == BOTH
    assert lab.holders(gated) == []


@pytest.mark.parametrize("how", ["committed", "refused by PREPARE", "raised", "ended inside"])
async def test_trap_32_driver_and_server_agree_on_the_users_connection_afterwards(
    lab, surface, how
):
    """A driver that believes in a transaction which is over refuses what comes next."""
    key, later = lab.key(), lab.key()
    more = {
        "committed": [],
        "refused by PREPARE": ["CREATE TEMP TABLE scratch (id int)"],
        "raised": ["SELECT 1 / 0"],
        "ended inside": ["ROLLBACK"],
    }
    mine = await surface.connect(lab.dsn("billing"), autocommit=False)
    before = surface.state(mine)

    async def pay(tx) -> None:
        async with tx:
            await tx.enlist("billing", mine)
            await surface.insert(tx, "orders", key)
            await surface.execute(mine, f"INSERT INTO entry (key) VALUES ('{key}')")
            for statement in more[how]:
                await surface.execute(mine, statement)

    async with surface.open(lab.settings()) as coordinator:
        with nullcontext() if how == "committed" else pytest.raises((TransactionAborted, *ERRORS)):
            await pay(coordinator.transaction())
    assert surface.state(mine) == before
    await surface.in_transaction(mine, f"INSERT INTO entry (key) VALUES ('{later}')")
    await surface.close(mine)
    assert lab.holders(key) == (BOTH if how == "committed" else [])
    assert lab.holders(later) == ["billing"]


@pytest.mark.parametrize(
    ("surface", "step"),
    [*((SURFACES[0], step) for step in STEPS), *((SURFACES[1], step) for step in STEPS[1::3])],
    ids=str,
)
async def test_trap_33_a_cancelled_commit_goes_on_and_close_waits_for_it(lab, surface, step):
    """Whatever step the cancellation comes at; the block's own task learns nothing, and may go."""
    key = lab.key()
    async with surface.open(lab.settings()) as coordinator:
        tx = coordinator.transaction()
        paying = asyncio.create_task(surface.transfer(tx, key))
        with at(step, paying.cancel):
            with pytest.raises(asyncio.CancelledError):
                await paying
            await coordinator.close()
    assert tx.outcome is Outcome.COMMITTED
    assert dict(tx.unapplied) == {}
    assert lab.holders(key) == BOTH


@pytest.mark.parametrize("at", ["connection", "statement"])
@pytest.mark.parametrize("surface", SURFACES[:2], ids=str)
async def test_trap_33_cancelled_inside_the_block_everything_is_rolled_back(lab, surface, at):
    """Before the commit a cancellation is an error like any other, and the pool keeps its slots."""
    key = lab.key()
    async with surface.open(lab.settings(pool_size=1)) as coordinator:

        async def pay() -> None:
            async with coordinator.transaction() as tx:
                raw = await surface.insert(tx, "orders", key)
                if at == "statement":
                    await surface.execute(raw, "SELECT pg_sleep(600)")
                reached.set()
                await tx.connection("billing")
                await asyncio.Event().wait()

        reached = asyncio.Event()
        paying = asyncio.create_task(pay())
        if at == "statement":
            await until(lambda: lab.waiting("orders", "PgSleep", "pg_sleep"), "the statement")
        else:
            await reached.wait()
        paying.cancel()
        with pytest.raises(asyncio.CancelledError):
            await paying
        assert lab.holders(key) == []
        await surface.transfer(coordinator.transaction(), key)
    assert lab.holders(key) == BOTH


@pytest.mark.parametrize("step", STEPS[::3])
def test_trap_33_a_keyboard_interrupt_abandons_nothing_either(lab, step):
    """Threads cannot be cancelled, but Ctrl-C reaches the one that waits for the commit."""
    key = lab.key()
    me = threading.get_ident()

    def pay() -> None:
        with tx:
            for name in BOTH:
                tx.connection(name).execute(f"INSERT INTO entry (key) VALUES ('{key}')")

    with Coordinator.open(lab.settings()) as coordinator:
        tx = coordinator.transaction()
        with (
            at(step, lambda: signal.pthread_kill(me, signal.SIGINT)),
            pytest.raises(KeyboardInterrupt),
        ):
            pay()
        coordinator.close()
    assert tx.outcome is Outcome.COMMITTED
    assert lab.holders(key) == BOTH


@contextmanager
def overheard(caplog: pytest.LogCaptureFixture) -> Iterator[list[str]]:
    """Everything that anybody logs, and everything that a test adds."""
    said: list[str] = []
    with caplog.at_level(logging.DEBUG):
        yield said
    said += [logging.Formatter().format(record) for record in caplog.records]


async def fail(said: list[str], work: Any) -> None:
    """Await something that fails, and add how: the whole chain, as a traceback would show it."""
    with pytest.raises(Exception) as caught:  # noqa: PT011 - whatever it is, it may not leak
        await work
    said += traceback.format_exception(caught.value)
    said += [repr(caught.value), str(vars(caught.value))]


async def open_and_pay(surface: Surface, settings: Any, key: str) -> None:
    async with surface.open(settings) as coordinator:
        await surface.transfer(coordinator.transaction(), key)


async def test_trap_34_no_password_in_any_log_error_or_repr(lab, surface, caplog):
    """Every DSN here has one; so whatever goes wrong, and right, may not show it."""
    nobody = lab.settings()
    nobody["acceptors"] = {
        name: dsn.replace("postgres:", "nobody:") for name, dsn in nobody["acceptors"].items()
    }
    nowhere = lab.settings()
    with socket.socket() as dead_end, overheard(caplog) as said:
        dead_end.bind(("127.0.0.1", 0))
        nothing = f"127.0.0.1:{dead_end.getsockname()[1]}"
        nowhere["participants"]["billing"] = f"postgresql://u:{PASSWORD}@{nothing}/billing"
        garbled = lab.settings()
        garbled["participants"]["billing"] = f"postgresql://u:{PASSWORD}@[127.0.0.1/x"
        odd = lab.settings()
        odd["participants"]["billing"] += "?sslmode=sideways&password=" + PASSWORD
        elsewhere = lab.settings()
        elsewhere["participants"]["billing"] = lab.dsn("orders").replace("orders", "postgres")
        wrong = [
            lab.settings(acceptors={"a1": PASSWORD}),
            lab.settings(acceptors=[lab.dsn("a1")]),
            lab.settings(participants={"billing": {"dns": lab.dsn("billing")}}),
            lab.settings(participants={lab.dsn("billing"): "billing"}),
            lab.settings(acceptors={lab.dsn("a1"): "a1"}),
            {**lab.settings(), lab.dsn("a1"): "a1"},
        ]

        for settings in (nobody, nowhere, garbled, odd, elsewhere, *wrong):
            await fail(said, open_and_pay(surface, settings, lab.key()))
        for settings in (nobody, nowhere, elsewhere):
            await fail(said, initialise(Settings.load(settings), choose_async(surface.driver)))

        async with surface.open(lab.settings()) as coordinator:
            tx = coordinator.transaction()
            await surface.transfer(tx, lab.key())
            for wrong in ("LISTEN news", "SELECT 1 / 0"):
                await fail(said, surface.transfer(coordinator.transaction(), lab.key(), wrong))
            with dies_at(*EVERY_VOTE):
                await fail(said, surface.transfer(coordinator.transaction(), lab.key()))
            inner = getattr(coordinator, "inner", coordinator)
            loaded = Settings.load(lab.settings())
            said += map(repr, [tx, getattr(tx, "inner", tx), inner, inner.network, loaded, tx.id])
            said += [str(loaded), loaded.model_dump_json(), str(loaded.model_dump())]
            said += map(repr, [inner.members, inner.network.members.sites, vars(inner)])
        async with surface.recovery(nowhere) as recovery:
            said.append(repr(await recovery.run_once()))
        async with surface.recovery(lab.settings()) as recovery:
            said.append(repr(await recovery.run_once()))
    assert len(said) > 50
    leaks = [each for each in said if PASSWORD in each]
    assert leaks == []
