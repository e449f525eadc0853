"""Finishing a branch, the ledger, fences and blockers."""

from __future__ import annotations

import pytest

from paxcommit.errors import IdentityMismatch
from paxcommit.ids import Gid
from paxcommit.protocol.finishing import Applied, Busy, Damage, NotApplied
from paxcommit.protocol.resource_manager import No, Prepared, Unknown
from paxcommit.sql.branch import commit_only, prepare_branch
from paxcommit.sql.fencing import (
    Blocker,
    Standing,
    fence_blockers,
    place_fence,
    terminate_blocker,
)
from paxcommit.sql.finish import commit_prepared, fence, prepared_branches, rollback_prepared
from paxcommit.sql.participant import (
    adopt_epoch,
    damages,
    participant_epochs,
    participant_identity,
    record_damage,
)
from paxcommit.sql.schema import install
from paxcommit.sql.statement import DatabaseError, Sql, Unanswered

PAY = "UPDATE account SET balance = balance - 1 WHERE id = 1"


def prepare(home, seq=1, role=None):
    client = home.connect()
    client.begin(home.txid(seq))
    client("UPDATE account SET balance = balance - 1 WHERE id = $1::int", seq)
    assert client.run(prepare_branch(home.gid(seq), role)) == Prepared()
    return home.gid(seq)


def fenced(home, seq=1):
    return fence(home.record.digest, home.txid(seq), "orders")


def placed(home, seq=1):
    return place_fence(home.record.digest, home.txid(seq), "orders")


def insert_row(client, home, kind="branch"):
    """Insert the branch row and go no further: its PREPARE is yet to come."""
    client(
        "SELECT paxcommit.branch($1::text, 1, $2::bigint, 1, 'orders', $3::text)",
        home.record.digest,
        home.coordinator,
        kind,
    )


def in_flight(home):
    """A transaction that has inserted its branch row, not yet prepared."""
    client = home.connect()
    client.begin(home.txid())
    client(PAY)
    insert_row(client, home)
    return client


# The ledger --------------------------------------------------------------------------------------


def test_a_prepared_branch_is_committed(home):
    gid = prepare(home)
    assert home.admin.run(commit_prepared(gid)) == Applied()
    assert home.place.prepared() == []


def test_trap_7_a_branch_committed_already_is_applied(home):
    gid = prepare(home)
    home.admin.run(commit_prepared(gid))
    assert home.admin.run(commit_prepared(gid)) == Applied()


def test_trap_7_a_branch_that_is_nowhere_is_lost(home):
    answer = home.admin.run(commit_prepared(home.gid()))
    assert isinstance(answer, Damage)
    assert answer.what == "lost-branch"


def test_r19_a_fence_where_a_branch_was_to_be_committed_is_damage(home):
    home.admin.run(fenced(home))
    answer = home.admin.run(commit_prepared(home.gid()))
    assert isinstance(answer, Damage)
    assert answer.what == "lost-branch"
    assert "fence" in answer.detail


def test_r19_a_foreign_ledger_proves_nothing(home):
    gid = Gid("0" * 32, home.txid(), "orders", 5)
    assert isinstance(home.admin.run(commit_prepared(gid)), NotApplied)
    assert isinstance(home.admin.run(rollback_prepared(gid)), NotApplied)


def test_a_prepared_branch_is_rolled_back(home):
    gid = prepare(home)
    assert home.admin.run(rollback_prepared(gid)) == Applied()
    assert home.place.prepared() == []
    assert home.admin.run(rollback_prepared(gid)) == Applied()


@pytest.mark.parametrize("kind", ["branch", "only"])
def test_r20_a_committed_row_where_a_rollback_was_wanted_is_damage(home, kind):
    if kind == "branch":
        home.admin.run(commit_prepared(prepare(home)))
    else:
        client = home.connect()
        client.begin(home.txid())
        client(PAY)
        client.run(commit_only(home.gid()))
    for answer in (home.admin.run(rollback_prepared(home.gid())), home.admin.run(fenced(home))):
        assert isinstance(answer, Damage)
        assert answer.what == "committed-despite-abort"


# Errors on COMMIT PREPARED -----------------------------------------------------------------------


def after(statements, client, error, *, really):
    """Drive a generator whose first statement is answered with `error`, done or not."""
    first = next(statements)
    if really:
        client.session.execute(first)
    sql = statements.throw(error)
    try:
        while True:
            sql = statements.send(client.session.execute(Sql(sql.text, sql.args)))
    except StopIteration as stop:
        return stop.value


@pytest.mark.parametrize("sqlstate", ["57014", "53100", "58030", "XX000"])
def test_trap_8_after_an_error_the_state_is_read_again(home, sqlstate):
    error = DatabaseError(sqlstate, "something happened")
    gid = prepare(home)
    assert isinstance(after(commit_prepared(gid), home.admin, error, really=False), NotApplied)
    assert after(commit_prepared(gid), home.admin, error, really=True) == Applied()
    gid = prepare(home, 2)
    assert after(commit_prepared(gid), home.admin, error, really=True) == Applied()


