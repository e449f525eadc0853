"""The rules that are about the pure protocol, and what reviewing it has found."""

from __future__ import annotations

import pytest

from paxcommit.errors import InvariantViolation
from paxcommit.ids import Ballot, TxId
from paxcommit.protocol.acceptor import UNKNOWN, EpochState, Persist, Refuse, Row, step
from paxcommit.protocol.applying import Applying
from paxcommit.protocol.coordinator import CommitMachine, Terms
from paxcommit.protocol.effects import (
    Abandon,
    Apply,
    ApplyAnswered,
    Backoff,
    BackoffOver,
    BranchAnswered,
    CommitReader,
    Effect,
    Fence,
    FenceAnswered,
    FenceBlocked,
    FenceStands,
    FenceUnreachable,
    Prepare,
    Send,
    Tell,
    Terminate,
    TimerFired,
    Verdict,
)
from paxcommit.protocol.fencing import Fencing, Finding
from paxcommit.protocol.finishing import Applied, Busy, Damage, NotApplied
from paxcommit.protocol.learner import judge
from paxcommit.protocol.messages import (
    Accepted,
    Learn,
    Learned,
    NoAnswer,
    Phase1a,
    Phase2a,
    Retired,
    Sealed,
)
from paxcommit.protocol.recovery import Mandate, RecoveryMachine
from paxcommit.protocol.resource_manager import (
    No,
    OnlyCommitted,
    Prepared,
    Unknown,
    WroteNothing,
    judge_error,
    judge_only_commit,
    judge_prepare,
)
from paxcommit.protocol.values import REGISTRAR, Instance, Outcome, ParticipantSet, Value, Vote
from paxcommit.protocol.watching import SeenBranch, Sightings, is_dead, triage
from tests.protocol.stage import TXID, Stage

TWO = {"orders": "wrote", "billing": "wrote"}
ACCEPTORS = ("a1", "a2", "a3")
YES: dict[Instance, Value] = {
    REGISTRAR: ParticipantSet(("billing", "orders")),
    "billing": Vote.PREPARED,
    "orders": Vote.PREPARED,
}
HELD = {name: Accepted(Ballot(0), value) for name, value in YES.items()}


def committing(*names: str) -> CommitMachine:
    machine = CommitMachine(TXID, names, Terms(ACCEPTORS, deadline=5.0, finish=5.0))
    machine.start()
    return machine


def recovering(mandate: Mandate, *names: str, seen: tuple[str, ...] = ()) -> RecoveryMachine:
    machine = RecoveryMachine(
        TXID, ACCEPTORS, served=names, seen=seen, mandate=mandate, patience=5.0, registered=names
    )
    machine.start()
    return machine


def told(effects: list[Effect]) -> list[Outcome]:
    return [effect.outcome for effect in effects if isinstance(effect, Tell)]


def verdicts(effects: list[Effect]) -> dict[str, Verdict]:
    return {effect.participant: effect.verdict for effect in effects if isinstance(effect, Apply)}


def learned(acceptor: str, held: dict[Instance, Accepted] | None = None) -> Learned:
    return Learned(TXID, acceptor, Ballot(0 if held else -1), held or {})


# --- R6, R7, R8 -------------------------------------------------------------------------------


def test_r6_who_has_voted_never_rolls_back_by_itself() -> None:
    machine = committing(*TWO)
    for name in TWO:
        effects = machine.handle(BranchAnswered(name, Prepared()))
    assert len([effect for effect in effects if isinstance(effect, Send)]) == 3
    effects = machine.handle(TimerFired("deadline"))
    assert told(effects) == [Outcome.OPEN]
    assert not verdicts(effects)
    with pytest.raises(InvariantViolation, match="R6"):
        machine._roll_back()


def test_r6_a_no_is_told_and_never_voted() -> None:
    machine = committing(*TWO)
    machine.handle(BranchAnswered("orders", No("40001", retryable=True)))
    effects = machine.handle(BranchAnswered("billing", Prepared()))
    assert told(effects) == [Outcome.ABORTED]
    assert not [effect for effect in effects if isinstance(effect, Send)]
    assert verdicts(effects) == {"orders": Verdict.ROLL_BACK_OPEN, "billing": Verdict.ROLL_BACK}


def test_r7_a_branch_outside_the_chosen_j_is_rolled_back_although_it_committed() -> None:
    machine = recovering(Mandate.LEARN, *TWO, "stock", seen=("stock", "orders"))
    machine.handle(learned("a1", HELD))
    effects = machine.handle(learned("a2", HELD))
    assert told(effects) == [Outcome.COMMITTED]
    assert verdicts(effects) == {
        "billing": Verdict.COMMIT,
        "orders": Verdict.COMMIT,
        "stock": Verdict.ROLL_BACK,
    }


