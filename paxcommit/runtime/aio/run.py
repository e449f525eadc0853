"""Driving generators, plans and machines on asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from paxcommit import failpoints
from paxcommit.ports import AsyncSession
from paxcommit.protocol.effects import (
    Abandon,
    Backoff,
    BackoffOver,
    Effect,
    Event,
    Machine,
    Operation,
    Send,
    SetTimer,
    Tell,
    TimerFired,
)
from paxcommit.runtime.plan import Plan, Step
from paxcommit.runtime.timing import backoff_delay
from paxcommit.sql.statement import DatabaseError, Statements, Unanswered

__all__ = ["Perform", "drive", "run_plan", "run_statements"]

_T = TypeVar("_T")
Perform = Callable[[Step], Awaitable[Any]]


async def run_statements(session: AsyncSession, statements: Statements[_T]) -> _T:
    """Run a generator's statements on one session and return its result."""
    try:
        sql = next(statements)
        while True:
            try:
                result = await session.execute(sql)
            except (DatabaseError, Unanswered) as error:
                sql = statements.throw(error)
            else:
                sql = statements.send(result)
    except StopIteration as stop:
        value: _T = stop.value
        return value
    finally:
        statements.close()


async def run_plan(plan: Plan[_T], perform: Perform) -> _T:
    """Run a plan: the steps of each list in parallel, their answers (or exceptions) sent back."""
    try:
        steps = next(plan)
        while True:
            answers = await asyncio.gather(*map(perform, steps), return_exceptions=True)
            for answer in answers:
                if isinstance(answer, BaseException) and not isinstance(answer, Exception):
                    raise answer
            steps = plan.send(answers)
    except StopIteration as stop:
        value: _T = stop.value
        return value
    finally:
        plan.close()


async def drive(
    machine: Machine,
    operate: Callable[[Operation], Plan[Event]],
    perform: Perform,
    *,
    abandon: Callable[[str], None],
    tell: Callable[[Tell], None],
) -> None:
    """Drive a machine until it is done and every branch operation it began has ended.

    Args:
        machine: The machine; touched from this task only.
        operate: The plan that carries out an effect and returns its event.
        perform: Runs one step of a plan.
        abandon: Cuts a branch's connection.
        tell: Hears the decision, as soon as there is one.
    """
    loop = asyncio.get_running_loop()
    inbox: asyncio.Queue[Event | Exception] = asyncio.Queue()
    branches: dict[asyncio.Task[None], str] = {}
    sends: set[asyncio.Task[None]] = set()  # nobody waits for a slow acceptor's answer
    timers: list[asyncio.TimerHandle] = []

    async def carry_out(effect: Operation) -> None:
        try:
            failpoints.hit(effect.step, effect.participant, ".before")
            event = await run_plan(operate(effect), perform)
            failpoints.hit(effect.step, effect.participant, ".after")
        except Exception as error:  # noqa: BLE001 - raised again by the loop below
            inbox.put_nowait(error)
        else:
            inbox.put_nowait(event)

    def launch(effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Tell():
                    failpoints.hit("tell", str(effect.outcome))
                    tell(effect)
                case Abandon(participant=name):
                    abandon(name)
                case SetTimer(name=name, seconds=seconds):
                    timers.append(loop.call_later(seconds, inbox.put_nowait, TimerFired(name)))
                case Backoff(name=name, attempt=attempt):
                    delay = backoff_delay(attempt)
                    timers.append(loop.call_later(delay, inbox.put_nowait, BackoffOver(name)))
                case _:
                    task = loop.create_task(carry_out(effect))
                    if isinstance(effect, Send):
                        sends.add(task)
                        task.add_done_callback(sends.discard)
                    else:
                        branches[task] = effect.participant

    try:
        launch(machine.start())
        while not machine.done:
            event = await inbox.get()
            if isinstance(event, Exception):
                raise event
            launch(machine.handle(event))
    except BaseException:
        for task, participant in branches.items():
            if not task.done():
                abandon(participant)
        raise
    finally:
        for timer in timers:
            timer.cancel()
        if branches:
            await asyncio.wait(branches)
