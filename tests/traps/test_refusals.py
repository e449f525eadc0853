"""Traps 11, 12, 14 and 16: what cannot be prepared, where, and what only looks as if it could."""

from __future__ import annotations

from contextlib import contextmanager

import psycopg
import pytest

from paxcommit import ClusterError, Outcome, PaxcommitError, Settings, TransactionAborted
from paxcommit.cluster import initialise
from paxcommit.drivers import choose_async
from tests.traps.lab import BOTH
from tests.traps.surfaces import SURFACES

UNPREPARABLE = {
    "temporary table": "CREATE TEMP TABLE scratch (id int)",
    "cursor": "DECLARE c CURSOR WITH HOLD FOR SELECT 1",
    "listen": "LISTEN news",
    "notify": "NOTIFY news",
    "snapshot": "SELECT pg_export_snapshot()",
    "lock": "SELECT pg_advisory_lock(1); SELECT pg_advisory_xact_lock(1)",
}
SPELT = {
    "temporary table": "temporary objects",
    "cursor": "WITH HOLD cursors",
    "listen": "LISTEN",
    "notify": "NOTIFY",
    "snapshot": "exported snapshot",
    "lock": "advisory lock on one key",
}


@pytest.mark.parametrize(
    ("surface", "what"),
    [
        *((SURFACES[0], what) for what in UNPREPARABLE),
        *((surface, "temporary table") for surface in SURFACES[1:]),
    ],
    ids=str,
)
async def test_trap_11_what_cannot_be_prepared_is_named_and_everything_aborts(lab, surface, what):
    key = lab.key()
    async with surface.open(lab.settings()) as coordinator:
        with pytest.raises(TransactionAborted) as caught:
            await surface.transfer(coordinator.transaction(), key, *UNPREPARABLE[what].split(";"))
        assert caught.value.reason.startswith("billing: ")
        assert SPELT[what] in caught.value.reason
        assert not caught.value.retryable
    assert lab.holders(key) == []


@contextmanager
def all_slots_taken(lab):
    """Foreign prepared transactions in every slot of billing's server."""
    question = "SELECT current_setting('max_prepared_transactions')::int"
    (slots,) = lab.far.execute(question)[0]
    with psycopg.connect(lab.far.dsn(), autocommit=True) as stranger:
        for number in range(slots):
            stranger.execute("BEGIN")
            stranger.execute(f"PREPARE TRANSACTION 'slot-{number}'")
        yield
        for number in range(slots):
            stranger.execute(f"ROLLBACK PREPARED 'slot-{number}'")


async def test_trap_12_no_slot_left_for_a_prepared_transaction(lab, surface):
    """53200 could be anything, so it is no vote; and the message says what to raise."""
    key = lab.key()
    async with surface.open(lab.settings()) as coordinator:
        with all_slots_taken(lab), pytest.raises(TransactionAborted) as caught:
            await surface.transfer(coordinator.transaction(), key)
        assert "max_prepared_transactions" in caught.value.reason
        assert lab.holders(key) == []
        assert lab.prepared() == []
        await surface.transfer(coordinator.transaction(), key)
    assert lab.holders(key) == BOTH


async def test_trap_12_a_server_that_can_prepare_nothing(lab, surface):
    """Refused when it joins; and when it changes under a coordinator, everything is aborted."""
    key, alone = lab.key(), lab.key()
    lab.far.configure(max_prepared_transactions=0)
    try:
        async with surface.open(lab.settings()) as old:
            lab.far.restart()
            with pytest.raises(TransactionAborted, match="max_prepared_transactions 0"):
                await surface.transfer(old.transaction(), key)
        async with surface.open(lab.settings()) as new:
            await surface.transfer(new.transaction(), alone, participants=["orders"])
            with pytest.raises(ClusterError, match="max_prepared_transactions is 0"):
                await surface.transfer(new.transaction(), key)
    finally:
        lab.far.configure(max_prepared_transactions=lab.SLOTS)
        lab.far.restart()
    assert lab.holders(key) == []
    assert lab.holders(alone) == ["orders"]


@pytest.mark.parametrize("participants", [["orders", "billing"], ["billing"]], ids=["two", "one"])
@pytest.mark.parametrize(
    "then", [[], ["BEGIN"], ["BEGIN", "INSERT INTO entry (key) VALUES ('scrap')"]], ids=len
)
async def test_trap_14_a_transaction_ended_inside_the_block_is_no_reader(
    lab, surface, participants, then
):
    """After ROLLBACK it has "written nothing", and after ROLLBACK; BEGIN it can be prepared."""
    key = lab.key()
    async with surface.open(lab.settings()) as coordinator:
        with pytest.raises(TransactionAborted, match="billing: "):
            await surface.transfer(
                coordinator.transaction(), key, "ROLLBACK", *then, participants=participants
            )
    assert lab.holders(key) == []
    assert lab.holders("scrap") == []


