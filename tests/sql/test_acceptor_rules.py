"""The rules of the acceptor that are about SQL, each by its number."""

from __future__ import annotations

import uuid

import pytest

from paxcommit.errors import ClusterError, IdentityMismatch, InvariantViolation
from paxcommit.protocol.messages import (
    Accepted,
    Conflict,
    Learn,
    Learned,
    LostVotes,
    Outbid,
    Phase1a,
    Phase1b,
    Phase2a,
    Phase2b,
    Sealed,
)
from paxcommit.protocol.values import REGISTRAR, ParticipantSet, Vote
from paxcommit.sql.acceptor import Authority, ask
from paxcommit.sql.epoch import (
    AcceptorIdentity,
    EpochRecord,
    claim_identity,
    read_records,
    write_record,
)
from paxcommit.sql.link import (
    RegisteredParticipant,
    Registration,
    hello,
    hold,
    holders,
    link_settings,
    register_participant,
    registered_participants,
)
from paxcommit.sql.marks import Marks
from paxcommit.sql.statement import DatabaseError, Sql

J = ParticipantSet(("billing", "orders"))
BUNDLE = {REGISTRAR: J, "orders": Vote.PREPARED}
RAW_2A = (
    "SELECT verdict, mark FROM paxcommit.phase2a($1::text, $2::text, 0, '{}', '{}',"
    " $3::bigint[], $4::bigint[], $5::bigint[], $6::text[])"
)


def accepted(values, ballot):
    return {instance: Accepted(ballot, value) for instance, value in values.items()}


def another_epoch(home, **changes):
    names = {"epoch": 1, "cluster_id": uuid.uuid4().hex, "cluster_name": "shop"} | changes
    return EpochRecord(acceptors=home.record.acceptors, **names)


# R2: the epoch record ---------------------------------------------------------------------------


def test_r2_the_record_is_written_once_and_the_first_wins(home):
    second = another_epoch(home)
    assert second.digest != home.record.digest
    assert home.admin.run(write_record(second)) == home.record
    assert home.admin.run(read_records()) == (home.record,)


def test_r2_two_writers_at_once_agree_on_one_record(home):
    first, second = another_epoch(home, epoch=2), another_epoch(home, epoch=2)
    writer = home.connect()
    writer("BEGIN")
    assert writer.run(write_record(first)) == first
    waiting = home.background(write_record(second))
    assert waiting.waits()
    writer("COMMIT")
    assert waiting.result() == first


def test_r2_the_record_names_its_holder(home):
    stranger = AcceptorIdentity("a1", str(uuid.uuid4()), 1, "elsewhere")
    record = EpochRecord(2, "c", "shop", (stranger,))
    with pytest.raises(IdentityMismatch, match="does not name"):
        home.admin.run(write_record(record))


def test_r2_the_record_stands_for_its_digest(home):
    text = home.record.canonical()
    assert EpochRecord.parse(text) == home.record
    with pytest.raises(DatabaseError, match="23514"):
        home.admin("UPDATE paxcommit.epoch SET digest = repeat('0', 32)")
    assert home.record.f == 1


@pytest.mark.parametrize("whom", ["digest", "identity"])
def test_r2_every_call_compares_digest_and_identity(home, whom):
    wrong = {"digest": home.record.digest, "identity": home.authority.identity}
    wrong[whom] = "0" * 32
    authority = Authority("a1", wrong["identity"], 1, wrong["digest"])
    orders = RegisteredParticipant("orders", 1, "orders")
    home.ask(Phase1a(home.txid(), 1))
    for call in (
        ask(authority, Marks(), [Phase1a(home.txid(), 2)]),
        ask(authority, Marks(), [Phase2a(home.txid(), 2, BUNDLE)]),
        ask(authority, Marks(), [Learn(home.txid())]),
        hello(authority, Marks()),
        holders(authority, [1]),
        register_participant(authority, Marks(), orders),
        registered_participants(authority),
    ):
        with pytest.raises(IdentityMismatch):
            home.admin.run(call)
    assert home.ask(Learn(home.txid())) == [Learned(home.txid(), "a1", 1, {})]
    assert home.admin.run(registered_participants(home.authority)) == ()


def test_r2_a_participant_is_one_name_for_one_database_for_ever(home):
    def register(*participant):
        return home.admin.run(
            register_participant(home.authority, home.marks, RegisteredParticipant(*participant))
        )

    before = home.marks.of(home.authority.identity)
    assert register("orders", 17, "shop") == (Registration.REGISTERED, "")
    assert register("orders", 17, "shop") == (Registration.PRESENT, "")
    verdict, detail = register("orders", 18, "shop")
    assert verdict is Registration.CONFLICT
    assert "database shop of server 17" in detail
    verdict, detail = register("billing", 17, "shop")
    assert verdict is Registration.CONFLICT
    assert "orders" in detail
    assert register("billing", 17, "other") == (Registration.REGISTERED, "")
    listed = home.admin.run(registered_participants(home.authority))
    assert listed == (
        RegisteredParticipant("billing", 17, "other"),
        RegisteredParticipant("orders", 17, "shop"),
    )
    assert home.marks.of(home.authority.identity) > before