def test_r8_a_row_is_one_value_and_a_refusal_leaves_it() -> None:
    row = Row(Ballot(3), HELD)
    assert isinstance(step("a1", EpochState(), row, Phase2a(TXID, Ballot(2), YES)), Refuse)
    assert row == Row(Ballot(3), HELD)


# --- R15, R16, R17, R21, R22 ------------------------------------------------------------------


def test_r15_a_serializable_reader_commits_before_the_first_phase_2a() -> None:
    machine = committing("orders", "stock")
    machine.handle(BranchAnswered("orders", Prepared()))
    effects = machine.handle(BranchAnswered("stock", WroteNothing(serializable=True)))
    assert effects == [CommitReader("stock")]
    effects = machine.handle(BranchAnswered("stock", OnlyCommitted()))
    values: dict[Instance, Value] = {
        REGISTRAR: ParticipantSet(("orders",)),
        "orders": Vote.PREPARED,
    }
    assert effects == [Send(name, Phase2a(TXID, Ballot(0), values)) for name in ACCEPTORS]


def test_r15_a_reader_that_commits_after_another_failed_changes_nothing() -> None:
    """Found by seed 112 of the simulation: it was taken for a one-phase commit beside others."""
    machine = committing("orders", "prices", "stock")
    machine.handle(BranchAnswered("orders", Prepared()))
    for name in ("prices", "stock"):
        machine.handle(BranchAnswered(name, WroteNothing(serializable=True)))
    assert machine.handle(BranchAnswered("prices", No("40001", retryable=True))) == []
    effects = machine.handle(BranchAnswered("stock", OnlyCommitted()))
    assert told(effects) == [Outcome.ABORTED]
    assert verdicts(effects)["orders"] is Verdict.ROLL_BACK


def test_r16_only_the_tag_without_a_warning_is_a_yes() -> None:
    assert judge_prepare("PREPARE TRANSACTION", warned=False) == Prepared()
    assert isinstance(judge_prepare("PREPARE TRANSACTION", warned=True), Unknown)
    assert isinstance(judge_prepare("ROLLBACK", warned=False), No)


@pytest.mark.parametrize("answer", [Unknown("lost"), No("40001")])
def test_r16_everything_else_is_not_a_vote(answer: Unknown | No) -> None:
    machine = committing(*TWO)
    machine.handle(BranchAnswered("billing", Prepared()))
    effects = machine.handle(BranchAnswered("orders", answer))
    assert told(effects) == [Outcome.ABORTED]
    assert not [effect for effect in effects if isinstance(effect, Send)]


def test_r17_one_phase_only_for_a_single_participant() -> None:
    machine = CommitMachine(TXID, ["orders", "stock"], Terms(ACCEPTORS, deadline=5.0, finish=5.0))
    kinds = [type(effect) for effect in machine.start() if hasattr(effect, "participant")]
    assert kinds == [Prepare, Prepare]
    machine.handle(BranchAnswered("stock", WroteNothing(serializable=False)))
    effects = machine.handle(BranchAnswered("orders", Prepared()))
    assert [type(effect) for effect in effects] == [Send] * 3, "J of one goes to the acceptors"


def test_r23_a_participant_registered_after_the_id_was_drawn_never_commits_in_one_phase() -> None:
    """Whoever forces the outcome may have fenced only those that were registered before."""
    terms = Terms(ACCEPTORS, deadline=5.0, finish=5.0)
    machine = CommitMachine(TXID, ["orders"], terms, one_phase=False)
    kinds = [type(effect) for effect in machine.start() if hasattr(effect, "participant")]
    assert kinds == [Prepare]
    effects = machine.handle(BranchAnswered("orders", Prepared()))
    assert [type(effect) for effect in effects] == [Send] * 3


def test_r17_a_one_phase_commit_beside_others_stops_everything() -> None:
    with pytest.raises(InvariantViolation, match="R17"):
        committing(*TWO).handle(BranchAnswered("orders", OnlyCommitted()))


