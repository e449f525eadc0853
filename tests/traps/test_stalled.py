"""Traps 30 and 31: a stalled coordinator wakes up, and continues; and a judge that can fail."""

from __future__ import annotations

import pytest

from paxcommit import Outcome, OutcomeUnknown, TxId
from tests.traps.lab import BOTH, EVERY_VOTE, STEPS, dies_at
from tests.traps.processes import coordinators
from tests.traps.surfaces import SURFACES

LATE = ["prepare:orders.after", "phase2a:a2.before", "commit-prepared:orders.before"]
ALONE = ["commit-only:orders.before", "commit-only:orders.after"]


async def test_trap_30_whoever_wakes_up_is_refused_or_harmless(lab, surface):
    """SIGSTOP at every step of a commit, recovery to the end, SIGCONT: the databases agree.

    Whoever recovers by a grace period half-commits here.  Most are forced, long before their
    deadline, so that what they send once they wake is sent in earnest; some are late.
    """
    steps = [[step, lab.key(), BOTH, 60] for step in STEPS]
    steps += [[step, lab.key(), ["orders"], 60] for step in ALONE]
    late = [[step, lab.key("late"), BOTH, 3] for step in LATE]
    steps += late
    async with (
        coordinators(surface, lab, steps) as processes,
        surface.recovery(lab.settings()) as recovery,
    ):
        heard = await processes.hear(len(steps), "stopped", "missed")
        assert "missed" not in heard, heard["missed"]
        txids = {each["begun"]: TxId.parse(each["txid"]) for each in heard["begun"]}

        await lab.finish(recovery, *(txids[key] for _, key, *_ in late))
        outcomes = {
            key: (await recovery.resolve(txid, force=True)).outcome for key, txid in txids.items()
        }
        await lab.finish(recovery, *txids.values())

        processes.wake()
        heard = await processes.hear(len(steps), "claimed")
        claims = {each["key"]: each["claimed"] for each in heard["claimed"]}
        await lab.finish(recovery, *txids.values())

        for step, key, participants, _ in steps:
            print(f"{step} {key}: {outcomes[key]}, claimed: {claims[key]}")
            lab.judge(key, txids[key], outcomes[key], claims[key], participants)
            # What was decided stays decided, and acceptors and databases say the same.
            assert (await recovery.resolve(txids[key])).outcome is outcomes[key], step
    # Both ways are among them: J queued nowhere, and J chosen.
    by_step = {step: outcomes[key] for step, key, *_ in steps}
    assert by_step["prepare:billing.before"] is Outcome.ABORTED
    assert by_step["tell:committed"] is Outcome.COMMITTED


@pytest.mark.parametrize(
    ("verdict", "outcome", "claim", "finish"),
    [
        ("half", Outcome.COMMITTED, "committed", {"orders": "COMMIT", "billing": "ROLLBACK"}),
        ("half", Outcome.ABORTED, "TransactionAborted", {"orders": "COMMIT"}),
        ("half", Outcome.COMMITTED, "committed", {"billing": "ROLLBACK", "orders": "ROLLBACK"}),
        ("lie", Outcome.COMMITTED, "TransactionAborted", dict.fromkeys(BOTH, "COMMIT")),
        ("lie", Outcome.ABORTED, "committed", dict.fromkeys(BOTH, "ROLLBACK")),
        ("undecided", Outcome.OPEN, "OutcomeUnknown", dict.fromkeys(BOTH, "ROLLBACK")),
    ],
)
async def test_trap_31_the_judge_can_fail(lab, verdict, outcome, claim, finish):
    """A checker that never failed proves nothing: here is what it is there to catch, by hand."""
    key = lab.key()
    surface = SURFACES[0]
    async with surface.open(lab.settings()) as coordinator:
        tx = coordinator.transaction()
        with dies_at(*EVERY_VOTE), pytest.raises(OutcomeUnknown):
            await surface.transfer(tx, key)
    for name in BOTH:
        (gid,) = lab.gids(name)
        lab.place(name).execute(f"{finish.get(name, 'ROLLBACK')} PREPARED '{gid}'")
    with pytest.raises(AssertionError, match=verdict):
        lab.judge(key, tx.id, outcome, claim, BOTH)
