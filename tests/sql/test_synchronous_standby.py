"""PREPARE and COMMIT PREPARED where a synchronous standby is configured and missing."""

from __future__ import annotations

import pytest

from paxcommit.protocol.finishing import Applied, Busy
from paxcommit.protocol.messages import Phase1a, Phase1b
from paxcommit.protocol.resource_manager import Unknown
from paxcommit.sql.acceptor import ask
from paxcommit.sql.branch import prepare_branch
from paxcommit.sql.fencing import Standing, place_fence
from paxcommit.sql.finish import commit_prepared
from paxcommit.sql.marks import Marks

PAY = "UPDATE account SET balance = balance - 1 WHERE id = 1"


@pytest.fixture
def lonely(fresh_cluster, home_on):
    """A home whose standby never answers.  Its `admin` does not wait for it."""
    servers = fresh_cluster(1)
    home = home_on(servers)
    servers.servers[0].configure(synchronous_standby_names="nobody_here")
    home.renew_connections()
    home.admin("SET synchronous_commit = local")
    return home


def preparing(home):
    """A PREPARE that waits for the standby, of a user who would rather not wait or be warned."""
    client = home.connect()
    client("SET client_min_messages = error")
    client("SET synchronous_commit = local")
    client.begin(home.txid())
    client(PAY)
    call = home.background(prepare_branch(home.gid()), client)
    assert call.waits(event="SyncRep"), "R12: the user's synchronous_commit does not count"
    return call


def test_trap_2_a_prepare_cancelled_while_it_waits_for_a_standby_is_unknown(lonely):
    call = preparing(lonely)
    lonely.admin("SELECT pg_cancel_backend($1::int)", call.client.pid)
    assert isinstance(call.result(), Unknown)
    assert lonely.place.prepared() == [str(lonely.gid())]


def test_trap_6_a_gid_still_being_prepared_is_visible_and_busy(lonely):
    call = preparing(lonely)
    gid = lonely.gid()
    assert lonely.place.prepared() == [str(gid)]
    assert isinstance(lonely.admin.run(commit_prepared(gid)), Busy)
    fence = place_fence(lonely.record.digest, lonely.txid(), "orders")
    assert lonely.admin.run(fence) is Standing.BLOCKED
    lonely.admin("SELECT pg_cancel_backend($1::int)", call.client.pid)
    call.result()
    assert lonely.admin.run(commit_prepared(gid)) == Applied()


def test_r12_a_vote_waits_for_the_standby_whatever_the_session_says(lonely):
    client = lonely.connect()
    client("SET synchronous_commit = local")
    vote = lonely.background(ask(lonely.authority, Marks(), [Phase1a(lonely.txid(), 1)]), client)
    assert vote.waits(event="SyncRep")
    lonely.admin("SELECT pg_cancel_backend($1::int)", client.pid)
    assert vote.result() == [Phase1b(lonely.txid(), "a1", 1, {})]
