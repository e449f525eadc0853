"""Mutants of names and processes: ids, gids, incarnations, membership, the block that commits."""

from __future__ import annotations

from tests.proof.mutants.mutant import mutant, test

__all__ = ["MUTANTS"]

IDS = "paxcommit/ids.py"
TRANSACTIONS = "paxcommit/transactions.py"
ASYNC_TRANSACTION = "paxcommit/async_transaction.py"
MEMBERSHIP = "paxcommit/runtime/membership.py"
LINK = "paxcommit/sql/link.py"
AIO_LINK = "paxcommit/runtime/aio/link.py"
RESOLVING = "paxcommit/resolving.py"
_R01 = "tests/rules/test_r01_fork.py::"
_R23 = "tests/rules/test_r23_forced_outcome.py::"
_R26 = "tests/rules/test_r26_lives.py::"
_TRAPS = "tests/traps/"
_DATABASES = "tests/proof/killers/test_databases.py::"
_KILLERS = "tests/proof/killers/test_surroundings.py::"

MUTANTS = (
    mutant(
        "vote-after-a-fork",
        "R1, trap 31c",
        "parent and child own ballot 0 of one txid: two outcomes",
        (IDS, "        if self._born != _forks:\n", "        if self._born > _forks:\n"),
        by=[test(f"{_R01}test_r1_a_forked_child_draws_no_id_of_its_parents_incarnation")],
    ),
    mutant(
        "txid-drawn-twice",
        "R1, R6",
        "two transactions under one id: the votes of one commit the other",
        (
            IDS,
            "return TxId(self.epoch, self.coordinator, next(self._seq))",
            "return TxId(self.epoch, self.coordinator, (next(self._seq) + 1) // 2)",
        ),
        by=[test(f"{_R01}test_r1_ids_are_distinct_whichever_thread_draws_them")],
    ),
    mutant(
        "incarnation-not-drawn-anew",
        "R1, R6, trap 25",
        "a restarted process owns ballot 0 of its former life's transactions: two outcomes",
        (
            IDS,
            "self.coordinator = secrets.randbits(_COORDINATOR_BITS)",
            "self.coordinator = os.getpid()",
        ),
        by=[test(f"{_KILLERS}test_r1_every_incarnation_is_another_one")],
    ),
    mutant(
        "gid-parsed-loosely",
        "R3, trap 10",
        "somebody else's prepared transaction is taken for ours, and rolled back",
        (IDS, "match = _GID_RE.fullmatch(text)", "match = _GID_RE.match(text)"),
        by=[test(f"{_KILLERS}test_r3_a_gid_with_something_around_it_is_none_of_ours")],
    ),
    mutant(
        "registered-too-late-for-one-phase",
        "R17, R23",
        "forced to abort by one who does not know the participant; committed there",
        (
            TRANSACTIONS,
            "one_phase=self.branches.keys() <= self.registered,",
            "one_phase=bool(self.branches),",
        ),
        by=[test(f"{_R23}test_r23_registered_after_the_id_was_drawn_means_no_one_phase")],
    ),
    mutant(
        "a-second-branch-joins",
        "R4, trap 31b",
        "the second branch of a participant waits for the lock of the first, for ever",
        (
            TRANSACTIONS,
            "        if participant in self.joining:\n",
            "        if participant in self.branches and not self.branches:\n",
        ),
        by=[test(f"{_KILLERS}test_r4_a_participant_joins_once")],
    ),
    mutant(
        "cancelled-task-abandons-the-commit",
        "R24, trap 33",
        "a time-out around the block leaves its branches prepared and undecided",
        (
            ASYNC_TRANSACTION,
            "        self._coordinator.background(self._run(machine), self)\n",
            "        commit = self._coordinator.background(self._run(machine), self)\n",
        ),
        (
            ASYNC_TRANSACTION,
            "        except asyncio.CancelledError:\n            if not self._state.all_ours:\n",
            "        except asyncio.CancelledError:\n            commit.cancel()\n"
            "            if not self._state.all_ours:\n",
        ),
        by=[
            test(
                f"{_TRAPS}test_drivers.py::"
                "test_trap_33_a_cancelled_commit_goes_on_and_close_waits_for_it"
                "[asyncpg-prepare:orders.after]"
            )
        ],
    ),
    mutant(
        "lock-not-held",
        "R26",
        "every recoverer takes a living coordinator for dead, and aborts its work",
        (
            MEMBERSHIP,
            "        if self._coordinator is not None:\n            yield from link_sql.hold",
            "        if self._coordinator == -1:\n            yield from link_sql.hold",
        ),
        by=[
            test(f"{_R26}test_r26_the_lock_is_held_at_a_majority_before_the_first_prepare[asyncpg]")
        ],
    ),
    mutant(
        "begins-below-a-majority",
        "R26",
        "it prepares what nobody can decide: locks until the acceptors are back",
        (
            MEMBERSHIP,
            "        if len(admitted) < self.quorum:\n",
            "        if len(admitted) < 0:\n",
        ),
        by=[test(f"{_KILLERS}test_r26_it_begins_only_with_a_majority")],
    ),
    mutant(
        "an-acceptor-that-lost-votes-is-admitted",
        "R13",
        "it counts towards the F+1 with which a transaction begins",
        (
            MEMBERSHIP,
            "        if greeting.lost_votes:\n",
            "        if greeting.lost_votes and greeting.retired:\n",
        ),
        by=[test(f"{_DATABASES}test_r13_an_acceptor_that_lost_votes_is_not_admitted")],
    ),
    mutant(
        "another-database-is-taken-for-the-participant",
        "R2",
        "an edited DSN: the branch is prepared where recovery never looks",
        (MEMBERSHIP, "        if not ours or (known and", "        if (known and"),
        by=[test(f"{_DATABASES}test_r2_another_participants_database_is_not_taken_for_this_one")],
    ),
    mutant(
        "orphan-timeout-allowed",
        "trap 16",
        "the server rolls back decided branches by itself",
        (
            MEMBERSHIP,
            'if identity.orphan_timeout not in (None, "", "0"):',
            'if identity.orphan_timeout == "never":',
        ),
        by=[
            test(
                f"{_TRAPS}test_refusals.py::test_trap_16_a_server_that_rolls_back_orphans_is_refused[asyncpg]"
            )
        ],
    ),
    mutant(
        "one-phase-commit-not-looked-for",
        "R17, R23",
        "a committed transaction is told as open, and its owner pays again",
        (RESOLVING, '        if kind == "only":\n', '        if kind == "solo":\n'),
        by=[test("tests/coordinator/test_outcome.py::test_committed")],
    ),
    mutant(
        "missing-fence-forgotten",
        "R20",
        "the fence that could not be placed is never placed: a late PREPARE stays",
        (
            RESOLVING,
            "        if not owed:\n",
            "        if not owed or resolved.outcome is Outcome.ABORTED:\n",
        ),
        by=[test(f"{_KILLERS}test_r20_an_abort_that_is_not_applied_everywhere_is_taken_up_again")],
    ),
    mutant(
        "owed-work-forgotten-while-acceptors-are-silent",
        "R20",
        "one look without a majority, and what is still to be applied is forgotten",
        (
            RESOLVING,
            "owed = wait is not None if resolved.outcome",
            "owed = False if resolved.outcome",
        ),
        by=[test(f"{_KILLERS}test_r20_what_is_owed_is_owed_while_the_acceptors_are_silent")],
    ),
    mutant(
        "asked-by-others-looked-at-later",
        "R20",
        "whoever asks for it puts off when it is taken up again: minutes, while a fence is missing",
        (
            RESOLVING,
            "        elif wait.left > 0:  # somebody else's look",
            "        elif wait.left > 99:  # somebody else's look",
        ),
        by=[
            test(
                f"{_KILLERS}test_r20_others_who_ask_do_not_put_off_when_it_is_taken_up_again",
            )
        ],
    ),
    mutant(
        "damage-not-written-down-is-forgotten",
        "R19",
        "the alarm is in one log line only, and `paxcommit status` shows a clean cluster",
        (RESOLVING, "not all(each.written for each in", "not all(True for each in"),
        by=[test(f"{_KILLERS}test_r19_damage_that_is_not_written_down_is_taken_up_again")],
    ),
    mutant(
        "owed-work-only-learnt",
        "R20, R25",
        "a ballot that stopped half way hides the decision: what is owed is owed for ever",
        (
            RESOLVING,
            "Case(txid, Mandate.LEAD, {})",
            "Case(txid, Mandate.LEARN, {})",
        ),
        by=[test(f"{_KILLERS}test_r20_what_is_owed_is_led_for_to_learn_is_not_always_enough")],
    ),
)