# R8 to R10: promising and accepting --------------------------------------------------------------


def test_r8_phase_1_that_waited_for_an_accept_returns_it(home):
    txid = home.txid()
    home.ask(Phase1a(txid, 1))
    voter = home.connect()
    voter("BEGIN")
    home.ask(Phase2a(txid, 1, BUNDLE), client=voter)
    leader = home.background(ask(home.authority, Marks(), [Phase1a(txid, 2)]))
    assert leader.waits()
    voter("COMMIT")
    assert leader.result() == [Phase1b(txid, "a1", 2, accepted(BUNDLE, 1))]


def test_r8_the_promise_covers_instances_not_yet_known(home):
    txid = home.txid()
    home.ask(Phase1a(txid, 1))
    late = Phase2a(txid, 0, {"never-heard-of": Vote.PREPARED})
    assert home.ask(late) == [Outbid(txid, "a1", 1)]


def test_r9_a_ballot_is_promised_once(home):
    txid = home.txid()
    assert home.ask(Phase1a(txid, 3)) == [Phase1b(txid, "a1", 3, {})]
    assert home.ask(Phase1a(txid, 3)) == [Outbid(txid, "a1", 3)]
    assert home.ask(Phase1a(txid, 2)) == [Outbid(txid, "a1", 3)]


def test_r9_two_leaders_at_once_do_not_share_a_ballot(home):
    txid = home.txid()
    first = home.connect()
    first("BEGIN")
    assert home.ask(Phase1a(txid, 1), client=first) == [Phase1b(txid, "a1", 1, {})]
    second = home.background(ask(home.authority, Marks(), [Phase1a(txid, 1)]))
    assert second.waits()
    first("COMMIT")
    assert second.result() == [Outbid(txid, "a1", 1)]


def test_r10_accepting_raises_the_promise(home):
    txid = home.txid()
    home.ask(Phase1a(txid, 1))
    home.ask(Phase2a(txid, 2, BUNDLE))
    assert home.ask(Phase1a(txid, 2)) == [Outbid(txid, "a1", 2)]
    assert home.ask(Phase2a(txid, 1, {"billing": Vote.PREPARED})) == [Outbid(txid, "a1", 2)]


def test_r10_a_bundle_is_all_or_nothing(home):
    txid = home.txid()
    home.ask(Phase2a(txid, 0, {"orders": Vote.PREPARED}))
    bad = Phase2a(txid, 0, {"billing": Vote.PREPARED, "orders": Vote.ABORTED})
    assert home.ask(bad) == [Conflict(txid, "a1", 0)]
    held = accepted({"orders": Vote.PREPARED}, 0)
    assert home.ask(Learn(txid)) == [Learned(txid, "a1", 0, held)]


def test_r10_one_refused_transaction_does_not_hold_up_the_others(home):
    one, two = home.txid(1), home.txid(2)
    home.ask(Phase1a(one, 5))
    late, fresh = Phase2a(one, 0, BUNDLE), Phase2a(two, 0, BUNDLE)
    assert home.ask(late, fresh) == [Outbid(one, "a1", 5), Phase2b(two, "a1", 0, BUNDLE)]


def test_r10_a_malformed_call_is_refused(home):
    def call(coordinators, seqs, ballots, votes):
        whom = (home.record.digest, home.authority.identity)
        return home.admin(RAW_2A, *whom, coordinators, seqs, ballots, votes)

    vote = '{"orders": "P"}'
    assert call([1], [1], [0], [vote])[0][0] == "ok"
    for bad in (
        ([], [], [], []),
        ([1, 1], [1, 1], [0, 0], [vote, vote]),
        ([1], [1, 2], [0], [vote]),
        ([1, 2], [1, 2], [0], [vote, vote]),
        ([1, 2], [1, 2], [0, 0], [vote]),
        ([1], [1], [-1], [vote]),
        ([1], [1], [None], [vote]),
        ([1], [1], [0], [None]),
        ([1], [1], [0], ["{}"]),
    ):
        with pytest.raises(DatabaseError, match="PX003"):
            call(*bad)
    for bad in ("[]", "{ }", "1", "no json"):
        with pytest.raises(DatabaseError):
            call([2], [2], [0], [bad])
    assert home.ask(Learn(home.txid(2)))[0].promised == -1
    with pytest.raises(InvariantViolation):
        home.ask(Phase1a(home.txid(), 0))


