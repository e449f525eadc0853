"""Driving one branch: the rules and traps of PREPARE."""

from __future__ import annotations

import itertools

import pytest

from paxcommit.ids import Gid
from paxcommit.protocol.resource_manager import No, OnlyCommitted, Prepared, Unknown, WroteNothing
from paxcommit.sql.branch import (
    commit_only,
    commit_reader,
    end_reader,
    prepare_branch,
    rollback,
)
from paxcommit.sql.fencing import Standing, place_fence
from paxcommit.sql.schema import install
from paxcommit.sql.statement import DatabaseError, Notice, Result, Sql, Unanswered

PAY = "UPDATE account SET balance = balance - 1 WHERE id = 1"


def begin(home, seq=1, *, client=None, **options):
    client = client or home.connect()
    client.begin(home.txid(seq), **options)
    return client


def rows(home):
    return home.admin("SELECT seq, participant, kind FROM paxcommit.branch ORDER BY seq")


def balance(home):
    return home.admin("SELECT balance FROM account WHERE id = 1")[0][0]


# The plain way -----------------------------------------------------------------------------------


def test_a_writer_is_prepared_and_its_row_rides_along(home):
    client = begin(home)
    client(PAY)
    assert client.run(prepare_branch(home.gid())) == Prepared()
    assert home.place.prepared() == [str(home.gid())]
    assert rows(home) == []
    home.admin(f"COMMIT PREPARED {home.gid().quoted}")
    assert rows(home) == [(1, "orders", "branch")]


def test_the_users_savepoints_are_no_obstacle(home):
    client = begin(home)
    client("SAVEPOINT paxcommit_branch")
    client(PAY)
    client("SAVEPOINT b")
    assert client.run(prepare_branch(home.gid())) == Prepared()


# R14: is it still our transaction? ---------------------------------------------------------------


@pytest.mark.parametrize("writes", [True, False])
@pytest.mark.parametrize("ended_by", ["ROLLBACK", "COMMIT", "ROLLBACK; BEGIN", "COMMIT; BEGIN"])
@pytest.mark.parametrize("declared", [True, False])
def test_r14_a_transaction_ended_inside_the_block_is_a_no(home, ended_by, writes, declared):
    client = begin(home)
    client(ended_by)
    if writes:
        client(PAY)
    answer = client.run(prepare_branch(home.gid(), declared_read_only=declared))
    assert isinstance(answer, No), answer
    assert home.place.prepared() == []


@pytest.mark.parametrize("writes", [True, False])
@pytest.mark.parametrize("ended_by", ["ROLLBACK", "ROLLBACK; BEGIN"])
def test_r14_holds_for_a_one_phase_commit(home, ended_by, writes):
    client = begin(home)
    client(ended_by)
    if writes and "BEGIN" in ended_by:
        client(PAY)
    assert isinstance(client.run(commit_only(home.gid())), No)
    assert rows(home) == []
    assert balance(home) == 100


def test_r14_holds_for_a_reader_at_its_end(home):
    client = begin(home)
    assert client.run(prepare_branch(home.gid())) == WroteNothing(serializable=False)
    client("ROLLBACK; BEGIN")
    client(PAY)
    assert isinstance(client.run(end_reader(home.txid(), commit=True)), No)
    assert balance(home) == 100


def test_r14_the_next_transaction_of_the_connection_is_another(home):
    client = begin(home, 1)
    client(PAY)
    client("ROLLBACK")
    client.session.settle()
    begin(home, 2, client=client)
    client(PAY)
    assert isinstance(client.run(prepare_branch(home.gid(1))), No)


# R15: wrote nothing ------------------------------------------------------------------------------


@pytest.mark.parametrize("declared", [True, False])
@pytest.mark.parametrize("level", [None, "read committed", "repeatable read", "serializable"])
def test_r15_a_reader_wrote_nothing_and_goes_on(home, level, declared):
    client = begin(home, isolation=level, read_only=declared)
    client("SELECT * FROM account")
    answer = client.run(prepare_branch(home.gid(), declared_read_only=declared))
    assert answer == WroteNothing(serializable=level == "serializable")
    assert client("SELECT balance FROM account WHERE id = 1") == [(100,)]
    assert client.run(end_reader(home.txid(), commit=True)) is None
    assert not client.session.in_transaction
    assert home.place.prepared() == []
    assert rows(home) == []


def test_r15_locking_a_row_is_writing(home):
    client = begin(home)
    client("SELECT * FROM account WHERE id = 1 FOR UPDATE")
    assert client.run(prepare_branch(home.gid())) == Prepared()


