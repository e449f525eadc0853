"""Bad histories whose end shows it: what the banks' databases hold."""

from __future__ import annotations

from dataclasses import replace

from paxcommit.testing.chaos.events import Begun, Booked, DamageReported, Deed, Leg, Recovered
from tests.chaos.bad_histories_registry import bad
from tests.chaos.bad_histories_story import (
    ACCOUNTS,
    DECOY,
    DIED,
    LOCAL,
    READER,
    REFUSED,
    REGRET,
    ROLLED_BACK,
    SMALL,
    THREE,
    UNKNOWN,
    Story,
)

GID = f"paxcommit:{'0' * 32}:{THREE}:bank_b:30"
STRANGER = "1-00000000000000ff-1"


@bad("half-committed")
def a_bank_lost_its_part(story: Story) -> None:
    story.unbook(THREE, "bank_b")


@bad("half-committed")
def recovery_finished_one_branch_only(story: Story) -> None:
    story.unbook(UNKNOWN, "bank_a")


@bad("half-committed")
def half_committed_at_another_bank_than_the_deed_s(story: Story) -> None:
    story.unbook(ROLLED_BACK, "bank_a")
    story.rows["bank_b"].append(Booked(ROLLED_BACK, 4, "bank_a", 40))


@bad("commit-missing")
def an_acknowledged_commit_is_nowhere(story: Story) -> None:
    story.unbook(THREE, "bank_a", "bank_b", "bank_c")


@bad("commit-missing")
def what_recovery_and_outcome_call_committed_is_nowhere(story: Story) -> None:
    story.unbook(UNKNOWN, "bank_a", "bank_c")


@bad("commit-missing")
def a_local_commit_is_nowhere(story: Story) -> None:
    story.unbook(LOCAL, "bank_a")


@bad("aborted-but-there")
def a_refused_transfer_is_there(story: Story) -> None:
    story.book(REFUSED, ("bank_a", 1, -9), ("bank_b", 1, 9))


@bad("aborted-but-there")
def what_outcome_calls_aborted_is_there(story: Story) -> None:
    story.book(DIED, ("bank_b", 3, -6), ("bank_c", 1, 6))


@bad("self-abort-took-effect")
def a_transaction_that_raised_is_there(story: Story) -> None:
    story.book(REGRET, ("bank_a", 1, -8), ("bank_b", 1, 8))


@bad("nobody-began")
def a_transfer_that_nobody_began(story: Story) -> None:
    story.book(STRANGER, ("bank_a", 1, -1), ("bank_b", 1, 1))


@bad("nobody-began")
def somebody_recovers_what_nobody_began(story: Story) -> None:
    story.last(Recovered, txid=STRANGER, outcome="aborted", process="r1")


@bad("wrong-booking")
def more_money_moved_than_the_client_wrote(story: Story) -> None:
    story.unbook(UNKNOWN, "bank_a", "bank_c")
    story.book(UNKNOWN, ("bank_a", 3, -70), ("bank_c", 3, 70))


@bad("wrong-booking")
def another_account_than_the_client_wrote(story: Story) -> None:
    story.unbook(UNKNOWN, "bank_a", "bank_c")
    story.book(UNKNOWN, ("bank_a", 3, -7), ("bank_c", 1, 7))


@bad("wrong-booking")
def a_counterpart_that_has_no_part_in_it(story: Story) -> None:
    row = story.row("bank_a", UNKNOWN)
    story.unbook(UNKNOWN, "bank_a")
    story.rows["bank_a"].append(replace(row, counterpart="bank_b"))


@bad("wrong-booking")
def half_of_a_local_transfer(story: Story) -> None:
    story.rows["bank_a"] = [
        row for row in story.rows["bank_a"] if (row.txid, row.amount) != (LOCAL, 5)
    ]


@bad("wrong-booking")
def a_reader_wrote(story: Story) -> None:
    story.book(READER, ("bank_a", 1, -1), ("bank_b", 1, 1))


@bad("booked-twice")
def a_retry_moved_the_money_again(story: Story) -> None:
    story.book(SMALL, ("bank_a", 2, -1), ("bank_b", 1, 1))


@bad("balance-wrong")
def money_changed_places_without_a_transfer(story: Story) -> None:
    story.shift["bank_a", 1] -= 1
    story.shift["bank_b", 1] += 1


@bad("balance-wrong")
def money_is_gone_from_an_account(story: Story) -> None:
    story.shift["bank_c", 4] -= 500


@bad("accounts-changed")
def an_account_is_gone(story: Story) -> None:
    story.closed.add(("bank_c", 4))


@bad("money-not-conserved")
def a_transfer_brings_more_than_it_takes(story: Story) -> None:
    story.change(Begun, {"txid": UNKNOWN}, legs=(Leg("bank_a", 3, -7), Leg("bank_c", 3, 8)))
    story.unbook(UNKNOWN, "bank_c")
    story.rows["bank_c"].append(Booked(UNKNOWN, 3, "bank_a", 8))


@bad("prepared-left")
def a_branch_is_left_prepared(story: Story) -> None:
    story.prepared["bank_b"] = [GID]


@bad("prepared-left")
def a_decoy_at_another_bank_is_no_decoy(story: Story) -> None:
    story.prepared["bank_b"] = [DECOY]


@bad("locks-left")
def locks_are_left(story: Story) -> None:
    story.locks["bank_b"] = 3


@bad("decoy-touched")
def somebody_finished_what_was_not_ours(story: Story) -> None:
    story.prepared["bank_a"] = []


@bad("damage-not-reported")
def nobody_noticed_the_manual_rollback(story: Story) -> None:
    story.drop(DamageReported, txid=ROLLED_BACK)


@bad("damage-not-reported")
def damage_is_reported_at_another_bank(story: Story) -> None:
    story.change(DamageReported, {"txid": ROLLED_BACK}, participant="bank_a")
    deed = {"txid": ROLLED_BACK, "participant": "bank_a"}
    story.after(story.find(Deed, txid=ROLLED_BACK), (Deed, deed))


@bad("damage-not-reported")
def nobody_noticed_that_every_branch_was_rolled_back(story: Story) -> None:
    story.unbook(ROLLED_BACK, "bank_a")
    deed = {"txid": ROLLED_BACK, "participant": "bank_a"}
    story.after(story.find(Deed, txid=ROLLED_BACK), (Deed, deed))


@bad("damage-without-deed")
def a_false_alarm(story: Story) -> None:
    story.last(DamageReported, txid=THREE, participant="bank_c", what="lost-branch")


@bad("final-state")
def a_bank_s_final_state_is_missing(story: Story) -> None:
    story.finals.remove("bank_c")


@bad("final-state")
def a_bank_has_two_final_states(story: Story) -> None:
    story.finals.append("bank_c")


@bad("final-state")
def a_bank_that_the_run_does_not_have(story: Story) -> None:
    story.finals.append("bank_d")
    story.rows["bank_d"] = []
    story.closed |= {("bank_d", number) for number in ACCOUNTS}