# R11: in which statement, at which level ---------------------------------------------------------


@pytest.mark.parametrize("level", ["REPEATABLE READ", "SERIALIZABLE"])
def test_r11_a_vote_refuses_stronger_isolation(home, level):
    client = home.connect()
    for call in (
        ask(home.authority, Marks(), [Phase1a(home.txid(), 1)]),
        ask(home.authority, Marks(), [Phase2a(home.txid(), 1, BUNDLE)]),
        hello(home.authority, Marks()),
    ):
        client(f"BEGIN ISOLATION LEVEL {level}")
        with pytest.raises(ClusterError, match="READ COMMITTED"):
            client.run(call)
        client("ROLLBACK")
    assert home.ask(Learn(home.txid())) == [Learned(home.txid(), "a1", -1, {})]


def test_r11_links_are_not_led_astray_by_a_default_isolation_level(own_home):
    own_home.admin(
        f"ALTER DATABASE {own_home.place.database}"
        " SET default_transaction_isolation = 'serializable'"
    )
    client = own_home.connect()
    with pytest.raises(ClusterError, match="READ COMMITTED"):
        own_home.ask(Phase1a(own_home.txid(), 1), client=client)
    client.run(link_settings())
    assert own_home.ask(Phase1a(own_home.txid(), 1), client=client) == [
        Phase1b(own_home.txid(), "a1", 1, {})
    ]


# R12, R13: marks ---------------------------------------------------------------------------------


def mark_of(home):
    ((mark,),) = home.admin("SELECT mark FROM paxcommit.own_mark")
    return mark


def test_r13_every_voting_call_advances_the_mark_and_carries_it(home):
    assert mark_of(home) == 0
    for seq in (1, 2, 3):
        home.ask(Phase1a(home.txid(seq), 1))
        assert home.marks.of(home.authority.identity) == mark_of(home) == seq
    # A refusal votes for nothing, but what it tells is durable as well.
    home.ask(Phase1a(home.txid(1), 1))
    assert home.marks.of(home.authority.identity) == mark_of(home) == 4


def test_r13_a_learner_is_told_the_mark_of_what_it_learns(home):
    home.ask(Phase1a(home.txid(1), 1))
    home.ask(Phase1a(home.txid(2), 1))
    marks = Marks()
    home.admin.run(ask(home.authority, marks, [Learn(home.txid(9))]))
    assert marks.of(home.authority.identity) == 0
    home.admin.run(ask(home.authority, marks, [Learn(home.txid(1))]))
    assert marks.of(home.authority.identity) == 1


def test_r13_an_acceptor_below_a_remembered_mark_refuses_for_ever(home):
    txid = home.txid()
    home.ask(Phase1a(txid, 1))
    knowing, ignorant = Marks(), Marks()
    knowing.remember(home.authority.identity, 2)
    lost = [LostVotes(txid, "a1")]
    assert home.admin.run(ask(home.authority, knowing, [Phase1a(txid, 2)])) == lost
    assert mark_of(home) == 1, "advancing the mark would hide the loss"
    for request in (Phase1a(txid, 9), Phase2a(txid, 9, BUNDLE), Learn(txid)):
        assert home.admin.run(ask(home.authority, ignorant, [request])) == lost
    assert home.admin.run(hello(home.authority, ignorant)).lost_votes
    with pytest.raises(IdentityMismatch, match="lost votes"):
        home.admin.run(registered_participants(home.authority))
    orders = RegisteredParticipant("orders", 1, "orders")
    with pytest.raises(IdentityMismatch, match="lost votes"):
        home.admin.run(register_participant(home.authority, ignorant, orders))


def test_r13_a_mark_before_the_first_vote_counts_as_none(home):
    knowing = Marks()
    knowing.remember(home.authority.identity, 1)
    assert home.admin.run(ask(home.authority, knowing, [Phase1a(home.txid(), 1)])) == [
        LostVotes(home.txid(), "a1")
    ]


def test_r13_hello_notices_a_loss(home):
    knowing = Marks()
    knowing.remember(home.authority.identity, 1)
    assert home.admin.run(hello(home.authority, knowing)).lost_votes


def test_r13_a_stranger_cannot_put_an_acceptor_out(home):
    knowing = Marks()
    knowing.remember("somebody-else", 10)
    wrong = Authority("a1", "somebody-else", 1, home.record.digest)
    with pytest.raises(IdentityMismatch):
        home.admin.run(ask(wrong, knowing, [Phase1a(home.txid(), 1)]))
    assert home.ask(Phase1a(home.txid(), 1)) == [Phase1b(home.txid(), "a1", 1, {})]