def test_r21_until_j_is_queued_the_deadline_rolls_back() -> None:
    machine = committing(*TWO)
    machine.handle(BranchAnswered("orders", Prepared()))
    assert machine.handle(TimerFired("deadline")) == [Abandon("billing")]
    effects = machine.handle(BranchAnswered("billing", Unknown("cut")))
    assert told(effects) == [Outcome.ABORTED]
    assert verdicts(effects) == dict.fromkeys(TWO, Verdict.ROLL_BACK)


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (OnlyCommitted(), Outcome.COMMITTED),
        (No("COMMIT answered ROLLBACK"), Outcome.ABORTED),
        (Unknown("lost"), Outcome.OPEN),
    ],
)
def test_r22_a_one_phase_commit_without_an_answer_is_unknown(
    answer: OnlyCommitted | No | Unknown, outcome: Outcome
) -> None:
    assert told(committing("orders").handle(BranchAnswered("orders", answer))) == [outcome]


def test_r22_a_one_phase_commit_that_is_late_is_unknown_not_aborted() -> None:
    machine = committing("orders")
    assert machine.handle(TimerFired("deadline")) == [Abandon("orders")]
    assert told(machine.handle(BranchAnswered("orders", Unknown("cut")))) == [Outcome.OPEN]


@pytest.mark.parametrize(
    ("sqlstate", "definite"),
    [
        *[(code, True) for code in ("23505", "40001", "40P01", "55P03", "0A000", "42501")],
        *[(code, False) for code in ("08006", "53100", "53200", "57P01", "57014", "58030")],
        ("XX000", False),
    ],
)
def test_r22_only_an_ordinary_sqlstate_is_a_no(sqlstate: str, definite: bool) -> None:
    assert isinstance(judge_error(sqlstate, "message"), No if definite else Unknown)


def test_r22_a_commit_that_answers_rollback_is_a_no() -> None:
    assert isinstance(judge_only_commit("ROLLBACK"), No)


# --- R19, R20, R24: applying ------------------------------------------------------------------


def test_r19_damage_is_an_alarm_and_never_a_success() -> None:
    damage = Damage("lost-branch", "42704, and no row")
    applying = Applying({"orders": Verdict.COMMIT})
    applying.start()
    assert applying.handle(ApplyAnswered("orders", damage)) == []
    assert applying.done
    assert applying.damage == {"orders": damage}


def test_r20_who_applies_an_abort_fences_every_participant_it_serves() -> None:
    machine = recovering(Mandate.LEARN, *TWO, "stock", seen=("orders",))
    refused = {REGISTRAR: Accepted(Ballot(1), Vote.ABORTED)}
    machine.handle(learned("a1", refused))
    effects = machine.handle(learned("a3", refused))
    assert verdicts(effects) == dict.fromkeys((*TWO, "stock"), Verdict.ROLL_BACK_AND_FENCE)


def test_r20_a_fence_that_has_to_wait_is_tried_again_and_holds_up_nobody() -> None:
    applying = Applying(dict.fromkeys(TWO, Verdict.ROLL_BACK_AND_FENCE))
    applying.start()
    [backoff] = applying.handle(ApplyAnswered("orders", Busy("55P03")))
    assert isinstance(backoff, Backoff)
    applying.handle(ApplyAnswered("billing", Applied()))
    assert not applying.done
    [again] = applying.handle(BackoffOver(backoff.name))
    assert again == Apply("orders", Verdict.ROLL_BACK_AND_FENCE)
    applying.handle(ApplyAnswered("orders", Applied()))
    assert applying.done
    assert not applying.unapplied


def test_r24_after_the_decision_nothing_raises_and_what_is_late_is_named() -> None:
    stage = Stage(TWO)
    machine = stage.commit()
    stage.hold("orders: commit-prepared")
    stage.run(until="tells: committed")
    stage.run()
    stage.let("timer finish")
    assert machine.done
    assert machine.unapplied.keys() == {"orders"}
    assert machine.handle(ApplyAnswered("orders", NotApplied("late"))) == []


def test_a_participant_may_be_named_like_a_timer() -> None:
    applying = Applying({"ballot": Verdict.COMMIT})
    applying.start()
    assert applying.handle(BackoffOver("ballot")) == [], "it is the leader's backoff"


# --- R23: forcing -----------------------------------------------------------------------------


def test_r23_an_outcome_nobody_knows_is_not_forced_before_every_participant_is_fenced() -> None:
    machine = recovering(Mandate.FORCE, *TWO)
    machine.handle(learned("a1"))
    assert machine.handle(learned("a2")) == [Fence("billing"), Fence("orders")]
    assert machine.handle(FenceAnswered("orders", FenceStands("fence"))) == []
    effects = machine.handle(FenceAnswered("billing", FenceStands("fence")))
    assert effects == [Send(name, Phase1a(TXID, Ballot(1))) for name in ACCEPTORS]


