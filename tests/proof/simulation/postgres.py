"""A simulated PostgreSQL server: backends, transactions, row locks, advisory locks and a WAL.

A write is in memory first; it commits when its record is flushed, and only then is it visible, are
its locks freed and does its answer leave (`Server.commit`).  An immediate stop loses the records
that were not flushed, and every backend with what it was doing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

from paxcommit.sql.statement import DatabaseError, Notice, Result, Sql
from tests.proof.simulation.pool import Pool, Thing

if TYPE_CHECKING:
    from tests.proof.simulation.network import Connection

__all__ = ["FLUSH_LATER", "Backend", "Handler", "Query", "Server", "Tx", "UnknownStatement"]

FLUSH_LATER = False
"""What a statement's handler returns when it is not over: it waits for a flush or for a lock."""


class UnknownStatement(Exception):
    """The product sent a text that this server does not know: a defect of the simulator."""


@dataclass(slots=True)
class Tx:
    """A transaction block.

    Attributes:
        setting: ``paxcommit.txid`` (R14).
        row: The key of the branch row it has inserted, and the row's kind.
        trap: What its owner's work has in store, e.g. a deferred trigger that fails.
    """

    isolation: str = "read committed"
    read_only: bool = False
    setting: str | None = None
    wrote: bool = False
    failed: bool = False
    row: tuple[Any, str] | None = None
    min_messages: str = "notice"
    trap: str = ""
    deferred_done: bool = False


@dataclass(slots=True)
class Query:
    """What a backend is executing: a string of one or more statements."""

    pieces: Sequence[str]
    args: tuple[Any, ...]
    listens: bool
    at: int = 0
    rows: Sequence[tuple[Any, ...]] = ()
    tag: str = ""
    notices: list[Notice] = field(default_factory=list)
    failed: DatabaseError | None = None

    @classmethod
    def of(cls, sql: Sql) -> Query:
        """The query that a message asks for; its client hears notices only if it listens."""
        return cls((sql.text,) if sql.args else sql.text.split("; "), sql.args, sql.notices)

    @property
    def result(self) -> Result:
        """What the client is told."""
        return Result(self.rows, self.tag, tuple(self.notices) if self.listens else ())


class Backend:
    """A server process with one client."""

    __slots__ = (
        "client", "in_commit", "killed", "locks", "mark", "over", "pid", "query", "server", "start",
        "state", "swallows", "tx", "waits_for",
    )  # fmt: skip

    def __init__(self, server: Server, pid: int, client: Connection | None) -> None:
        self.server = server
        self.pid = pid
        self.start = 1_000_000 + pid
        self.client = client
        self.tx: Tx | None = None
        self.locks: set[int] = set()
        self.query: Query | None = None
        self.over = False
        self.killed = False
        self.in_commit = False
        self.waits_for: Any = None
        self.state = ""
        self.mark = 0
        self.swallows = False

    def receive(self, sql: Sql) -> None:
        """Take a query; whoever sent it may be gone."""
        if self.over:
            return
        self.query = Query.of(sql)
        self.run()

    def run(self) -> None:
        """Execute from where the query stands, until it is over or has to wait."""
        query = self.query
        assert query is not None
        server = self.server
        while query.at < len(query.pieces):
            try:
                if server.execute(self, query.pieces[query.at], query) is FLUSH_LATER:
                    return
            except DatabaseError as error:
                if self.tx is not None:
                    self.tx.failed = True
                if not self.swallows:
                    self.answer(error)
                    return
                query.failed = error  # somebody between us and the client goes on all the same
            query.at += 1
            if server.pause and query.at < len(query.pieces) and server.pauses(self, query):
                return
        if query.failed is not None and query.tag not in ("ROLLBACK", "COMMIT"):
            self.answer(query.failed)
        else:
            self.answer(query.result)

    def resume(self) -> None:
        """The flush that the statement waited for is done."""
        self.in_commit = False
        if self.over or self.query is None:
            return
        if self.killed:
            self.end()
            return
        self.query.at += 1
        self.run()

    def fail(self, error: DatabaseError) -> None:
        """End the query that waits with an error."""
        if self.over or self.query is None:
            return
        self.waits_for = None
        self.state = ""
        if self.tx is not None:
            self.tx.failed = True
        self.answer(error)

    def answer(self, answer: Result | DatabaseError) -> None:
        """ReadyForQuery."""
        self.query = None
        if self.client is None or self.client.broken:
            self.end()
        else:
            self.client.answered(answer)

    def client_gone(self) -> None:
        """Notice it, if nothing is being executed; else when the answer is to leave."""
        if self.query is None:
            self.end()

    def terminate(self) -> None:
        """``pg_terminate_backend``; in a commit it takes effect after the flush."""
        if self.over:
            return
        if self.in_commit:
            self.killed = True
        else:
            self.end()

    def end(self) -> None:
        """The process is gone, and with it its transaction and its locks."""
        if self.over:
            return
        self.over = True
        self.server.backends.pop(self.pid, None)
        self.server.rolled_back(self)
        self.tx = None
        self.locks.clear()
        if self.client is not None:
            self.server.pool.soon.append(self.client.lost)


Handler: TypeAlias = Callable[[Any, Backend, Query], bool]
"""Executes a statement on a server; False if it has to wait."""

_Record = tuple[Backend | None, Callable[[], None], Callable[[], None]]


