"""One test per claim of Gray & Lamport, "Consensus on Transaction Commit" (2006).

Sections are the paper's.  Where we depart from it (one promise for all instances of a transaction,
one bundle for all its votes) the test says so.
"""

from __future__ import annotations

from itertools import product

import pytest

from paxcommit.ids import Ballot
from paxcommit.protocol.acceptor import UNKNOWN, EpochState, Persist, Refuse, Row, step
from paxcommit.protocol.effects import Backoff, BackoffOver, Send
from paxcommit.protocol.leader import Leader, proposal
from paxcommit.protocol.learner import Learner, judge
from paxcommit.protocol.messages import (
    Accepted,
    Learn,
    Learned,
    Outbid,
    Phase1a,
    Phase1b,
    Phase2a,
    Phase2b,
)
from paxcommit.protocol.recovery import Mandate
from paxcommit.protocol.values import REGISTRAR, Instance, Outcome, ParticipantSet, Value, Vote
from tests.protocol.stage import TXID, Stage

J = ParticipantSet(("billing", "orders"))
YES: dict[Instance, Value] = {REGISTRAR: J, "billing": Vote.PREPARED, "orders": Vote.PREPARED}
NO: dict[Instance, Value] = {REGISTRAR: Vote.ABORTED}
OPEN = EpochState()
TWO = {"orders": "wrote", "billing": "wrote"}


def promised(ballot: int) -> Row:
    return Row(promised=Ballot(ballot))


def at(ballot: int, values: dict[Instance, Value]) -> dict[Instance, Accepted]:
    return {name: Accepted(Ballot(ballot), value) for name, value in values.items()}


def persist(row: Row, request: Phase1a | Phase2a) -> Persist:
    answer = step("a1", OPEN, row, request)
    assert isinstance(answer, Persist)
    return answer


def learner(quorum: int, *votes: tuple[str, int, dict[Instance, Value]]) -> Learner:
    learner = Learner(TXID, quorum)
    for acceptor, ballot, values in votes:
        learner.add_votes(acceptor, Ballot(ballot), values)
    return learner


# --- section 2: what commit is ----------------------------------------------------------------


def test_committed_iff_the_registrar_chose_j_and_every_rm_of_j_chose_prepared() -> None:
    """Section 6 with R5, over every combination of what two RMs and the registrar may choose."""
    votes = (None, Vote.PREPARED, Vote.ABORTED)
    for registrar, billing, orders in product((None, Vote.ABORTED, J), votes, votes):
        named = {REGISTRAR: registrar, "billing": billing, "orders": orders}
        outcome = judge({name: value for name, value in named.items() if value is not None})
        all_prepared = billing is orders is Vote.PREPARED
        one_aborted = Vote.ABORTED in (billing, orders)
        assert (outcome is Outcome.COMMITTED) == (registrar == J and all_prepared)
        assert (outcome is Outcome.ABORTED) == (
            registrar is Vote.ABORTED or (registrar == J and one_aborted)
        )


def test_an_rm_outside_j_decides_nothing() -> None:
    """Section 6: only the RMs that the registrar names take part."""
    assert judge({**YES, "stock": Vote.ABORTED}) is Outcome.COMMITTED
    alone: dict[Instance, Value] = {
        REGISTRAR: ParticipantSet(("orders",)),
        "billing": Vote.PREPARED,
    }
    assert judge(alone) is Outcome.OPEN


def test_an_rm_may_abort_by_itself_until_it_is_prepared() -> None:
    """Section 2: one *no*, and the transaction is aborted without asking any acceptor."""
    stage = Stage({"orders": "wrote", "billing": "failed"})
    stage.commit()
    stage.run()
    assert stage.told["coordinator"].outcome is Outcome.ABORTED
    assert not stage.sent


# --- section 4.1: one instance of Paxos -------------------------------------------------------


@pytest.mark.parametrize(("held", "asked"), [*product(range(-1, 4), range(4))])
def test_an_acceptor_never_accepts_below_its_promise(held: int, asked: int) -> None:
    answer = step("a1", OPEN, promised(held), Phase2a(TXID, Ballot(asked), YES))
    if asked < held:
        assert answer == Refuse(Outbid(TXID, "a1", Ballot(held)))
    else:
        assert answer == Persist(
            Row(Ballot(asked), at(asked, YES)), Phase2b(TXID, "a1", Ballot(asked), YES)
        )


