"""The simulated PostgreSQL's nastiness is really there: what is lost, what lingers, who waits."""

from __future__ import annotations

from typing import Any

import pytest

from paxcommit.ids import Ballot, Gid, TxId
from paxcommit.protocol.messages import Learn, Phase1a, Phase2a
from paxcommit.protocol.values import REGISTRAR, Vote
from paxcommit.sql.acceptor import Authority, ask
from paxcommit.sql.branch import prepare_branch
from paxcommit.sql.fencing import place_fence
from paxcommit.sql.marks import Marks
from paxcommit.sql.statement import DatabaseError, Result, Sql, Statements
from tests.proof.simulation.acceptors import Acceptor
from tests.proof.simulation.participants import Participant
from tests.proof.simulation.pool import Pool
from tests.proof.simulation.postgres import Backend, Server, Tx, UnknownStatement
from tests.proof.simulation.truth import Broken, Truth

DIGEST = "ab" * 16
TXID = TxId(1, 0xC0FFEE, 1)
GID = Gid(DIGEST, TXID, "p1", 5)
AUTHORITY = Authority("a1", "uuid-1", 1, DIGEST)


class Ear:
    """A client that only listens."""

    def __init__(self, server: Server) -> None:
        self.broken = False
        self.answers: list[Any] = []
        # what a server needs of a client is these few names
        self.backend: Backend = server.connect(self)  # type: ignore[arg-type]

    def answered(self, answer: Result | DatabaseError) -> None:
        self.answers.append(answer)

    def lost(self) -> None:
        self.answers.append("lost")

    def send(self, statements: Statements[Any] | Sql) -> None:
        """Send the first statement; it is executed, and not yet flushed."""
        self.backend.receive(statements if isinstance(statements, Sql) else next(statements))


def participant(**options: Any) -> Participant:
    settings: dict[str, Any] = {"slots": 64, "synchronous": False, **options}
    return Participant(
        Pool(1, None), "p1", set(), digest=DIGEST, truth=Truth(3), system_identifier=1, **settings
    )


def acceptor() -> Acceptor:
    return Acceptor(
        Pool(1, None), "a1", set(), identity="uuid-1", digest=DIGEST, peers=[], truth=Truth(1)
    )


def writer(server: Participant) -> Ear:
    ear = Ear(server)
    ear.backend.tx = Tx(setting=str(TXID), wrote=True)
    return ear


def accept(ear: Ear, ballot: int = 1) -> None:
    ear.send(ask(AUTHORITY, Marks(), [Phase2a(TXID, Ballot(ballot), {REGISTRAR: Vote.ABORTED})]))


def crash(server: Server, *, kept: bool) -> None:
    server.pool.random = lambda: 0.99 if kept else 0.0
    server.crash()
    server.start()


def test_a_vote_is_answered_and_seen_only_once_it_is_flushed() -> None:
    server = acceptor()
    ear, reader = Ear(server), Ear(server)
    accept(ear)
    reader.send(ask(AUTHORITY, Marks(), [Learn(TXID)]))
    assert ear.answers == []
    assert reader.answers[0].rows[0][3] == -1
    server.flush()
    assert ear.answers[0].rows[0][2] == "ok"
    assert server.rows[TXID].promised == 1


@pytest.mark.parametrize("kept", [False, True])
def test_a_crash_before_the_flush_loses_the_vote_or_only_its_answer(kept: bool) -> None:
    server = acceptor()
    ear = Ear(server)
    accept(ear)
    crash(server, kept=kept)
    assert (TXID in server.rows) is kept
    assert ear.answers == []  # it hears of the lost connection, no more


def test_a_second_vote_waits_for_the_first_ones_row() -> None:
    server = acceptor()
    first, second = Ear(server), Ear(server)
    accept(first, 2)
    second.send(ask(AUTHORITY, Marks(), [Phase1a(TXID, Ballot(1))]))
    server.flush()
    assert second.answers == []
    while server.pool.step():
        pass
    assert second.answers[0].rows[0][2:4] == ("outbid", 2)


def test_an_old_copy_put_back_has_forgotten_and_may_never_vote() -> None:
    server = acceptor()
    copy = server.copy()
    accept(Ear(server))
    server.flush()
    server.crash()
    server.restore(copy)
    server.start()
    assert TXID not in server.rows
    knowing = Marks()
    knowing.remember("uuid-1", 1)
    ear = Ear(server)
    ear.send(ask(AUTHORITY, knowing, [Phase1a(TXID, Ballot(2))]))
    server.flush()
    assert ear.answers[0].rows[0][2] == "lost"
    server.lost_votes = False  # nobody remembers: the truth does
    accept(Ear(server))
    with pytest.raises(Broken, match="lost votes"):
        server.flush()


