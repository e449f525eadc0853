"""The traps of the protocol, each with the execution that it costs money in."""

from __future__ import annotations

import subprocess
import sys
from typing import get_args, get_type_hints

import pytest

from paxcommit.errors import InvariantViolation
from paxcommit.ids import Ballot
from paxcommit.protocol.acceptor import UNKNOWN, EpochState, Persist, Refuse, Row, step
from paxcommit.protocol.coordinator import CommitMachine, Terms
from paxcommit.protocol.effects import BranchAnswered, Send, Tell
from paxcommit.protocol.leader import Leader, proposal
from paxcommit.protocol.learner import Learner
from paxcommit.protocol.messages import (
    Accepted,
    Conflict,
    NoAnswer,
    Outbid,
    Phase1a,
    Phase1b,
    Phase2a,
    Phase2b,
)
from paxcommit.protocol.recovery import Mandate
from paxcommit.protocol.resource_manager import Prepared, ResourceManager
from paxcommit.protocol.values import REGISTRAR, Instance, Outcome, ParticipantSet, Value, Vote
from tests.protocol.stage import TXID, Stage

OPEN = EpochState()
TWO = {"orders": "wrote", "billing": "wrote"}
J = ParticipantSet(("billing", "orders"))
YES: dict[Instance, Value] = {REGISTRAR: J, "billing": Vote.PREPARED, "orders": Vote.PREPARED}
ABORT: dict[Instance, Value] = {REGISTRAR: Vote.ABORTED}


def accept(row: Row, ballot: int, values: dict[Instance, Value]) -> Row:
    answer = step("a1", OPEN, row, Phase2a(TXID, Ballot(ballot), values))
    assert isinstance(answer, Persist)
    return answer.row


def test_trap_20_a_different_value_at_an_equal_ballot_is_refused_and_reported() -> None:
    held = accept(UNKNOWN, 1, YES)
    answer = step("a1", OPEN, held, Phase2a(TXID, Ballot(1), ABORT))
    assert answer == Refuse(Conflict(TXID, "a1", Ballot(1)))


def test_trap_20_one_conflict_refuses_the_whole_bundle() -> None:
    held = accept(UNKNOWN, 0, {"orders": Vote.PREPARED})
    mixed: dict[Instance, Value] = {"billing": Vote.PREPARED, "orders": Vote.ABORTED}
    assert isinstance(step("a1", OPEN, held, Phase2a(TXID, Ballot(0), mixed)), Refuse)


def test_trap_21_accepting_again_writes_again() -> None:
    """An acknowledgement is part of `Persist`: a refusal's type has no place for one."""
    held = accept(UNKNOWN, 0, YES)
    assert step("a1", OPEN, held, Phase2a(TXID, Ballot(0), YES)) == Persist(
        held, Phase2b(TXID, "a1", Ballot(0), YES)
    )
    may_say = get_args(get_type_hints(Refuse)["reply"])
    assert not {Phase1b, Phase2b} & {*may_say}


def test_trap_22_an_acceptor_that_lost_votes_says_nothing_else() -> None:
    for request in (Phase1a(TXID, Ballot(1)), Phase2a(TXID, Ballot(0), YES)):
        answer = step("a1", EpochState(lost_votes=True), accept(UNKNOWN, 0, YES), request)
        assert isinstance(answer, Refuse)
        assert type(answer.reply).__name__ == "LostVotes"


def test_trap_25_an_rm_votes_once() -> None:
    rm = ResourceManager("orders")
    rm.answered(Prepared())
    assert rm.vote() is Vote.PREPARED
    with pytest.raises(InvariantViolation, match="may not vote"):
        rm.vote()
    with pytest.raises(InvariantViolation, match="answered twice"):
        rm.answered(Prepared())


def test_trap_25_ballot_0_is_sent_once() -> None:
    """Refused or unanswered, the coordinator never proposes at ballot 0 again (R6)."""
    stage = Stage(TWO)
    stage.down = {"a1", "a2", "a3"}
    stage.commit()
    for _ in range(3):
        stage.run()
        stage.let("timer ballot")
    stage.down.clear()
    stage.run()
    proposed = [request.ballot for _, request in stage.sent if isinstance(request, Phase2a)]
    led = [request.ballot for _, request in stage.sent if isinstance(request, Phase1a)]
    assert proposed.count(Ballot(0)) == len(stage.rows)
    assert led
    assert Ballot(0) not in led
    assert stage.told["coordinator"].outcome is Outcome.ABORTED


def test_trap_26_phase_2b_is_counted_per_instance_and_ballot_from_distinct_acceptors() -> None:
    heard = Learner(TXID, 2)
    heard.add_votes("a1", Ballot(0), YES)
    heard.add_votes("a1", Ballot(0), YES)
    heard.add_votes("a2", Ballot(1), YES)
    heard.add_votes("a3", Ballot(0), {"orders": Vote.PREPARED})
    assert heard.chosen == {"orders": Vote.PREPARED}
    for late in ("a2", "a3"):
        heard.add_votes(late, Ballot(0), YES)
    assert heard.outcome is Outcome.COMMITTED


