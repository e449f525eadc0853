"""The traps that acceptors in PostgreSQL fall into, each by its number."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal

import psycopg
import pytest

from paxcommit.errors import ClusterError, IdentityMismatch
from paxcommit.protocol.messages import (
    Accepted,
    Conflict,
    Learn,
    Learned,
    LostVotes,
    Phase1a,
    Phase1b,
    Phase2a,
    Phase2b,
    Sealed,
)
from paxcommit.protocol.values import REGISTRAR, ParticipantSet, Vote
from paxcommit.sql.acceptor import ask
from paxcommit.sql.finish import prepared_branches
from paxcommit.sql.link import hello, registered_participants
from paxcommit.sql.marks import Marks
from paxcommit.sql.participant import participant_identity
from paxcommit.sql.statement import DatabaseError

BUNDLE = {REGISTRAR: ParticipantSet(("billing", "orders")), "orders": Vote.PREPARED}
SEAL = "UPDATE paxcommit.epoch SET sealed = true"


def accepted(values, ballot):
    return {instance: Accepted(ballot, value) for instance, value in values.items()}


def local(servers):
    """Skip where a server's processes and files are out of our reach."""
    if not os.path.isdir(servers.servers[0].data_dir):
        pytest.skip("needs servers that run as processes of this machine")
    return servers


def crash(server):
    """Lose everything that is not flushed: kill a process of the server, as the kernel would."""
    ((writer,),) = server.execute(
        "SELECT pid FROM pg_stat_activity WHERE backend_type = 'walwriter'"
    )
    os.kill(writer, signal.SIGKILL)
    while True:  # until the postmaster has noticed, and recovered
        with contextlib.suppress(psycopg.Error):
            if server.execute(
                "SELECT 1 FROM pg_stat_activity"
                f" WHERE backend_type = 'walwriter' AND pid <> {writer}"
            ):
                return


def stop_writing_in_the_background(server):
    """Without the WAL writer nothing is flushed but what a commit flushes itself."""
    ((writer,),) = server.execute(
        "SELECT pid FROM pg_stat_activity WHERE backend_type = 'walwriter'"
    )
    os.kill(writer, signal.SIGSTOP)


def test_trap_19_an_acknowledged_vote_survives_a_crash(fresh_cluster, home_on):
    servers = local(fresh_cluster(1))
    (server,) = servers.servers
    home = home_on(servers)
    home.admin(f"ALTER DATABASE {home.place.database} SET synchronous_commit = off")
    home.admin("CREATE TABLE lost (n int)")
    client = home.connect()
    assert client("SHOW synchronous_commit") == [("off",)]
    home.admin("CHECKPOINT")
    stop_writing_in_the_background(server)
    client("INSERT INTO lost VALUES (1)")
    crash(server)
    home.renew_connections()
    assert home.admin("SELECT * FROM lost") == [], "the crash lost nothing, so it shows nothing"
    one, two, marks = home.txid(1), home.txid(2), home.marks
    client = home.connect()
    stop_writing_in_the_background(server)
    assert home.ask(Phase1a(one, 3), client=client) == [Phase1b(one, "a1", 3, {})]
    crash(server)
    home.renew_connections()
    assert home.ask(Learn(one)) == [Learned(one, "a1", 3, {})]
    client = home.connect()
    stop_writing_in_the_background(server)
    assert home.ask(Phase2a(two, 0, BUNDLE), client=client) == [Phase2b(two, "a1", 0, BUNDLE)]
    crash(server)
    home.renew_connections()
    assert home.ask(Learn(two)) == [Learned(two, "a1", 0, accepted(BUNDLE, 0))]
    # R13: a restart changes nothing; marks never go back.
    assert not home.admin.run(hello(home.authority, marks)).lost_votes
    assert home.ask(Phase1a(two, 1)) == [Phase1b(two, "a1", 1, accepted(BUNDLE, 0))]


@pytest.mark.parametrize("setting", ["fsync", "full_page_writes"])
def test_trap_19_a_server_that_does_not_flush_is_no_acceptor(fresh_cluster, home_on, setting):
    servers = fresh_cluster(1, settings={setting: False})
    home = home_on(servers)
    with pytest.raises(ClusterError, match="PX005"):
        home.ask(Phase1a(home.txid(), 1))
    with pytest.raises(ClusterError, match="PX005"):
        home.ask(Phase2a(home.txid(), 1, BUNDLE))


def test_trap_20_a_different_value_at_the_same_ballot_is_reported(home):
    txid = home.txid()
    home.ask(Phase2a(txid, 1, {"orders": Vote.PREPARED}))
    other = Phase2a(txid, 1, {"orders": Vote.ABORTED})
    assert home.ask(other) == [Conflict(txid, "a1", 1)]
    held = accepted({"orders": Vote.PREPARED}, 1)
    assert home.ask(Learn(txid)) == [Learned(txid, "a1", 1, held)]


