"""Mutants of the pure acceptor: when may it promise, when may it accept?"""

from __future__ import annotations

from tests.proof.mutants.mutant import model, mutant, test

__all__ = ["MUTANTS"]

ACCEPTOR = "paxcommit/protocol/acceptor.py"
_PAPER = "tests/protocol/test_paper_claims.py::"
_RULES = "tests/protocol/test_rules.py::"
_TRAPS = "tests/protocol/test_traps.py::"

MUTANTS = (
    mutant(
        "promise-not-stored",
        "R9",
        "an older leader's value is accepted behind a newer one's back: two outcomes",
        (
            ACCEPTOR,
            "replace(row, promised=ballot), Phase1b(txid, acceptor, ballot, row.accepted)",
            "row, Phase1b(txid, acceptor, ballot, row.accepted)",
        ),
        by=[
            model("leaders"),
            test(f"{_PAPER}test_an_acceptor_promises_only_a_strictly_greater_ballot"),
        ],
    ),
    mutant(
        "promise-hides-what-was-accepted",
        "R9",
        "a leader takes a chosen value for free, and aborts what is committed",
        (
            ACCEPTOR,
            "Phase1b(txid, acceptor, ballot, row.accepted)",
            "Phase1b(txid, acceptor, ballot, {})",
        ),
        by=[model("leaders"), test(f"{_PAPER}test_a_promise_reports_everything_accepted")],
    ),
    mutant(
        "accept-below-promise",
        "R10",
        "the coordinator that was taken for dead commits what recovery has aborted",
        (ACCEPTOR, "            if ballot < row.promised:\n", "            if ballot < 0:\n"),
        (
            ACCEPTOR,
            "Row(promised=ballot, accepted=",
            "Row(promised=max(ballot, row.promised), accepted=",
        ),
        by=[model("leaders"), test(f"{_PAPER}test_an_acceptor_never_accepts_below_its_promise")],
    ),
    mutant(
        "accept-does-not-raise-promised",
        "R10, trap 31a",
        "a leader that never asked this acceptor is overtaken by an older one: two outcomes",
        (ACCEPTOR, "Row(promised=ballot, accepted=", "Row(promised=row.promised, accepted="),
        by=[model("ballots"), test(f"{_TRAPS}test_trap_31a_accepting_raises_the_promise")],
    ),
    mutant(
        "phase-1a-idempotent",
        "R9, trap 31a",
        "two leaders share a ballot, and each gets its own value accepted at it",
        (ACCEPTOR, "if ballot <= row.promised:", "if ballot < row.promised:"),
        by=[model("duel"), test(f"{_TRAPS}test_trap_31a_phase_1a_is_never_idempotent")],
    ),
    mutant(
        "different-value-at-an-equal-ballot",
        "R10, trap 20",
        "the last line of defence against two owners of one ballot is gone",
        (ACCEPTOR, "held.ballot == ballot and held.value != value", "held.ballot > ballot"),
        by=[
            model("two-owners"),
            test(
                f"{_TRAPS}test_trap_20_a_different_value_at_an_equal_ballot_is_refused_and_reported"
            ),
        ],
    ),
    mutant(
        "two-owners-of-one-ballot",
        "R6, R9, R10",
        "phase 1a idempotent and a different value at an equal ballot accepted: two outcomes",
        (ACCEPTOR, "if ballot <= row.promised:", "if ballot < row.promised:"),
        (ACCEPTOR, "held.ballot == ballot and held.value != value", "held.ballot > ballot"),
        by=[model("duel"), test(f"{_TRAPS}test_trap_31a_phase_1a_is_never_idempotent")],
    ),
    mutant(
        "a-conflict-refuses-only-itself",
        "R10, trap 20",
        "half a bundle is accepted: votes without the J that they belong to",
        (
            ACCEPTOR,
            "                    return Refuse(Conflict(txid, acceptor, row.promised))\n"
            "            # R10",
            "                    values = {k: v for k, v in values.items() if k != instance}\n"
            "            # R10",
        ),
        by=[test(f"{_TRAPS}test_trap_20_one_conflict_refuses_the_whole_bundle")],
    ),
    mutant(
        "accept-forgets-the-other-instances",
        "R8",
        "a second bundle wipes out the votes of the first: a chosen value is forgotten",
        (ACCEPTOR, "accepted={**row.accepted, **taken}", "accepted=taken"),
        by=[model("services"), test(f"{_PAPER}test_accepting_in_one_instance_keeps_the_others")],
    ),
    mutant(
        "seal-not-checked",
        "R30, trap 23",
        "a late ballot 0 commits a transaction whose rows were dropped with its epoch",
        (ACCEPTOR, "if epoch.sealed and ballot == 0", "if not epoch.sealed and ballot < 0"),
        by=[test(f"{_RULES}test_r30_a_seal_stops_ballot_0_of_unknown_transactions_only")],
    ),
    mutant(
        "retired-epoch-answers",
        "R30",
        "a decided transaction is decided again, the other way, by an epoch that is over",
        (ACCEPTOR, "case _ if epoch.retired:", "case _ if epoch.retired and row == UNKNOWN:"),
        by=[test(f"{_RULES}test_r30_a_retired_acceptor_refuses_every_ballot")],
    ),
    mutant(
        "retired-reads-as-never-heard-of",
        "R31",
        "a later question is answered: aborted, about a transaction that committed",
        (ACCEPTOR, "if epoch.retired and row == UNKNOWN:\n", "if epoch.retired and row != row:\n"),
        by=[test(f"{_RULES}test_r30_a_retired_acceptor_refuses_every_ballot")],
    ),
    mutant(
        "restored-acceptor-votes",
        "R13, trap 22",
        "one acceptor that forgot its votes suffices for two outcomes",
        (ACCEPTOR, "    if epoch.lost_votes:\n", "    if epoch.lost_votes and epoch.retired:\n"),
        by=[
            model("forgetful"),
            test(f"{_TRAPS}test_trap_22_an_acceptor_that_lost_votes_says_nothing_else"),
        ],
    ),
)
