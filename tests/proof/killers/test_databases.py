"""What databases must refuse, or wait for, or be refused for: each found missing by a mutant."""

from __future__ import annotations

from dataclasses import replace

import pytest

from paxcommit.errors import IdentityMismatch
from paxcommit.protocol.resource_manager import No, WroteNothing
from paxcommit.runtime.membership import Membership, Site
from paxcommit.sql.branch import end_reader, prepare_branch


def test_r14_a_reader_that_was_rolled_back_inside_the_block_does_not_count_as_committed(home):
    """It wrote nothing afterwards either, so its reads are all there was, and they are gone."""
    client = home.connect()
    client.begin(home.txid(), isolation="serializable")
    client("SELECT count(*) FROM account")
    assert client.run(prepare_branch(home.gid())) == WroteNothing(serializable=True)
    client("ROLLBACK; BEGIN")
    assert isinstance(client.run(end_reader(home.txid(), commit=True)), No)


def test_r31_a_fence_in_flight_holds_up_a_retirement(home):
    """Else rows are removed after it, and the fence stays for good."""
    fencer = home.connect()
    fencer("BEGIN")
    gid = home.gid()
    fencer(
        "SELECT paxcommit.fence($1::text, $2::bigint, $3::bigint, $4::bigint, $5::text)",
        gid.digest,
        gid.txid.epoch,
        gid.txid.coordinator,
        gid.txid.seq,
        gid.participant,
    )
    retiring = home.background_sql("UPDATE paxcommit.participant_epoch SET retired = true")
    assert retiring.waits()
    fencer("COMMIT")
    retiring.result()


def members_of(home) -> Membership:
    """A coordinator's view of the cluster that `home` is of."""
    members = Membership("shop", ("a1", "a2", "a3"), {"orders": Site("", None)}, 7)
    members._record = home.record
    return members


def test_r2_another_participants_database_is_not_taken_for_this_one(home):
    """Found by a mutant: an edited DSN, and the branch would be where recovery never looks."""
    assert home.admin.run(members_of(home).identify("orders")).database == home.place.database
    with pytest.raises(IdentityMismatch, match="not that of participant billing"):
        home.admin.run(members_of(home).identify("billing"))
    members = members_of(home)
    members._record = replace(home.record, cluster_id="0" * 32)
    with pytest.raises(IdentityMismatch, match="not that of participant orders"):
        home.admin.run(members.identify("orders"))


def test_r13_an_acceptor_that_lost_votes_is_not_admitted(home):
    """Found by a mutant: it would count towards the F+1 with which a transaction begins."""
    members = members_of(home)
    home.admin("UPDATE paxcommit.acceptor SET lost_votes = true")
    with pytest.raises(IdentityMismatch, match="lost votes"):
        home.admin.run(members._admission("a1"))
    assert members.admitted == frozenset()
    home.admin("UPDATE paxcommit.acceptor SET lost_votes = false")
    home.admin.run(members._admission("a1"))
    assert members.admitted == {"a1"}
