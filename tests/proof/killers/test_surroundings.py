"""Rules of a process that need no server: who it is, and when it may begin."""

from __future__ import annotations

import dataclasses

import pytest

from paxcommit.errors import EnlistError, NotEnoughAcceptors
from paxcommit.ids import Ballot, Gid, Incarnation, TxId
from paxcommit.ports import BeginOptions
from paxcommit.protocol.acceptor import UNKNOWN, EpochState, Persist, Row, step
from paxcommit.protocol.applying import Applying
from paxcommit.protocol.effects import ApplyAnswered, Backoff, BackoffOver, Send, Verdict
from paxcommit.protocol.finishing import Applied, Damage, NotApplied
from paxcommit.protocol.messages import Accepted
from paxcommit.protocol.recovery import Mandate, RecoveryMachine
from paxcommit.protocol.values import REGISTRAR, Outcome, Vote
from paxcommit.reports import Resolved
from paxcommit.resolving import Unfinished
from paxcommit.runtime.damages import write_down
from paxcommit.runtime.membership import Membership
from paxcommit.sql.statement import Unanswered
from paxcommit.transactions import TransactionState

GID = Gid("0" * 32, TxId(1, 7, 42), "orders", 5)


def test_r1_every_incarnation_is_another_one():
    """Also in one process, and also in the next one that is given the same pid."""
    incarnations = [Incarnation(1).coordinator for _ in range(8)]
    assert len(set(incarnations)) == len(incarnations)
    assert max(incarnations) >= 2**32, "63 random bits, not a small number that comes again"


@pytest.mark.parametrize("more", [":more", ":5", " ", "\n", "x"])
def test_r3_a_gid_with_something_around_it_is_none_of_ours(more):
    assert Gid.parse(str(GID)) == GID
    assert Gid.parse(f"{GID}{more}") is None
    assert Gid.parse(f"{more}{GID}") is None


def test_r26_it_begins_only_with_a_majority():
    members = Membership("shop", ("a1", "a2", "a3"), {}, 7)
    for name, enough in (("a1", False), ("a2", True)):
        members._admitted |= {name}
        if enough:
            members.require_quorum()
        else:
            with pytest.raises(NotEnoughAcceptors, match="Nothing was started"):
                members.require_quorum()
    members.lost("a1")
    with pytest.raises(NotEnoughAcceptors):
        members.require_quorum()


def test_r4_a_participant_joins_once():
    state: TransactionState[object] = TransactionState(
        TxId(1, 7, 1), "0" * 32, frozenset(), ("a1",), 5.0, 5.0, BeginOptions(None, None)
    )
    state.begin()
    state.join("orders")
    state.join("billing")
    with pytest.raises(EnlistError, match="one branch per transaction"):
        state.join("orders")


def test_r24_what_was_never_applied_is_not_called_applied():
    applying = Applying({"orders": Verdict.COMMIT, "billing": Verdict.COMMIT})
    applying.start()
    applying.handle(ApplyAnswered("billing", Applied()))
    while not applying.done:
        for effect in applying.handle(ApplyAnswered("orders", NotApplied("away"))):
            assert isinstance(effect, Backoff)
            applying.handle(BackoffOver(effect.name))
    assert applying.unapplied == {"orders": "away"}


def test_r20_an_abort_that_is_not_applied_everywhere_is_taken_up_again():
    """Its gids are gone, so no sweep finds it; but a fence is missing."""
    txid = TxId(1, 7, 1)
    unfinished = Unfinished()
    missing = Resolved(txid, Outcome.ABORTED, "", {"orders": "away"}, {})
    unfinished.note(missing)
    assert [case.txid for case in unfinished.beside([])] == [txid]
    unfinished.note(Resolved(txid, Outcome.OPEN, "no F+1 acceptors answer", {}, {}))
    looks = [case.txid for _ in range(4) for case in unfinished.beside([])]
    assert looks, "what could not be looked up is owed as before"
    unfinished.note(Resolved(txid, Outcome.ABORTED, "", {}, {}))
    assert unfinished.beside([]) == []


def test_r20_what_is_owed_is_led_for_to_learn_is_not_always_enough():
    """Ballot 1 chose Aborted at a1 and a2; ballot 2 said so at a2 only, and its leader died."""
    txid = TxId(1, 7, 1)
    unfinished = Unfinished()
    unfinished.note(Resolved(txid, Outcome.ABORTED, "", {"orders": "away"}, {}))
    (case,) = unfinished.beside([])

    def outcome(mandate: Mandate) -> Outcome:
        def aborted(ballot: int) -> Row:
            return Row(Ballot(ballot), {REGISTRAR: Accepted(Ballot(ballot), Vote.ABORTED)})

        rows = {"a1": aborted(1), "a2": aborted(2), "a3": UNKNOWN}
        machine = RecoveryMachine(txid, tuple(rows), served=(), mandate=mandate, patience=1.0)
        effects = machine.start()
        while effects:
            effect = effects.pop(0)
            if isinstance(effect, Send):
                answer = step(effect.acceptor, EpochState(), rows[effect.acceptor], effect.request)
                if isinstance(answer, Persist):
                    rows[effect.acceptor] = answer.row
                effects += machine.handle(answer.reply)
            elif isinstance(effect, Backoff):
                effects += machine.handle(BackoffOver(effect.name))
        return machine.resolution.outcome

    assert outcome(Mandate.LEARN) is Outcome.OPEN
    assert outcome(case.mandate) is Outcome.ABORTED


def test_r20_others_who_ask_do_not_put_off_when_it_is_taken_up_again():
    txid = TxId(1, 7, 1)
    unfinished = Unfinished()
    for _ in range(7):  # seven people force it at the same time
        unfinished.note(Resolved(txid, Outcome.ABORTED, "", {"orders": "blocked"}, {}))
    assert [case.txid for case in unfinished.beside([])] == [txid]


def test_r19_damage_that_is_not_written_down_is_taken_up_again():
    txid = TxId(1, 7, 1)
    unfinished = Unfinished()
    lost = Damage("lost-branch", "gone", written=False)
    unfinished.note(Resolved(txid, Outcome.COMMITTED, "", {}, {"orders": lost}))
    assert [case.txid for case in unfinished.beside([])] == [txid]
    written = Damage("lost-branch", "gone")
    unfinished.note(Resolved(txid, Outcome.COMMITTED, "", {}, {"orders": written}))
    assert unfinished.beside([]) == []


def test_r19_damage_that_cannot_be_written_down_is_said_to_be_so():
    damage = Damage("lost-branch", "gone")

    def told(answer: object) -> Damage:
        plan = write_down(TxId(1, 7, 1), "orders", damage)
        next(plan)
        with pytest.raises(StopIteration) as stop:
            plan.send([answer])
        return stop.value.value

    assert told(None) == damage
    assert told(Unanswered("away")) == dataclasses.replace(damage, written=False)


def test_r20_what_is_owed_is_owed_while_the_acceptors_are_silent():
    txid = TxId(1, 7, 1)
    unfinished = Unfinished()
    unfinished.note(Resolved(txid, Outcome.COMMITTED, "", {"orders": "away"}, {}))
    unfinished.note(Resolved(txid, Outcome.OPEN, "no majority answers", {}, {}))
    looks = [[case.txid for case in unfinished.beside([])] for _ in range(8)]
    assert [txid] in looks
    unfinished.note(Resolved(TxId(1, 7, 2), Outcome.OPEN, "", {}, {}))
    unfinished.note(Resolved(txid, Outcome.COMMITTED, "", {}, {}))
    assert [unfinished.beside([]) for _ in range(8)] == [[]] * 8