def test_trap_20_two_different_values_at_once(home):
    txid = home.txid()
    first = home.connect()
    first("BEGIN")
    home.ask(Phase2a(txid, 0, {"orders": Vote.PREPARED}), client=first)
    other = Phase2a(txid, 0, {"orders": Vote.ABORTED})
    second = home.background(ask(home.authority, Marks(), [other]))
    assert second.waits()
    first("COMMIT")
    assert second.result() == [Conflict(txid, "a1", 0)]


def test_trap_21_an_acknowledgement_follows_a_write(home):
    txid, vote = home.txid(), Phase2a(home.txid(), 0, BUNDLE)
    home.ask(vote)
    written = home.admin("SELECT xmin::text FROM paxcommit.transaction")
    assert home.ask(vote) == [Phase2b(txid, "a1", 0, BUNDLE)]
    assert home.admin("SELECT xmin::text FROM paxcommit.transaction") != written


def every_call(home, number):
    txid, whom = home.txid(number), home.authority
    return [
        ask(whom, Marks(), [Phase1a(txid, 1)]),
        ask(whom, Marks(), [Phase2a(txid, 1, BUNDLE)]),
        ask(whom, Marks(), [Learn(txid)]),
        hello(whom, Marks()),
        registered_participants(whom),
    ]


@pytest.mark.parametrize(
    "change",
    [
        "system_identifier = system_identifier + 1",
        "timeline = '00000009'",
        "database = 'elsewhere'",
        "database_oid = 1",
    ],
)
def test_trap_22_an_acceptor_elsewhere_is_refused(own_home, change):
    for call in every_call(own_home, 1):
        own_home.admin.run(call)
    own_home.admin(f"UPDATE paxcommit.acceptor SET {change}")
    for call in every_call(own_home, 2):
        with pytest.raises(IdentityMismatch, match="no longer where"):
            own_home.admin.run(call)


def test_trap_22_a_copied_database_is_another_acceptor(own_home):
    copy = f"{own_home.place.database}_copy"
    own_home.renew_connections(reconnect=False)
    server = own_home.place.server
    server.execute(f"CREATE DATABASE {copy} TEMPLATE {own_home.place.database}")
    try:
        twin = own_home.connect(database=copy)
        for call in every_call(own_home, 1):
            with pytest.raises(IdentityMismatch, match="no longer where"):
                twin.run(call)
        own_home.renew_connections(reconnect=False)
        # Not even under the name of the original.
        server.execute(f"ALTER DATABASE {own_home.place.database} RENAME TO {copy}_original")
        server.execute(f"ALTER DATABASE {copy} RENAME TO {own_home.place.database}")
        with pytest.raises(IdentityMismatch, match="no longer where"):
            own_home.connect().run(every_call(own_home, 1)[0])
    finally:
        own_home.renew_connections(reconnect=False)
        server.execute(f"DROP DATABASE IF EXISTS {copy} WITH (FORCE)")
        server.execute(f"DROP DATABASE IF EXISTS {copy}_original WITH (FORCE)")


def test_trap_22_a_promoted_standby_is_refused(fresh_cluster, home_on):
    servers = local(fresh_cluster(1))
    (server,) = servers.servers
    home = home_on(servers)
    home.ask(Phase2a(home.txid(), 0, BUNDLE))
    server.stop()
    (server.data_dir / "standby.signal").touch()
    server.start()
    home.renew_connections()
    # A standby votes for nothing and, for nobody can tell its age, teaches nothing.
    for call in every_call(home, 2):
        with pytest.raises(IdentityMismatch):
            home.admin.run(call)
    # Trap 15: its empty list of prepared transactions is no list.
    assert home.admin.run(participant_identity()).in_recovery
    with pytest.raises(DatabaseError):
        home.admin.run(prepared_branches())
    # Trap 24b: on this very connection, checked when it was made.
    assert home.admin("SELECT pg_promote()") == [(True,)]
    for call in every_call(home, 2):
        with pytest.raises(IdentityMismatch, match="no longer where"):
            home.admin.run(call)


def test_trap_23_seal_and_accept_in_flight(home):
    txid = home.txid()
    voter = home.connect()
    voter("BEGIN")
    home.ask(Phase2a(txid, 0, BUNDLE), client=voter)
    sealing = home.background_sql(SEAL)
    assert sealing.waits(), "the seal may not pass an accept in flight"
    voter("COMMIT")
    sealing.result()
    # Whoever sealed sees every transaction that ballot 0 could know.
    assert home.admin("SELECT seq FROM paxcommit.transaction") == [(1,)]


