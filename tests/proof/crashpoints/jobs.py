"""What the forked processes do, on asyncio: commit, or recover, and die in the middle of it.

A process has one transaction and kills itself at the transaction's point; or it has many, one after
the other, and is killed when each of them stands at its own.  From what a transaction does to the
databases nobody can tell the difference, and many to a process cost a fraction: opening the
connections takes ten times as long as a commit.
"""

from __future__ import annotations

import asyncio
import functools
import os
import signal
from collections.abc import Collection, Sequence
from typing import Any

import asyncpg

from paxcommit import (
    AsyncCoordinator,
    AsyncRecovery,
    OutcomeUnknown,
    TransactionAborted,
    TxId,
    async_coordinator,
    async_recovery,
    async_transaction,
    failpoints,
)
from paxcommit.drivers import choose_async
from paxcommit.protocol.effects import Effect, Event, Machine
from paxcommit.runtime.aio.run import drive
from paxcommit.runtime.preference import Choice, Preference

from .cases import Act, Case, Order
from .children import Tell
from .gate import Gate
from .points import Frozen, Points
from .stage import REFUSED, Books
from .wrapping import WrappedAsyncDriver

__all__ = ["BlockFailed", "coordinate", "kill_self", "recover", "wrote"]

_DRIVER = "asyncpg"
_WARM = asyncpg
_REAL = choose_async(_DRIVER)  # once: the entry points are searched for it
_PATIENCE = 20.0


class BlockFailed(Exception):
    """What a block raises that is to abort."""


def wrote(case: Case, name: str, txid: TxId) -> str:
    """The statement with which a participant's branch writes, or reads."""
    if name not in case.writers:
        return "select count(*) from entry"
    refused = case.scenario == "refused" and name == case.participants[-1]
    return f"insert into entry values ('{txid}', {REFUSED if refused else 'null'})"


def kill_self() -> None:
    """End this process here and now."""
    os.kill(os.getpid(), signal.SIGKILL)


def coordinate(cases: Sequence[Case], books: Books, tell: Tell) -> None:
    """Commit a transaction for each case; all are of one order and number of participants."""
    asyncio.run(_coordinate(cases, books, tell))


def recover(cases: Sequence[Case], txids: Sequence[str], books: Books, tell: Tell) -> None:
    """For each case look once for what is left of its transaction, or force its outcome."""
    asyncio.run(_recover(cases, txids, books, tell))


async def _coordinate(cases: Sequence[Case], books: Books, tell: Tell) -> None:
    stand = _Stand(cases[0].order, [case.coordinator for case in cases], books, tell)
    async with AsyncCoordinator.open(books.settings, driver=_DRIVER) as coordinator:
        for number, case in enumerate(cases):
            points = stand.turn_to(number)
            try:
                async with asyncio.timeout(_PATIENCE):
                    await _commit(case, coordinator, points)
                    await stand.gate.calm()
            except Frozen:
                await stand.gate.calm()
        stand.end()


async def _commit(case: Case, coordinator: AsyncCoordinator, points: Points) -> None:
    tx = coordinator.transaction(wait="decided")
    points.tell("txid", str(tx.id))
    points.begun = True
    left = False
    answer = "committed"
    try:
        async with tx:
            for name in case.participants:
                read = name not in case.writers
                connection = await tx.connection(name, isolation="serializable" if read else None)
                points.reach(f"write@{name}.before")
                await connection.execute(wrote(case, name, tx.id))
                points.reach(f"write@{name}.after")
            if case.scenario == "raise":
                raise BlockFailed
            left = True
    except OutcomeUnknown:
        answer = "unknown"
    except TransactionAborted:
        answer = "aborted"
    except Exception:
        if left:
            raise
        answer = "aborted"  # an exception in the block aborts everywhere
    if not points.frozen:
        points.tell("answer", answer)
    await tx._over.wait()
    await _rest(points)


async def _recover(cases: Sequence[Case], txids: Sequence[str], books: Books, tell: Tell) -> None:
    stand = _Stand(cases[0].opposite, [case.recoverer for case in cases], books, tell)
    async with AsyncRecovery.open(books.settings, driver=_DRIVER) as recovery:
        for number, (case, spelt) in enumerate(zip(cases, txids, strict=True)):
            points = stand.turn_to(number)
            points.begun = True
            points.tell("begun", "")
            try:
                async with asyncio.timeout(_PATIENCE):
                    await _resolve(case, TxId.parse(spelt), recovery, points)
                    await stand.gate.calm()
            except Frozen:
                await stand.gate.calm()
        stand.end()


async def _resolve(case: Case, txid: TxId, recovery: AsyncRecovery, points: Points) -> None:
    if case.force:
        resolved = [await recovery.resolve(txid, force=True)]
    else:
        found = await recovery._sweep()  # `run_once` would take up the other cases', too
        resolved = [await recovery._take_up(each) for each in found.cases if each.txid == txid]
    points.tell("resolved", {str(each.txid): str(each.outcome) for each in resolved})
    await _rest(points)


async def _rest(points: Points) -> None:
    """Wait for the answers that nobody else waits for, so that every point is reached."""
    while not (points.quiet or points.frozen):  # noqa: ASYNC110 - for a few turns at most
        await asyncio.sleep(0)


class _Stand:
    """Where the transactions of one process stand."""

    def __init__(self, order: Order, acts: Sequence[Act | None], books: Books, tell: Tell) -> None:
        self._alone = len(acts) == 1
        self._dies = not self._alone and any(act and act.deed == "kill" for act in acts)
        self._points = [
            Points(act, functools.partial(tell, number), self._freeze)
            for number, act in enumerate(acts)
        ]
        self.gate = Gate(order, self._points[0])
        driver = WrappedAsyncDriver(_REAL, books.names, self.gate)
        # All acceptors at once: a hedge would come when the clock says so.
        Preference.choose = _all  # type: ignore[method-assign,assignment]
        failpoints.arm(self._failpoint)
        # In this child only, and for its whole life; modules have no such attributes for mypy.
        for opener in (async_coordinator, async_recovery):
            opener.choose_async = lambda _: driver  # type: ignore[attr-defined]
        for runner in (async_transaction, async_recovery):
            runner.drive = self._drive  # type: ignore[attr-defined]

    def turn_to(self, number: int) -> Points:
        """From now on the process works for this case."""
        self.gate.points = self._points[number]
        return self.gate.points

    def end(self) -> None:
        """All transactions have ended, or stand at their points."""
        if self._dies:
            kill_self()

    def _freeze(self) -> None:
        if self._alone:
            kill_self()
        self.gate.close()

    def _failpoint(self, name: str) -> None:
        if self._alone or name.startswith("tell:"):  # the others would break the product's tasks
            self.gate.points.failpoint(name)

    async def _drive(self, machine: Machine, *args: Any, **kwargs: Any) -> None:
        await drive(_Standing(machine, self.gate.points), *args, **kwargs)


def _all(preference: Preference, admitted: Collection[str], limit: float) -> Choice:
    return Choice(tuple(sorted(preference._estimates)), 0.0)


class _Standing:
    """A machine that stands still when its transaction does."""

    def __init__(self, machine: Machine, points: Points) -> None:
        self._machine = machine
        self._points = points

    @property
    def done(self) -> bool:
        return self._machine.done

    def start(self) -> list[Effect]:
        return self._machine.start()

    def handle(self, event: Event) -> list[Effect]:
        if self._points.frozen:
            raise Frozen
        return self._machine.handle(event)
