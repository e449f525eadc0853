"""The acceptor's rules where a row stands already: the way of ON CONFLICT, one test for each."""

from __future__ import annotations

from paxcommit.protocol.messages import (
    Accepted,
    Conflict,
    Learn,
    Learned,
    Outbid,
    Phase1a,
    Phase1b,
    Phase2a,
    Phase2b,
    Retired,
)
from paxcommit.protocol.values import REGISTRAR, ParticipantSet, Vote

J = ParticipantSet(("billing", "orders"))
BUNDLE = {REGISTRAR: J, "orders": Vote.PREPARED, "billing": Vote.PREPARED}
HELD = {instance: Accepted(0, value) for instance, value in BUNDLE.items()}


def test_r9_a_promise_is_stored_beside_what_was_accepted(home):
    txid = home.txid()
    home.ask(Phase2a(txid, 0, BUNDLE))
    assert home.ask(Phase1a(txid, 3)) == [Phase1b(txid, "a1", 3, HELD)]
    assert home.ask(Phase2a(txid, 2, BUNDLE)) == [Outbid(txid, "a1", 3)]
    assert home.ask(Learn(txid)) == [Learned(txid, "a1", 3, HELD)]


def test_r9_a_promise_is_not_repeated(home):
    txid = home.txid()
    home.ask(Phase1a(txid, 3))
    assert home.ask(Phase1a(txid, 3)) == [Outbid(txid, "a1", 3)]
    assert home.ask(Phase1a(txid, 2)) == [Outbid(txid, "a1", 3)]


def test_r10_nothing_is_accepted_below_a_promise(home):
    txid = home.txid()
    home.ask(Phase1a(txid, 3))
    assert home.ask(Phase2a(txid, 0, BUNDLE)) == [Outbid(txid, "a1", 3)]
    assert home.ask(Learn(txid)) == [Learned(txid, "a1", 3, {})]


def test_r10_another_value_at_the_same_ballot_is_refused(home):
    txid = home.txid()
    home.ask(Phase2a(txid, 0, BUNDLE))
    late = {**BUNDLE, "orders": Vote.ABORTED}
    assert home.ask(Phase2a(txid, 0, late)) == [Conflict(txid, "a1", 0)]
    assert home.ask(Learn(txid)) == [Learned(txid, "a1", 0, HELD)]


def test_r8_accepting_in_one_instance_keeps_the_others(home):
    """Found by a mutant: the equivalence test hardly ever looks at a row written by two bundles."""
    txid = home.txid()
    home.ask(Phase2a(txid, 0, BUNDLE))
    one = {"orders": Vote.ABORTED}
    assert home.ask(Phase2a(txid, 1, one)) == [Phase2b(txid, "a1", 1, one)]
    now = {**HELD, "orders": Accepted(1, Vote.ABORTED)}
    assert home.ask(Learn(txid)) == [Learned(txid, "a1", 1, now)]
    assert home.ask(Phase1a(txid, 2)) == [Phase1b(txid, "a1", 2, now)]


def test_r30_a_retired_epoch_votes_for_nothing(home):
    txid, other = home.txid(1), home.txid(2)
    home.ask(Phase2a(txid, 0, BUNDLE))
    home.admin("UPDATE paxcommit.epoch SET retired = true")
    for request in (Phase1a(txid, 3), Phase2a(txid, 3, BUNDLE), Phase1a(other, 1)):
        assert home.ask(request) == [Retired(request.txid, "a1")]
    assert home.ask(Learn(txid)) == [Learned(txid, "a1", 0, HELD)]
    assert home.ask(Learn(other)) == [Retired(other, "a1")], "R31: not: never heard of"