def test_r15_a_serializable_reader_commits_before_the_vote(home):
    client = begin(home, isolation="serializable")
    client("SELECT * FROM account")
    assert client.run(prepare_branch(home.gid())) == WroteNothing(serializable=True)
    assert client.run(commit_reader(home.txid())) == WroteNothing(serializable=True)
    assert not client.session.in_transaction


@pytest.mark.parametrize("end", [commit_reader, lambda txid: end_reader(txid, commit=True)])
def test_r15_a_reader_that_wrote_after_all_is_rolled_back(home, end):
    client = begin(home)
    assert client.run(prepare_branch(home.gid())) == WroteNothing(serializable=False)
    client(PAY)
    answer = client.run(end(home.txid()))
    assert isinstance(answer, No)
    assert "wrote" in answer.reason
    assert not client.session.in_transaction
    assert balance(home) == 100


def test_r15_a_reader_of_an_aborted_transaction_does_not_notify(home):
    listener = home.connect()
    listener("LISTEN news")
    client = begin(home)
    client("NOTIFY news, 'false'")
    assert client.run(prepare_branch(home.gid())) == WroteNothing(serializable=False)
    assert client.run(end_reader(home.txid(), commit=False)) is None
    home.admin("NOTIFY news, 'true'")
    notice = next(listener.session.raw.notifies(timeout=10, stop_after=1))
    assert notice.payload == "true"


def test_r15_a_transaction_declared_read_only_that_wrote_is_a_no(home):
    client = home.connect()
    client("CREATE TEMP TABLE scratch (n int)")
    begin(home, client=client, read_only=True)
    client("INSERT INTO scratch VALUES (1)")
    answer = client.run(prepare_branch(home.gid(), declared_read_only=True))
    assert isinstance(answer, No)


# R16: what counts as Prepared --------------------------------------------------------------------


def test_trap_1_prepare_in_a_failed_transaction_is_a_no(home):
    client = begin(home)
    client(PAY)
    with pytest.raises(DatabaseError):
        client("SELECT 1/0")
    assert isinstance(client.run(prepare_branch(home.gid())), No)
    assert home.place.prepared() == []


def test_r16_a_deferred_trigger_that_warns_does_not_count(home):
    home.admin("DROP TABLE IF EXISTS warned")
    home.admin("CREATE TABLE warned (n int)")
    home.admin(
        "CREATE OR REPLACE FUNCTION warn() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE WARNING 'mind the gap'; RETURN NULL; END $$"
    )
    home.admin(
        "CREATE CONSTRAINT TRIGGER warn AFTER INSERT ON warned"
        " DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION warn()"
    )
    client = begin(home)
    client("INSERT INTO warned VALUES (1)")
    seen: list[Notice] = []
    answer = client.run(spied(prepare_branch(home.gid()), seen))
    assert answer == Prepared()
    assert seen == []


def spied(statements, seen):
    """Pass a generator's statements through and keep the notices."""
    result = None
    try:
        sql = next(statements)
        while True:
            result = yield sql
            seen.extend(result.notices)
            sql = statements.send(result)
    except StopIteration as stop:
        return stop.value


def test_r16_a_warning_makes_it_unknown(home):
    warning = Notice("WARNING", "01000", "canceling wait for synchronous replication")

    def judged(*notices):
        statements = prepare_branch(home.gid())
        next(statements)
        with pytest.raises(StopIteration) as stop:
            statements.send(Result((), "PREPARE TRANSACTION", notices))
        return stop.value.value

    other = Notice("WARNING", "25P01", "there is no transaction in progress")
    assert isinstance(judged(warning), Unknown)
    assert isinstance(judged(other, warning, other), Unknown)
    assert judged(other) == judged() == Prepared()


def test_a_call_without_an_answer_is_unknown_to_whoever_drives_it(home):
    statements = prepare_branch(home.gid())
    next(statements)
    with pytest.raises(Unanswered):
        statements.throw(Unanswered("cut"))
    statements = commit_only(home.gid())
    next(statements)
    with pytest.raises(StopIteration) as stop:
        statements.throw(Unanswered("cut"))
    assert isinstance(stop.value.value, Unknown)


# R17: one phase ----------------------------------------------------------------------------------


def test_r17_a_one_phase_commit_leaves_a_row_that_says_so(home):
    client = begin(home)
    client(PAY)
    assert client.run(commit_only(home.gid())) == OnlyCommitted()
    assert rows(home) == [(1, "orders", "only")]
    assert balance(home) == 99


