"""F+1 acceptors are asked first, the others only if those do not decide it."""

from __future__ import annotations

import pytest

from paxcommit.ids import Ballot, TxId
from paxcommit.protocol.coordinator import CommitMachine, Terms
from paxcommit.protocol.effects import (
    Backoff,
    BackoffOver,
    BranchAnswered,
    Effect,
    Send,
    SetTimer,
    Tell,
    TimerFired,
)
from paxcommit.protocol.messages import (
    AcceptorAnswer,
    LostVotes,
    NoAnswer,
    Outbid,
    Phase2a,
    Phase2b,
    Retired,
    Sealed,
)
from paxcommit.protocol.resource_manager import Prepared
from paxcommit.protocol.values import Outcome

TXID = TxId(1, 7, 1)
FIVE = ("a1", "a2", "a3", "a4", "a5")


def proposing(acceptors: tuple[str, ...] = FIVE[:3], hedge: float = 0.01) -> CommitMachine:
    terms = Terms(acceptors, deadline=5.0, finish=5.0, hedge=hedge)
    return CommitMachine(TXID, ["orders", "billing"], terms)


def prepared(machine: CommitMachine) -> list[Effect]:
    machine.start()
    machine.handle(BranchAnswered("orders", Prepared()))
    return machine.handle(BranchAnswered("billing", Prepared()))


def asked(effects: list[Effect]) -> list[str]:
    return [effect.acceptor for effect in effects if isinstance(effect, Send)]


def accepts(machine: CommitMachine, bundle: Phase2a, acceptor: str) -> list[Effect]:
    return machine.handle(Phase2b(TXID, acceptor, bundle.ballot, bundle.values))


def bundle_of(effects: list[Effect]) -> Phase2a:
    first, *others = [effect.request for effect in effects if isinstance(effect, Send)]
    assert isinstance(first, Phase2a)
    assert all(each is first for each in others)
    return first


@pytest.mark.parametrize("f", [0, 1, 2])
def test_f_plus_1_are_asked_and_decide_it(f: int) -> None:
    machine = proposing(FIVE[: 2 * f + 1])
    effects = prepared(machine)
    assert asked(effects) == list(FIVE[: f + 1])
    for acceptor in FIVE[: f + 1]:
        told = accepts(machine, bundle_of(effects), acceptor)
    assert [effect.outcome for effect in told if isinstance(effect, Tell)] == [Outcome.COMMITTED]
    assert not asked(machine.handle(TimerFired("hedge"))), "it is decided"


def test_without_a_hedge_all_are_asked() -> None:
    effects = prepared(proposing(hedge=0.0))
    assert asked(effects) == ["a1", "a2", "a3"]
    assert not [each for each in effects if isinstance(each, SetTimer) and each.name == "hedge"]


def test_late_answers_make_it_ask_the_others_the_same_and_only_once() -> None:
    machine = proposing(FIVE)
    first = prepared(machine)
    assert SetTimer("hedge", 0.01) in first
    accepts(machine, bundle_of(first), "a1")
    rest = machine.handle(TimerFired("hedge"))
    assert asked(rest) == ["a4", "a5"]
    assert bundle_of(rest) is bundle_of(first)
    assert bundle_of(rest).ballot == Ballot(0)
    assert not machine.handle(TimerFired("hedge"))
    accepts(machine, bundle_of(first), "a5")
    assert any(isinstance(each, Tell) for each in accepts(machine, bundle_of(first), "a3"))


@pytest.mark.parametrize(
    "refusal",
    [
        NoAnswer(TXID, "a1", "gone"),
        Outbid(TXID, "a1", Ballot(3)),
        Sealed(TXID, "a1"),
        Retired(TXID, "a1"),
        LostVotes(TXID, "a1"),
    ],
)
def test_a_refusal_makes_it_ask_the_others_at_once(refusal: AcceptorAnswer) -> None:
    machine = proposing()
    first = prepared(machine)
    effects = machine.handle(refusal)
    assert asked(effects) == ["a3"]
    assert not [each for each in effects if isinstance(each, Backoff)], "two may still accept"
    accepts(machine, bundle_of(first), "a2")
    told = accepts(machine, bundle_of(first), "a3")
    assert [effect.outcome for effect in told if isinstance(effect, Tell)] == [Outcome.COMMITTED]


def test_a_majority_of_refusals_leads_a_ballot_that_asks_all() -> None:
    machine = proposing()
    prepared(machine)
    machine.handle(NoAnswer(TXID, "a1", "gone"))
    (backoff,) = machine.handle(NoAnswer(TXID, "a2", "gone"))
    assert isinstance(backoff, Backoff)
    assert asked(machine.handle(BackoffOver(backoff.name))) == ["a1", "a2", "a3"]