def test_trap_26_two_values_chosen_stop_everything() -> None:
    heard = Learner(TXID, 1)
    heard.add_votes("a1", Ballot(0), YES)
    with pytest.raises(InvariantViolation, match="two values chosen"):
        heard.add_votes("a1", Ballot(1), ABORT)


def test_trap_27_a_partial_j_commits_too_early() -> None:
    """The votes that happen to be there are not J: without a registrar nothing is committed."""
    one_vote = {"orders": Accepted(Ballot(0), Vote.PREPARED)}
    assert proposal([one_vote, one_vote]) == ABORT
    heard = Learner(TXID, 2)
    heard.add("a1", one_vote)
    heard.add("a2", one_vote)
    assert heard.chosen == {"orders": Vote.PREPARED}
    assert heard.outcome is Outcome.OPEN


def test_trap_28_no_majority_has_it_is_not_aborted() -> None:
    """A2 alone has accepted, and is away.  Nobody else knows; yet it may have been chosen."""
    stage = Stage(TWO)
    stage.commit()
    stage.run(until="a1: 2a")
    stage.crash("coordinator")
    stage.cues.clear()
    learner = stage.recover(Mandate.LEARN, "learner")
    stage.run()
    assert learner.resolution.outcome is Outcome.OPEN
    assert all(database.gid for database in stage.databases.values())
    stage.recover(Mandate.LEAD, "leader")
    stage.run()
    assert stage.told["leader"].outcome is Outcome.COMMITTED


@pytest.mark.parametrize("refusal", ["outbid", "silence"])
def test_trap_28_a_majority_of_refusals_is_not_an_abort(refusal: str) -> None:
    machine = CommitMachine(TXID, list(TWO), Terms(("a1", "a2", "a3"), deadline=5.0, finish=5.0))
    machine.start()
    effects = [machine.handle(BranchAnswered(name, Prepared())) for name in TWO][-1]
    assert all(isinstance(effect, Send) for effect in effects)
    for name in ("a1", "a2", "a3"):
        lost = NoAnswer(TXID, name, "lost")
        effects = machine.handle(Outbid(TXID, name, Ballot(4)) if refusal == "outbid" else lost)
        assert not any(isinstance(effect, Tell) for effect in effects)


def test_trap_29_a_leaders_phase_2a_aborted_proves_nothing_until_f_plus_1_accepted() -> None:
    heard = Learner(TXID, 2)
    leader = Leader(TXID, ["a1", "a2", "a3"], heard)
    leader.start()
    leader.handle(Phase1b(TXID, "a1", Ballot(1), {}))
    leader.handle(Phase1b(TXID, "a2", Ballot(1), {}))
    known = []
    for acceptor in ("a1", "a3"):
        leader.handle(Phase2b(TXID, acceptor, Ballot(1), ABORT))
        known.append(heard.outcome)
    assert known == [Outcome.OPEN, Outcome.ABORTED]


@pytest.mark.parametrize("asleep_before", ["prepare", "2a", "commit-prepared"])
def test_trap_30_a_stalled_coordinator_that_wakes_up_is_refused_or_harmless(
    asleep_before: str,
) -> None:
    stage = Stage(TWO)
    stage.commit()
    for name in [*TWO, *stage.rows]:
        stage.hold(f"coordinator > {name}: {asleep_before}")
    stage.run()
    recoverer = stage.recover(Mandate.FORCE)
    stage.run()
    decided = recoverer.resolution.outcome
    assert decided is not Outcome.OPEN
    stage.release()
    for _ in range(3):
        stage.run()
        if any("coordinator: timer ballot" in cue.text for cue in stage.cues):
            stage.let("coordinator: timer ballot")
    told = stage.told["coordinator"].outcome
    assert told is decided
    assert not any(database.gid for database in stage.databases.values())
    assert not stage.machines["coordinator"].damage


def test_trap_31a_accepting_raises_the_promise() -> None:
    """Else an acceptor could accept at 2 and then promise 1, and two values would be chosen."""
    row = accept(UNKNOWN, 2, YES)
    assert row.promised == 2
    assert isinstance(step("a1", OPEN, row, Phase1a(TXID, Ballot(1))), Refuse)
    assert isinstance(step("a1", OPEN, row, Phase2a(TXID, Ballot(1), ABORT)), Refuse)


def test_trap_31a_phase_1a_is_never_idempotent() -> None:
    """Two leaders of one ballot would both be promised it."""
    first = step("a1", OPEN, UNKNOWN, Phase1a(TXID, Ballot(1)))
    assert isinstance(first, Persist)
    again = step("a1", OPEN, first.row, Phase1a(TXID, Ballot(1)))
    assert again == Refuse(Outbid(TXID, "a1", Ballot(1)))


def test_trap_31c_a_forked_child_must_not_share_the_incarnation() -> None:
    script = """
import os
from paxcommit.errors import ForkedProcessError
from paxcommit.ids import Incarnation
incarnation = Incarnation(1)
incarnation.next_txid()
child = os.fork()
if child == 0:
    try:
        incarnation.next_txid()
    except ForkedProcessError:
        own = Incarnation(1)
        os._exit(0 if own.next_txid().coordinator != incarnation.coordinator else 2)
    os._exit(1)
incarnation.next_txid()  # the parent goes on
raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