def test_trap_23_accept_and_seal_in_flight(home):
    txid = home.txid()
    sealer = home.connect()
    sealer("BEGIN")
    sealer(SEAL)
    voting = home.background(ask(home.authority, Marks(), [Phase2a(txid, 0, BUNDLE)]))
    assert voting.waits(), "an accept may not pass a seal in flight"
    sealer("COMMIT")
    assert voting.result() == [Sealed(txid, "a1")]
    assert home.admin("SELECT count(*) FROM paxcommit.transaction") == [(0,)]


def test_trap_23_retirement_and_ballots_in_flight(home):
    txid = home.txid()
    leader = home.connect()
    leader("BEGIN")
    home.ask(Phase1a(txid, 1), client=leader)
    retiring = home.background_sql("UPDATE paxcommit.epoch SET retired = true")
    assert retiring.waits()
    leader("COMMIT")
    retiring.result()


def test_trap_24a_a_transaction_twice_in_one_batch(home):
    txid = home.txid()
    votes = [Phase2a(txid, 0, {name: Vote.PREPARED}) for name in ("orders", "billing", "orders")]
    assert home.ask(*votes) == [Phase2b(txid, "a1", 0, vote.values) for vote in votes]


def test_trap_24a_bundles_in_opposite_orders_do_not_deadlock(home):
    txids = [home.txid(seq) for seq in (1, 2, 3)]
    home.ask(*(Phase1a(txid, 1) for txid in txids))
    holder = home.connect()
    holder("BEGIN")
    home.ask(Phase1a(txids[1], 2), client=holder)
    # Taken in the callers' orders, each would hold one end and want the other's.
    forth = home.background(ask(home.authority, Marks(), [Phase1a(txid, 3) for txid in txids]))
    assert forth.waits()
    back = home.background(ask(home.authority, Marks(), [Phase1a(txid, 4) for txid in txids[::-1]]))
    assert back.waits()
    holder("COMMIT")
    assert forth.result() == [Phase1b(txid, "a1", 3, {}) for txid in txids]
    assert back.result() == [Phase1b(txid, "a1", 4, {}) for txid in txids[::-1]]


def test_trap_24b_a_copy_that_was_put_back_is_noticed(fresh_cluster, home_on):
    servers = local(fresh_cluster(1))
    (server,) = servers.servers
    home = home_on(servers)
    home.ask(Phase2a(home.txid(1), 0, BUNDLE))
    server.stop()
    copy = server.copy_data_dir()
    server.start()
    home.renew_connections()
    vote = Phase2a(home.txid(2), 0, BUNDLE)
    assert home.ask(vote) == [Phase2b(vote.txid, "a1", 0, BUNDLE)]
    before = home.admin("SELECT identity, system_identifier, timeline FROM paxcommit.acceptor")
    server.stop()
    server.restore(copy)
    server.start()
    home.renew_connections()
    assert home.admin("SELECT count(*) FROM paxcommit.transaction") == [(1,)], "a vote is lost"
    after = home.admin("SELECT identity, system_identifier, timeline FROM paxcommit.acceptor")
    assert after == before, "and nothing else tells"
    assert home.ask(Phase1a(vote.txid, 1)) == [LostVotes(vote.txid, "a1")]
    server.restart()
    home.renew_connections()
    assert home.admin.run(ask(home.authority, Marks(), [Phase1a(vote.txid, 2)])) == [
        LostVotes(vote.txid, "a1")
    ]


def test_trap_24b_an_image_of_the_running_server_is_noticed_as_well(
    fresh_cluster, home_on, tmp_path
):
    """Replaying its log lifts a sequence by up to 32 above what was ever given out."""
    servers = local(fresh_cluster(1))
    (server,) = servers.servers
    home = home_on(servers)
    home.admin("CHECKPOINT")
    home.ask(Phase2a(home.txid(1), 0, BUNDLE))
    image = tmp_path / "image"
    shutil.copytree(server.data_dir, image)
    (image / "postmaster.pid").unlink()
    vote = Phase2a(home.txid(2), 0, BUNDLE)
    assert home.ask(vote) == [Phase2b(vote.txid, "a1", 0, BUNDLE)]
    server.stop()
    server.restore(image)
    server.start()
    home.renew_connections()
    assert home.admin("SELECT count(*) FROM paxcommit.transaction") == [(1,)], "a vote is lost"
    ((reached,),) = home.admin("SELECT last_value FROM paxcommit.mark")
    assert reached > home.marks.of(home.authority.identity), "and the sequence does not tell"
    assert home.ask(Phase1a(vote.txid, 1)) == [LostVotes(vote.txid, "a1")]