async def test_trap_14_a_reader_has_no_vote_and_a_row_lock_has_one(lab, surface):
    """A plain SELECT assigns no xid, FOR UPDATE does: in that sense, J is those that wrote."""
    key = lab.key()
    async with surface.open(lab.settings()) as coordinator:
        both = coordinator.transaction()
        await surface.transfer(both, key)
        read = f"SELECT id FROM entry WHERE key = '{key}'"
        async with coordinator.transaction() as reading:
            await surface.value(await reading.connection("orders"), read)
            await surface.insert(reading, "billing", lab.key())
        async with coordinator.transaction() as locking:
            await surface.value(await locking.connection("orders"), f"{read} FOR UPDATE")
            await surface.insert(locking, "billing", lab.key())
    chosen = [lab.chosen(tx.id)["*"][1] for tx in (both, reading, locking)]
    assert chosen == ["J:billing,orders", "J:billing", "J:billing,orders"]


@pytest.mark.parametrize("fate", ["commits", "aborts"])
async def test_trap_14_a_notification_goes_out_only_if_the_others_commit(lab, surface, fate):
    """NOTIFY assigns no xid, so its branch is a reader's: it may not end before the decision."""
    key = lab.key()
    async with surface.open(lab.settings()) as coordinator:
        with psycopg.connect(lab.place("orders").dsn, autocommit=True) as listener:
            listener.execute("LISTEN news")

            async def pay() -> None:
                async with coordinator.transaction() as tx:
                    await surface.execute(await tx.connection("orders"), "NOTIFY news, 'paid'")
                    raw = await surface.insert(tx, "billing", key)
                    if fate == "aborts":
                        await surface.execute(raw, UNPREPARABLE["temporary table"])

            if fate == "aborts":
                with pytest.raises(TransactionAborted):
                    await pay()
            else:
                await pay()
            lab.place("orders").execute("NOTIFY news, 'the end'")
            heard = [news.payload for news in listener.notifies(timeout=20, stop_after=1)]
            if heard == ["paid"]:
                heard += [news.payload for news in listener.notifies(timeout=20, stop_after=1)]
    assert heard == (["the end"] if fate == "aborts" else ["paid", "the end"])
    assert lab.holders(key) == ([] if fate == "aborts" else ["billing"])


@contextmanager
def orphan_timeout(lab, value: str):
    """Let billing's server answer as one would that has the setting.

    No release has it, and a setting of one's own needs a dot in its name.  But what a server
    answers to `current_setting` depends on the session's `search_path`, which a database can set:
    so a function of that name in front of the server's own makes the check see a `value`, over a
    real connection and in the real statement.
    """
    billing = lab.place("billing")
    billing.execute(
        "CREATE SCHEMA decoy",
        "CREATE FUNCTION decoy.current_setting(name text, missing_ok boolean) RETURNS text"
        " LANGUAGE sql STABLE AS $$ SELECT CASE"
        f" WHEN name = 'prepared_orphaned_transaction_timeout' THEN '{value}'"
        " ELSE pg_catalog.current_setting(name, missing_ok) END $$",
        f'ALTER DATABASE "{billing.database}" SET search_path = decoy, pg_catalog, public',
    )
    try:
        yield
    finally:
        billing.execute(
            f'ALTER DATABASE "{billing.database}" RESET search_path', "DROP SCHEMA decoy CASCADE"
        )


async def test_trap_16_a_server_that_rolls_back_orphans_is_refused(lab, surface):
    """`prepared_orphaned_transaction_timeout` would roll back branches that are decided."""
    key = lab.key()
    name = "prepared_orphaned_transaction_timeout"
    with orphan_timeout(lab, "60000"):
        async with surface.open(lab.settings()) as coordinator:
            tx = coordinator.transaction()
            with pytest.raises(ClusterError, match=name):
                await surface.transfer(tx, key)
            assert tx.outcome is Outcome.ABORTED
        async with surface.recovery(lab.settings()) as recovery:
            assert name in (await recovery.run_once()).unreachable["billing"]
        with pytest.raises(PaxcommitError, match=name):
            await initialise(Settings.load(lab.settings()), choose_async())
        assert lab.holders(key) == []
    with orphan_timeout(lab, "0"):
        async with surface.open(lab.settings()) as coordinator:
            await surface.transfer(coordinator.transaction(), key)
    assert lab.holders(key) == BOTH