def test_trap_8_a_lost_connection_is_not_finished(home):
    statements = commit_prepared(home.gid())
    next(statements)
    with pytest.raises(Unanswered):
        statements.throw(Unanswered("57P01"))


def test_trap_8_an_error_without_42704_never_means_damage(home):
    error = DatabaseError("25006", "cannot execute COMMIT PREPARED during recovery")
    answer = after(commit_prepared(home.gid()), home.admin, error, really=False)
    assert isinstance(answer, NotApplied), "on a standby the list of gids is empty"


def test_trap_6_a_busy_gid_is_tried_again(home):
    gid = prepare(home)
    busy = DatabaseError("55000", "prepared transaction is busy")
    assert isinstance(after(commit_prepared(gid), home.admin, busy, really=False), Busy)
    assert isinstance(after(rollback_prepared(gid), home.admin, busy, really=False), Busy)


@pytest.mark.parametrize("finish", [commit_prepared, rollback_prepared])
def test_trap_9_only_the_owner_may_finish(home, role, finish):
    owner, member = role("owner"), role("member")
    home.admin.run(install([owner, member]))
    home.admin(f"GRANT {owner} TO {member}")
    gid = prepare(home, role=owner)
    answer = home.connect(user=member).run(finish(gid))
    assert isinstance(answer, NotApplied)
    assert owner in answer.reason
    assert member in answer.reason
    assert home.connect(user=owner).run(finish(gid)) == Applied()


def test_trap_9_another_database_does_not_finish(home, own_home):
    gid = prepare(home)
    own_home.admin("DELETE FROM paxcommit.participant_epoch")
    own_home.admin.run(adopt_epoch(1, home.record.digest, "orders"))
    answer = own_home.admin.run(commit_prepared(gid))
    assert isinstance(answer, NotApplied)
    assert home.place.database in answer.reason
    assert home.admin.run(commit_prepared(gid)) == Applied()


def test_trap_9_a_transaction_block_does_not_finish(home):
    gid = prepare(home)
    client = home.connect()
    client("BEGIN")
    assert isinstance(client.run(commit_prepared(gid)), NotApplied)
    client("ROLLBACK")
    assert home.place.prepared() == [str(gid)]


def test_trap_10_gids_of_others_are_listed_as_such(home, own_home):
    gid = prepare(home)
    foreign = home.connect()
    foreign("BEGIN")
    foreign("UPDATE account SET balance = 0 WHERE id = 9")
    foreign("PREPARE TRANSACTION 'somebody else''s'")
    prepare(own_home)
    ours, theirs = home.admin.run(prepared_branches())
    assert (ours.text, ours.gid, ours.owner) == (str(gid), gid, "postgres")
    assert (theirs.text, theirs.gid) == ("somebody else's", None)
    assert ours.age >= theirs.age >= 0
    home.admin("ROLLBACK PREPARED 'somebody else''s'")


# R20: fences -------------------------------------------------------------------------------------


def test_r20_a_fence_may_be_repeated(home):
    assert home.admin.run(fenced(home)) == Applied()
    assert home.admin.run(fenced(home)) == Applied()
    assert home.admin("SELECT kind FROM paxcommit.branch") == [("fence",)]


def test_r20_a_fence_belongs_to_its_participant(home):
    for digest, participant in ((home.record.digest, "billing"), ("0" * 32, "orders")):
        with pytest.raises(IdentityMismatch):
            home.admin.run(place_fence(digest, home.txid(), participant))
        assert isinstance(home.admin.run(fence(digest, home.txid(), participant)), NotApplied)
    assert home.admin("SELECT count(*) FROM paxcommit.branch") == [(0,)]


def test_trap_5_the_fence_first(home):
    late = home.connect()
    late.begin(home.txid())
    late(PAY)
    assert home.admin.run(rollback_prepared(home.gid())) == Applied(), "42704: nothing there yet"
    assert home.admin.run(fenced(home)) == Applied()
    assert isinstance(late.run(prepare_branch(home.gid())), No)


def test_trap_5_the_transaction_first_not_prepared(home):
    late = in_flight(home)
    assert isinstance(home.admin.run(fenced(home)), Busy)
    fencer = home.connect()
    fencing = home.background(placed(home), fencer)
    assert fencing.waits()
    (blocker,) = home.admin.run(fence_blockers(fencer.pid))
    assert blocker.pid == late.pid
    assert not blocker.prepared
    assert home.admin.run(terminate_blocker(fencer.pid, blocker))
    assert fencing.result() is Standing.FENCE
    assert isinstance(late.run(prepare_branch(home.gid())), Unknown)
    assert late.session.broken


def test_trap_5_already_prepared(home):
    gid = prepare(home)
    fencer = home.connect()
    fencing = home.background(placed(home), fencer)
    assert fencing.waits()
    (blocker,) = home.admin.run(fence_blockers(fencer.pid))
    assert blocker == Blocker(0, None)
    assert blocker.prepared
    assert not home.admin.run(terminate_blocker(fencer.pid, blocker))
    assert fencing.result() is Standing.BLOCKED
    assert home.admin.run(rollback_prepared(gid)) == Applied()
    assert home.admin.run(fenced(home)) == Applied()


