"""Four real servers, one cluster on them, and ways to get in the way of a commit.

Acceptors ``a1`` to ``a3`` and participant ``orders`` are on the first three servers; ``billing``
has the fourth to itself, so that it can wait for a standby or restart without an acceptor's vote
doing so too.  Every DSN carries `PASSWORD`, which the servers do not ask for.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, suppress
from typing import Any, TypeVar

import asyncpg
import psycopg
import tenacity

from paxcommit import Outcome, Settings, TxId
from paxcommit.cluster import initialise
from paxcommit.drivers import choose_async
from paxcommit.testing import Cluster, Layout, Place, Server
from paxcommit.testing.failpoints import FailpointReached, call_at, raise_at

__all__ = ["BOTH", "ERRORS", "EVERY_VOTE", "PASSWORD", "STEPS", "Lab", "at", "dies_at", "until"]

PASSWORD = "correct-horse-battery"
BOTH = ["billing", "orders"]
ERRORS = (asyncpg.DivisionByZeroError, psycopg.errors.DivisionByZero)
STEPS = (
    *(f"prepare:{name}.{when}" for name in BOTH for when in ("before", "after")),
    *(f"phase2a:a{number}.before" for number in (1, 2, 3)),
    "phase2a:*.after#1",  # nobody waits for the third answer
    "phase2a:*.after#2",
    "tell:committed",
    *(f"commit-prepared:{name}.{when}" for name in BOTH for when in ("before", "after")),
)
"""Every step of a commit between two participants; ``#2`` is the second time."""
EVERY_VOTE = tuple(f"phase2a:a{number}.before" for number in (1, 2, 3))
PARTICIPANTS = ("orders", "stock", "parcels", "billing")
PATIENCE = 30.0

_SCHEMA = """
CREATE TABLE entry (id bigserial PRIMARY KEY, key text NOT NULL);
-- A deferred trigger runs inside the round trip of PREPARE; this one waits for the test's gate.
CREATE FUNCTION pass_gate() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_lock_shared(4711);
    PERFORM pg_advisory_unlock_shared(4711);
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER gate AFTER INSERT ON entry DEFERRABLE INITIALLY DEFERRED
FOR EACH ROW WHEN (new.key LIKE 'gated%') EXECUTE FUNCTION pass_gate();
"""
_WAITING = """
SELECT pid FROM pg_stat_activity
WHERE datname = current_database() AND state = 'active' AND wait_event = '{event}'
  AND query LIKE '%{query}%' AND pid <> pg_backend_pid() ORDER BY pid
"""

_T = TypeVar("_T")


async def until(question: Callable[[], _T], what: str) -> _T:
    """Ask again and again until the answer is true; return it."""

    async def ask() -> _T:
        return await asyncio.to_thread(question)

    try:
        return await _patiently()(ask)
    except tenacity.RetryError:
        raise AssertionError(f"waited {PATIENCE:g} s for: {what}") from None


def _patiently() -> tenacity.AsyncRetrying:
    return tenacity.AsyncRetrying(
        retry=tenacity.retry_if_not_result(bool),
        wait=tenacity.wait_fixed(0.02),
        stop=tenacity.stop_after_delay(PATIENCE),
    )


def at(step: str, function: Callable[[], object]) -> AbstractContextManager[None]:
    """Call `function` inside one of `STEPS`."""
    name, _, nth = step.partition("#")
    return call_at(name, function, int(nth or 1))


@contextmanager
def dies_at(*steps: str) -> Iterator[None]:
    """Let a commit go no further than these steps; closing the coordinator then frees its locks.

    To acceptors and participants that is all there is to see of a coordinator's death.
    """
    with ExitStack() as stack:
        for step in steps:
            stack.enter_context(raise_at(step, FailpointReached("the coordinator dies")))
        yield