def test_locks_of_a_session_end_with_it() -> None:
    server = acceptor()
    ear = Ear(server)
    ear.send(Sql("SELECT pg_try_advisory_lock_shared($1::bigint)", (7,)))
    asks = Sql(
        "SELECT coordinator FROM paxcommit.holders($1::text, $2::text, $3::bigint[])",
        (DIGEST, "uuid-1", [7, 8]),
    )
    reader = Ear(server)
    reader.send(asks)
    ear.backend.terminate()
    reader.send(asks)
    assert [list(answer.rows) for answer in reader.answers] == [[(7,)], []]


@pytest.mark.parametrize("kept", [False, True])
def test_a_gid_that_was_not_flushed_may_be_there_after_a_crash_or_not(kept: bool) -> None:
    server = participant()
    ear = writer(server)
    ear.send(prepare_branch(GID))
    assert not server.prepared[str(GID)].valid  # not to be seen: 42704 to whoever asks
    crash(server, kept=kept)
    assert (str(GID) in server.prepared) is kept
    assert bool(server.holders) is kept  # and holds its row


def test_a_running_transaction_is_gone_after_a_crash_and_a_prepared_one_is_not() -> None:
    server = participant()
    ear, other = writer(server), writer(server)
    ear.send(prepare_branch(GID))
    server.flush()
    other.backend.tx = Tx(setting=str(TXID), wrote=True, row=((1, 1), "branch"))
    server.holders[1, 1] = other.backend
    crash(server, kept=False)
    assert list(server.holders.values()) == [server.prepared[str(GID)]]


def test_a_prepare_is_executed_although_its_client_is_gone() -> None:
    server = participant()
    ear = writer(server)
    ear.broken = True
    ear.send(prepare_branch(GID))
    server.flush()
    assert server.prepared[str(GID)].valid
    assert ear.backend.over
    assert "prepare: late" in server.marks


def test_a_terminated_backend_takes_its_row_along_unless_it_is_prepared() -> None:
    server = participant()
    server.pause = 1.0
    ear = writer(server)
    ear.send(prepare_branch(GID))
    while not server.holders:
        assert server.pool.step()
    ear.backend.terminate()
    assert server.holders == {}
    fence = Ear(server)
    fence.send(place_fence(DIGEST, TXID, "p1"))
    server.flush()
    assert server.ledger == {(TXID.coordinator, TXID.seq): "fence"}


def test_slots_are_limited() -> None:
    server = participant(slots=0)
    ear = writer(server)
    ear.send(prepare_branch(GID))
    assert ear.answers[0].sqlstate == "53200"
    assert ear.backend.tx is None


def test_a_cancelled_wait_for_the_standby_is_a_success_with_a_warning_that_may_not_last() -> None:
    server = participant(synchronous=True)
    server.hang = 1.0
    ear = writer(server)
    ear.send(prepare_branch(GID))
    server.flush()
    assert ear.answers == []
    server.pool.last.pop()()
    assert ear.answers[0].tag == "PREPARE TRANSACTION"
    assert ear.answers[0].notices[-1].sqlstate == "01000"
    server.failover()
    assert server.prepared == {}
    assert server.truth.of(TXID).injected == set()  # nobody may have voted for it


def test_an_asynchronous_failover_loses_a_branch_and_the_truth_knows() -> None:
    server = participant()
    ear = writer(server)
    ear.send(prepare_branch(GID))
    server.flush()
    server.failover()
    assert server.prepared == {}
    assert server.truth.of(TXID).injected == {"p1"}


def test_a_failover_may_undo_a_rollback() -> None:
    server = participant()
    writer(server).send(prepare_branch(GID))
    server.flush()
    Ear(server).send(Sql(f"ROLLBACK PREPARED {GID.quoted}"))
    server.flush()
    assert server.prepared == {}
    server.pool.random = lambda: 0.0
    server.failover()
    assert list(server.prepared) == [str(GID)]


def test_a_foreign_gid_must_not_be_touched() -> None:
    server = participant()
    writer(server).send(prepare_branch(GID))
    server.flush()
    server.prepared[str(GID)].foreign = True
    with pytest.raises(Broken, match="foreign"):
        Ear(server).send(Sql(f"ROLLBACK PREPARED {GID.quoted}"))


def test_a_statement_that_it_does_not_know_is_a_defect_of_the_simulator() -> None:
    with pytest.raises(UnknownStatement):
        Ear(participant()).send(Sql("SELECT 2"))