def test_r23_without_a_registered_participant_nothing_is_forced() -> None:
    """No fence stands anywhere: a ballot could abort beside a one-phase COMMIT."""
    machine = recovering(Mandate.FORCE)
    machine.handle(learned("a1"))
    assert told(machine.handle(learned("a2"))) == [Outcome.OPEN]


def test_r23_a_gid_ends_the_fencing_and_nothing_is_rolled_back() -> None:
    fencing = Fencing(["orders", "billing"])
    assert fencing.start() == [Fence("billing"), Fence("orders")]
    assert fencing.handle(FenceAnswered("orders", FenceBlocked(prepared=True))) == []
    assert fencing.finding is Finding.LEAD


def test_r23_one_that_cannot_be_asked_leaves_it_open_only_if_no_other_settles_it() -> None:
    missing = FenceAnswered("orders", FenceUnreachable("away"))
    for other, finding in (
        (FenceStands("fence"), Finding.OPEN),
        (FenceStands("only"), Finding.COMMITTED),
        (FenceBlocked(prepared=True), Finding.LEAD),
    ):
        fencing = Fencing(["orders", "billing"])
        fencing.start()
        fencing.handle(missing)
        assert fencing.finding is None
        fencing.handle(FenceAnswered("billing", other))
        assert fencing.finding is finding


def test_r23_a_running_backend_is_terminated_and_the_fence_tried_again() -> None:
    fencing = Fencing(["orders"])
    fencing.start()
    running = FenceAnswered("orders", FenceBlocked(prepared=False, pid=42, backend_start=7))
    assert fencing.handle(running) == [Terminate("orders", 42, 7)]
    gone = FenceAnswered("orders", FenceBlocked(prepared=False))
    [backoff] = fencing.handle(gone)
    assert isinstance(backoff, Backoff)
    assert fencing.handle(BackoffOver(backoff.name)) == [Fence("orders")]
    fencing.handle(FenceAnswered("orders", FenceStands("fence")))
    assert fencing.finding is Finding.LEAD


@pytest.mark.parametrize(
    ("answer", "finding"),
    [
        (FenceStands("only"), Finding.COMMITTED),
        (FenceStands("branch"), Finding.BRANCH),
        (FenceUnreachable("down"), Finding.OPEN),
    ],
)
def test_r23_what_stands_in_the_fences_place_decides(
    answer: FenceStands | FenceUnreachable, finding: Finding
) -> None:
    fencing = Fencing(["orders", "billing"])
    fencing.start()
    fencing.handle(FenceAnswered("billing", FenceStands("fence")))
    fencing.handle(FenceAnswered("orders", answer))
    assert fencing.finding is finding


def test_r23_a_fence_that_never_stands_is_given_up_as_open() -> None:
    fencing = Fencing(["orders"])
    fencing.start()
    running = FenceAnswered("orders", FenceBlocked(prepared=False, pid=42, backend_start=7))
    while fencing.finding is None:
        fencing.handle(running)
    assert fencing.finding is Finding.OPEN


def forced_into_a_committed_branch() -> RecoveryMachine:
    """It asked a1 and a2, which knew nothing; then J was chosen, and orders committed."""
    machine = recovering(Mandate.FORCE, *TWO)
    machine.handle(learned("a1"))
    machine.handle(learned("a2"))
    return machine


def test_r23_a_committed_branch_without_a_registrar_is_damage_and_nothing_is_proposed() -> None:
    machine = forced_into_a_committed_branch()
    machine.handle(learned("a3"))
    effects = machine.handle(FenceAnswered("orders", FenceStands("branch")))
    assert effects == [Send(name, Learn(TXID)) for name in ACCEPTORS]
    machine.handle(learned("a1"))
    assert told(machine.handle(learned("a2"))) == [Outcome.OPEN]
    assert machine.damage.keys() == {"orders"}


def test_r23_an_answer_from_before_the_fences_is_no_evidence_of_damage() -> None:
    """A3's first answer overtakes the second question; only a2 and a3 hold J.  Found in review."""
    machine = forced_into_a_committed_branch()
    effects = machine.handle(FenceAnswered("orders", FenceStands("branch")))
    assert effects == [Send("a1", Learn(TXID)), Send("a2", Learn(TXID))]
    assert machine.handle(learned("a1")) == []
    assert machine.handle(learned("a3")) == [Send("a3", Learn(TXID))], "too old: asked again"
    machine.handle(learned("a3", HELD))
    assert not machine.damage
    assert told(machine.handle(learned("a2", HELD))) == [Outcome.COMMITTED]


