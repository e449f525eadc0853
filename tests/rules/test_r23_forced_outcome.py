"""R23 on real servers: what forcing an outcome does, and what it never does."""

from __future__ import annotations

import contextlib
import socket

import psycopg
import pytest

from paxcommit import Outcome, PaxcommitError, Settings, TransactionAborted

from ..coordinator.shop import PARTICIPANTS, ends_in, eventually
from ..recovery.by_hand import in_flight, new_txid, prepare

pytestmark = pytest.mark.asyncio(loop_scope="module")

FENCED = dict.fromkeys(PARTICIPANTS, "fence")


def registrar(shop, txid):
    """What each acceptor has accepted of the registrar: ballot and value."""
    return [tuple(accepted["*"]) for accepted in shop.accepted(txid).values()]


async def test_r23_what_nobody_knows_is_aborted_and_fenced_off_everywhere(coordinator, shop):
    txid = new_txid()
    assert await coordinator.outcome(txid) is Outcome.OPEN
    assert shop.rows(txid) == {}, "a mere question changes nothing"

    assert await coordinator.outcome(txid, force=True) is Outcome.ABORTED
    assert shop.rows(txid) == FENCED
    held = registrar(shop, txid)
    assert len(held) >= 2
    assert all(ballot >= 1 and value == "A" for ballot, value in held)
    for name in PARTICIPANTS:
        for kind in ("branch", "only"):
            with (
                pytest.raises(psycopg.errors.UniqueViolation),
                in_flight(shop, name, txid, kind),
            ):
                pass
    assert await coordinator.outcome(txid) is Outcome.ABORTED


@pytest.mark.parametrize("names", [("orders",), ("orders", "billing")], ids=len)
async def test_r23_a_transaction_forced_before_its_commit_cannot_commit(
    names, coordinator, shop, note
):
    """The fences stand in the way of one phase as of two."""
    tx = coordinator.transaction()
    async with ends_in(TransactionAborted), tx:
        await note(tx, *names)
        assert await coordinator.outcome(tx.id, force=True) is Outcome.ABORTED
    assert shop.noted(tx.id) == set()
    assert shop.rows(tx.id) == FENCED


async def test_r23_a_one_phase_commit_is_committed(coordinator, shop, note):
    async with coordinator.transaction() as tx:
        await note(tx, "billing")
    assert shop.rows(tx.id) == {"billing": "only"}
    assert shop.accepted(tx.id) == {}, "the acceptors never heard of it"
    assert await coordinator.outcome(tx.id, force=True) is Outcome.COMMITTED
    assert await coordinator.outcome(tx.id) is Outcome.COMMITTED
    assert shop.accepted(tx.id) == {}, "and no ballot was led about it"


@pytest.mark.parametrize("kind", ["only", "branch"])
async def test_r23_a_commit_in_flight_is_terminated(kind, coordinator, shop):
    """A session that inserted its row may commit at any moment, so it is ended, then fenced."""
    txid = new_txid()
    with contextlib.ExitStack() as stack:
        session = stack.enter_context(in_flight(shop, "stock", txid, kind))
        bystander = stack.enter_context(in_flight(shop, "stock", new_txid(), kind))
        assert await coordinator.outcome(txid, force=True) is Outcome.ABORTED
        with pytest.raises(psycopg.OperationalError):
            session.execute("commit")
        bystander.execute("rollback")
    assert shop.rows(txid) == FENCED
    assert shop.noted(txid) == set()


async def test_r23_a_gid_is_no_one_phase_commit_so_a_ballot_is_led(coordinator, shop):
    """Nothing is rolled back before it is decided; then that is, and the fence follows."""
    txid = new_txid()
    prepare(shop, txid, "billing")
    assert await coordinator.outcome(txid) is Outcome.OPEN
    assert shop.prepared(txid) == {"billing"}
    assert await coordinator.outcome(txid, force=True) is Outcome.ABORTED
    assert all(ballot >= 1 and value == "A" for ballot, value in registrar(shop, txid))
    await eventually(lambda: shop.rows(txid) == FENCED, "every fence")
    assert shop.prepared(txid) == set()