@pytest.mark.parametrize(("held", "asked"), [*product(range(-1, 4), range(1, 4))])
def test_an_acceptor_promises_only_a_strictly_greater_ballot(held: int, asked: int) -> None:
    answer = step("a1", OPEN, promised(held), Phase1a(TXID, Ballot(asked)))
    if asked <= held:
        assert answer == Refuse(Outbid(TXID, "a1", Ballot(held)))
    else:
        assert answer == Persist(promised(asked), Phase1b(TXID, "a1", Ballot(asked), {}))


def test_accepting_also_promises() -> None:
    accepted = persist(UNKNOWN, Phase2a(TXID, Ballot(3), YES)).row
    for request in (Phase1a(TXID, Ballot(3)), Phase2a(TXID, Ballot(2), YES)):
        assert step("a1", OPEN, accepted, request) == Refuse(Outbid(TXID, "a1", Ballot(3)))


def test_a_promise_reports_everything_accepted() -> None:
    row = Row(Ballot(2), {**at(0, YES), **at(2, NO)})
    assert persist(row, Phase1a(TXID, Ballot(5))).reply == Phase1b(
        TXID, "a1", Ballot(5), row.accepted
    )


def test_a_promise_covers_instances_not_yet_known() -> None:
    """Departure from section 4.1, where each instance has its own: one promise for all (R8)."""
    row = persist(UNKNOWN, Phase1a(TXID, Ballot(1))).row
    late_vote = Phase2a(TXID, Ballot(0), {"stock": Vote.PREPARED})
    assert step("a1", OPEN, row, late_vote) == Refuse(Outbid(TXID, "a1", Ballot(1)))


def test_accepting_in_one_instance_keeps_the_others() -> None:
    row = persist(UNKNOWN, Phase2a(TXID, Ballot(0), {"orders": Vote.PREPARED})).row
    row = persist(row, Phase2a(TXID, Ballot(0), {"billing": Vote.PREPARED})).row
    assert row.accepted.keys() == {"orders", "billing"}


def test_asking_what_is_accepted_promises_nothing() -> None:
    row = Row(Ballot(2), at(2, YES))
    answer = step("a1", OPEN, row, Learn(TXID))
    assert answer == Refuse(Learned(TXID, "a1", Ballot(2), row.accepted))


def test_the_leader_proposes_the_value_of_the_highest_ballot() -> None:
    assert proposal([at(0, YES), at(2, NO)])[REGISTRAR] is Vote.ABORTED
    assert proposal([at(3, YES), at(2, NO)]) == YES
    assert proposal([at(2, NO), {}, at(3, YES)]) == YES


def test_the_highest_ballot_is_sought_per_instance() -> None:
    heard = [{**at(0, YES)}, {**at(1, {"orders": Vote.ABORTED}), **at(2, {REGISTRAR: J})}]
    assert proposal(heard) == {**YES, "orders": Vote.ABORTED}


def test_a_free_instance_becomes_aborted() -> None:
    assert proposal([{}, {}]) == NO
    registrar_only = at(0, {REGISTRAR: J, "orders": Vote.PREPARED})
    assert proposal([registrar_only, {}]) == {**YES, "billing": Vote.ABORTED}


def test_a_leader_waits_for_f_plus_1_promises() -> None:
    leader = Leader(TXID, ["a1", "a2", "a3"], Learner(TXID, 2))
    leader.start()
    assert leader.handle(Phase1b(TXID, "a1", Ballot(1), {})) == []
    assert leader.handle(Phase1b(TXID, "a1", Ballot(1), {})) == [], "it is the same acceptor"
    effects = leader.handle(Phase1b(TXID, "a3", Ballot(1), {}))
    assert effects == [Send(name, Phase2a(TXID, Ballot(1), NO)) for name in ("a1", "a2", "a3")]


def test_a_leader_does_not_count_promises_of_another_ballot() -> None:
    leader = Leader(TXID, ["a1", "a2", "a3"], Learner(TXID, 2))
    leader.start()
    leader.start()
    assert leader.handle(Phase1b(TXID, "a1", Ballot(1), {})) == []
    assert leader.handle(Phase1b(TXID, "a2", Ballot(1), {})) == []
    assert leader.handle(Phase1b(TXID, "a3", Ballot(2), {})) == []


