"""Bad histories of runs that show nothing: time, processes, faults, too little, torn files."""

from __future__ import annotations

from dataclasses import replace

from paxcommit.testing.chaos.events import (
    AcceptorRefused,
    AcceptorVoted,
    Answered,
    Asked,
    Begun,
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
)
from tests.chaos.bad_histories_registry import bad, cut
from tests.chaos.bad_histories_story import (
    C1,
    KINDS,
    ROLLED_BACK,
    SKIPPED,
    Story,
    calm,
    silence,
)


@bad("time-runs-backwards")
def time_runs_backwards(story: Story) -> None:
    index = story.find(AcceptorRefused)
    story.events[index] = replace(story.events[index], at=story.events[index - 1].at - 0.001)


@bad("started-twice")
def two_processes_of_one_incarnation(story: Story) -> None:
    fork = {"process": "c3", "role": "coordinator", "incarnation": C1, "pid": 104}
    ended = {"process": "c3", "how": "stopped", "detail": ""}
    started = story.find(ProcessStarted, process="r1")
    story.after(started, (ProcessStarted, fork), (ProcessEnded, ended))


@bad("started-twice")
def two_processes_of_one_name(story: Story) -> None:
    again = {"process": "r1", "role": "recoverer", "incarnation": "", "pid": 104}
    story.after(story.find(ProcessStarted, process="r1"), (ProcessStarted, again))


@bad("process-failed")
def a_recoverer_ended_by_itself(story: Story) -> None:
    story.change(ProcessEnded, {"process": "r1"}, how="failed", detail="Traceback")


@bad("unknown-process")
def a_process_that_never_started_ends(story: Story) -> None:
    story.last(ProcessEnded, process="r9", how="stopped", detail="")


@bad("process-left")
def a_process_is_left(story: Story) -> None:
    story.drop(ProcessEnded, process="r1")


# --- faults -------------------------------------------------------------------------------------


@bad("fault-begun-twice")
def two_faults_have_one_id(story: Story) -> None:
    begun = story.find(FaultBegun, fault="f6")
    story.events.insert(begun, story.events[begun])


@bad("fault-never-begun")
def a_fault_ends_that_never_began(story: Story) -> None:
    story.last(FaultEnded, fault="f99", proof={"count": 1})


@bad("fault-not-ended")
def a_fault_does_not_end(story: Story) -> None:
    kind = {"fault": "f99", "kind": "partition", "target": "everybody"}
    story.after(story.find(FaultEnded, fault="f12"), (FaultBegun, kind))


@bad("fault-without-proof")
def a_fault_that_hit_nothing(story: Story) -> None:
    story.after(
        story.find(FaultEnded, fault="f12"),
        (FaultBegun, {"fault": "f99", "kind": "partition", "target": "everybody"}),
        (FaultEnded, {"fault": "f99", "proof": {"count": 0, "seen": "nothing"}}),
    )


@bad("fault-without-proof")
def a_fault_without_any_proof(story: Story) -> None:
    story.after(
        story.find(FaultEnded, fault="f12"),
        (FaultBegun, {"fault": "f99", "kind": "partition", "target": "everybody"}),
        (FaultEnded, {"fault": "f99", "proof": {}}),
    )


@bad("fault-without-proof")
def a_manual_rollback_without_a_deed(story: Story) -> None:
    story.drop(Deed, txid=ROLLED_BACK)
    story.drop(DamageReported, txid=ROLLED_BACK)
    row = story.row("bank_a", ROLLED_BACK)
    story.rows["bank_b"].append(replace(row, counterpart="bank_a", amount=-row.amount))


@bad("planned-fault-missing")
def a_planned_fault_was_forgotten(story: Story) -> None:
    story.drop(FaultSkipped, kind=SKIPPED)


@bad("restored-acceptor-voted")
def a_restored_acceptor_voted(story: Story) -> None:
    vote = {"acceptor": "a3", "evidence": "it holds a ballot that it did not hold before"}
    story.after(story.find(AcceptorRefused), (AcceptorVoted, vote))


@bad("restored-acceptor-never-refused")
def a_restored_acceptor_was_never_put_to_it(story: Story) -> None:
    story.drop(AcceptorRefused)


@bad("restored-acceptor-never-refused")
def another_acceptor_refused(story: Story) -> None:
    story.change(AcceptorRefused, {}, acceptor="a1")


# --- blocked, or too little to tell --------------------------------------------------------------


@bad("stalled")
def nothing_commits_for_long_without_a_fault(story: Story) -> None:
    calm(story, 26.5, 43.5)
    silence(story, 27.0, 43.0)


@bad("stalled")
def everything_aborts_for_long_without_a_fault(story: Story) -> None:
    calm(story, 26.5, 43.5)
    for index, event in enumerate(story.events):
        if isinstance(event, Answered) and 26.5 < event.at < 43.5:
            story.events[index] = replace(event, answer="aborted")
            story.unbook(event.txid, "bank_a", "bank_b")


@bad("blocked")
def a_branch_stays_in_doubt_without_a_fault(story: Story) -> None:
    calm(story, 26.5, 43.5)
    story.change(InDoubt, {"at": 43.0}, count=1, oldest=20.0)


