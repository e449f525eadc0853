"""A floor for the client: `floor`, led by paxcommit's own machine, with what the rules demand.

Beside what `floor` sends there are the machine's decisions (R5 to R7, R21), the judging of every
branch's answer and of PREPARE's notices (R16, R19), a commit that goes on if whoever waits for it
is cancelled (R24), and its deadline and hedge.  There is still no error handling, no recovery, no
link that heals itself, no pool of ours, and nothing that shows that the client lives.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any, TypeVar

from paxcommit.errors import InvariantViolation
from paxcommit.ids import Gid, TxId
from paxcommit.protocol.coordinator import CommitMachine, Terms
from paxcommit.protocol.effects import (
    Apply,
    ApplyAnswered,
    BranchAnswered,
    Effect,
    Event,
    Prepare,
    Send,
    SetTimer,
    Tell,
    TimerFired,
)
from paxcommit.protocol.messages import Phase2a, Phase2b
from paxcommit.sql.branch import prepare_branch
from paxcommit.sql.finish import commit_prepared
from paxcommit.sql.statement import Notice, Result, Statements
from paxcommit.testing.bench.systems.floor import DEADLINE, Floor, work
from paxcommit.testing.bench.systems.votes import Acceptor

__all__ = ["Led"]

_T = TypeVar("_T")
_HEDGE = 0.1


class Led(Floor):
    """See the module."""

    async def transact(self, row: int) -> float:
        """See `AsyncSystem.transact`."""
        txid = self._incarnation.next_txid()
        opening = self.begin(txid)
        connections = await asyncio.gather(*(work(site.pool, opening, row) for site in self._sites))
        began = perf_counter()
        branches = {
            site.name: _Branch(
                connection, Gid(self._record.digest, txid, site.name, DEADLINE), site.owner
            )
            for site, connection in zip(self._sites, connections, strict=True)
        }
        commit = _Commit(self._loop, txid, branches, self._acceptors)
        # R24: it goes on, whatever becomes of whoever waits for it.
        over = self._go_on_behind(self._run(commit, connections))
        await asyncio.shield(commit.decided if self._ends_early else over)
        return perf_counter() - began

    async def _run(self, commit: _Commit, connections: Sequence[Any]) -> None:
        commit.start()
        await commit.ended
        await self._release(connections)


@dataclass(frozen=True, slots=True)
class _Branch:
    connection: Any
    gid: Gid
    owner: str


class _Commit:
    """One transaction's commit: carries out what the machine wants, and feeds it what comes of it.

    Args:
        loop: The running one.
        txid: The transaction.
        branches: By participant.
        acceptors: F+1; nobody is asked later.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        txid: TxId,
        branches: Mapping[str, _Branch],
        acceptors: Sequence[Acceptor],
    ) -> None:
        self._loop = loop
        self._branches = branches
        self._acceptors = {each.name: each for each in acceptors}
        absent = [f"absent {at}" for at in range(len(acceptors) - 1)]
        terms = Terms((*self._acceptors, *absent), float(DEADLINE), float(DEADLINE), _HEDGE)
        self._machine = CommitMachine(txid, list(branches), terms)
        self._timers: list[asyncio.TimerHandle] = []
        self.decided: asyncio.Future[None] = loop.create_future()
        self.ended: asyncio.Future[None] = loop.create_future()

    def start(self) -> None:
        """Begin."""
        self._launch(self._machine.start())

    def _feed(self, event: Event) -> None:
        self._launch(self._machine.handle(event))

    def _launch(self, effects: Sequence[Effect]) -> None:
        for effect in effects:
            match effect:
                case Send(acceptor=name, request=Phase2a() as request):
                    self._vote(name, request)
                case Tell():
                    self.decided.set_result(None)
                case SetTimer(name=name, seconds=seconds):
                    timer = self._loop.call_later(seconds, self._feed, TimerFired(name))
                    self._timers.append(timer)
                case Prepare(participant=name):
                    self._do(self._prepare(name, self._branches[name]))
                case Apply(participant=name):
                    self._do(self._apply(name, self._branches[name]))
                case _:
                    raise InvariantViolation(f"a floor meets no failure: {effect}")
        if self._machine.done:
            for timer in self._timers:
                timer.cancel()
            self.ended.set_result(None)

    def _do(self, operation: Awaitable[Event]) -> None:
        self._feed_from(asyncio.ensure_future(operation, loop=self._loop), lambda event: event)

    def _vote(self, name: str, request: Phase2a) -> None:
        answer = Phase2b(request.txid, name, request.ballot, request.values)
        self._feed_from(self._acceptors[name].accept(request.txid), lambda _: answer)

    def _feed_from(self, source: asyncio.Future[_T], event: Callable[[_T], Event]) -> None:
        def over(ended: asyncio.Future[_T]) -> None:
            try:
                self._feed(event(ended.result()))
            except Exception as error:  # noqa: BLE001 - whoever waits raises it
                for waited_for in (self.decided, self.ended):
                    if not waited_for.done():
                        waited_for.set_exception(error)

        source.add_done_callback(over)

    async def _prepare(self, name: str, branch: _Branch) -> Event:
        statements = prepare_branch(branch.gid, branch.owner)
        return BranchAnswered(name, await _judged(branch.connection, statements))

    async def _apply(self, name: str, branch: _Branch) -> Event:
        statements = commit_prepared(branch.gid)
        return ApplyAnswered(name, await _judged(branch.connection, statements))


async def _judged(connection: Any, statements: Statements[_T]) -> _T:
    """Send the one statement, and let paxcommit's own code judge what came of it."""
    sql = next(statements)
    notices: list[Notice] = []
    if sql.notices:

        def listener(_: object, message: Any) -> None:
            notices.append(Notice(message.severity, message.sqlstate, message.message))

        connection.add_log_listener(listener)
    try:
        tag = await connection.execute(sql.text)
    finally:
        if sql.notices:
            connection.remove_log_listener(listener)
    try:
        statements.send(Result([], tag, tuple(notices)))
    except StopIteration as ended:
        value: _T = ended.value
        return value
    raise InvariantViolation("a branch without failures is one statement")