def test_a_leader_goes_above_every_ballot_it_heard_of() -> None:
    leader = Leader(TXID, ["a1", "a2", "a3"], Learner(TXID, 2))
    leader.start()
    assert leader.handle(Outbid(TXID, "a1", Ballot(7))) == []
    [backoff] = leader.handle(Outbid(TXID, "a2", Ballot(4)))
    assert isinstance(backoff, Backoff)
    assert Send("a1", Phase1a(TXID, Ballot(8))) in leader.handle(BackoffOver(backoff.name))


@pytest.mark.parametrize("f", [0, 1, 2])
def test_a_value_is_chosen_by_f_plus_1_distinct_acceptors_at_one_ballot(f: int) -> None:
    votes = [(f"a{n}", 0, YES) for n in range(2 * f + 1)]
    assert not learner(f + 1, *votes[:f]).chosen
    assert learner(f + 1, *votes[: f + 1]).chosen == YES
    assert learner(f + 1, *votes).chosen == YES, "more than F+1 is enough as well"


def test_phase_2b_of_different_ballots_do_not_add_up() -> None:
    assert not learner(2, ("a1", 0, YES), ("a2", 1, YES), ("a3", 2, YES)).chosen


def test_an_acceptor_counts_once() -> None:
    assert not learner(2, ("a1", 0, YES), ("a1", 0, YES)).chosen


def test_it_does_not_matter_how_an_accept_is_heard_of() -> None:
    """A 2b, a promise and an answer to a question are the same evidence."""
    heard = Learner(TXID, 2)
    leader = Leader(TXID, ["a1", "a2", "a3"], heard)
    leader.handle(Phase2b(TXID, "a1", Ballot(0), YES))
    leader.handle(Phase1b(TXID, "a2", Ballot(9), at(0, YES)))
    assert heard.outcome is Outcome.COMMITTED


# --- section 4.2: Paxos Commit ----------------------------------------------------------------


def test_ballot_0_needs_no_phase_1() -> None:
    stage = Stage(TWO)
    stage.commit()
    stage.run()
    assert stage.told["coordinator"].outcome is Outcome.COMMITTED
    assert {request.ballot for _, request in stage.sent if isinstance(request, Phase2a)} == {0}
    assert not [request for _, request in stage.sent if isinstance(request, Phase1a)]


def test_every_rm_has_its_own_instance() -> None:
    """Votes may come from different processes, in any order, at different acceptors."""
    heard = learner(2, ("a1", 0, {"orders": Vote.PREPARED}), ("a2", 0, {"billing": Vote.PREPARED}))
    for acceptor, instance in [("a3", "orders"), ("a3", "billing"), ("a1", REGISTRAR)]:
        heard.add_votes(acceptor, Ballot(0), {instance: YES[instance]})
        assert heard.outcome is Outcome.OPEN
    heard.add_votes("a3", Ballot(0), {REGISTRAR: J})
    assert heard.outcome is Outcome.COMMITTED


@pytest.mark.parametrize("silent", ["", "a1", "a2", "a3"])
def test_it_commits_with_f_acceptors_silent(silent: str) -> None:
    stage = Stage(TWO)
    stage.down = {silent}
    stage.commit()
    stage.run()
    assert stage.told["coordinator"].outcome is Outcome.COMMITTED


def test_it_claims_nothing_with_more_than_f_acceptors_silent() -> None:
    stage = Stage(TWO)
    stage.down = {"a1", "a3"}
    stage.commit()
    stage.run()
    stage.let("timer deadline")
    assert stage.told["coordinator"].outcome is Outcome.OPEN


@pytest.mark.parametrize("down", ["", "a1", "a2", "a3"])
@pytest.mark.parametrize("after", range(9))
def test_it_is_not_blocked_while_f_plus_1_acceptors_live(after: int, down: str) -> None:
    """Section 4: the coordinator dies after any step, and F acceptors, too."""
    stage = Stage(TWO)
    stage.commit()
    for _ in range(after):
        cue = next((cue for cue in stage.cues if "timer" not in cue.text), None)
        if cue is not None:
            stage.cues.remove(cue)
            cue.do()
    if "coordinator" in stage.machines:
        stage.crash("coordinator")
    stage.cues.clear()
    stage.down = {down}
    told = stage.told.get("coordinator")
    recoverer = stage.recover(Mandate.FORCE)
    stage.run()
    outcome = recoverer.resolution.outcome
    assert outcome is not Outcome.OPEN
    assert told is None or told.outcome is outcome
    assert not any(database.gid for database in stage.databases.values())
    assert {database.row for database in stage.databases.values()} == {
        "branch" if outcome is Outcome.COMMITTED else "fence"
    }


