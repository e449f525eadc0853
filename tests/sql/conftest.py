"""A database that hosts acceptor ``a1`` and participant ``orders``, and ways to work in it."""

from __future__ import annotations

import itertools
import secrets
import threading
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import paxcommit_psycopg
from paxcommit.ids import Gid, TxId
from paxcommit.ports import BeginOptions, SyncSession
from paxcommit.protocol.messages import AcceptorAnswer, Request
from paxcommit.sql.acceptor import Authority, ask
from paxcommit.sql.branch import open_branch
from paxcommit.sql.epoch import AcceptorIdentity, EpochRecord, claim_identity, write_record
from paxcommit.sql.fencing import backend_pid
from paxcommit.sql.marks import Marks
from paxcommit.sql.participant import adopt_epoch
from paxcommit.sql.schema import install
from paxcommit.sql.statement import DatabaseError, Sql, Statements, Unanswered
from paxcommit.testing import Cluster, Place

_numbers = itertools.count(1)

_OTHERS = ("a2", "a3")
_RESET = """
    DELETE FROM paxcommit.transaction; DELETE FROM paxcommit.branch; DELETE FROM paxcommit.damage;
    DELETE FROM paxcommit.participant; DELETE FROM paxcommit.epoch WHERE epoch > 1;
    UPDATE paxcommit.peer_mark SET mark = 0;
    UPDATE paxcommit.epoch SET sealed = false, retired = false;
    UPDATE paxcommit.participant_epoch SET retired = false;
    UPDATE paxcommit.acceptor SET lost_votes = false;
    UPDATE account SET balance = 100;
    SELECT setval('paxcommit.mark', 1, false);
    UPDATE paxcommit.mark_stripe SET mark = 0;
"""


def run(session: SyncSession, statements: Statements[Any]) -> Any:
    """Drive a generator over a session, as both runners of the library do."""
    try:
        sql = next(statements)
        while True:
            try:
                result = session.execute(sql)
            except (DatabaseError, Unanswered) as error:
                sql = statements.throw(error)
            else:
                sql = statements.send(result)
    except StopIteration as stop:
        return stop.value


class Client:
    """One connection."""

    def __init__(self, session: SyncSession) -> None:
        self.session = session
        self.pid: int = self.run(backend_pid())

    def run(self, statements: Statements[Any]) -> Any:
        return run(self.session, statements)

    def __call__(self, text: str, *args: Any) -> Any:
        """Run one statement; its rows."""
        return self.session.execute(Sql(text, args)).rows

    def begin(self, txid: TxId, **options: Any) -> None:
        """Begin a branch, as `tx.connection` does."""
        self.session.begin(BeginOptions(**options))
        self.run(open_branch(txid))

    def close(self) -> None:
        self.session.raw.close()


class Background:
    """A call under way in another thread, on a connection of its own."""

    def __init__(self, client: Client, observer: Client, call: Callable[[], Any]) -> None:
        self.client = client
        self._observer = observer
        self._outcome: Any = None
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, args=(call,), daemon=True)
        self._thread.start()

    def _run(self, call: Callable[[], Any]) -> None:
        try:
            self._outcome = call()
        except Exception as error:  # noqa: BLE001 - raised by `result`
            self._error = error

    def waits(self, *, event: str = "") -> bool:
        """Wait until the call waits (for a lock, or for `event`), or is over; whether it waits."""
        while self._thread.is_alive():
            rows = self._observer(
                "SELECT CASE $2::text WHEN '' THEN wait_event_type = 'Lock'"
                " ELSE wait_event = $2::text END FROM pg_stat_activity WHERE pid = $1::int",
                self.client.pid,
                event,
            )
            if rows and rows[0][0]:
                return True
        return False

    def result(self) -> Any:
        """The call's result, or its error raised."""
        self._thread.join()
        if self._error is not None:
            raise self._error
        return self._outcome