async def test_r23_a_gid_settles_it_although_a_participant_cannot_be_asked(surface, shop):
    """It is no one-phase commit, so there is nothing that a fence would have to rule out."""
    txid = new_txid()
    prepare(shop, txid, "billing")
    layout = shop.layout.settings
    served = {name: dsn for name, dsn in layout["participants"].items() if name != "stock"}
    settings = Settings(**{**layout, "participants": served}, **shop.options)
    async with surface.recovery(settings) as recovery:
        resolved = await recovery.resolve(txid, force=True)
    assert resolved.outcome is Outcome.ABORTED
    assert shop.prepared(txid) == set()
    assert shop.rows(txid) == {"billing": "fence", "orders": "fence"}


async def test_r23_a_committed_branch_without_any_j_is_damage_and_nothing_is_proposed(
    coordinator, surface, shop
):
    """Somebody committed a gid by hand: neither answer would be true everywhere."""
    txid = new_txid()
    prepare(shop, txid, "billing")
    shop.look("billing", f"commit prepared '{shop.gid('billing', txid)}'")
    async with surface.recovery(shop.settings) as recovery:
        resolved = await recovery.resolve(txid, force=True)
    assert resolved.outcome is Outcome.OPEN
    assert set(resolved.damage) == {"billing"}
    assert shop.accepted(txid) == {}
    assert shop.rows(txid)["billing"] == "branch"


@pytest.mark.parametrize("missing", ["unreachable", "not in the settings"])
async def test_r23_one_participant_that_cannot_be_asked_leaves_it_open(missing, surface, shop):
    """R2: every *registered* participant counts, whatever the settings at hand say."""
    txid = new_txid()
    layout = shop.layout.settings
    participants = dict(layout["participants"])
    with socket.socket() as dead_end:  # bound, so that nobody else listens there
        dead_end.bind(("127.0.0.1", 0))
        if missing == "unreachable":
            participants["stock"] = f"postgresql://127.0.0.1:{dead_end.getsockname()[1]}/nothing"
        else:
            del participants["stock"]
        settings = Settings(**{**layout, "participants": participants}, **shop.options)
        async with surface.recovery(settings) as recovery:
            resolved = await recovery.resolve(txid, force=True)
    assert resolved.outcome is Outcome.OPEN
    assert "stock" in resolved.reason
    assert shop.accepted(txid) == {}, "nothing is decided"
    assert "stock" not in shop.rows(txid)


@contextlib.contextmanager
def out_of_reach(place):
    """Nobody gets into a database, for the length of the block."""

    def allow(yes):
        place.server.execute(f'alter database "{place.database}" allow_connections {yes}')

    allow("false")
    try:
        place.server.execute(
            "select pg_terminate_backend(pid, 5000) from pg_stat_activity"
            f" where datname = '{place.database}'"
        )
        yield
    finally:
        allow("true")


async def test_r23_registered_after_the_id_was_drawn_means_no_one_phase(surface, shop, note):
    """Whoever forced the id before would not have fenced this participant."""
    async with contextlib.AsyncExitStack() as stack:
        with out_of_reach(shop.place("stock")):
            coordinator = await stack.enter_async_context(surface.open(shop.settings))
            early = coordinator.transaction()

        async def registered():
            with contextlib.suppress(PaxcommitError):
                async with coordinator.transaction() as tx:
                    await note(tx, "stock")
                return True

        await eventually(registered, "stock to be back, and registered")
        async with early:
            await note(early, "stock")
        assert shop.rows(early.id) == {"stock": "branch"}
        assert {value for _, value in registrar(shop, early.id)} == {"J:stock"}

        async with coordinator.transaction() as late:
            await note(late, "stock")
        assert shop.rows(late.id) == {"stock": "only"}