class Lab:
    """See the module."""

    SLOTS = 24

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.layout = Layout.create(cluster, participants=PARTICIPANTS)
        self._numbers = itertools.count(1)
        self._connections: dict[str, psycopg.Connection[Any]] = {}
        with ThreadPoolExecutor(1) as thread:  # the caller's may have an event loop running
            settings = Settings.load(self.settings())
            thread.submit(lambda: asyncio.run(initialise(settings, choose_async()))).result()
        for name in BOTH:
            self.place(name).execute(_SCHEMA)

    def key(self, prefix: str = "entry") -> str:
        """A key that no other test writes."""
        return f"{prefix}-{next(self._numbers)}"

    def settings(self, **changes: Any) -> dict[str, Any]:
        """What ``paxcommit.toml`` would hold."""
        return {
            "cluster": "shop",
            "acceptors": {name: self.dsn(name) for name in self.layout.acceptor_places},
            "participants": {name: self.dsn(name) for name in ("orders", "billing")},
            **changes,
        }

    def dsn(self, name: str, *, user: str | None = None) -> str:
        place = self.place(name)
        return place.server.dsn(place.database, user=user or place.server.user, password=PASSWORD)

    def place(self, name: str) -> Place:
        return self.layout.place(name)

    def ask(self, name: str, question: str) -> list[Any]:
        """The rows of a query in an acceptor's or participant's database."""
        for _ in range(2):
            connection = self._connections.get(name)
            if connection is None or connection.closed:
                connection = psycopg.connect(self.place(name).dsn, autocommit=True)
                self._connections[name] = connection
            with suppress(psycopg.OperationalError):  # the server was restarted meanwhile
                return connection.execute(question).fetchall()
        raise AssertionError(f"{name} does not answer")

    def close(self) -> None:
        for connection in self._connections.values():
            connection.close()

    @property
    def far(self) -> Server:
        """The server of ``billing``."""
        return self.place("billing").server

    # --- the judge ------------------------------------------------------------------------------

    def holders(self, key: str) -> list[str]:
        """Which databases show the entry."""
        question = f"SELECT count(*) FROM entry WHERE key = '{key}'"
        counts = {name: self.ask(name, question)[0][0] for name in BOTH}
        assert max(counts.values()) <= 1, f"written twice: {counts}"
        return [name for name in BOTH if counts[name]]

    def prepared(self) -> list[str]:
        """Every gid of either database."""
        return [gid for name in BOTH for gid in self.gids(name)]

    def gids(self, name: str) -> list[str]:
        """Every gid of one database."""
        question = "SELECT gid FROM pg_prepared_xacts WHERE database = current_database()"
        return [gid for (gid,) in self.ask(name, question)]

    def chosen(self, txid: TxId) -> dict[str, Any]:
        """What F+1 acceptors accepted alike: per instance, ballot and value."""
        held = [self.accepted(name, txid) for name in ("a1", "a2", "a3")]
        (chosen,) = {str(each): each for each in held if held.count(each) >= 2}.values()
        return chosen

    def row(self, name: str, txid: TxId) -> str | None:
        """The kind of the transaction's row in the branch table."""
        rows = self.ask(
            name,
            f"SELECT kind FROM paxcommit.branch WHERE coordinator = {txid.coordinator}"
            f" AND seq = {txid.seq}",
        )
        return rows[0][0] if rows else None

    def accepted(self, acceptor: str, txid: TxId) -> dict[str, Any]:
        """What an acceptor has accepted: per instance, ballot and value."""
        rows = self.ask(
            acceptor,
            f"SELECT accepted FROM paxcommit.transaction WHERE coordinator = {txid.coordinator}"
            f" AND seq = {txid.seq}",
        )
        return rows[0][0] if rows else {}

    def damages(self, txid: TxId) -> dict[str, str]:
        """What `paxcommit status` would complain about, by participant."""
        question = f"SELECT what FROM paxcommit.damage WHERE txid = '{txid}'"
        found = {name: self.ask(name, question) for name in BOTH}
        return {name: rows[0][0] for name, rows in found.items() if rows}

    def judge(
        self, key: str, txid: TxId, outcome: Outcome, claim: str, participants: Iterable[str]
    ) -> None:
        """Hold what was decided and claimed against what the databases show."""
        committed = outcome is Outcome.COMMITTED
        assert outcome is not Outcome.OPEN, "undecided"
        assert self.holders(key) == (sorted(participants) if committed else []), "half"
        assert claim in {"OutcomeUnknown", "committed" if committed else "TransactionAborted"}, (
            "lie"
        )
        assert self.damages(txid) == {}, "damage"

    # --- getting in the way ---------------------------------------------------------------------

    def waiting(self, name: str, event: str, query: str = "PREPARE TRANSACTION") -> list[int]:
        """The backends at a participant whose `query` waits for `event`."""
        return [pid for (pid,) in self.ask(name, _WAITING.format(event=event, query=query))]

    def is_there(self, name: str, pid: int) -> bool:
        """Whether the backend still runs."""
        return bool(self.ask(name, f"SELECT 1 FROM pg_stat_activity WHERE pid = {pid}"))

    def terminate(self, name: str, pid: int) -> None:
        self.ask(name, f"SELECT pg_terminate_backend({pid})")

    @contextmanager
    def gate(self, name: str) -> Iterator[Callable[[], None]]:
        """Keep ``gated…`` entries waiting inside the round trip of PREPARE; gives the way out."""
        with psycopg.connect(self.place(name).dsn, autocommit=True) as keeper:
            keeper.execute("SELECT pg_advisory_lock(4711)")
            yield lambda: keeper.execute("SELECT pg_advisory_unlock_all()") and None

    def miss_standby(self) -> None:
        """Let every flush at ``billing`` wait for a standby that is not there."""
        self.far.configure(synchronous_standby_names="nobody_here")
        # It is the checkpointer that makes sessions wait, some time after the server reloaded.
        give_up = time.monotonic() + PATIENCE
        with closing(psycopg.connect(self.far.dsn(), autocommit=True)) as probe:
            pid = probe.info.backend_pid
            question = f"SELECT wait_event = 'SyncRep' FROM pg_stat_activity WHERE pid = {pid}"
            while time.monotonic() < give_up:
                probe.pgconn.send_query(b"SELECT pg_logical_emit_message(true, 'probe', '')")
                while probe.pgconn.is_busy():
                    if self.far.execute(question)[0][0]:
                        self.far.execute(f"SELECT pg_terminate_backend({pid})")
                        return
                    probe.pgconn.consume_input()
                while probe.pgconn.get_result() is not None:
                    pass
        raise AssertionError("nobody waits for the standby")

    def forget_standby(self) -> None:
        """Let those who wait go on."""
        self.far.configure(synchronous_standby_names=None)

    @contextmanager
    def sociable(self) -> Iterator[None]:
        """See to it that nobody waits for a standby after the block."""
        try:
            yield
        finally:
            self.forget_standby()

    @contextmanager
    def lonely(self) -> Iterator[None]:
        """`miss_standby` for the length of the block."""
        with self.sociable():
            self.miss_standby()
            yield

    def tidy(self) -> None:
        """Start what a test that failed left stopped."""
        for server in self.cluster.servers:
            if not server.is_running:
                server.start()

    @contextmanager
    def frozen(self, *acceptors: str) -> Iterator[None]:
        """Let acceptors neither vote nor tell; what was asked of them meanwhile is lost."""
        keepers = []
        for name in acceptors:
            keepers.append(psycopg.connect(self.place(name).dsn))
            keepers[-1].execute("LOCK TABLE paxcommit.transaction IN ACCESS EXCLUSIVE MODE")
        try:
            yield
        finally:
            for keeper in keepers:
                keeper.execute(
                    "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity"
                    " WHERE pg_backend_pid() = ANY (pg_blocking_pids(pid))"
                )
                keeper.close()

    async def finish(self, recovery: Any, *keys: TxId) -> None:
        """Let a recoverer look until none of these transactions has a gid left."""
        wanted = [f":{txid}:" for txid in keys]

        async def look() -> bool:
            if not any(each in gid for gid in self.prepared() for each in wanted):
                return True
            await recovery.run_once()
            return False

        try:
            await _patiently()(look)
        except tenacity.RetryError:
            raise AssertionError(f"recovery leaves {self.prepared()}") from None
