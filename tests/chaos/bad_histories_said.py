"""Bad histories in what was said: by clients, by ``outcome()``, by recovery, by readers."""

from __future__ import annotations

from paxcommit.testing.chaos.events import Answered, Asked, Begun, ProcessEnded, Recovered, Seen
from tests.chaos.bad_histories_registry import bad
from tests.chaos.bad_histories_story import (
    DIED,
    REFUSED,
    SMALL,
    THREE,
    UNKNOWN,
    Story,
)

STRANGER = "1-00000000000000ff-1"


@bad("two-answers")
def the_client_and_recovery_contradict_each_other(story: Story) -> None:
    story.last(Recovered, txid=THREE, outcome="aborted", process="r1")


@bad("two-answers")
def the_client_and_outcome_contradict_each_other(story: Story) -> None:
    story.last(Asked, txid=REFUSED, outcome="committed", by="judge", forced=False)


@bad("two-answers")
def two_recoverers_contradict_each_other(story: Story) -> None:
    story.last(Recovered, txid=UNKNOWN, outcome="aborted", process="r1")


@bad("outcome-changed")
def outcome_changes_its_mind(story: Story) -> None:
    story.drop(Recovered, txid=DIED)
    asked = {"txid": DIED, "outcome": "committed", "by": "judge", "forced": True}
    story.after(story.find(Begun, txid=DIED), (Asked, asked))


@bad("unknown-never-resolved")
def nobody_asked_about_an_unknown_outcome(story: Story) -> None:
    story.drop(Asked, txid=UNKNOWN)


@bad("unknown-never-resolved")
def nobody_asked_about_a_dead_client_s_transaction(story: Story) -> None:
    story.drop(Asked, txid=DIED)


@bad("unknown-never-resolved")
def outcome_stays_open(story: Story) -> None:
    story.change(Asked, {"txid": UNKNOWN}, outcome="open")


@bad("never-answered")
def a_client_is_left_without_an_answer(story: Story) -> None:
    story.drop(Answered, txid=SMALL)
    story.last(Asked, txid=SMALL, outcome="committed", by="judge", forced=True)


@bad("acknowledged-not-visible")
def a_reader_does_not_see_what_was_acknowledged(story: Story) -> None:
    banks = {"bank_a": True, "bank_b": False, "bank_c": True}
    story.change(Seen, {"of": THREE}, banks=banks)


@bad("aborted-but-visible")
def a_reader_sees_what_was_refused(story: Story) -> None:
    story.change(Seen, {"of": THREE}, of=REFUSED, banks={"bank_a": True, "bank_b": False})


@bad("nobody-began")
def a_reader_looks_for_what_nobody_began(story: Story) -> None:
    story.change(Seen, {"of": THREE}, of=STRANGER)


@bad("begun-twice")
def an_id_is_used_twice(story: Story) -> None:
    again = story.events[story.find(Begun, txid=THREE)]
    story.events.insert(story.find(Answered, txid=THREE), again)


@bad("foreign-id")
def an_id_of_another_incarnation(story: Story) -> None:
    story.change(Begun, {"txid": REFUSED}, process="c2")
    story.change(Answered, {"txid": REFUSED}, process="c2")


@bad("answered-before-begun")
def an_answer_above_its_beginning(story: Story) -> None:
    begun, answered = story.find(Begun, txid=THREE), story.find(Answered, txid=THREE)
    at = story.events[begun].at
    story.change(Answered, {"txid": THREE}, at=at)
    story.events[begun], story.events[answered] = story.events[answered], story.events[begun]


@bad("answered-twice")
def two_answers_to_one_client(story: Story) -> None:
    answered = story.find(Answered, txid=THREE)
    story.events.insert(answered, story.events[answered])


@bad("answered-elsewhere")
def another_process_answers(story: Story) -> None:
    story.change(Answered, {"txid": THREE}, process="c2")


@bad("answered-after-death")
def a_dead_process_answers(story: Story) -> None:
    ended = story.find(ProcessEnded, process="c2")
    answer = {"txid": DIED, "process": "c2", "answer": "aborted", "took": 0.1}
    story.after(ended, (Answered, answer))


@bad("unknown-process")
def a_process_that_never_started_recovers(story: Story) -> None:
    story.change(Recovered, {"txid": UNKNOWN}, process="r9")
