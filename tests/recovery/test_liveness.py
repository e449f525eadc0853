"""R26: dead or slow?  A coordinator's locks tell, and for a silent one the deadline does."""

from __future__ import annotations

import pytest

from paxcommit import Outcome, TxId

from ..coordinator.shop import eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")

BOTH = ("billing", "orders")
LOCK = (
    "pid in (select pid from pg_locks where locktype = 'advisory'"
    " and ((classid::bigint << 32) | objid::bigint) = {})"
)


async def frozen_undecided(start, **options):
    """A coordinator that stands still between its PREPAREs and its votes."""
    member = await start(
        "coordinate", participants=BOTH, arm=[("stop", "phase2a:a1.before")], **options
    )
    txid = TxId.parse(await member.hear("txid"))
    await member.frozen()
    return member, txid


async def until_old_enough_to_be_looked_at(shop, txid):
    """R25: whose branch is younger than a second is not even asked about."""

    def old():
        [[age]] = shop.look(
            "orders",
            "select extract(epoch from now() - prepared) from pg_prepared_xacts where gid = %s",
            shop.gid("orders", txid),
        )
        return age > 1

    await eventually(old)


async def test_a_living_coordinators_branches_are_left_alone_until_it_dies(start, shop, recovery):
    """The deadline is far: only the locks can have told."""
    member, txid = await frozen_undecided(start, deadline=600)
    assert shop.lock_holders(txid.coordinator) == {"a1", "a2", "a3"}
    await until_old_enough_to_be_looked_at(shop, txid)
    report = await recovery.run_once()
    assert report.in_doubt == 2
    assert [(each.txid, each.outcome) for each in report.resolved] == [(txid, Outcome.OPEN)]
    assert shop.prepared(txid) == set(BOTH)
    assert shop.accepted(txid) == {}, "nobody led a ballot"

    member.kill()
    await eventually(lambda: not shop.lock_holders(txid.coordinator), "its locks to be gone")
    report = await recovery.run_once()
    assert [(each.txid, each.outcome) for each in report.resolved] == [(txid, Outcome.ABORTED)]
    assert shop.prepared(txid) == set()


async def test_dead_means_that_a_majority_answers_without_its_lock(start, shop, recovery):
    """One acceptor that misses it proves nothing; two do, and a wrong guess costs an abort."""
    member, txid = await frozen_undecided(start, deadline=600)
    shop.terminate("a1", LOCK.format(txid.coordinator))
    assert shop.lock_holders(txid.coordinator) == {"a2", "a3"}
    await until_old_enough_to_be_looked_at(shop, txid)
    await recovery.run_once()
    assert shop.prepared(txid) == set(BOTH)

    shop.terminate("a2", LOCK.format(txid.coordinator))
    report = await recovery.run_once()
    assert [each.outcome for each in report.resolved] == [Outcome.ABORTED]

    member.wake()
    assert await member.hear("raised") in ("TransactionAborted", "OutcomeUnknown")
    await member.hear("done")
    assert shop.noted(txid) == shop.prepared(txid) == set()
    assert shop.damages(txid) == {}


async def test_a_silent_coordinators_branches_are_resolved_after_the_deadline(
    start, shop, recovery
):
    """Its locks stand, for its connections do: the deadline in the gid is the fallback (R3)."""
    member, txid = await frozen_undecided(start, deadline=1)

    async def resolved():
        await recovery.run_once()
        return not shop.prepared(txid)

    await eventually(resolved)
    assert shop.lock_holders(txid.coordinator) == {"a1", "a2", "a3"}
    assert (await recovery.resolve(txid)).outcome is Outcome.ABORTED

    member.wake()
    assert await member.hear("raised") in ("TransactionAborted", "OutcomeUnknown")
    await member.hear("done")
    assert shop.noted(txid) == shop.prepared(txid) == set()
    assert shop.damages(txid) == {}


async def test_what_a_silent_coordinator_has_decided_is_applied_at_once(start, shop, recovery):
    """Learning needs nobody's death and no deadline; it sleeps on a decision (R25)."""
    member = await start("coordinate", participants=BOTH, arm=[("stop", "tell:committed")])
    txid = TxId.parse(await member.hear("txid"))
    await member.frozen()
    await until_old_enough_to_be_looked_at(shop, txid)
    await recovery.run_once()
    assert shop.noted(txid) == set(BOTH)
    assert shop.prepared(txid) == set()

    member.wake()
    assert await member.hear("outcome") == "committed"
    await member.hear("done")
    assert shop.damages(txid) == {}
