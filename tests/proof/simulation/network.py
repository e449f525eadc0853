"""Connections that break in every way, and the links of a process that keep one each.

A request may be lost, may arrive after its sender has given up, may be done and its answer lost;
between two connections nothing has an order.  `Link` does what the product's two links do (queue,
batch, fail at once while down), with the scheduler in place of a loop.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

from paxcommit.errors import InvariantViolation
from paxcommit.protocol.messages import NoAnswer, Request
from paxcommit.runtime.links import FAILURES, LinkPlan
from paxcommit.runtime.timing import MAX_BATCH
from paxcommit.sql.statement import DatabaseError, Result, Sql, Statements, Unanswered
from tests.proof.simulation.postgres import Backend, Server
from tests.proof.simulation.truth import Broken

if TYPE_CHECKING:
    from tests.proof.simulation.process import Process

__all__ = ["Connection", "Done", "Link", "run_statements"]

Done: TypeAlias = Callable[[Any], None]
"""Takes a result, or the exception that came instead of one."""


class Connection:
    """The client's end of one session.

    Args:
        process: Whose.
        server: Where it leads.
    """

    __slots__ = ("backend", "broken", "deaf", "process", "server", "waiting")

    def __init__(self, process: Process, server: Server) -> None:
        self.process = process
        self.server = server
        self.broken = False
        self.deaf = False
        self.waiting: Done | None = None
        self.backend: Backend = server.connect(self)

    def execute(self, sql: Sql, done: Done) -> None:
        """Send a query; `done` takes its answer."""
        if self.broken:
            done(Unanswered("the connection is closed"))
            return
        world = self.process.world
        pool = world.pool
        self.waiting = done
        if pool.trace is not None:
            pool.say(f"{self.process.name} > {self.server.name}: {_spell(sql)}")
        fate = world.fate(self)
        receive = partial(self.backend.receive, sql)
        if fate == "fine":
            pool.soon.append(receive)
            return
        if pool.trace is not None:
            pool.say(f"    ({fate})")
        if fate == "mute":
            self.deaf = True
            pool.soon.append(receive)
            pool.later.append(self.lost)
            return
        if fate == "late":
            pool.last.append(receive)
        pool.soon.append(self.lost)

    def answered(self, answer: Result | DatabaseError) -> None:
        """The server's answer leaves."""
        if not self.deaf:
            self.process.world.pool.soon.append(partial(self._arrives, answer))

    def _arrives(self, answer: Result | DatabaseError) -> None:
        self.process.post(partial(self._take, answer))

    def _take(self, answer: Result | DatabaseError) -> None:
        if self.broken:
            return
        done, self.waiting = self.waiting, None
        assert done is not None
        self.process.heard(self.server.name, self.backend.mark)
        pool = self.process.world.pool
        if pool.trace is not None:
            pool.say(f"{self.process.name} < {self.server.name}: {_spell_answer(answer)}")
        done(answer)

    def lost(self) -> None:
        """The client hears that the connection is gone."""
        self.process.post(self._lost)

    def _lost(self) -> None:
        if self.broken:
            return
        self.close()
        done, self.waiting = self.waiting, None
        if done is not None:
            done(Unanswered("the connection was lost"))

    def discard(self) -> None:
        """Give up; what was sent may still be executed."""
        if self.broken:
            return
        self.close()
        if self.waiting is not None:
            self.process.world.pool.soon.append(partial(self.process.post, self._give_up))

    def _give_up(self) -> None:
        done, self.waiting = self.waiting, None
        if done is not None:
            done(Unanswered("the connection was closed"))

    def close(self) -> None:
        """Close; the server notices when it notices."""
        if self.broken:
            return
        self.broken = True
        if not self.backend.over:
            self.process.world.linger(self.backend)


def run_statements(connection: Connection, statements: Statements[Any], done: Done) -> None:
    """Drive a generator over a connection, as both runners of the product do."""

    def advance(answer: Any) -> None:
        try:
            if answer is None:
                sql = next(statements)
            elif isinstance(answer, Exception):
                sql = statements.throw(answer)
            else:
                sql = statements.send(answer)
        except StopIteration as stop:
            done(stop.value)
        except InvariantViolation as bug:
            raise Broken(f"InvariantViolation: {bug}") from bug
        except FAILURES as error:
            done(error)
        else:
            connection.execute(sql, advance)

    advance(None)


