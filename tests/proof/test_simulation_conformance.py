"""The simulated PostgreSQL answers as a real one does: the same statements, side by side."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from paxcommit.errors import PaxcommitError
from paxcommit.ids import Ballot, Gid, TxId
from paxcommit.protocol.messages import Learn, Phase1a, Phase2a, Request
from paxcommit.protocol.values import REGISTRAR, Instance, ParticipantSet, Value, Vote
from paxcommit.sql.acceptor import Authority, ask
from paxcommit.sql.branch import commit_only, open_branch, prepare_branch
from paxcommit.sql.fencing import fence_blockers, place_fence
from paxcommit.sql.finish import branch_kind, commit_prepared, prepared_branches, rollback_prepared
from paxcommit.sql.link import hello, hold, holders
from paxcommit.sql.marks import Marks
from paxcommit.sql.statement import DatabaseError, Result, Sql, Statements
from paxcommit.testing import Cluster
from tests.proof.simulation.acceptors import Acceptor
from tests.proof.simulation.participants import Participant
from tests.proof.simulation.pool import Pool
from tests.proof.simulation.postgres import Backend, Server, Tx
from tests.proof.simulation.truth import Truth
from tests.sql.conftest import Background, Client, Home, make_home

WRITE = Sql("UPDATE account SET balance = balance + 1 WHERE id = 1")


class Real:
    """Sessions at a real server."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self.digest, self.authority = home.record.digest, home.authority
        self.clients: dict[str, Client] = {}
        self.waiting: dict[str, Background] = {}

    def _client(self, who: str) -> Client:
        if who not in self.clients:
            self.clients[who] = self.home.connect()
        return self.clients[who]

    def execute(self, who: str, sql: Sql) -> Result:
        return self._client(who).session.execute(sql)

    def start(self, who: str, statements: Statements[Any]) -> bool:
        """Begin something that may have to wait; whether it waits."""
        task = self.waiting[who] = self.home.background(statements, self._client(who))
        return task.waits()

    def result(self, who: str) -> Any:
        try:
            return self.waiting.pop(who).result()
        except Exception as error:  # noqa: BLE001 - compared
            return error

    def pid(self, who: str) -> int:
        return self._client(who).pid


class Simulated:
    """Sessions at the simulated one, with its scheduler run until nothing more happens."""

    broken = False

    def __init__(self, home: Home) -> None:
        pool, marks = Pool(1, None), set[str]()
        record = home.record
        truth = Truth(3)
        for check in ("broken", "require"):
            setattr(truth, check, _anything_goes)
        self.digest, self.authority = record.digest, home.authority
        self.pool = pool
        self.participant = Participant(
            pool, "orders", marks, digest=record.digest, truth=truth, slots=64, synchronous=False,
            system_identifier=7,
        )  # fmt: skip
        self.acceptor = Acceptor(
            pool, "a1", marks, identity=self.authority.identity, digest=record.digest,
            peers=[each.identity for each in record.acceptors[1:]], truth=truth,
        )  # fmt: skip
        self.backends: dict[tuple[str, str], Backend] = {}
        self.answers: dict[str, Any] = {}
        self.generators: dict[str, Statements[Any]] = {}

    def _backend(self, who: str, sql: Sql) -> Backend:
        at: Server = self.acceptor if _for_acceptors(sql) else self.participant
        if (who, at.name) not in self.backends:
            # what a server needs of a client is two methods
            self.backends[who, at.name] = at.connect(_Ear(self, who))  # type: ignore[arg-type]
        return self.backends[who, at.name]

    def execute(self, who: str, sql: Sql) -> Result:
        if sql is WRITE:  # whoever writes has begun, here and below: `tx` is not None
            self._backend(who, sql).tx.wrote = True  # type: ignore[union-attr]
            return Result((), "UPDATE 1")
        if sql.text.startswith("BEGIN"):
            level = "serializable" if "SERIALIZABLE" in sql.text else "read committed"
            self._backend(who, sql).tx = Tx(level)
            return Result((), "BEGIN")
        if sql.text == "SELECT 1/0":
            self._backend(who, sql).tx.failed = True  # type: ignore[union-attr]
            raise DatabaseError("22012", "division by zero")
        self._backend(who, sql).receive(sql)
        self._run(lambda: who in self.answers)
        answer = self.answers.pop(who)
        if isinstance(answer, Exception):
            raise answer
        assert isinstance(answer, Result)
        return answer

    def _run(self, until: Callable[[], bool]) -> None:
        while not until() and self.pool.soon:
            self.pool.soon.pop(0)()

    def start(self, who: str, statements: Statements[Any]) -> bool:
        """As `Real.start`; of one statement."""
        sql = next(statements)
        self.generators[who] = statements
        self._backend(who, sql).receive(sql)
        self._run(lambda: who in self.answers)
        return who not in self.answers

    def result(self, who: str) -> Any:
        self._run(lambda: who in self.answers)
        while who not in self.answers:
            self.pool.later.pop(0)()  # a lock timeout
        answer = self.answers.pop(who)
        statements = self.generators.pop(who)
        try:
            if isinstance(answer, Exception):
                sql = statements.throw(answer)
            else:
                sql = statements.send(answer)
            return f"goes on with {sql}"
        except StopIteration as stop:
            return stop.value
        except Exception as error:  # noqa: BLE001 - compared
            return error

    def pid(self, who: str) -> int:
        return self._backend(who, WRITE).pid