@pytest.mark.parametrize("how", [Mandate.LEARN, Mandate.LEAD, Mandate.FORCE])
def test_a_decision_is_for_ever(how: Mandate) -> None:
    """Stability: whoever comes later finds the same, even where an acceptor has been away."""
    stage = Stage(TWO)
    stage.down = {"a2"}
    stage.commit()
    stage.run()
    stage.down = {"a1"} if how is not Mandate.LEARN else set()
    later = stage.recover(how)
    stage.run()
    assert later.resolution.outcome is Outcome.COMMITTED


def test_two_leaders_duel_and_one_wins_after_backing_off() -> None:
    stage = Stage(TWO)
    stage.commit()
    stage.run(until="billing: prepare")
    stage.crash("coordinator")
    stage.cues.clear()
    stage.recover(Mandate.LEAD, "anna")
    stage.recover(Mandate.LEAD, "bert")
    for _ in range(5):
        stage.run()
        if stage.told:
            break
        stage.let("timer ballot")
    stage.run()
    assert stage.told
    while stage.machines["anna"].done is not stage.machines["bert"].done:
        stage.let("timer ballot")
        stage.run()
    assert {tell.outcome for tell in stage.told.values()} == {Outcome.ABORTED}


# --- section 4.3, 5: what it costs ------------------------------------------------------------


@pytest.mark.parametrize(("rms", "acceptors"), [(2, 1), (2, 3), (3, 3), (5, 5)])
def test_the_fault_free_case_costs_n_prepares_one_bundle_per_acceptor_and_n_commits(
    rms: int, acceptors: int
) -> None:
    """Departure: one process drives all RMs, so their N(2F+1) votes travel in 2F+1 bundles."""
    stage = Stage({f"p{n}": "wrote" for n in range(rms)}, acceptors=acceptors)
    stage.commit()
    stage.run()
    happened = [line for line in stage.transcript if ">" in line]
    assert sum("prepare ->" in line for line in happened) == rms
    assert sum("2a ballot 0" in line for line in happened) == acceptors
    assert sum("commit-prepared" in line for line in happened) == rms
    assert len(happened) == 2 * rms + acceptors


def test_the_decision_takes_two_message_delays_after_the_last_prepare() -> None:
    """2a and 2b: nothing is sent between the last *yes* and F+1 accepts."""
    stage = Stage(TWO)
    stage.commit()
    stage.run(until="tells: committed")
    kinds = [line.split(": ")[1].split()[0] for line in stage.transcript]
    assert kinds == ["prepare", "prepare", "2a", "2a", "committed"]


def test_with_one_acceptor_it_is_two_phase_commit() -> None:
    """Section 4.3 ends there: F = 0, and the acceptor is the transaction manager's log."""
    stage = Stage(TWO, acceptors=1)
    stage.down = {"a1"}
    stage.commit()
    stage.run()
    stage.let("timer deadline")
    stage.recover(Mandate.LEAD)
    stage.run()
    assert stage.told["recoverer"].outcome is Outcome.OPEN, "and so it blocks"
    stage.down.clear()
    stage.recover(Mandate.LEAD, "later")
    stage.run()
    assert stage.told["later"].outcome is Outcome.ABORTED


# --- section 6: the registrar -----------------------------------------------------------------


def test_the_registrar_is_settled_with_or_before_the_rms_it_names() -> None:
    """Nothing is proposed for an RM unless the same bundle proposes a J that names it."""
    votes = [{}, at(0, YES), at(0, NO), at(0, {"orders": Vote.PREPARED, "stock": Vote.PREPARED})]
    for heard in product(votes, votes):
        proposed = proposal(heard)
        registrar = proposed[REGISTRAR]
        names = registrar.names if isinstance(registrar, ParticipantSet) else ()
        assert proposed.keys() == {REGISTRAR, *names}


def test_a_free_registrar_is_aborted_although_rms_have_voted() -> None:
    votes = at(0, {"orders": Vote.PREPARED, "billing": Vote.PREPARED})
    assert proposal([votes, votes]) == NO


def test_j_is_canonical() -> None:
    assert ParticipantSet.of(["orders", "billing", "orders"]) == J
