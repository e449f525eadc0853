"""A PREPARE that hangs keeps its locks, whatever was decided, until somebody ends it (trap 3)."""

from __future__ import annotations

import pytest
import tenacity

from paxcommit.protocol.finishing import Busy
from paxcommit.runtime.membership import Membership, Site
from paxcommit.runtime.recovering import _finish
from paxcommit.sql.branch import prepare_branch


@tenacity.retry(stop=tenacity.stop_after_delay(10), wait=tenacity.wait_fixed(0.02), reraise=True)
def assert_gone(home, pid: int) -> None:
    there = home.admin("SELECT state FROM pg_stat_activity WHERE pid = $1::int", pid)
    assert there == [], "it still waits for the standby, with its locks"


@pytest.mark.parametrize("deadline", [None, 5], ids=["looked for", "seen"])
def test_r20_whoever_applies_an_abort_ends_a_prepare_that_hangs(lonely, deadline):
    members = Membership("shop", ("a1", "a2", "a3"), {"orders": Site("", None)}, None)
    members._record = lonely.record
    client = lonely.connect()
    client.begin(lonely.txid())
    client("UPDATE account SET balance = balance - 1 WHERE id = 1")
    preparing = lonely.background(prepare_branch(lonely.gid()), client)
    assert preparing.waits(event="SyncRep")
    finishing = _finish(lonely.txid(), "orders", False, members, deadline)
    assert isinstance(lonely.admin.run(finishing), Busy)
    assert_gone(lonely, client.pid)