class Home:
    """One database with the schema; acceptor ``a1`` of three, and participant ``orders``."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self._clients: list[Client] = []
        admin = self.connect()
        self.settle_in(admin)
        admin("CREATE TABLE account (id int PRIMARY KEY, balance int NOT NULL)")
        admin("INSERT INTO account SELECT n, 100 FROM generate_series(1, 9) n")
        self.renew()

    def settle_in(self, admin: Client) -> None:
        """Install the schema as `admin`'s user, and make this acceptor ``a1`` and ``orders``."""
        admin.run(install())
        identity = admin.run(claim_identity("a1"))
        others = [AcceptorIdentity(name, str(uuid.uuid4()), 1, "elsewhere") for name in _OTHERS]
        record = EpochRecord(1, secrets.token_hex(16), "shop", (identity, *others))
        self.record: EpochRecord = admin.run(write_record(record))
        admin.run(adopt_epoch(1, self.record.digest, "orders"))
        self.authority = Authority("a1", identity.identity, 1, self.record.digest)

    def renew(self) -> None:
        """Forget everything but the schema, the identity and the epoch."""
        self.close()
        self.admin = self.connect()
        self.admin(_RESET)
        self.marks = Marks()
        self.coordinator = secrets.randbits(63)

    def renew_connections(self, *, reconnect: bool = True) -> None:
        """Close every connection, and make a new one for `admin` (after a restart, say)."""
        for client in self._clients:
            client.close()
        self._clients.clear()
        if reconnect:
            self.admin = self.connect()

    def close(self) -> None:
        """Close every connection, and roll back what is prepared."""
        self.renew_connections(reconnect=False)
        if self.place.server.is_running:
            for gid in self.place.prepared():
                self.place.execute(f"ROLLBACK PREPARED '{gid}'")

    def drop(self) -> None:
        """Drop the database."""
        self.close()
        if self.place.server.is_running:
            self.place.server.execute(f"DROP DATABASE {self.place.database} WITH (FORCE)")

    def connect(self, user: str | None = None, database: str | None = None) -> Client:
        dsn = self.place.server.dsn(database or self.place.database, user=user)
        session = paxcommit_psycopg.driver.sync.connect(dsn, timeout=10)
        client = Client(session)
        self._clients.append(client)
        return client

    def txid(self, seq: int = 1) -> TxId:
        return TxId(1, self.coordinator, seq)

    def gid(self, seq: int = 1, participant: str = "orders") -> Gid:
        return Gid(self.record.digest, self.txid(seq), participant, 5)

    def ask(self, *requests: Request, client: Client | None = None) -> list[AcceptorAnswer]:
        return (client or self.admin).run(ask(self.authority, self.marks, requests))

    def background(self, statements: Statements[Any], client: Client | None = None) -> Background:
        """Drive a generator in another thread."""
        client = client or self.connect()
        return Background(client, self.admin, lambda: client.run(statements))

    def background_sql(self, text: str, client: Client | None = None) -> Background:
        client = client or self.connect()
        return Background(client, self.admin, lambda: client(text))


@pytest.fixture(scope="session")
def shared_home(cluster: Cluster) -> Iterator[Home]:
    home = make_home(cluster)
    yield home
    home.drop()


@pytest.fixture
def home(shared_home: Home) -> Iterator[Home]:
    """A database that other tests use, too: identity and schema stay as they are."""
    shared_home.renew()
    yield shared_home
    shared_home.close()


@pytest.fixture
def own_home(cluster: Cluster) -> Iterator[Home]:
    """A database of the test's own on the shared servers."""
    home = make_home(cluster)
    yield home
    home.drop()


@pytest.fixture
def home_on() -> Iterator[Callable[[Cluster], Home]]:
    """Make one on a cluster of the test's own, which takes it along when it ends."""
    homes: list[Home] = []

    def make(servers: Cluster) -> Home:
        homes.append(make_home(servers))
        return homes[-1]

    yield make
    for home in homes:
        home.renew_connections(reconnect=False)


def make_home(servers: Cluster) -> Home:
    server = servers.servers[0]
    name = f"home_{next(_numbers)}"
    server.execute(f"CREATE DATABASE {name} TEMPLATE template0")
    return Home(Place(server, name))


@pytest.fixture
def role(cluster: Cluster) -> Callable[[str], str]:
    """Make login roles on the first shared server; they go with it."""

    def make(name: str) -> str:
        unique = f"{name}_{next(_numbers)}"
        cluster.servers[0].execute(f"CREATE ROLE {unique} LOGIN")
        return unique

    return make