def _anything_goes(*_: object) -> None:
    """Nobody decides here."""


class _Ear:
    """Takes a backend's answers."""

    broken = False

    def __init__(self, side: Simulated, who: str) -> None:
        self.side, self.who = side, who

    def answered(self, answer: Result | DatabaseError) -> None:
        self.side.answers[self.who] = answer

    def lost(self) -> None:
        self.side.answers[self.who] = ConnectionError()


def _for_acceptors(sql: Sql) -> bool:
    words = ("phase1a", "phase2a", "learn", "hello", "holders", "advisory", "participants(")
    return any(word in sql.text for word in words)


Side = Real | Simulated


def run(side: Side, who: str, what: Sql | Statements[Any]) -> Any:
    """What a statement, or a generator and every statement of it, came to; comparable."""
    told: list[Any] = []

    def execute(sql: Sql) -> Result:
        try:
            result = side.execute(who, sql)
        except DatabaseError as error:
            told.append((error.sqlstate, error.detail if error.sqlstate == "PX011" else ""))
            raise
        told.append((result.tag, [(n.severity, n.sqlstate) for n in result.notices]))
        return result

    if isinstance(what, Sql):
        with contextlib.suppress(DatabaseError):
            told.append(list(execute(what).rows))
        return told
    try:
        sql = next(what)
        while True:
            try:
                result = execute(sql)
            except DatabaseError as error:
                sql = what.throw(error)
            else:
                sql = what.send(result)
    except StopIteration as stop:
        told.append(_comparable(stop.value))
    except (DatabaseError, PaxcommitError) as error:
        told.append(type(error).__name__)
    return told


def _comparable(value: Any) -> Any:
    """Without words that are the server's own."""
    for attribute in ("reason", "detail"):
        if hasattr(value, attribute):
            return type(value).__name__
    return value


@pytest.fixture(scope="module")
def home(cluster: Cluster) -> Iterator[Home]:
    home = make_home(cluster)
    yield home
    home.drop()


@pytest.fixture
def sides(home: Home) -> Iterator[tuple[Real, Simulated]]:
    home.renew()
    yield Real(home), Simulated(home)
    home.close()


def gid(side: Side, home_txid: TxId) -> Gid:
    return Gid(side.digest, home_txid, "orders", 5)


TXID = TxId(1, 0xC0FFEE, 1)
Script = Callable[[Side], Iterator[Any]]


def begin(side: Side, who: str, *, write: bool = True, text: str = "BEGIN") -> None:
    side.execute(who, Sql(text))
    run(side, who, open_branch(TXID))
    if write:
        side.execute(who, WRITE)


def fails(side: Side, who: str) -> None:
    with pytest.raises(DatabaseError):
        side.execute(who, Sql("SELECT 1/0"))


# --- the scripts: each yields what must be equal ---------------------------------------------


