"""Histories that look odd and are not bad: the judge must not cry wolf."""

from __future__ import annotations

from paxcommit.testing.chaos.events import (
    AcceptorRefused,
    AcceptorVoted,
    Answered,
    Asked,
    DamageReported,
    Deed,
    FaultBegun,
    FaultEnded,
    FaultSkipped,
    InDoubt,
    ProcessEnded,
    ProcessStarted,
    Recovered,
    Run,
    Seen,
)
from tests.chaos.bad_histories_registry import fair
from tests.chaos.bad_histories_story import (
    DIED,
    KINDS,
    READER,
    ROLLED_BACK,
    SKIPPED,
    THREE,
    UNKNOWN,
    Story,
    silence,
)


@fair
def the_good_one(story: Story) -> None:
    pass


@fair
def what_left_no_trace_may_be_called_aborted(story: Story) -> None:
    """R17: a reader committed, and nobody can tell afterwards."""
    story.last(Asked, txid=READER, outcome="aborted", by="judge", forced=True)


@fair
def outcome_is_open_first_and_final_later(story: Story) -> None:
    for outcome in ("open", "committed", "open", "committed"):
        asked = {"txid": UNKNOWN, "outcome": outcome, "by": "r1", "forced": False}
        story.after(story.find(Answered, txid=UNKNOWN), (Asked, asked))
    story.drop_all(Recovered)
    recovered = {"txid": DIED, "outcome": "aborted", "process": "r1"}
    story.after(len(story.events) - 1, (Recovered, recovered))


@fair
def an_answer_that_came_after_the_reader_looked(story: Story) -> None:
    seen = {"process": "c1", "reader": READER, "of": UNKNOWN, "banks": {"bank_a": False}}
    story.after(story.find(Answered, txid=UNKNOWN) - 1, (Seen, seen))


@fair
def a_reader_of_what_was_rolled_back_by_hand(story: Story) -> None:
    banks = {"bank_a": True, "bank_b": False}
    seen = {"process": "c1", "reader": READER, "of": ROLLED_BACK, "banks": banks}
    story.after(story.find(DamageReported, txid=ROLLED_BACK), (Seen, seen))


@fair
def all_branches_rolled_back_by_hand_and_reported(story: Story) -> None:
    story.unbook(ROLLED_BACK, "bank_a")
    index = story.find(DamageReported, txid=ROLLED_BACK)
    deed = {"txid": ROLLED_BACK, "participant": "bank_a"}
    story.after(index, (Deed, deed), (DamageReported, {**deed, "what": "lost-branch"}))


@fair
def damage_is_reported_more_than_once(story: Story) -> None:
    damage = {"txid": ROLLED_BACK, "participant": "bank_b", "what": "lost-branch"}
    story.last(DamageReported, **damage)


@fair
def two_recoverers_say_the_same(story: Story) -> None:
    story.last(Recovered, txid=THREE, outcome="committed", process="r1")
    story.last(Recovered, txid=THREE, outcome="committed", process="r1")


@fair
def an_acceptor_votes_after_it_is_itself_again(story: Story) -> None:
    ended = story.find(FaultEnded, fault=f"f{KINDS.index('restored-acceptor') + 1}")
    story.after(ended + 1, (AcceptorVoted, {"acceptor": "a3", "evidence": "a new ballot"}))


@fair
def another_acceptor_votes_meanwhile(story: Story) -> None:
    vote = {"acceptor": "a1", "evidence": "a new ballot"}
    story.after(story.find(AcceptorRefused), (AcceptorVoted, vote))


@fair
def a_fault_that_found_nothing_is_skipped(story: Story) -> None:
    skipped = {"fault": "f99", "kind": "partition", "reason": "there was nothing to cut"}
    story.after(
        story.find(FaultEnded, fault="f12"),
        (FaultBegun, {"fault": "f99", "kind": "partition", "target": "everybody"}),
        (FaultSkipped, skipped),
    )


@fair
def a_skipped_restored_acceptor_need_not_refuse(story: Story) -> None:
    index = KINDS.index("restored-acceptor") + 1
    skipped = {"fault": f"f{index}", "kind": "restored-acceptor", "reason": "no copy"}
    story.after(story.find(FaultEnded, fault=f"f{index}"), (FaultSkipped, skipped))
    story.drop(AcceptorRefused)


@fair
def doubt_and_silence_during_a_fault(story: Story) -> None:
    story.change(InDoubt, {"at": 43.0}, count=1, oldest=20.0, silent=2)


@fair
def nothing_commits_while_a_fault_lasts(story: Story) -> None:
    silence(story, 27.0, 43.0)
    long = {"fault": "f99", "kind": "partition", "target": "everybody"}
    story.after(story.find(FaultBegun, fault="f7"), (FaultBegun, long))
    proof = {"fault": "f99", "proof": {"count": 1}}
    story.after(story.find(FaultEnded, fault="f10"), (FaultEnded, proof))


@fair
def two_recoverers(story: Story) -> None:
    second = {"process": "r2", "role": "recoverer", "incarnation": "", "pid": 104}
    story.after(story.find(ProcessStarted, process="r1"), (ProcessStarted, second))
    story.last(ProcessEnded, process="r2", how="killed", detail="")


@fair
def old_doubt_right_after_a_fault(story: Story) -> None:
    story.change(InDoubt, {"at": 59.0}, count=1, oldest=16.0)


@fair
def a_chosen_run_need_not_meet_everything(story: Story) -> None:
    story.change(Run, {}, thorough=False, planned=(SKIPPED,))
    story.drop_all(FaultBegun)
    story.drop_all(FaultEnded)
    for kind in (Deed, DamageReported, Recovered):
        story.drop_all(kind)
    row = story.row("bank_a", ROLLED_BACK)
    story.rows["bank_b"].append(type(row)(ROLLED_BACK, 4, "bank_a", -row.amount))


@fair
def a_run_without_a_manual_rollback(story: Story) -> None:
    fault = f"f{KINDS.index('manual-rollback') + 1}"
    story.drop(FaultBegun, fault=fault)
    story.drop(FaultEnded, fault=fault)
    story.drop(Deed)
    story.drop(DamageReported)
    planned = tuple(kind for kind in KINDS if kind != "manual-rollback")
    story.change(Run, {}, planned=planned)
    row = story.row("bank_a", ROLLED_BACK)
    story.rows["bank_b"].append(type(row)(ROLLED_BACK, 4, "bank_a", -row.amount))
