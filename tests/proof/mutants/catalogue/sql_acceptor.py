"""Mutants of the acceptor's SQL functions, and of the code that calls them."""

from __future__ import annotations

from tests.proof.mutants.mutant import mutant, test

__all__ = ["MUTANTS"]

TABLES = "paxcommit/sql/migrations/0001_a_tables.sql"
ACCEPTOR = "paxcommit/sql/migrations/0001_b_acceptor.sql"
ASK = "paxcommit/sql/acceptor.py"
_EQUAL = test(
    "tests/sql/test_acceptor_equivalence.py::test_sql_and_pure_acceptor_give_the_same_answers"
)
_RULES = "tests/sql/test_acceptor_rules.py::"
_TRAPS = "tests/sql/test_acceptor_traps.py::"
_STANDBY = "tests/sql/test_synchronous_standby.py::"
_KILLERS = "tests/proof/killers/test_acceptor_sql.py::"
_FLUSHED = "tests/proof/killers/test_durability.py::test_it_is_flushed_whatever_the_session_says"

MUTANTS = (
    mutant(
        "sql-promise-not-stored",
        "R9",
        "an older leader's value is accepted behind a newer one's back: two outcomes",
        (
            ACCEPTOR,
            "SET promised = excluded.promised,",
            "SET promised = CASE _phase WHEN 1 THEN t.promised ELSE excluded.promised END,",
        ),
        by=[test(f"{_KILLERS}test_r9_a_promise_is_stored_beside_what_was_accepted"), _EQUAL],
    ),
    mutant(
        "sql-accept-below-promise",
        "R10",
        "the coordinator that was taken for dead commits what recovery has aborted",
        (ACCEPTOR, "ELSE excluded.promised >= t.promised AND NOT EXISTS (", "ELSE NOT EXISTS ("),
        (
            ACCEPTOR,
            "SET promised = excluded.promised,",
            "SET promised = greatest(t.promised, excluded.promised),",
        ),
        by=[test(f"{_KILLERS}test_r10_nothing_is_accepted_below_a_promise"), _EQUAL],
    ),
    mutant(
        "sql-accept-does-not-raise-promised",
        "R10, trap 31a",
        "a leader that never asked this acceptor is overtaken by an older one: two outcomes",
        (
            ACCEPTOR,
            "SET promised = excluded.promised,",
            "SET promised = CASE _phase WHEN 1 THEN excluded.promised ELSE t.promised END,",
        ),
        by=[test(f"{_RULES}test_r10_accepting_raises_the_promise"), _EQUAL],
    ),
    mutant(
        "sql-phase-1a-idempotent",
        "R9, trap 31a",
        "two leaders share a ballot, and each gets its own value accepted at it",
        (
            ACCEPTOR,
            "WHEN 1 THEN excluded.promised > t.promised",
            "WHEN 1 THEN excluded.promised >= t.promised",
        ),
        by=[test(f"{_RULES}test_r9_two_leaders_at_once_do_not_share_a_ballot"), _EQUAL],
    ),
    mutant(
        "sql-different-value-at-an-equal-ballot",
        "R10, trap 20",
        "a naive upsert overwrites a value that may be chosen",
        (ACCEPTOR, "AND t.accepted -> v.key <> v.value)", "AND false)"),
        by=[test(f"{_TRAPS}test_trap_20_two_different_values_at_once"), _EQUAL],
    ),
    mutant(
        "sql-accept-forgets-the-other-instances",
        "R8",
        "a second bundle wipes out the votes of the first",
        (
            ACCEPTOR,
            "accepted = t.accepted || excluded.accepted,",
            "accepted = CASE _phase WHEN 1 THEN t.accepted ELSE excluded.accepted END,",
        ),
        by=[test(f"{_KILLERS}test_r8_accepting_in_one_instance_keeps_the_others")],
    ),
    mutant(
        "sql-seal-not-checked",
        "R30",
        "a late ballot 0 commits a transaction whose rows were dropped with its epoch",
        (ACCEPTOR, "NOT (_phase = 2 AND g.sealed AND", "NOT (_phase = 3 AND g.sealed AND"),
        by=[test(f"{_RULES}test_r30_a_seal_stops_ballot_0_of_unknown_transactions_only"), _EQUAL],
    ),
    mutant(
        "sql-retired-epoch-answers",
        "R30",
        "a decided transaction is decided again, the other way",
        (ACCEPTOR, "WHERE g.mark > 0 AND NOT g.retired\n", "WHERE g.mark > 0\n"),
        by=[test(f"{_KILLERS}test_r30_a_retired_epoch_votes_for_nothing"), _EQUAL],
    ),
    mutant(
        "sql-epoch-row-not-locked",
        "R11, trap 23",
        "with an accept in flight the seal commits, sees no rows, and the accept then commits",
        (ACCEPTOR, "        FOR SHARE OF e\n    )\n    INSERT", "    )\n    INSERT"),
        by=[test(f"{_TRAPS}test_trap_23_accept_and_seal_in_flight")],
    ),
    mutant(
        "sql-digest-not-compared-in-votes",
        "R2, R11",
        "an edited DSN: another cluster's acceptor votes on our transaction",
        (
            ACCEPTOR,
            "        WHERE e.digest = _digest AND m.identity = _identity\n"
            "        FOR SHARE OF e\n    )\n    INSERT",
            "        WHERE m.identity = _identity\n        FOR SHARE OF e\n    )\n    INSERT",
        ),
        by=[test(f"{_RULES}test_r2_every_call_compares_digest_and_identity")],
    ),
    mutant(
        "sql-digest-not-compared-in-reads",
        "R2, R11",
        "another cluster's acceptor says that it never heard of it",
        (
            ACCEPTOR,
            ") AS t ON true\n    WHERE e.digest = _digest AND m.identity = _identity;",
            ") AS t ON true\n    WHERE m.identity = _identity;",
        ),
        by=[test(f"{_RULES}test_r2_every_call_compares_digest_and_identity"), _EQUAL],
    ),
    mutant(
        "sql-identity-not-compared-in-votes",
        "R2, R13",
        "two DSNs that lead to one acceptor make a majority of it",
        (
            ACCEPTOR,
            "        WHERE e.digest = _digest AND m.identity = _identity\n"
            "        FOR SHARE OF e\n    )\n    INSERT",
            "        WHERE e.digest = _digest\n        FOR SHARE OF e\n    )\n    INSERT",
        ),
        by=[test(f"{_RULES}test_r2_every_call_compares_digest_and_identity")],
    ),
    mutant(
        "sql-identity-not-compared-in-reads",
        "R2, R13",
        "two DSNs that lead to one acceptor make a majority of it, when asked",
        (
            ACCEPTOR,
            ") AS t ON true\n    WHERE e.digest = _digest AND m.identity = _identity;",
            ") AS t ON true\n    WHERE e.digest = _digest;",
        ),
        by=[test(f"{_RULES}test_r2_every_call_compares_digest_and_identity"), _EQUAL],
    ),
    mutant(
        "sql-holders-of-a-stranger-believed",
        "R2, R26",
        "a rebuilt acceptor says that the coordinator is dead",
        (
            ACCEPTOR,
            "    IF NOT EXISTS (\n        SELECT FROM paxcommit.epoch AS e CROSS JOIN",
            "    IF false AND NOT EXISTS (\n        SELECT FROM paxcommit.epoch AS e CROSS JOIN",
        ),
        by=[test(f"{_RULES}test_r2_every_call_compares_digest_and_identity")],
    ),
    mutant(
        "sql-repeatable-read-votes",
        "R11, trap 23",
        "under a stronger level a vote rests on a snapshot from before the seal",
        (
            TABLES,
            "IF current_setting('transaction_isolation') <> 'read committed' THEN",
            "IF current_setting('transaction_isolation') = 'serializable' THEN",
        ),
        by=[test(f"{_RULES}test_r11_a_vote_refuses_stronger_isolation[REPEATABLE READ]")],
    ),
    mutant(
        "reply-before-flush",
        "R12, trap 19",
        "an acknowledged vote is lost in a crash: two outcomes",
        (
            TABLES,
            "PERFORM set_config('synchronous_commit', 'on', true);",
            "PERFORM current_setting('synchronous_commit');",
        ),
        by=[test(f"{_STANDBY}test_r12_a_vote_waits_for_the_standby_whatever_the_session_says")],
    ),
    mutant(
        "reply-before-flush-of-votes",
        "R12, trap 19",
        "an acknowledged vote is lost in a crash: two outcomes",
        (
            ACCEPTOR,
            "    PERFORM paxcommit.force_synchronous_commit();\n\n    -- What is refused",
            "    -- What is refused",
        ),
        by=[test(f"{_STANDBY}test_r12_a_vote_waits_for_the_standby_whatever_the_session_says")],
    ),
    mutant(
        "registration-not-flushed",
        "R2, R23",
        "a crash forgets a participant: what is forced leaves it unfenced",
        (
            ACCEPTOR,
            "    PERFORM paxcommit.force_synchronous_commit();\n    SELECT m.lost_votes INTO lost",
            "    SELECT m.lost_votes INTO lost",
        ),
        by=[test(f"{_FLUSHED}[registration]")],
    ),
    mutant(
        "marks-not-flushed",
        "R13",
        "a crash forgets the mark by which a restored acceptor would be noticed",
        (
            ACCEPTOR,
            "    PERFORM paxcommit.force_synchronous_commit();\n"
            "    PERFORM paxcommit.notice_loss(\n",
            "    PERFORM paxcommit.notice_loss(\n",
        ),
        by=[test(f"{_FLUSHED}[marks]")],
    ),
    mutant(
        "epoch-record-not-flushed",
        "R2",
        "a crash forgets the record, and a second `init` writes another one",
        (
            ACCEPTOR,
            "    PERFORM paxcommit.force_synchronous_commit();\n    IF NOT EXISTS (\n",
            "    IF NOT EXISTS (\n",
        ),
        by=[test(f"{_FLUSHED}[epoch record]")],
    ),
    mutant(
        "identity-not-flushed",
        "R2, R13",
        "a crash forgets the identity that stands in everybody's record",
        (
            ACCEPTOR,
            "    PERFORM paxcommit.force_synchronous_commit();\n    INSERT INTO paxcommit.acceptor",
            "    INSERT INTO paxcommit.acceptor",
        ),
        by=[test(f"{_FLUSHED}[identity]")],
    ),
    mutant(
        "sql-server-without-fsync-votes",
        "R12, trap 19",
        "a power failure takes votes along that were acknowledged",
        (ACCEPTOR, "IF current_setting('fsync') = 'off' OR", "IF false OR"),
        by=[test(f"{_TRAPS}test_trap_19_a_server_that_does_not_flush_is_no_acceptor")],
    ),
    mutant(
        "sql-restored-acceptor-votes",
        "R13, trap 22",
        "a copy that was put back votes again: two outcomes in ten steps",
        (
            ACCEPTOR,
            "CASE WHEN m.lost_votes OR _remembered > (",
            "CASE WHEN m.lost_votes AND _remembered > (",
        ),
        by=[test(f"{_RULES}test_r13_an_acceptor_below_a_remembered_mark_refuses_for_ever"), _EQUAL],
    ),
    mutant(
        "marks-not-sent",
        "R13",
        "nobody tells the acceptor that it has forgotten: it votes again",
        (
            ASK,
            "memory = (*whom, marks.of(authority.identity), ",
            "memory = (*whom, 0, ",
        ),
        by=[test(f"{_RULES}test_r13_an_acceptor_below_a_remembered_mark_refuses_for_ever"), _EQUAL],
    ),
    mutant(
        "sql-peers-marks-not-kept",
        "R13",
        "after a restart of every caller, nobody remembers what was lost",
        (ACCEPTOR, "WHERE q.mark >= k.mark + 16\n", "WHERE q.mark < 0\n"),
        by=[test(f"{_RULES}test_r13_acceptors_keep_each_others_marks")],
    ),
    mutant(
        "sql-mark-read-from-the-sequence",
        "R13, trap 24b",
        "replaying the log lifts the sequence over as many votes as were lost",
        (
            TABLES,
            "SELECT max(s.mark) AS mark FROM paxcommit.mark_stripe AS s;",
            "SELECT max(s.last_value) AS mark FROM paxcommit.mark AS s;",
        ),
        by=[test(f"{_TRAPS}test_trap_24b_an_image_of_the_running_server_is_noticed_as_well")],
    ),
    mutant(
        "sql-timeline-not-compared",
        "R13, trap 22",
        "a promoted standby, behind by some votes, is taken for the acceptor",
        (
            TABLES,
            "  AND a.timeline = CASE",
            "  AND a.timeline IS NOT DISTINCT FROM a.timeline AND '' <> CASE",
        ),
        by=[test(f"{_TRAPS}test_trap_22_a_promoted_standby_is_refused")],
    ),
    mutant(
        "sql-copied-database-is-the-acceptor",
        "R13, trap 22",
        "two databases with one identity vote, each on its own",
        (
            TABLES,
            "  AND a.database = current_database()\n  AND a.database_oid =",
            "  AND a.database_oid IS NOT NULL AND 0 <",
        ),
        by=[test(f"{_TRAPS}test_trap_22_a_copied_database_is_another_acceptor")],
    ),
    mutant(
        "sql-bundles-not-sorted",
        "R10, trap 24a",
        "bundles in opposite orders deadlock, and every one of them is lost",
        (
            ACCEPTOR,
            "    ORDER BY q.coordinator, q.seq\n    ON CONFLICT",
            "    ON CONFLICT",
        ),
        by=[test(f"{_TRAPS}test_trap_24a_bundles_in_opposite_orders_do_not_deadlock")],
    ),
    mutant(
        "same-txid-twice-in-one-batch",
        "R10, trap 24a",
        "one request gets the other's answer, or the whole batch none",
        (ASK, "turn = next_turn.get(request.txid, 0)", "turn = next_turn.get(request.txid, 0) * 0"),
        by=[test(f"{_TRAPS}test_trap_24a_a_transaction_twice_in_one_batch"), _EQUAL],
    ),
    mutant(
        "sql-malformed-bundle-taken",
        "R10",
        "a transaction twice in one call: 21000, or an answer to the wrong vote",
        (
            ACCEPTOR,
            "SELECT count(DISTINCT (q.c, q.s)) FROM",
            "SELECT count(*) FROM",
        ),
        by=[test(f"{_RULES}test_r10_a_malformed_call_is_refused")],
    ),
    mutant(
        "sql-registry-overwritten",
        "R2",
        "a participant moves, and what is forced fences the wrong database",
        (
            ACCEPTOR,
            "    VALUES (_name, _system_identifier, _database) ON CONFLICT DO NOTHING;",
            "    VALUES (_name, _system_identifier, _database) ON CONFLICT (name) DO UPDATE\n"
            "    SET system_identifier = excluded.system_identifier, database = excluded.database;",
        ),
        by=[test(f"{_RULES}test_r2_a_participant_is_one_name_for_one_database_for_ever")],
    ),
    mutant(
        "sql-second-record-adopted",
        "R2",
        "the acceptor takes another cluster's record: its votes count for both",
        (
            ACCEPTOR,
            "32), _record\n    ON CONFLICT DO NOTHING;",
            "32), _record\n    ON CONFLICT (epoch) DO UPDATE\n"
            "    SET digest = excluded.digest, record = excluded.record;",
        ),
        by=[test(f"{_RULES}test_r2_the_record_is_written_once_and_the_first_wins")],
    ),
    mutant(
        "sql-retired-reads-as-never-heard-of",
        "R31",
        "a question about a retired epoch is answered: never heard of",
        (
            ACCEPTOR,
            "WHEN e.retired AND t.epoch IS NULL THEN 'retired'",
            "WHEN e.retired AND t.epoch IS NOT NULL THEN 'retired'",
        ),
        by=[test(f"{_KILLERS}test_r30_a_retired_epoch_votes_for_nothing"), _EQUAL],
    ),
)