class Link:
    """One dedicated connection that heals itself, and its queue.

    Args:
        process: Whose.
        server: Where to.
        plan: The product's, see `plan_link`.
    """

    def __init__(self, process: Process, server: Server, plan: LinkPlan) -> None:
        self._process = process
        self.server = server
        self._plan = plan
        self._jobs: list[tuple[Any, Done]] = []
        self._busy = False
        self._connecting = False
        self.connection: Connection | None = None
        self.connect()

    @property
    def up(self) -> bool:
        """Whether there is a connection that is not known to be lost."""
        return self.connection is not None and not self.connection.broken

    def connect(self) -> None:
        """Try once."""
        self._connecting = False
        process, server = self._process, self.server
        if self.up or not process.alive:
            return
        if self.connection is not None:
            self.connection = None
            self._plan.down()
        if not process.world.reaches(process, server):
            return
        connection = Connection(process, server)
        try:
            _at_once(connection, self._plan.setup())
        except FAILURES as error:
            if isinstance(error, InvariantViolation):
                raise Broken(f"InvariantViolation: {error}") from error
            pool = process.world.pool
            if pool.trace is not None:
                pool.say(f"{process.name} cannot use {server.name}: {error}")
            connection.broken = True
            connection.backend.end()
            return
        self.connection = connection
        process.heard(server.name, connection.backend.mark)

    def submit(self, what: Any, done: Done) -> None:
        """Queue statements or a request; fails at once while the link is down."""
        if not self.up:
            if self.connection is not None:
                self.connection = None
                self._plan.down()
            self._reconnect()
            self._answer(what, done, Unanswered(f"{self._plan.name}: no connection"))
            return
        self._jobs.append((what, done))
        if not self._busy:
            self._next()

    def _reconnect(self) -> None:
        if not self._connecting:
            self._connecting = True
            self._process.world.pool.later.append(partial(self._process.post, self.connect))

    def _next(self) -> None:
        if not self._jobs:
            return
        self._busy = True
        connection = self.connection
        assert connection is not None
        what, done = self._jobs.pop(0)
        if isinstance(what, Request):
            batch = [(what, done)]
            later: list[tuple[Any, Done]] = []
            for job in self._jobs:
                fits = isinstance(job[0], Request) and len(batch) < MAX_BATCH
                (batch if fits else later).append(job)
            self._jobs = later
            requests = [request for request, _ in batch]
            run_statements(connection, self._plan.batch(requests), partial(self._batch_over, batch))
        else:
            run_statements(connection, what, partial(self._over, done))

    def _batch_over(self, batch: list[tuple[Any, Done]], answers: Any) -> None:
        if isinstance(answers, Exception):
            answers = [answers] * len(batch)
        self._free()
        for (what, done), answer in zip(batch, answers, strict=True):
            self._answer(what, done, answer)

    def _over(self, done: Done, answer: Any) -> None:
        self._free()
        done(answer)

    def _free(self) -> None:
        self._busy = False
        if self.up:
            self._next()
            return
        if self.connection is not None:
            self.connection = None
            self._plan.down()
        self._reconnect()
        jobs, self._jobs = self._jobs, []
        for what, done in jobs:
            self._answer(what, done, Unanswered(f"{self._plan.name}: the connection was lost"))

    def _answer(self, what: Any, done: Done, answer: Any) -> None:
        if isinstance(what, Request) and isinstance(answer, Exception):
            answer = NoAnswer(what.txid, self._plan.server, str(answer))
        done(answer)


def _at_once(connection: Connection, statements: Statements[Any]) -> Any:
    """Run a generator without anything in between."""
    server, backend = connection.server, connection.backend
    try:
        sql = next(statements)
        while True:
            try:
                result = server.now(backend, sql)
            except DatabaseError as error:
                sql = statements.throw(error)
            else:
                sql = statements.send(result)
    except StopIteration as stop:
        return stop.value


at_once = _at_once


def _spell(sql: Sql) -> str:
    text = sql.text
    for noise in ("SELECT coordinator, seq, verdict, promised, accepted, mark FROM ",):
        text = text.removeprefix(noise)
    if len(text) > 100:
        text = text[:40] + " ... " + text[-55:]
    return f"{text} {list(sql.args)}" if sql.args else text


def _spell_answer(answer: Result | DatabaseError) -> str:
    if isinstance(answer, DatabaseError):
        return f"ERROR {answer}"
    notices = "".join(f" {notice.severity} {notice.sqlstate}" for notice in answer.notices)
    return f"{answer.tag} {list(answer.rows)}{notices}"
