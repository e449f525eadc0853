"""Traps 25, 28 and 29: what is no second try, no abort, and no decision."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from paxcommit import NotEnoughAcceptors, Outcome, OutcomeUnknown
from paxcommit.testing.failpoints import FailpointReached, call_at
from tests.traps.lab import BOTH, EVERY_VOTE, dies_at, until


async def test_trap_25_to_run_the_work_again_is_to_run_it_under_a_new_txid(lab, surface):
    """An RM that voted twice at ballot 0 of one txid could choose both ways."""
    key = lab.key()
    ids = []

    async def work(tx) -> None:
        ids.append(tx.id)
        await surface.insert(tx, "orders", key)
        raw = await surface.insert(tx, "billing", key)
        if len(ids) == 1:  # the driver's own error, out of the block
            await surface.execute(raw, "DO $$BEGIN RAISE SQLSTATE '40001'; END$$")
        if len(ids) == 2:  # a race that is lost in PREPARE: somebody was here with a fence
            lab.place("billing").execute(
                "INSERT INTO paxcommit.branch (epoch, coordinator, seq, participant, kind)"
                f" VALUES (1, {tx.id.coordinator}, {tx.id.seq}, 'billing', 'fence')"
            )

    async with surface.open(lab.settings()) as coordinator:
        await coordinator.run(work)
        outcomes = [await coordinator.outcome(txid) for txid in ids]
    assert len(set(ids)) == 3
    assert outcomes == [Outcome.OPEN, Outcome.OPEN, Outcome.COMMITTED]
    assert lab.holders(key) == BOTH


async def test_trap_25_what_may_be_committed_is_not_run_again(lab, surface):
    key = lab.key()
    ids = []

    async def work(tx) -> None:
        ids.append(tx.id)
        await surface.insert(tx, "orders", key)
        await surface.insert(tx, "billing", key)

    async with surface.open(lab.settings()) as coordinator:
        with dies_at(EVERY_VOTE[0]), pytest.raises(OutcomeUnknown) as caught:
            await coordinator.run(work)
        assert ids == [caught.value.txid]
    async with surface.recovery(lab.settings()) as recovery:
        await lab.finish(recovery, *ids)
        outcome = (await recovery.resolve(ids[0])).outcome
    # Two acceptors may have had the votes in time, or not: nobody could have known.
    assert lab.holders(key) == (BOTH if outcome is Outcome.COMMITTED else [])


async def test_trap_28_without_a_majority_it_is_unknown_and_finished_once_one_is_back(lab, surface):
    """That no majority has it is no abort: one acceptor has it, and that will do."""
    key, earlier = lab.key(), lab.key()
    second, third = (lab.place(name).server for name in ("a2", "a3"))
    async with surface.open(lab.settings()) as coordinator:
        third.stop("immediate")
        await surface.transfer(coordinator.transaction(), earlier)
        assert lab.holders(earlier) == BOTH, "one of three away is nothing"
        tx = coordinator.transaction(deadline=1)
        with (
            call_at("prepare:billing.before", lambda: second.stop("immediate")),
            pytest.raises(OutcomeUnknown),
        ):
            await surface.transfer(tx, key)
        assert tx.outcome is Outcome.OPEN
        assert await coordinator.outcome(tx.id) is Outcome.OPEN
        with pytest.raises(NotEnoughAcceptors):
            await coordinator.outcome(tx.id, force=True)
        with pytest.raises(NotEnoughAcceptors):
            async with coordinator.transaction():
                pass
        assert len(lab.prepared()) == 2, "nobody gave up"
        second.start()
    async with surface.recovery(lab.settings()) as recovery:
        await lab.finish(recovery, tx.id)
        assert (await recovery.resolve(tx.id)).outcome is Outcome.COMMITTED
    assert lab.holders(key) == BOTH
    third.start()


@contextmanager
def without(lab, acceptor: str) -> Iterator[dict]:
    """Settings under which an acceptor cannot be reached."""
    with socket.socket() as dead_end:  # bound, so that nobody else listens there
        dead_end.bind(("127.0.0.1", 0))
        settings = lab.settings()
        port = dead_end.getsockname()[1]
        settings["acceptors"][acceptor] = f"postgresql://127.0.0.1:{port}/nothing"
        yield settings


async def test_trap_29_an_abort_that_one_acceptor_accepted_proves_nothing(lab, surface):
    """A recoverer's phase 2a says Aborted, and dies; the transaction commits all the same.

    The coordinator reached a3 only.  A first recoverer hears a1 and a2, who know nothing, so it
    proposes Aborted and gets it into a1.  A second one hears a2 and a3: there ballot 0 is the
    highest that was accepted, so it must complete it.
    """
    key = lab.key()
    settings = lab.settings(acceptor_timeout=0.5)
    async with surface.open(settings) as coordinator:
        with lab.frozen("a1", "a2"):
            tx = coordinator.transaction()
            with (
                dies_at("phase1a:a1.before", "phase1a:a2.before", "phase1a:a3.before"),
                pytest.raises(OutcomeUnknown),
            ):
                await surface.transfer(tx, key)
            await coordinator.close()
    votes = {"*": [0, "J:billing,orders"], "orders": [0, "P"], "billing": [0, "P"]}
    assert [lab.accepted(name, tx.id) for name in ("a1", "a2", "a3")] == [{}, {}, votes]

    with without(lab, "a3") as half_blind:
        async with surface.recovery(half_blind) as first:
            with dies_at("phase2a:a2.before"):
                with pytest.raises(FailpointReached):
                    await first.run_once()
                await until(lambda: lab.accepted("a1", tx.id), "a1 to accept")
    assert lab.accepted("a1", tx.id)["*"][1] == "A"
    assert lab.accepted("a2", tx.id) == {}
    assert len(lab.prepared()) == 2, "what is not chosen is not applied"

    with without(lab, "a1") as half_blind:
        async with surface.recovery(half_blind) as second:
            await lab.finish(second, tx.id)
            assert (await second.resolve(tx.id)).outcome is Outcome.COMMITTED
    assert lab.holders(key) == BOTH
    assert lab.damages(tx.id) == {}
