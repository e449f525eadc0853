"""A process is killed at every step: recovery leaves the databases whole, and nothing prepared."""

from __future__ import annotations

import re

import pytest

from paxcommit import Outcome, TxId

from ..coordinator.shop import eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")

BOTH = ("billing", "orders")
ACCEPTORS = ("a1", "a2", "a3")


def around(step, names):
    return [f"{step}:{name}.{when}" for name in names for when in ("before", "after")]


COMMIT = [
    *around("prepare", BOTH),
    *around("phase2a", ACCEPTORS),
    "tell:committed",
    *around("commit-prepared", BOTH),
]
APPLY = [*around("learn", ACCEPTORS), "tell:committed", *around("commit-prepared", BOTH)]
ABORT = [
    *around("learn", ACCEPTORS),
    *around("phase1a", ACCEPTORS),
    *around("phase2a", ACCEPTORS),
    "tell:aborted",
    *around("rollback-and-fence", (*BOTH, "stock")),
    *around("fence-after-rollback", (*BOTH, "stock")),
]
UNDECIDED, DECIDED = "phase2a:a1.before", "tell:committed"


def may_be_missed(step):
    """F+1 answers are enough; whoever answers after that may find the process gone."""
    return re.fullmatch(r"(learn|phase1a|phase2a):\w+\.after", step) is not None


async def kill_coordinator(start, step):
    """Let one die at a step; return its transaction, and what it had acknowledged."""
    member = await start("coordinate", participants=BOTH, wait="decided", arm=[("kill", step)])
    txid = TxId.parse(await member.hear("txid"))
    assert await member.killed() or may_be_missed(step), f"it got past {step}"
    return txid, dict(member.told).get("outcome")


async def finish(recovery, shop, txid):
    """Let a recoverer look until nothing is prepared; return what was decided."""

    async def resolved():
        await recovery.run_once()
        return not shop.prepared(txid)

    await eventually(resolved, "recovery to finish")
    return (await recovery.resolve(txid)).outcome


def judge(shop, txid, outcome):
    """Atomic, and as it was decided."""
    committed = outcome is Outcome.COMMITTED
    assert shop.noted(txid) == (set(BOTH) if committed else set())
    assert shop.prepared(txid) == set()
    assert shop.damages(txid) == {}


async def test_these_are_all_steps_of_a_commit(start, shop):
    """Whoever adds a step has it killed, too; and each is reached once."""
    member = await start("coordinate", participants=BOTH)
    reached = await member.hear("done")
    assert len(reached) == len(set(reached))
    assert set(reached) <= set(COMMIT)
    assert all(map(may_be_missed, set(COMMIT) - set(reached)))
    judge(shop, await member.hear("txid"), Outcome.COMMITTED)


@pytest.mark.parametrize("step", COMMIT)
async def test_a_coordinator_is_killed_at(step, start, shop, recovery):
    """With a deadline of minutes: it is the lock that tells that it is dead (R26)."""
    txid, acknowledged = await kill_coordinator(start, step)
    outcome = await finish(recovery, shop, txid)
    judge(shop, txid, outcome)
    if acknowledged is not None:
        assert (acknowledged, outcome) == ("committed", Outcome.COMMITTED)
    if step.startswith(("tell", "commit-prepared")):
        assert outcome is Outcome.COMMITTED
    if step.startswith("prepare") or step == UNDECIDED:
        assert outcome is not Outcome.COMMITTED


@pytest.mark.parametrize(
    ("step", "outcome"), [(UNDECIDED, Outcome.ABORTED), (DECIDED, Outcome.COMMITTED)]
)
async def test_a_coordinator_that_recovers_beside_its_work_finishes_it(
    step, outcome, start, shop, surface
):
    """R28: ``recover=True`` is all that a user needs who runs nothing else."""
    txid, _ = await kill_coordinator(start, step)
    assert shop.prepared(txid) == set(BOTH)
    async with surface.open(shop.settings, recover=True) as coordinator:
        await eventually(lambda: not shop.prepared(txid), "it to be finished")
        assert await coordinator.outcome(txid) is outcome
    judge(shop, txid, outcome)


@pytest.mark.parametrize(("state", "steps"), [(UNDECIDED, ABORT), (DECIDED, APPLY)])
async def test_these_are_all_steps_of_a_recovery(state, steps, start, shop):
    txid, _ = await kill_coordinator(start, state)
    member = await start("recover")
    reached = await member.hear("done")
    assert await member.hear("resolved") == [str(txid)]
    assert len(reached) == len(set(reached))
    assert set(reached) <= set(steps)
    assert all(map(may_be_missed, set(steps) - set(reached)))


@pytest.mark.parametrize(
    ("state", "step"),
    [
        (state, step)
        for state, steps in ((UNDECIDED, ABORT), (DECIDED, APPLY))
        for step in steps
        if ":a3." not in step  # one acceptor is as good as another
    ],
)
async def test_a_recoverer_is_killed_at(state, step, start, shop, recovery):
    """Another one finishes, and never the other way."""
    txid, _ = await kill_coordinator(start, state)
    member = await start("recover", arm=[("kill", step)])
    assert await member.killed() or may_be_missed(step), f"it got past {step}"
    outcome = await finish(recovery, shop, txid)
    judge(shop, txid, outcome)
    assert outcome is (Outcome.COMMITTED if state == DECIDED else Outcome.ABORTED)