class Server:
    """A server with one database.  Subclasses say which statements it knows.

    Args:
        pool: The scheduler.
        name: The acceptor's or participant's.
        marks: Coverage marks that were reached.
    """

    KIND: ClassVar[str] = "server"
    HANDLERS: ClassVar[dict[str, Handler]] = {}
    PREFIXES: ClassVar[tuple[tuple[str, Handler], ...]] = ()
    answers_before_flush = False
    """A broken server, for the tests that show that this is noticed (R12, trap 19)."""

    def __init__(self, pool: Pool, name: str, marks: set[str]) -> None:
        self.pool = pool
        self.name = name
        self.marks = marks
        self.up = True
        self.backends: dict[int, Backend] = {}
        self.wal: list[_Record] = []
        self.waiting: dict[Any, list[Backend]] = {}
        self.pause = 0.0
        self.when_slow: Thing = lambda: None
        self._pids = 0
        self._flush_due = False

    # --- connections ----------------------------------------------------------------------------

    def connect(self, client: Connection | None) -> Backend:
        """Fork a backend."""
        self._pids += 1
        backend = self.backends[self._pids] = Backend(self, self._pids, client)
        return backend

    def now(self, backend: Backend, sql: Sql) -> Result:
        """Execute at once, flush included; for what happens outside of the interesting part."""
        query = backend.query = Query.of(sql)
        while query.at < len(query.pieces):
            if self.execute(backend, query.pieces[query.at], query) is FLUSH_LATER:
                if backend.waits_for is not None:
                    raise DatabaseError("55P03", "canceling statement due to lock timeout")
                (_, apply, _) = self.wal.pop()
                self.flush()  # whatever was written before is flushed with it
                apply()
                backend.in_commit = False
            query.at += 1
        backend.query = None
        return query.result

    def execute(self, backend: Backend, text: str, query: Query) -> bool:
        """Execute one statement; False if it has to wait."""
        handler = self.HANDLERS.get(text)
        if handler is None:
            for prefix, candidate in self.PREFIXES:
                if text.startswith(prefix):
                    handler = candidate
                    break
            else:
                raise UnknownStatement(f"{self.KIND} {self.name} does not know: {text}")
        if backend.tx is not None and backend.tx.failed and not text.startswith(_ENDINGS):
            raise DatabaseError("25P02", "current transaction is aborted, commands ignored")
        return handler(self, backend, query)

    # --- the log --------------------------------------------------------------------------------

    def commit(
        self, backend: Backend, apply: Callable[[], None], lost: Callable[[], None] = lambda: None
    ) -> bool:
        """Write a commit record: `apply` makes it visible once flushed, `lost` forgets it."""
        backend.in_commit = True
        self.wal.append((backend, apply, lost))
        if not self._flush_due:
            self._flush_due = True
            self.pool.soon.append(self.flush)
        if self.answers_before_flush:
            self.pool.soon.append(backend.resume)
        return FLUSH_LATER

    def flush(self) -> None:
        """Flush all that is written: one fdatasync for everybody (group commit)."""
        self._flush_due = False
        records, self.wal = self.wal, []
        for backend, apply, _ in records:
            apply()
            if backend is not None and not self.answers_before_flush and backend.state == "":
                backend.resume()

    def crash(self) -> None:
        """Stop at once; the log is whole up to some record, and lost after it."""
        if self.pool.trace is not None:
            self.pool.say(f"{self.name} crashes, {len(self.wal)} records not flushed")
        records, self.wal = self.wal, []
        backends = list(self.backends.values())
        for backend in backends:
            backend.killed = False
            backend.in_commit = False
            backend.over = True
        kept = int(self.pool.random() * (len(records) + 1))
        for _, apply, _ in records[:kept]:
            apply()
        for _, _, lost in records[kept:]:
            lost()
        self.kept, self.dropped = kept, len(records) - kept
        self.backends.clear()
        self.waiting.clear()
        for backend in backends:
            backend.tx = None
            backend.locks.clear()
            if backend.client is not None:
                self.pool.soon.append(backend.client.lost)
        self.up = False
        self.crashed()

    def start(self) -> None:
        """Recover, and take connections again."""
        if not self.up and self.pool.trace is not None:
            self.pool.say(f"{self.name} is back")
        self.up = True

    # --- locks ----------------------------------------------------------------------------------

    def wait(self, backend: Backend, key: Any, timeout: Thing | None) -> bool:
        """Let the statement wait for a row; it is executed again when that is free."""
        backend.waits_for = key
        self.waiting.setdefault(key, []).append(backend)
        if timeout is not None:
            self.pool.later.append(timeout)
        return FLUSH_LATER

    def wake(self, key: Any) -> None:
        """Whoever waits for the row tries again."""
        for backend in self.waiting.pop(key, ()):
            if not backend.over and backend.waits_for == key and backend.query is not None:
                backend.waits_for = None
                self.pool.soon.append(_Again(backend, backend.query))

    def pauses(self, backend: Backend, query: Query) -> bool:
        """Whether the backend loses the processor between two statements of a string."""
        if not self.pool.chance(self.pause):
            return False
        late = self.pool.chance(0.5)
        (self.pool.last if late else self.pool.soon).append(_Again(backend, query))
        if late:
            self.when_slow()
        return True

    # --- for subclasses -------------------------------------------------------------------------

    def rolled_back(self, backend: Backend) -> None:
        """A backend ended with whatever it had open."""

    def crashed(self) -> None:
        """After a crash: what is left in memory is gone."""


@dataclass(slots=True)
class _Again:
    backend: Backend
    query: Query

    def __call__(self) -> None:
        if not self.backend.over and self.backend.query is self.query:
            self.backend.run()


_ENDINGS = ("ROLLBACK", "COMMIT", "PREPARE TRANSACTION")