def prepared_and_committed(side: Side) -> Iterator[Any]:
    begin(side, "x")
    yield run(side, "x", prepare_branch(gid(side, TXID)))
    yield [(b.text, b.gid) for b in _list(side)]
    yield run(side, "x", branch_kind(side.digest, TXID, "orders"))
    yield run(side, "y", commit_prepared(gid(side, TXID)))
    yield run(side, "y", commit_prepared(gid(side, TXID)))  # 42704, and the ledger says done
    yield run(side, "y", rollback_prepared(gid(side, TXID)))  # 42704, and the ledger says no
    yield run(side, "x", branch_kind(side.digest, TXID, "orders"))
    yield run(side, "x", place_fence(side.digest, TXID, "orders"))


def prepared_and_rolled_back(side: Side) -> Iterator[Any]:
    begin(side, "x")
    yield run(side, "x", prepare_branch(gid(side, TXID)))
    yield run(side, "y", rollback_prepared(gid(side, TXID)))
    yield run(side, "y", place_fence(side.digest, TXID, "orders"))
    yield run(side, "y", commit_prepared(gid(side, TXID)))  # 42704, and a fence: damage
    begin(side, "x")
    yield run(side, "x", prepare_branch(gid(side, TXID)))  # 23505
    yield run(side, "x", Sql("ROLLBACK"))


def a_failed_transaction(side: Side) -> Iterator[Any]:
    begin(side, "x")
    fails(side, "x")
    yield run(side, "x", Sql("PREPARE TRANSACTION 'some'"))  # trap 1: the tag is ROLLBACK
    begin(side, "x")
    fails(side, "x")
    yield run(side, "x", prepare_branch(gid(side, TXID)))
    yield run(side, "x", Sql("ROLLBACK"))
    begin(side, "x")
    fails(side, "x")
    yield run(side, "x", Sql("COMMIT"))
    begin(side, "x")
    fails(side, "x")
    yield run(side, "x", commit_only(gid(side, TXID)))
    yield run(side, "x", Sql("ROLLBACK"))


def ended_inside_the_block(side: Side) -> Iterator[Any]:
    begin(side, "x")
    yield run(side, "x", Sql("ROLLBACK"))
    yield run(side, "x", prepare_branch(gid(side, TXID)))  # 25P01
    yield run(side, "x", commit_only(gid(side, TXID)))  # PX010
    side.execute("x", Sql("BEGIN"))
    side.execute("x", WRITE)
    yield run(side, "x", prepare_branch(gid(side, TXID)))  # PX010
    yield run(side, "x", Sql("ROLLBACK"))


def wrote_nothing(side: Side) -> Iterator[Any]:
    begin(side, "x", write=False, text="BEGIN ISOLATION LEVEL SERIALIZABLE")
    yield run(side, "x", prepare_branch(gid(side, TXID)))
    yield run(side, "x", Sql("SELECT paxcommit.wrote($1::text)", (str(TXID),)))
    yield run(side, "x", Sql("COMMIT"))
    begin(side, "x", write=False)
    yield run(side, "x", prepare_branch(gid(side, TXID), declared_read_only=True))
    yield run(side, "x", Sql("ROLLBACK"))
    begin(side, "x", write=False)
    yield run(side, "x", commit_only(gid(side, TXID)))
    yield run(side, "x", branch_kind(side.digest, TXID, "orders"))


def one_phase(side: Side) -> Iterator[Any]:
    begin(side, "x")
    yield run(side, "x", commit_only(gid(side, TXID)))
    yield run(side, "x", place_fence(side.digest, TXID, "orders"))
    begin(side, "x")
    yield run(side, "x", commit_only(gid(side, TXID)))  # 23505
    yield run(side, "x", Sql("ROLLBACK"))


def another_cluster(side: Side) -> Iterator[Any]:
    other = Gid("0" * 32, TXID, "orders", 5)
    begin(side, "x")
    yield run(side, "x", prepare_branch(other))
    yield run(side, "x", Sql("ROLLBACK"))
    yield run(side, "x", place_fence(other.digest, TXID, "orders"))
    yield run(side, "x", branch_kind(side.digest, TXID, "billing"))


def inside_a_block(side: Side) -> Iterator[Any]:
    begin(side, "x")
    yield run(side, "x", Sql(f"COMMIT PREPARED {gid(side, TXID).quoted}"))
    yield run(side, "x", Sql("ROLLBACK"))
    yield run(side, "x", Sql("ROLLBACK"))
    yield run(side, "x", Sql("COMMIT"))


