"""Mutants of the participant's SQL: preparing a branch, fencing it off, finishing it."""

from __future__ import annotations

from tests.proof.mutants.mutant import mutant, simulate, test

__all__ = ["MUTANTS"]

PARTICIPANT = "paxcommit/sql/migrations/0001_c_participant.sql"
BRANCH = "paxcommit/sql/branch.py"
FINISH = "paxcommit/sql/finish.py"
FENCING = "paxcommit/sql/fencing.py"
_BRANCH = "tests/sql/test_branch.py::"
_FINISH = "tests/sql/test_finish.py::"
_TRAPS = "tests/traps/"
_STANDBY = "tests/sql/test_synchronous_standby.py::"
_KILLERS = "tests/proof/killers/test_databases.py::"
_FLUSHED = "tests/proof/killers/test_durability.py::test_it_is_flushed_whatever_the_session_says"

MUTANTS = (
    mutant(
        "setting-not-required",
        "R14, trap 14",
        "a ROLLBACK in the block passes as a reader: the others commit without it",
        (
            PARTICIPANT,
            "IF current_setting('paxcommit.txid', true) IS DISTINCT FROM _txid THEN",
            "IF _txid IS NULL THEN",
        ),
        by=[test(f"{_BRANCH}test_r14_a_transaction_ended_inside_the_block_is_a_no")],
    ),
    mutant(
        "setting-not-required-of-readers",
        "R14, trap 14",
        "a ROLLBACK in the block of a declared reader goes unnoticed",
        (
            PARTICIPANT,
            "    PERFORM paxcommit.require_transaction(_txid);\n"
            "    RETURN pg_current_xact_id_if_assigned() IS NOT NULL;",
            "    RETURN pg_current_xact_id_if_assigned() IS NOT NULL;",
        ),
        by=[
            test(
                f"{_KILLERS}test_r14_a_reader_that_was_rolled_back_inside_the_block_does_not_count"
                "_as_committed"
            )
        ],
    ),
    mutant(
        "wrote-nothing-tested-after-the-row",
        "R15, trap 14",
        "no transaction is a reader any more: every one of them votes and pays for it",
        (
            PARTICIPANT,
            "    IF pg_current_xact_id_if_assigned() IS NULL THEN\n",
            "    IF pg_current_xact_id() IS NULL THEN\n",
        ),
        by=[test(f"{_BRANCH}test_r15_a_reader_wrote_nothing_and_goes_on")],
    ),
    mutant(
        "branch-insert-on-conflict-do-nothing",
        "R19, trap 24c",
        "a late PREPARE jumps the fence (with the check of R31 gone as well, which refuses it)",
        (
            PARTICIPANT,
            "    FOR SHARE OF p;\n    IF NOT FOUND THEN\n"
            "        PERFORM paxcommit.refuse_branch(_digest, _epoch, _participant);\n"
            "    END IF;\n    RETURN 'written'",
            "    FOR SHARE OF p\n    ON CONFLICT DO NOTHING;\n    RETURN 'written'",
        ),
        by=[test(f"{_BRANCH}test_r20_a_fence_stops_a_late_prepare")],
    ),
    mutant(
        "branch-of-a-stranger-inserted",
        "R2, R31",
        "a branch is prepared in a database that recovery never looks at",
        (
            PARTICIPANT,
            "      AND p.digest = _digest AND p.participant = _participant AND NOT p.retired\n",
            "      AND NOT p.retired\n",
        ),
        by=[
            test(
                f"{_BRANCH}test_r2_a_branch_belongs_to_the_participant_and_the_epoch_of_its_database"
            )
        ],
    ),
    mutant(
        "branch-insert-does-not-lock-the-epoch",
        "R31",
        "a branch slips in behind a retirement, and nobody can decide it any more",
        (PARTICIPANT, " AND NOT p.retired\n    FOR SHARE OF p;", " AND NOT p.retired;"),
        by=[test(f"{_BRANCH}test_r31_retirement_waits_for_a_prepared_branch")],
    ),
    mutant(
        "branches-lock-one-row",
        "R31",
        "every commit makes a multixact of all others, until they run out and nothing commits",
        (
            PARTICIPANT,
            "AND p.stripe = pg_backend_pid() % 64\n"
            "      AND p.digest = _digest AND p.participant = _participant AND NOT p.retired\n",
            "AND p.stripe = 0\n"
            "      AND p.digest = _digest AND p.participant = _participant AND NOT p.retired\n",
        ),
        by=[test(f"{_BRANCH}test_r31_branches_in_flight_do_not_share_a_locked_row")],
    ),
    mutant(
        "fence-does-not-lock-the-epoch",
        "R31",
        "a fence slips in behind a retirement",
        (
            PARTICIPANT,
            "      AND p.digest = _digest AND p.participant = _participant\n    FOR SHARE OF p;",
            "      AND p.digest = _digest AND p.participant = _participant;",
        ),
        by=[test(f"{_KILLERS}test_r31_a_fence_in_flight_holds_up_a_retirement")],
    ),
    mutant(
        "participants-epoch-not-flushed",
        "R2, R31",
        "a crash forgets which cluster the database belongs to, and another one takes it",
        (
            PARTICIPANT,
            "    PERFORM paxcommit.force_synchronous_commit();\n"
            "    INSERT INTO paxcommit.participant_epoch",
            "    INSERT INTO paxcommit.participant_epoch",
        ),
        by=[test(f"{_FLUSHED}[participant's epoch]")],
    ),
    mutant(
        "fence-not-flushed",
        "R20",
        "a crash takes the fence along, and the late PREPARE comes after it",
        (
            PARTICIPANT,
            "BEGIN\n    PERFORM paxcommit.force_synchronous_commit();\n    SELECT p.retired",
            "BEGIN\n    SELECT p.retired",
        ),
        by=[test(f"{_FLUSHED}[fence]")],
    ),
    mutant(
        "no-only-row",
        "R17, R23",
        "a one-phase commit against a forced outcome: aborted, and the money is there",
        (
            BRANCH,
            "            f\" SELECT {_branch_call(gid, 'only')};\"\n",
            "",
        ),
        by=[
            test("tests/rules/test_r23_forced_outcome.py::test_r23_a_one_phase_commit_is_committed")
        ],
    ),
    mutant(
        "client-min-messages-not-forced",
        "R16, trap 2",
        "the warning that makes a PREPARE Unknown does not even arrive",
        (PARTICIPANT, "set_config('client_min_messages', 'warning', true)", "''"),
        by=[
            test(
                f"{_STANDBY}test_trap_2_a_prepare_cancelled_while_it_waits_for_a_standby_is_unknown"
            )
        ],
    ),
    mutant(
        "warnings-not-looked-for",
        "R16, trap 2",
        "prepared here, maybe nowhere else, and it votes yes",
        (
            BRANCH,
            'any(notice.sqlstate == "01000" for notice in result.notices)',
            'any(notice.sqlstate == "01000" for notice in result.notices[1:])',
        ),
        by=[test(f"{_BRANCH}test_r16_a_warning_makes_it_unknown")],
    ),
    mutant(
        "a-users-warning-counts",
        "R16",
        "a deferred trigger that warns makes every transaction of its table abort",
        (BRANCH, '"SET LOCAL client_min_messages = error;"', '""'),
        by=[test(f"{_BRANCH}test_r16_a_deferred_trigger_that_warns_does_not_count")],
    ),
    mutant(
        "role-of-the-gid-not-set",
        "R18, trap 9",
        "the application's role owns the gid, and recovery may not finish it",
        (
            BRANCH,
            '            f" SET LOCAL ROLE {_role(role)};"\n            " SAVEPOINT',
            '            " SAVEPOINT',
        ),
        by=[
            test(
                f"{_BRANCH}test_r18_the_configured_role_owns_the_gid_and_deferred_triggers"
                "_do_not_notice"
            )
        ],
    ),
    mutant(
        "deferred-triggers-run-inside-prepare",
        "R16, R18",
        "they run as whoever finishes gids (before PostgreSQL 18), and their warnings count",
        (
            BRANCH,
            '            " SET CONSTRAINTS ALL IMMEDIATE;"\n'
            '            f" SET LOCAL ROLE {_role(role)};"\n            " SAVEPOINT',
            '            f" SET LOCAL ROLE {_role(role)};"\n            " SAVEPOINT',
        ),
        by=[test(f"{_BRANCH}test_r16_a_deferred_trigger_that_warns_does_not_count")],
    ),
    mutant(
        "reader-that-wrote-after-all-is-committed",
        "R15",
        "writes outside of J are committed although the transaction may have aborted",
        (BRANCH, "        if result.rows[0][0]:\n", "        if not result.rows:\n"),
        by=[test(f"{_BRANCH}test_r15_a_reader_that_wrote_after_all_is_rolled_back")],
    ),
    mutant(
        "42704-taken-as-success",
        "R19, trap 7",
        "a branch that was lost in a failover is called committed: money is gone",
        (FINISH, '            if kind == "branch":\n', '            if kind != "foreign":\n'),
        by=[simulate(100), test(f"{_FINISH}test_trap_7_a_branch_that_is_nowhere_is_lost")],
    ),
    mutant(
        "42704-taken-as-damage",
        "R19, trap 7",
        "two who finish the same branch: the slower one raises a false alarm",
        (FINISH, '            if kind == "branch":\n', '            if kind == "foreign":\n'),
        by=[test(f"{_FINISH}test_trap_7_a_branch_committed_already_is_applied")],
    ),
    mutant(
        "committed-despite-abort-goes-unnoticed",
        "R20",
        "somebody committed by hand what is aborted everywhere else, and nobody is told",
        (
            FINISH,
            '            if kind in ("branch", "only"):\n',
            '            if kind == "foreign":\n',
        ),
        by=[test(f"{_FINISH}test_r20_a_committed_row_where_a_rollback_was_wanted_is_damage")],
    ),
    mutant(
        "57p01-in-phase-2-treated-as-finished",
        "trap 8",
        "the connection was killed first: the branch stays prepared, told as applied",
        (
            FINISH,
            '        return (yield from _after_error(gid, error, wanted="branch"))\n',
            '        if error.sqlstate.startswith("57"):\n'
            "            return Applied()\n"
            '        return (yield from _after_error(gid, error, wanted="branch"))\n',
        ),
        by=[
            test(f"{_FINISH}test_trap_8_after_an_error_the_state_is_read_again"),
        ],
    ),
    mutant(
        "busy-gid-taken-as-finished",
        "trap 6",
        "a gid still being prepared is called applied",
        (FINISH, "            return Busy(str(error))\n", "            return Applied()\n"),
        by=[test(f"{_FINISH}test_trap_6_a_busy_gid_is_tried_again")],
    ),
    mutant(
        "not-the-owner-taken-as-finished",
        "R18, trap 9",
        "a gid that we may not finish is called applied",
        (
            FINISH,
            '            return NotApplied(\n                f"{gid} belongs to role',
            "            return Applied() if owner else NotApplied(\n"
            '                f"{gid} belongs to role',
        ),
        by=[test(f"{_FINISH}test_trap_9_only_the_owner_may_finish")],
    ),
    mutant(
        "fence-that-waits-is-taken-as-there",
        "R20, trap 5",
        "a branch in flight is prepared where a fence is believed to be",
        (FENCING, "            return Standing.BLOCKED\n", "            return Standing.FENCE\n"),
        by=[test(f"{_FINISH}test_trap_5_the_transaction_first_not_prepared")],
    ),
    mutant(
        "an-innocent-is-terminated",
        "R23, trap 24c",
        "the pid was reused: somebody else's session is killed",
        (
            PARTICIPANT,
            "WHERE b.pid <> 0 AND b.pid = _pid AND b.backend_start = _backend_start",
            "WHERE b.pid <> 0 OR b.pid = _pid AND b.backend_start = _backend_start",
        ),
        by=[test(f"{_FINISH}test_trap_24c_an_innocent_is_not_terminated")],
    ),
    mutant(
        "gids-of-other-databases-are-listed",
        "trap 10",
        "what cannot be finished from here is tried for ever",
        (
            FINISH,
            "WHERE database = current_database()",
            "WHERE database IS NOT NULL",
        ),
        by=[test(f"{_FINISH}test_trap_10_gids_of_others_are_listed_as_such")],
    ),
    mutant(
        "a-standbys-empty-list-is-believed",
        "R13, trap 15",
        "a standby shows no gid: recovery goes home, the locks stay",
        (
            FINISH,
            "(SELECT pg_current_wal_lsn() IS NOT NULL)",
            "(SELECT pg_is_in_recovery() IS NOT NULL)",
        ),
        by=[test("tests/sql/test_acceptor_traps.py::test_trap_22_a_promoted_standby_is_refused")],
    ),
)
