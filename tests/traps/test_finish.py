"""Traps 7 to 10: what COMMIT PREPARED may answer, and whose gids may be finished by whom."""

from __future__ import annotations

import asyncio
import itertools
import secrets

import psycopg
import pytest

from paxcommit import Outcome, OutcomeUnknown, Settings, TxId
from paxcommit.cluster import initialise
from paxcommit.drivers import choose_async
from paxcommit.ids import Gid
from paxcommit.testing.failpoints import call_at
from tests.traps.lab import BOTH, EVERY_VOTE, dies_at, until

_numbers = itertools.count(1)


@pytest.mark.parametrize("by_hand", ["COMMIT PREPARED", "ROLLBACK PREPARED"])
async def test_trap_7_no_such_gid_is_success_or_damage_as_the_ledger_says(lab, surface, by_hand):
    """42704 alone is neither: somebody was faster here, once with COMMIT, once with ROLLBACK."""
    key = lab.key()
    billing = lab.place("billing")

    def finish_by_hand() -> None:
        (gid,) = lab.gids("billing")
        billing.execute(f"{by_hand} '{gid}'")

    async with surface.open(lab.settings()) as coordinator:
        tx = coordinator.transaction()
        with call_at("commit-prepared:billing.before", finish_by_hand):
            await surface.transfer(tx, key)
        assert tx.outcome is Outcome.COMMITTED
    if by_hand == "COMMIT PREPARED":
        assert dict(tx.unapplied) == {}
        assert lab.damages(tx.id) == {}
        assert lab.holders(key) == BOTH
    else:
        assert "not prepared" in tx.unapplied["billing"]
        assert lab.damages(tx.id) == {"billing": "lost-branch"}
        assert lab.holders(key) == ["orders"], "the damage that is reported is real"


@pytest.mark.parametrize("by_hand", ["COMMIT PREPARED", "ROLLBACK PREPARED"])
async def test_trap_7_recovery_reads_the_ledger_as_well(lab, surface, by_hand):
    key = lab.key()
    billing = lab.place("billing")
    async with surface.open(lab.settings()) as coordinator:
        tx = coordinator.transaction()
        with dies_at(*EVERY_VOTE), pytest.raises(OutcomeUnknown):
            await surface.transfer(tx, key)
        gids = lab.prepared()
    # Somebody loses patience with one of the two branches, hours before recovery comes by.
    (gid,) = (gid for gid in gids if ":billing:" in gid)
    billing.execute(f"{by_hand} '{gid}'")
    async with surface.recovery(lab.settings()) as recovery:
        report = await recovery.run_once()
    (resolved,) = report.resolved
    assert resolved.outcome is Outcome.ABORTED
    assert lab.row("orders", tx.id) == "fence"
    if by_hand == "ROLLBACK PREPARED":
        assert not report.damaged
        assert lab.holders(key) == []
    else:
        assert list(resolved.damage) == ["billing"]
        assert lab.damages(tx.id) == {"billing": "committed-despite-abort"}


async def test_trap_8_a_connection_killed_before_commit_prepared_is_not_finished(lab, surface):
    """57P01 says nothing about the gid; the standing connection finishes it."""
    key = lab.key()
    pids = []
    async with surface.open(lab.settings()) as coordinator:
        with call_at("commit-prepared:billing.before", lambda: lab.terminate("billing", pids[0])):
            async with coordinator.transaction() as tx:
                await surface.insert(tx, "orders", key)
                raw = await surface.insert(tx, "billing", key)
                pids.append(await surface.value(raw, "SELECT pg_backend_pid()"))
        assert tx.outcome is Outcome.COMMITTED
        assert dict(tx.unapplied) == {}
        assert lab.holders(key) == BOTH


async def test_trap_8_a_connection_killed_after_commit_prepared_is_not_lost(lab, surface):
    """The gid is gone, and the answer with it: the next connection hears 42704, and the ledger."""
    key = lab.key()
    async with surface.open(lab.settings()) as coordinator:
        tx = coordinator.transaction(deadline=30)
        with lab.sociable(), call_at("tell:committed", lab.miss_standby):
            paying = asyncio.create_task(surface.transfer(tx, key))
            (pid,) = await until(
                lambda: lab.waiting("billing", "SyncRep", "COMMIT PREPARED"), "COMMIT PREPARED"
            )
            lab.terminate("billing", pid)
            await until(lambda: not lab.is_there("billing", pid), "the connection to be killed")
            lab.forget_standby()
            await paying
    assert dict(tx.unapplied) == {}
    assert lab.damages(tx.id) == {}
    assert lab.holders(key) == BOTH