def a_fence_that_waits_for_a_prepared_one(side: Side) -> Iterator[Any]:
    begin(side, "x")
    yield run(side, "x", prepare_branch(gid(side, TXID)))
    side.pid("y")
    yield side.start("y", place_fence(side.digest, TXID, "orders"))
    yield [b.prepared for b in _blockers(side, side.pid("y"))]
    yield side.result("y")  # 55P03: blocked
    yield run(side, "x", rollback_prepared(gid(side, TXID)))


def a_fence_that_waits_and_gets_in(side: Side) -> Iterator[Any]:
    begin(side, "x")
    yield run(side, "x", prepare_branch(gid(side, TXID)))
    yield side.start("y", place_fence(side.digest, TXID, "orders"))
    yield run(side, "x", rollback_prepared(gid(side, TXID)))
    yield side.result("y")


def a_second_attempt_waits_for_the_first(side: Side) -> Iterator[Any]:
    begin(side, "x")
    yield run(side, "x", prepare_branch(gid(side, TXID)))
    begin(side, "y", write=False)
    side.execute("y", Sql("SAVEPOINT s")) if isinstance(side, Real) else None
    side.execute("y", WRITE if isinstance(side, Simulated) else _OTHER)
    yield side.start("y", prepare_branch(gid(side, TXID)))
    yield run(side, "x", commit_prepared(gid(side, TXID)))
    yield _comparable(side.result("y"))  # 23505
    yield run(side, "y", Sql("ROLLBACK"))


def an_acceptor(side: Side) -> Iterator[Any]:
    marks = Marks()
    prepared: dict[Instance, Value] = {
        REGISTRAR: ParticipantSet(("orders",)),
        "orders": Vote.PREPARED,
    }
    aborted: dict[Instance, Value] = {REGISTRAR: Vote.ABORTED}
    requests: list[list[Request]] = [
        [Learn(TXID)],
        [Phase2a(TXID, Ballot(0), prepared)],
        [Phase2a(TXID, Ballot(0), prepared), Learn(TXID)],
        [Phase2a(TXID, Ballot(0), aborted)],
        [Phase1a(TXID, Ballot(2)), Phase1a(TxId(1, 5, 6), Ballot(1))],
        [Phase1a(TXID, Ballot(2))],
        [Phase2a(TXID, Ballot(1), aborted)],
        [Phase2a(TXID, Ballot(3), aborted)],
        [Learn(TXID)],
    ]
    for batch in requests:
        yield run(side, "x", ask(side.authority, marks, batch))
    yield run(side, "x", hold(0xC0FFEE))
    yield run(side, "y", holders(side.authority, [0xC0FFEE, 7]))
    other = Authority("a1", side.authority.identity, 1, "0" * 32)
    yield run(side, "x", ask(other, marks, [Learn(TXID)]))
    yield run(side, "x", hello(Authority("a1", "nobody", 1, side.digest), marks))
    marks.remember(side.authority.identity, 10_000)  # more than it ever told: it lost votes
    yield run(side, "x", ask(side.authority, marks, [Phase1a(TXID, Ballot(9))]))
    yield [a.lost_votes for a in run(side, "y", hello(side.authority, marks))[-1:]]


_OTHER = Sql("UPDATE account SET balance = balance + 1 WHERE id = 2")


def _list(side: Side) -> list[Any]:
    found: list[Any] = run(side, "y", prepared_branches())[-1]
    return found


def _blockers(side: Side, pid: int) -> list[Any]:
    while not (found := run(side, "z", fence_blockers(pid))[-1]):
        pass
    return list(found)


SCRIPTS: list[Script] = [
    prepared_and_committed,
    prepared_and_rolled_back,
    a_failed_transaction,
    ended_inside_the_block,
    wrote_nothing,
    one_phase,
    another_cluster,
    inside_a_block,
    a_fence_that_waits_for_a_prepared_one,
    a_fence_that_waits_and_gets_in,
    a_second_attempt_waits_for_the_first,
    an_acceptor,
]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.__name__)
def test_both_answer_alike(script: Script, sides: tuple[Real, Simulated]) -> None:
    real, simulated = (list(map(_plain, script(side))) for side in sides)
    assert simulated == real


def _plain(value: Any) -> Any:
    return json.loads(json.dumps(value, default=repr, sort_keys=True))