def test_trap_24c_a_branch_does_not_jump_a_fence_in_flight(home):
    fencer = home.connect()
    fencer("BEGIN")
    assert fencer.run(placed(home)) is Standing.FENCE
    late = home.connect()
    late.begin(home.txid())
    late(PAY)
    preparing = home.background(prepare_branch(home.gid()), late)
    assert preparing.waits()
    fencer("COMMIT")
    assert isinstance(preparing.result(), No)
    assert home.place.prepared() == []


def test_trap_24c_a_queued_alter_does_not_hang_the_fence(home):
    gid = prepare(home)
    altering = home.background_sql("ALTER TABLE paxcommit.branch ALTER created SET NOT NULL")
    assert altering.waits()
    assert isinstance(home.admin.run(fenced(home)), Busy)
    assert home.admin.run(rollback_prepared(gid)) == Applied()
    altering.result()
    assert home.admin.run(fenced(home)) == Applied()


def test_trap_24c_an_innocent_is_not_terminated(home):
    late = in_flight(home)
    fencer = home.connect()
    fencing = home.background(placed(home), fencer)
    assert fencing.waits()
    (blocker,) = home.admin.run(fence_blockers(fencer.pid))
    other_life = Blocker(blocker.pid, blocker.backend_start - 1)
    assert not home.admin.run(terminate_blocker(fencer.pid, other_life))
    late("ROLLBACK")
    assert fencing.result() is Standing.FENCE
    # The fence waits no more: whoever is named now has nothing to do with it.
    assert not home.admin.run(terminate_blocker(fencer.pid, blocker))
    assert late("SELECT 1") == [(1,)]


@pytest.mark.parametrize("party", ["neither", "the holder", "the waiter"])
def test_trap_24c_a_wait_for_anything_else_names_nobody(home, party):
    holder, waiter = home.connect(), home.connect()
    for client, seq, name in ((holder, 1, "the holder"), (waiter, 2, "the waiter")):
        client("BEGIN")
        if name == party:
            assert client.run(placed(home, seq)) is Standing.FENCE
    holder(PAY)
    waiting = home.background_sql(PAY, waiter)
    assert waiting.waits()
    assert home.admin.run(fence_blockers(waiter.pid)) == ()
    holder("ROLLBACK")
    waiting.result()


# R23: what stands where a fence was wanted -------------------------------------------------------


def test_r23_the_kinds_are_told_apart(home):
    assert home.admin.run(placed(home, 1)) is Standing.FENCE
    home.admin.run(commit_prepared(prepare(home, 2)))
    assert home.admin.run(placed(home, 2)) is Standing.BRANCH
    client = home.connect()
    client.begin(home.txid(3))
    client(PAY)
    client.run(commit_only(home.gid(3)))
    assert home.admin.run(placed(home, 3)) is Standing.ONLY
    prepare(home, 4)
    assert home.admin.run(placed(home, 4)) is Standing.BLOCKED


def test_r31_where_the_epoch_is_retired_no_fence_is_needed(home):
    home.admin("UPDATE paxcommit.participant_epoch SET retired = true")
    assert home.admin.run(placed(home)) is Standing.RETIRED
    assert home.admin.run(fenced(home)) == Applied()
    assert home.admin("SELECT count(*) FROM paxcommit.branch") == [(0,)]


@pytest.mark.parametrize("level", ["read committed", "repeatable read", "serializable"])
def test_r20_a_fence_overlooks_no_row_whatever_the_isolation_level(home, level):
    fencer = home.connect()
    fencer(f"SET default_transaction_isolation = '{level}'")
    late = in_flight(home)
    fencing = home.background(fenced(home), fencer)
    assert fencing.waits()
    late("COMMIT")
    assert isinstance(fencing.result(), Damage | Busy)
    assert isinstance(fencer.run(fenced(home)), Damage)


# The participant's database ----------------------------------------------------------------------


def test_a_participant_tells_who_it_is(home):
    identity = home.admin.run(participant_identity())
    assert identity.database == home.place.database
    assert identity.system_identifier == home.record.acceptors[0].system_identifier
    assert identity.role == "postgres"
    assert not identity.in_recovery
    assert identity.max_prepared_transactions > 0
    assert identity.orphan_timeout is None


def test_an_epoch_is_adopted_once(home):
    (standing,) = home.admin.run(participant_epochs())
    assert (standing.epoch, standing.digest) == (1, home.record.digest)
    assert home.admin.run(adopt_epoch(1, "f" * 32, "billing")) == standing


def test_damage_is_written_down_once(home):
    for _ in range(2):
        home.admin.run(record_damage(home.txid(), "orders", "lost-branch", "gone"))
    (found,) = home.admin.run(damages())
    assert (found.txid, found.participant) == (home.txid(), "orders")
    assert found.damage == Damage("lost-branch", "gone")
    assert found.detected_at.endswith("Z")