async def test_trap_9_the_recoverer_owns_the_gid_whatever_role_the_application_took(lab, surface):
    """Membership does not let one finish a gid: R18 makes the configured role its owner."""
    suffix = f"{next(_numbers)}_{secrets.token_hex(3)}"
    teller, clerk, keeper, recoverer = (
        f"{role}_{suffix}" for role in ("teller", "clerk", "keeper", "recoverer")
    )
    for server in lab.cluster.servers:
        for statement in (
            f"CREATE ROLE {clerk}",
            f"CREATE ROLE {keeper}",
            f"CREATE ROLE {teller} LOGIN IN ROLE {clerk}, {keeper}",
            f"CREATE ROLE {recoverer} LOGIN IN ROLE {keeper}",
        ):
            server.execute(statement)
    for name in BOTH:
        lab.place(name).execute(
            f"GRANT INSERT, SELECT ON entry TO {clerk}",
            f"GRANT USAGE ON SEQUENCE entry_id_seq TO {clerk}",
        )

    def settings(user: str | None) -> dict[str, object]:
        acceptors = {name: lab.dsn(name, user=user) for name in ("a1", "a2", "a3")}
        participants = {name: {"dsn": lab.dsn(name, user=user), "role": keeper} for name in BOTH}
        return lab.settings(acceptors=acceptors, participants=participants)

    await initialise(
        Settings.load(settings(None)), choose_async(), roles=[teller, recoverer, keeper, clerk]
    )
    key = lab.key()
    async with surface.open(settings(teller)) as coordinator:
        with dies_at("commit-prepared:billing.before"):
            async with coordinator.transaction() as tx:
                for name in BOTH:
                    raw = await tx.connection(name)
                    await surface.execute(raw, f"SET ROLE {clerk}")
                    await surface.execute(raw, f"INSERT INTO entry (key) VALUES ('{key}')")
        owners = lab.far.execute(f"SELECT owner FROM pg_prepared_xacts WHERE gid LIKE '%{tx.id}%'")
        assert owners == [(keeper,)]
    async with surface.recovery(settings(recoverer)) as recovery:
        await lab.finish(recovery, tx.id)
    assert lab.holders(key) == BOTH


def foreign_gids(lab) -> list[str]:
    """Names in `billing` that are none of ours, some of them only just."""
    digest = lab.place("a1").execute("SELECT digest FROM paxcommit.epoch")[0][0]
    txid = TxId(1, secrets.randbits(63), 1)
    ours = str(Gid(digest, txid, "billing", 1))
    return [
        "somebody-elses",
        "it''s; COMMIT PREPARED ''all''",
        "paxcommit:",
        "paxcommit:" + "x" * 189,
        ours.replace(":1-", ":01-"),
        ours.replace(":billing:", ":Billing:"),
        ours + ":more",
        ours.upper(),
        str(Gid(digest, txid, "orders", 1)),  # ours, in the wrong database
        str(Gid("0" * 32, txid, "billing", 1)),  # another cluster's
    ]


async def test_trap_10_gids_of_others_are_left_alone(lab, surface):
    """Malformed ones are skipped, well-formed strangers reported, and nobody touches either."""
    gids = foreign_gids(lab)
    billing = lab.place("billing")
    with psycopg.connect(billing.dsn, autocommit=True) as stranger:
        try:
            for gid in gids:
                stranger.execute("BEGIN")
                stranger.execute("SELECT pg_current_xact_id()")
                stranger.execute(f"PREPARE TRANSACTION '{gid}'")
            lab.far.execute("SELECT 1")
            before = lab.gids("billing")
            assert len(before) == len(gids)
            txid = Gid.parse(gids[-1]).txid
            async with surface.recovery(lab.settings()) as recovery:
                report = await recovery.run_once()
                assert report.in_doubt == 0
                assert report.resolved == ()
                assert sorted(report.foreign) == sorted(gids[-2:])
                # Forcing a decision for the very id that a stranger's gid spells.
                resolved = await recovery.resolve(txid, force=True)
                assert resolved.outcome is Outcome.ABORTED
                assert not (await recovery.run_once()).damaged
            async with surface.open(lab.settings()) as coordinator:
                assert await coordinator.outcome(txid) is Outcome.ABORTED
            assert lab.gids("billing") == before
        finally:
            for gid in gids:
                stranger.execute(f"ROLLBACK PREPARED '{gid}'")