def test_r13_acceptors_keep_each_others_marks(home):
    a2 = home.record.acceptors[1].identity
    marks = Marks()
    assert home.admin.run(hello(home.authority, marks)).peers[a2] == 0
    marks.remember(a2, 3)
    assert home.admin.run(hello(home.authority, marks)).peers[a2] == 3, "a greeting is exact"
    marks.remember(a2, 18)
    home.admin.run(ask(home.authority, marks, [Phase1a(home.txid(), 1)]))
    assert home.admin.run(hello(home.authority, Marks())).peers[a2] == 3, "a vote is lazy"
    marks.remember(a2, 19)
    home.admin.run(ask(home.authority, marks, [Phase1a(home.txid(), 2)]))
    told = Marks()
    assert home.admin.run(hello(home.authority, told)).peers[a2] == 19
    assert told.of(a2) == 19, "and others hear of it"
    home.admin.run(hello(home.authority, marks))
    assert home.admin.run(hello(home.authority, Marks())).peers[a2] == 19


def test_r13_keeping_a_mark_never_waits(home):
    a2 = home.record.acceptors[1].identity
    other = home.connect()
    other("BEGIN")
    other("UPDATE paxcommit.peer_mark SET mark = 1")
    marks = Marks()
    marks.remember(a2, 100)
    vote = home.background(ask(home.authority, marks, [Phase1a(home.txid(), 1)]))
    assert not vote.waits()
    assert vote.result() == [Phase1b(home.txid(), "a1", 1, {})]
    other("ROLLBACK")


# R26: who lives ----------------------------------------------------------------------------------


def test_r26_a_holder_is_seen_until_its_connection_ends(home):
    alive, dead, cut = 2**62 + 12345, 7, 2**63 - 1
    one, two = home.connect(), home.connect()
    one.run(link_settings())
    one.run(hold(alive))
    two.run(hold(cut))
    asked = [alive, dead, cut]
    assert home.admin.run(holders(home.authority, asked)) == {alive, cut}
    again = home.connect()
    again.run(hold(alive))  # it is shared: a reconnecting coordinator is not kept out
    assert home.admin.run(holders(home.authority, [dead])) == frozenset()
    two("SELECT pg_advisory_unlock_all()")
    assert home.admin.run(holders(home.authority, asked)) == {alive}


def test_r26_an_exclusive_lock_of_somebody_else_is_noticed(home):
    home.admin("SELECT pg_advisory_lock(42)")
    with pytest.raises(ClusterError, match="exclusively"):
        home.connect().run(hold(42))
    assert home.admin.run(holders(home.authority, [42])) == frozenset()


# R30: sealing and retiring -----------------------------------------------------------------------


def test_r30_a_seal_stops_ballot_0_of_unknown_transactions_only(home):
    known, unknown = home.txid(1), home.txid(2)
    home.ask(Phase2a(known, 0, {"orders": Vote.PREPARED}))
    home.admin("UPDATE paxcommit.epoch SET sealed = true")
    more = Phase2a(known, 0, {"billing": Vote.PREPARED})
    assert home.ask(more) == [Phase2b(known, "a1", 0, more.values)]
    assert home.ask(Phase2a(unknown, 0, BUNDLE)) == [Sealed(unknown, "a1")]
    assert home.ask(Phase1a(unknown, 1)) == [Phase1b(unknown, "a1", 1, {})]
    assert home.admin.run(hello(home.authority, Marks())).sealed


def test_a_batch_of_all_kinds_is_answered_in_its_order(home):
    one, two, three = (home.txid(seq) for seq in (1, 2, 3))
    calls = []
    generator = ask(
        home.authority,
        home.marks,
        [
            Learn(two),
            Phase2a(three, 0, BUNDLE),
            Phase1a(one, 1),
            Phase1a(three, 1),
            Learn(three),
            Learn(one),
        ],
    )
    sql = next(generator)
    while True:
        calls.append(sql)
        try:
            sql = generator.send(home.admin.session.execute(Sql(sql.text, sql.args)))
        except StopIteration as stop:
            answers = stop.value
            break
    held = accepted(BUNDLE, 0)
    assert answers == [
        Learned(two, "a1", -1, {}),
        Phase2b(three, "a1", 0, BUNDLE),
        Phase1b(one, "a1", 1, {}),
        Phase1b(three, "a1", 1, held),
        Learned(three, "a1", 1, held),
        Learned(one, "a1", 1, {}),
    ]
    assert len(calls) == 6, "three kinds, then what met a transaction again"


def test_drawing_an_identity_twice_tells_the_same(home):
    assert home.admin.run(claim_identity("a1")) == home.record.acceptors[0]