# --- R25, R26, R30 ----------------------------------------------------------------------------


def test_r25_who_may_only_learn_leads_no_ballot() -> None:
    machine = recovering(Mandate.LEARN, *TWO, seen=("orders",))
    effects = [effect for name in ACCEPTORS for effect in machine.handle(learned(name))]
    assert told(effects) == [Outcome.OPEN]
    assert not [effect for effect in effects if isinstance(effect, Send)]


def test_r25_without_f_plus_1_acceptors_it_reports_and_waits() -> None:
    machine = recovering(Mandate.LEAD, *TWO, seen=("orders",))
    machine.handle(NoAnswer(TXID, "a1", "down"))
    effects = machine.handle(NoAnswer(TXID, "a2", "down"))
    assert told(effects) == [Outcome.OPEN]
    assert not verdicts(effects)


def test_r25_backoff_counts_from_one() -> None:
    """The coordinator's ballot 0 is no attempt at a ballot; its first backoff is the shortest."""
    machine = committing(*TWO)
    for name in TWO:
        machine.handle(BranchAnswered(name, Prepared()))
    machine.handle(NoAnswer(TXID, "a1", "down"))
    assert machine.handle(NoAnswer(TXID, "a2", "down")) == [Backoff("ballot", 1)]


def test_r26_dead_means_f_plus_1_answered_without_its_lock() -> None:
    assert is_dead(7, {"a1": {1}, "a2": set()}, quorum=2)
    assert not is_dead(7, {"a1": set()}, quorum=2), "silence is no answer"
    assert not is_dead(7, {"a1": set(), "a2": {7}}, quorum=2)
    assert is_dead(7, {"a1": set(), "a2": {7}, "a3": set()}, quorum=2)


def test_r26_the_deadline_is_the_fallback() -> None:
    txid = TxId(1, 7, 1)
    alive = {"a1": {7}, "a2": {7}}

    def mandates(age: float) -> list[Mandate]:
        branch = SeenBranch(txid, "orders", age=age, deadline=5)
        return [case.mandate for case in triage([branch], alive, quorum=2)]

    assert mandates(0.5) == []
    assert mandates(2.0) == [Mandate.LEARN]
    assert mandates(5.0) == [Mandate.LEAD]


def test_r26_a_server_whose_clock_was_set_back_blocks_nobody() -> None:
    txid = TxId(1, 7, 1)
    alive = {"a1": {7}, "a2": {7}}
    sightings = Sightings()

    def mandates(now: float, *participants: str) -> list[Mandate]:
        branches = [SeenBranch(txid, name, age=-3600.0, deadline=5) for name in participants]
        return [case.mandate for case in triage(sightings.age(branches, now), alive, quorum=2)]

    assert mandates(100.0, "orders") == []
    assert mandates(102.0, "orders") == [Mandate.LEARN]
    assert mandates(105.0, "orders") == [Mandate.LEAD]
    assert mandates(106.0, "billing") == [], "this branch was not seen before"
    assert mandates(107.0, "orders") == [], "gone, and seen again"


def test_r30_a_seal_stops_ballot_0_of_unknown_transactions_only() -> None:
    sealed = EpochState(sealed=True)
    vote = Phase2a(TXID, Ballot(0), {"orders": Vote.PREPARED})
    assert step("a1", sealed, UNKNOWN, vote) == Refuse(Sealed(TXID, "a1"))
    known = Row(Ballot(0), {"billing": Accepted(Ballot(0), Vote.PREPARED)})
    assert isinstance(step("a1", sealed, known, vote), Persist)
    assert isinstance(step("a1", sealed, UNKNOWN, Phase1a(TXID, Ballot(1))), Persist)


def test_r30_a_retired_acceptor_refuses_every_ballot() -> None:
    retired = EpochState(retired=True)
    for request in (Phase1a(TXID, Ballot(9)), Phase2a(TXID, Ballot(9), YES)):
        assert step("a1", retired, Row(Ballot(0), HELD), request) == Refuse(Retired(TXID, "a1"))
    gone = step("a1", retired, UNKNOWN, Learn(TXID))
    assert gone == Refuse(Retired(TXID, "a1")), "its rows are gone, which is not: never heard of"


def test_the_registrar_cannot_choose_prepared() -> None:
    with pytest.raises(InvariantViolation, match="registrar"):
        judge({REGISTRAR: Vote.PREPARED})
