"""The SQL acceptor answers any sequence of calls as the pure one does."""

from __future__ import annotations

import hashlib
import itertools

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from paxcommit.errors import IdentityMismatch
from paxcommit.ids import Ballot, TxId
from paxcommit.protocol.acceptor import UNKNOWN, EpochState, Persist, Row, step
from paxcommit.protocol.messages import (
    Conflict,
    Learn,
    Learned,
    LostVotes,
    Outbid,
    Phase1a,
    Phase1b,
    Phase2a,
    Phase2b,
    Retired,
    Sealed,
)
from paxcommit.protocol.values import REGISTRAR, ParticipantSet, Vote
from paxcommit.sql.acceptor import Authority, ask
from paxcommit.sql.marks import Marks

_epochs = itertools.count(2)

SEQS = st.integers(1, 4)
VOTES = st.sampled_from(list(Vote))
VALUES = st.dictionaries(st.sampled_from(["orders", "billing"]), VOTES, max_size=2).flatmap(
    lambda votes: st.one_of(
        [st.just(votes)] * bool(votes)
        + [
            st.sampled_from(
                [Vote.ABORTED, ParticipantSet(("orders",)), ParticipantSet(("billing", "orders"))]
            ).map(lambda value: {REGISTRAR: value, **votes})
        ]
    )
)
REQUESTS = st.one_of(
    st.tuples(st.just("1a"), SEQS, st.integers(1, 4)),
    st.tuples(st.just("2a"), SEQS, st.integers(0, 4), VALUES),
    st.tuples(st.just("2a"), SEQS, st.just(0), VALUES),
    st.tuples(st.just("learn"), SEQS),
)
BATCHES = st.lists(REQUESTS, min_size=1, max_size=5)
CALLS = st.one_of(
    BATCHES,
    BATCHES,
    BATCHES,
    st.just("seal"),
    st.sampled_from(["retire", "lose", "wrong digest", "wrong identity"]),
)
YES, NO = {"orders": Vote.PREPARED}, {"orders": Vote.ABORTED}
EVERY_ANSWER = [
    [("2a", 1, 0, YES), ("1a", 2, 2)],
    [("2a", 1, 0, NO), ("2a", 2, 1, YES), ("learn", 1)],
    "seal",
    [("2a", 3, 0, YES)],
    "retire",
    [("1a", 1, 3)],
    "lose",
]
"""What chance need not find in every run."""


def make_request(epoch, kind, seq, *rest):
    txid = TxId(epoch, 7, seq)
    match kind:
        case "1a":
            return Phase1a(txid, Ballot(rest[0]))
        case "2a":
            return Phase2a(txid, Ballot(rest[0]), rest[1])
        case _:
            return Learn(txid)


def test_sql_and_pure_acceptor_give_the_same_answers(home):
    seen: set[type] = set()

    @settings(
        max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow], database=None
    )
    @given(st.lists(CALLS, min_size=1, max_size=14))
    @example(EVERY_ANSWER)
    def check(calls):
        play(home, calls, seen)

    check()
    assert seen == {Conflict, Learned, LostVotes, Outbid, Phase1b, Phase2b, Retired, Sealed}, (
        "a run that exercised nothing proves nothing"
    )


def play(home, calls, seen):
    """Play the calls against both, in an epoch of their own."""
    epoch = next(_epochs)
    record = f'{{"epoch":{epoch}}}'
    digest = hashlib.sha256(record.encode()).hexdigest()[:32]
    home.admin(
        "INSERT INTO paxcommit.epoch VALUES ($1::bigint, $2::text, $3::text)", epoch, digest, record
    )
    home.admin("UPDATE paxcommit.acceptor SET lost_votes = false")
    authority = Authority("a1", home.authority.identity, epoch, digest)
    marks = Marks()
    state = EpochState()
    rows: dict[TxId, Row] = {}
    for call in calls:
        match call:
            case "seal":
                home.admin("UPDATE paxcommit.epoch SET sealed = true WHERE epoch = $1::int", epoch)
                state = EpochState(True, state.retired, state.lost_votes)
            case "retire":
                home.admin("UPDATE paxcommit.epoch SET retired = true WHERE epoch = $1::int", epoch)
                state = EpochState(state.sealed, True, state.lost_votes)
            case "lose":
                # A vote that carries a mark which the acceptor never reached.
                marks.remember(authority.identity, 2**60)
                state = EpochState(state.sealed, state.retired, True)
                vote = Phase2a(TxId(epoch, 7, 1), Ballot(9), {"orders": Vote.PREPARED})
                assert home.admin.run(ask(authority, marks, [vote])) == [LostVotes(vote.txid, "a1")]
                seen.add(LostVotes)
            case "wrong digest" | "wrong identity":
                wrong = (
                    Authority("a1", authority.identity, epoch, "0" * 32)
                    if call == "wrong digest"
                    else Authority("a1", "nobody", epoch, digest)
                )
                for request in (
                    Phase1a(TxId(epoch, 7, 1), Ballot(9)),
                    Phase2a(TxId(epoch, 7, 1), Ballot(9), {"orders": Vote.PREPARED}),
                    Learn(TxId(epoch, 7, 1)),
                ):
                    try:
                        home.admin.run(ask(wrong, Marks(), [request]))
                    except IdentityMismatch:
                        continue
                    raise AssertionError(f"{call} answered {request}")
            case _:
                requests = [make_request(epoch, *request) for request in call]
                answers = home.admin.run(ask(authority, marks, requests))
                for request, answer in zip(requests, answers, strict=True):
                    expected = step("a1", state, rows.get(request.txid, UNKNOWN), request)
                    seen.add(type(answer))
                    if isinstance(expected, Persist):
                        rows[request.txid] = expected.row
                    assert answer == expected.reply, (request, state)
    found = {
        TxId(epoch, coordinator, seq): promised
        for coordinator, seq, promised in home.admin(
            "SELECT coordinator, seq, promised FROM paxcommit.transaction WHERE epoch = $1::int",
            epoch,
        )
    }
    assert found == {txid: row.promised for txid, row in rows.items()}