@bad("not-watched")
def nobody_looked_at_branches_in_doubt(story: Story) -> None:
    story.drop_all(InDoubt)


@bad("too-few-transactions")
def too_few_transactions(story: Story) -> None:
    story.change(Run, {}, seconds=600.0)


@bad("no-commits")
def nobody_was_told_committed(story: Story) -> None:
    for index, event in enumerate(story.events):
        if isinstance(event, Answered) and event.answer == "committed":
            story.events[index] = replace(event, answer="aborted")
    legs = [event for event in story.events if isinstance(event, Begun) and event.legs]
    for begun in legs:
        if begun.txid not in _resolved(story):
            story.unbook(begun.txid, *story.rows)
    story.events = [event for event in story.events if event.__class__.__name__ != "Seen"]


def _resolved(story: Story) -> set[str]:
    return {event.txid for event in story.events if isinstance(event, Asked)}


@bad("no-aborts")
def nobody_was_told_aborted(story: Story) -> None:
    refused = {
        event.txid
        for event in story.events
        if isinstance(event, Answered) and event.answer == "aborted"
    }
    story.events = [
        event
        for event in story.events
        if not (isinstance(event, Begun | Answered) and event.txid in refused)
    ]


@bad("no-unknowns")
def no_outcome_was_unknown(story: Story) -> None:
    for txid in _resolved(story):
        begun = story.events[story.find(Begun, txid=txid)]
        [outcome] = [e.outcome for e in story.events if isinstance(e, Asked) and e.txid == txid]
        story.events = [
            event
            for event in story.events
            if not (isinstance(event, Answered) and event.txid == txid)
        ]
        said = {"txid": txid, "process": begun.process, "answer": outcome, "took": 0.0}
        story.after(story.find(Begun, txid=txid), (Answered, said))


@bad("no-recoveries")
def recovery_had_nothing_to_do(story: Story) -> None:
    story.drop_all(Recovered)


@bad("too-few-faults")
def too_few_kinds_of_fault(story: Story) -> None:
    for number, kind in enumerate(KINDS, start=1):
        if kind in ("delay", "drop"):
            story.change(FaultBegun, {"fault": f"f{number}"}, kind="partition")
    planned = tuple(kind for kind in KINDS if kind not in ("delay", "drop"))
    story.change(Run, {}, planned=planned)


@bad("too-few-faults")
def a_kind_that_was_skipped_does_not_count(story: Story) -> None:
    for number in (7, 8):
        index = story.find(FaultEnded, fault=f"f{number}")
        skipped = {"fault": f"f{number}", "kind": KINDS[number - 1], "reason": "nothing to cut"}
        story.after(index, (FaultSkipped, skipped))
        del story.events[index]


# --- files --------------------------------------------------------------------------------------


@cut("truncated")
def the_end_is_cut_off(lines: list[bytes]) -> list[bytes]:
    return lines[:-1]


@cut("malformed")
def the_last_line_is_torn(lines: list[bytes]) -> list[bytes]:
    return [*lines[:-1], lines[-1][:-7]]


@cut("no-run")
def the_beginning_is_cut_off(lines: list[bytes]) -> list[bytes]:
    return lines[1:]


@cut("no-run")
def an_empty_file(lines: list[bytes]) -> list[bytes]:
    return []


@cut("miscounted")
def a_line_is_lost(lines: list[bytes]) -> list[bytes]:
    return [*lines[:100], *lines[101:]]


@cut("after-end")
def something_happens_after_the_end(lines: list[bytes]) -> list[bytes]:
    return [*lines, lines[-2]]


@cut("malformed")
def a_second_run_begins(lines: list[bytes]) -> list[bytes]:
    return [*lines[:50], lines[0], *lines[50:]]


@cut("version")
def a_version_that_is_not_known(lines: list[bytes]) -> list[bytes]:
    return [lines[0].replace(b'"version":1', b'"version":2'), *lines[1:]]


@cut("malformed")
def an_event_that_is_not_known(lines: list[bytes]) -> list[bytes]:
    return [*lines[:9], lines[9].replace(b'"event":"', b'"event":"un'), *lines[10:]]


@cut("malformed")
def a_field_is_missing(lines: list[bytes]) -> list[bytes]:
    return [*lines[:9], b'{"at":0.2,"event":"in-doubt","count":0}', *lines[10:]]


@cut("malformed")
def a_field_too_many(lines: list[bytes]) -> list[bytes]:
    return [*lines[:9], lines[9].replace(b"{", b'{"by":"hand",', 1), *lines[10:]]


@cut("malformed")
def a_number_that_is_a_text(lines: list[bytes]) -> list[bytes]:
    line = b'{"at":0.2,"event":"in-doubt","count":"0","oldest":0.0,"silent":0}'
    return [*lines[:9], line, *lines[10:]]


@cut("malformed")
def a_time_that_is_no_number(lines: list[bytes]) -> list[bytes]:
    line = b'{"at":NaN,"event":"in-doubt","count":0,"oldest":0.0,"silent":0}'
    return [*lines[:9], line, *lines[10:]]