def test_r17_what_wrote_nothing_leaves_no_trace(home):
    client = begin(home)
    assert client.run(commit_only(home.gid())) == OnlyCommitted()
    assert rows(home) == []


def test_r17_a_failed_transaction_is_a_no(home):
    client = begin(home)
    client(PAY)
    with pytest.raises(DatabaseError):
        client("SELECT 1/0")
    assert isinstance(client.run(commit_only(home.gid())), No)
    client.run(rollback())
    assert balance(home) == 100


# R18: whose it is --------------------------------------------------------------------------------


def test_r18_the_configured_role_owns_the_gid_and_deferred_triggers_do_not_notice(home, role):
    finisher, application = role("finisher"), role("application")
    home.admin.run(install([finisher]))
    home.admin("DROP TABLE IF EXISTS audited; CREATE TABLE audited (who text)")
    home.admin(f"GRANT ALL ON audited TO {application}")
    home.admin(
        "CREATE OR REPLACE FUNCTION audit() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN UPDATE audited SET who = current_user; RETURN NULL; END $$"
    )
    home.admin(
        "CREATE CONSTRAINT TRIGGER audit AFTER INSERT ON audited"
        " DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION audit()"
    )
    client = begin(home)
    client(f"SET LOCAL ROLE {application}")
    client("INSERT INTO audited VALUES ('nobody')")
    assert client.run(prepare_branch(home.gid(), finisher)) == Prepared()
    assert home.admin("SELECT owner::text FROM pg_prepared_xacts") == [(finisher,)]
    home.connect(user=finisher)(f"COMMIT PREPARED {home.gid().quoted}")
    assert home.admin("SELECT who FROM audited") == [(application,)]


def test_r18_without_a_configured_role_the_sessions_user_owns_it(home, role):
    client = begin(home)
    client(f"SET LOCAL ROLE {role('application')}")
    client("RESET ROLE")
    client(PAY)
    client(f"SET LOCAL ROLE {role('application')}")
    assert client.run(prepare_branch(home.gid())) == Prepared()
    assert home.admin("SELECT owner::text FROM pg_prepared_xacts") == [("postgres",)]


def test_r18_a_role_the_session_may_not_take_is_a_no(home, role):
    user = role("application")
    home.admin(f"GRANT ALL ON account TO {user}")
    client = begin(home, client=home.connect(user=user))
    client(PAY)
    assert isinstance(client.run(prepare_branch(home.gid(), "postgres")), No)


# R4, R19, R20: the row ---------------------------------------------------------------------------


def test_r4_a_second_branch_of_one_participant_fails_cleanly(home):
    first = begin(home)
    first(PAY)
    assert first.run(prepare_branch(home.gid())) == Prepared()
    second = begin(home)
    second("UPDATE account SET balance = 0 WHERE id = 2")
    answer = second.run(prepare_branch(home.gid()))
    assert isinstance(answer, No), "it waited for the first one's row, and not for ever"
    assert answer.retryable
    home.admin(f"COMMIT PREPARED {home.gid().quoted}")
    third = begin(home)
    third(PAY)
    answer = third.run(prepare_branch(home.gid()))
    assert isinstance(answer, No)
    assert "fenced" in answer.reason
    assert answer.retryable


def test_a_unique_constraint_of_the_users_own_is_no_fence(home):
    home.admin("DROP TABLE IF EXISTS single")
    home.admin("CREATE TABLE single (n int UNIQUE DEFERRABLE INITIALLY DEFERRED)")
    client = begin(home)
    client("INSERT INTO single VALUES (1), (1)")
    answer = client.run(prepare_branch(home.gid()))
    assert isinstance(answer, No)
    assert not answer.retryable
    assert "fenced" not in answer.reason


def test_r20_a_fence_stops_a_late_prepare(home):
    client = begin(home)
    client(PAY)
    fence = place_fence(home.record.digest, home.txid(), "orders")
    assert home.admin.run(fence) is Standing.FENCE
    answer = client.run(prepare_branch(home.gid()))
    assert isinstance(answer, No)
    assert answer.retryable
    assert home.place.prepared() == []


def test_r20_a_fence_stops_a_late_one_phase_commit(home):
    client = begin(home)
    client(PAY)
    home.admin.run(place_fence(home.record.digest, home.txid(), "orders"))
    assert isinstance(client.run(commit_only(home.gid())), No)
    client.run(rollback())
    assert balance(home) == 100


