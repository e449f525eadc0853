"""R25 on real servers: several recoverers, fences, damage, strangers, and too few acceptors."""

from __future__ import annotations

import asyncio
import contextlib

import psycopg
import pytest

from paxcommit import Outcome
from paxcommit.ids import Gid
from paxcommit.protocol.messages import Phase2b
from paxcommit.runtime import recovering
from paxcommit.sql.finish import prepared_branches

from ..coordinator.shop import eventually
from .by_hand import digest_of, in_flight, new_txid, prepare, propose, votes

pytestmark = pytest.mark.asyncio(loop_scope="module")

BOTH = ("billing", "orders")
ALL = ("billing", "orders", "stock")


async def decided(shop, *participants):
    """A transaction that is committed, and applied nowhere; its coordinator is gone."""
    txid = new_txid()
    prepare(shop, txid, *participants)
    answers = await propose(shop, txid, votes(*participants))
    assert all(isinstance(answer, Phase2b) for answer in answers)
    return txid


def undecided(shop, *participants):
    """A transaction that is prepared, and no acceptor knows of; its coordinator is gone."""
    txid = new_txid()
    prepare(shop, txid, *participants)
    return txid


async def test_what_was_decided_is_committed(shop, recovery):
    txid = await decided(shop, *BOTH)
    report = await recovery.run_once()
    assert [(each.txid, each.outcome) for each in report.resolved] == [(txid, Outcome.COMMITTED)]
    assert not report.damaged
    assert shop.noted(txid) == set(BOTH)
    assert shop.prepared(txid) == set()


async def test_two_acceptors_of_three_are_a_decision_and_one_is_completed(shop, recovery):
    """Found accepted at ballot 0 by one of those that promise, a value is proposed again."""
    txid = undecided(shop, *BOTH)
    await propose(shop, txid, votes(*BOTH), acceptors=("a1", "a3"))
    other = undecided(shop, *BOTH)
    await propose(shop, other, votes(*BOTH), acceptors=("a2",))
    report = await recovery.run_once()
    outcomes = {each.txid: each.outcome for each in report.resolved}
    assert outcomes[txid] is Outcome.COMMITTED
    assert shop.noted(txid) == set(BOTH)
    # Whether a2 was among the F+1 that promised first is chance; that it is atomic is not.
    assert shop.noted(other) == (set(BOTH) if outcomes[other] is Outcome.COMMITTED else set())
    assert shop.prepared(other) == set()


async def test_a_crowd_is_looked_at_once_and_over_few_connections(shop, recovery, monkeypatch):
    """Looking at all that is prepared for each of them would be quadratic."""
    looks = []

    def counted():
        looks.append(1)
        return prepared_branches()

    monkeypatch.setattr(recovering, "prepared_branches", counted)
    committed = [await decided(shop, *BOTH) for _ in range(6)]
    aborted = [undecided(shop, *BOTH) for _ in range(40)]
    report = await recovery.run_once()
    assert {each.txid: each.outcome for each in report.resolved} == {
        **dict.fromkeys(committed, Outcome.COMMITTED),
        **dict.fromkeys(aborted, Outcome.ABORTED),
    }
    assert not report.damaged
    assert not shop.prepared()
    # Once to sweep; and for each that is aborted at the third participant, which none had reached.
    assert len(looks) == len(ALL) + len(aborted)
    assert all(shop.rows(txid) == dict.fromkeys(ALL, "fence") for txid in aborted)


async def test_two_recoverers_at_once(shop, surface, recovery):
    """They duel, and agree; applying is idempotent."""
    wanted = {}
    for _ in range(6):
        wanted[await decided(shop, *BOTH)] = Outcome.COMMITTED
        wanted[undecided(shop, *BOTH)] = Outcome.ABORTED
    async with surface.recovery(shop.settings) as other:

        async def resolved():
            await asyncio.gather(recovery.run_once(), other.run_once())
            return not shop.prepared()

        await eventually(resolved)
        for txid, outcome in wanted.items():
            assert (await recovery.resolve(txid)).outcome is outcome
            assert (await other.resolve(txid)).outcome is outcome
            assert shop.noted(txid) == (set(BOTH) if outcome is Outcome.COMMITTED else set())
            assert shop.damages(txid) == {}


async def test_r7_a_branch_outside_the_chosen_j_is_rolled_back_although_it_committed(
    shop, recovery
):
    """A call whose answer was lost left a branch that the root never heard of."""
    txid = undecided(shop, *ALL)
    await propose(shop, txid, votes(*BOTH))
    report = await recovery.run_once()
    assert [(each.txid, each.outcome) for each in report.resolved] == [(txid, Outcome.COMMITTED)]
    assert shop.noted(txid) == set(BOTH)
    assert shop.prepared(txid) == set()
    assert shop.damages(txid) == {}


