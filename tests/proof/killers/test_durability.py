"""What must not be lost in a crash is flushed, whatever the session says (R12, R20, R2).

A standby that never answers makes it visible: whoever forces ``synchronous_commit`` waits for it.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from paxcommit.sql.epoch import claim_identity, write_record
from paxcommit.sql.fencing import place_fence
from paxcommit.sql.link import RegisteredParticipant, hello, register_participant
from paxcommit.sql.marks import Marks
from paxcommit.sql.participant import adopt_epoch
from paxcommit.sql.statement import Statements


def _fence(home) -> Statements[object]:
    return place_fence(home.record.digest, home.txid(), "orders")


def _register(home) -> Statements[object]:
    who = RegisteredParticipant("orders", 1, "shop")
    return register_participant(home.authority, Marks(), who)


def _hello(home) -> Statements[object]:
    marks = Marks()
    marks.remember(home.record.acceptors[1].identity, 7)
    return hello(home.authority, marks)


def _record(home) -> Statements[object]:
    home.admin("DELETE FROM paxcommit.epoch")
    return write_record(home.record)


def _identity(home) -> Statements[object]:
    home.admin("DELETE FROM paxcommit.acceptor")
    return claim_identity("a1")


def _epoch(home) -> Statements[object]:
    return adopt_epoch(2, home.record.digest, "orders")


CALLS = {
    "fence": _fence,
    "registration": _register,
    "marks": _hello,
    "participant's epoch": _epoch,
    "epoch record": _record,
    "identity": _identity,
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_it_is_flushed_whatever_the_session_says(lonely, call: Callable[..., Statements[object]]):
    client = lonely.connect()
    client("SET synchronous_commit = local")
    under_way = lonely.background(call(lonely), client)
    assert under_way.waits(event="SyncRep")
    lonely.admin("SELECT pg_cancel_backend($1::int)", client.pid)
    under_way.result()