def test_r2_a_branch_belongs_to_the_participant_and_the_epoch_of_its_database(home):
    for gid in (
        Gid("0" * 32, home.txid(), "orders", 5),
        Gid(home.record.digest, home.txid(), "billing", 5),
    ):
        client = begin(home)
        client(PAY)
        answer = client.run(prepare_branch(gid))
        assert isinstance(answer, No)
        assert "not participant" in answer.reason
        client.run(rollback())


# R31: retiring a participant ---------------------------------------------------------------------

RETIRE = "UPDATE paxcommit.participant_epoch SET retired = true"


def test_r31_a_retired_epoch_takes_no_branch(home):
    home.admin(RETIRE)
    client = begin(home)
    client(PAY)
    answer = client.run(prepare_branch(home.gid()))
    assert isinstance(answer, No)
    assert "retired" in answer.reason


def test_r31_retirement_waits_for_a_prepared_branch(home):
    client = begin(home)
    client(PAY)
    client.run(prepare_branch(home.gid()))
    retiring = home.background_sql(RETIRE)
    assert retiring.waits()
    home.admin(f"ROLLBACK PREPARED {home.gid().quoted}")
    retiring.result()


def test_r31_branches_in_flight_do_not_share_a_locked_row(home):
    """Or every commit would make a multixact of all that are in flight."""
    stripes = set()
    for seq in itertools.count(1):
        client = begin(home, seq)
        client("SELECT pg_current_xact_id()")
        assert client.run(prepare_branch(home.gid(seq))) == Prepared()
        stripes.add(client.pid % 64)
        if len(stripes) == 3:
            break
    locked = "SELECT count(*) FROM paxcommit.participant_epoch WHERE xmax <> 0"
    assert home.admin(locked) == [(3,)]


@pytest.mark.parametrize("level", ["read committed", "repeatable read", "serializable"])
def test_r31_a_branch_in_flight_sees_a_retirement_in_flight(home, level):
    client = begin(home, isolation=level)
    client(PAY)
    retirer = home.connect()
    retirer("BEGIN")
    retirer(RETIRE)
    late = home.background(prepare_branch(home.gid()), client)
    assert late.waits()
    retirer("COMMIT")
    assert isinstance(late.result(), No)
    assert home.place.prepared() == []


# Traps -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "what",
    [
        "CREATE TEMP TABLE t (n int)",
        "DECLARE c CURSOR WITH HOLD FOR SELECT 1",
        "LISTEN news",
        "SELECT pg_export_snapshot()",
        "SELECT pg_advisory_lock(1), pg_advisory_xact_lock(1)",
    ],
)
def test_trap_11_what_cannot_be_prepared_is_explained(home, what):
    client = begin(home)
    client(PAY)
    client(what)
    answer = client.run(prepare_branch(home.gid()))
    assert isinstance(answer, No)
    assert "temporary objects" in answer.reason


def test_trap_11_serializable_may_fail_at_prepare(home):
    one = begin(home, 1, isolation="serializable")
    two = begin(home, 2, isolation="serializable")
    for client, mine in ((one, 1), (two, 2)):
        client("SELECT sum(balance) FROM account")
        client(f"UPDATE account SET balance = 0 WHERE id = {mine}")
    assert one.run(prepare_branch(home.gid(1))) == Prepared()
    answer = two.run(prepare_branch(home.gid(2)))
    assert isinstance(answer, No)
    assert answer.retryable


def test_trap_12_no_prepared_transactions_is_explained(home):
    statements = prepare_branch(home.gid())
    next(statements)
    with pytest.raises(StopIteration) as stop:
        statements.throw(DatabaseError("55000", "prepared transactions are disabled"))
    assert isinstance(stop.value.value, No)
    assert "max_prepared_transactions" in stop.value.value.reason
    statements = prepare_branch(home.gid())
    next(statements)
    with pytest.raises(StopIteration) as stop:
        statements.throw(DatabaseError("53200", "maximum number reached"))
    assert isinstance(stop.value.value, Unknown), "class 53 proves nothing (R22)"


def test_trap_14_the_setting_survives_savepoints(home):
    client = begin(home)
    client("SAVEPOINT a")
    client(PAY)
    client("ROLLBACK TO SAVEPOINT a")
    client(PAY)
    assert client.run(prepare_branch(home.gid())) == Prepared()


def test_a_gid_spells_no_secret_and_needs_no_escaping(home):
    client = begin(home)
    client(PAY)
    client.session.execute(Sql("SET LOCAL standard_conforming_strings = off"))
    assert client.run(prepare_branch(home.gid())) == Prepared()