async def test_r20_after_an_abort_every_served_participant_is_fenced(shop, recovery):
    """J is unknown: one that had no branch yet may be about to prepare one."""
    txid = undecided(shop, "orders")
    report = await recovery.run_once()
    assert [each.outcome for each in report.resolved] == [Outcome.ABORTED]
    assert shop.rows(txid) == dict.fromkeys(ALL, "fence")
    for name in ALL:
        with pytest.raises(psycopg.errors.UniqueViolation) as caught:
            prepare(shop, txid, name)
        assert caught.value.sqlstate == "23505"
    assert shop.prepared(txid) == set()


async def test_r20_a_fence_is_repeated_until_a_late_branch_is_out_of_its_way(shop, recovery):
    """A row in flight holds the fence up, and is ended by a PREPARE that the next look undoes."""
    txid = undecided(shop, "orders")
    gid = Gid(digest_of(shop), txid, "billing", 600)
    with in_flight(shop, "billing", txid) as late:
        looking = asyncio.create_task(recovery.run_once())
        await eventually(lambda: shop.waiting("billing"), "the fence to wait")
        late.execute(f"prepare transaction {gid.quoted}".encode())
    await looking

    async def resolved():
        await recovery.run_once()
        return not shop.prepared(txid)

    await eventually(resolved)
    await eventually(lambda: shop.rows(txid) == dict.fromkeys(ALL, "fence"))
    assert shop.noted(txid) == set()


async def test_damage_is_told_once_written_down_once_and_kept(shop, recovery):
    """R19: somebody rolled a decided branch back by hand; no success is made of it."""
    txid = await decided(shop, *BOTH)
    shop.look("orders", f"rollback prepared '{shop.gid('orders', txid)}'")
    report = await recovery.run_once()
    assert report.damaged
    [resolved] = report.resolved
    assert (resolved.outcome, set(resolved.damage)) == (Outcome.COMMITTED, {"orders"})
    assert shop.damages(txid) == {"orders": "lost-branch"}
    assert shop.noted(txid) == {"billing"}

    again = await recovery.resolve(txid, force=True)
    assert set(again.damage) == {"orders"}, "it is damaged still"
    assert not (await recovery.run_once()).damaged, "and nothing is prepared that would say so"
    rows = shop.look("orders", "select count(*) from paxcommit.damage where txid = %s", str(txid))
    assert rows == [(1,)]


async def test_a_commit_by_hand_against_an_abort_is_damage(shop, recovery):
    txid = undecided(shop, *BOTH)
    shop.look("orders", f"commit prepared '{shop.gid('orders', txid)}'")
    report = await recovery.run_once()
    [resolved] = report.resolved
    assert (resolved.outcome, set(resolved.damage)) == (Outcome.ABORTED, {"orders"})
    assert shop.damages(txid) == {"orders": "committed-despite-abort"}


@pytest.mark.parametrize("stranger", ["another cluster's", "in the wrong database", "malformed"])
async def test_r2_gids_of_others_are_never_touched(stranger, shop, recovery):
    txid = new_txid()
    ours = Gid(digest_of(shop), txid, "orders", 1)
    gid = {
        "another cluster's": str(Gid("0" * 32, txid, "orders", 1)),
        "in the wrong database": str(Gid(digest_of(shop), txid, "billing", 1)),
        "malformed": str(ours).replace(":orders:", ":Orders:"),
    }[stranger]
    with psycopg.connect(shop.place("orders").dsn, autocommit=True) as theirs:
        theirs.execute("begin")
        theirs.execute("insert into note values (%s)", [str(txid)])
        theirs.execute(f"prepare transaction '{gid}'".encode())
    for _ in range(2):
        report = await recovery.run_once()
        assert report.resolved == ()
        assert report.foreign == ((gid,) if stranger != "malformed" else ())
    shop.look("orders", f"rollback prepared '{gid}'")  # it was still there


async def test_without_a_majority_it_reports_and_waits(shop, surface):
    """R25: what two of three acceptors do not say is not known, and nothing is applied."""
    txid = await decided(shop, *BOTH)
    lock = "lock table paxcommit.transaction in access exclusive mode"
    settings = shop.with_options(acceptor_timeout=0.5)
    async with surface.recovery(settings) as recovery:
        with contextlib.ExitStack() as stack:
            for name in ("a1", "a2"):
                stack.enter_context(shop.holding(name, lock))
            report = await recovery.run_once()
            [resolved] = report.resolved
            assert (resolved.txid, resolved.outcome) == (txid, Outcome.OPEN)
            assert "acceptors answer" in resolved.reason
            assert shop.prepared(txid) == set(BOTH)

        async def applied():
            await recovery.run_once()
            return shop.noted(txid) == set(BOTH)

        await eventually(applied)
