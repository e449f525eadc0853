"""Driving generators, plans and machines on threads."""

from __future__ import annotations

import queue
from collections.abc import Callable
from concurrent.futures import Executor, Future, wait
from typing import Any, TypeVar

from paxcommit import failpoints
from paxcommit.ports import SyncSession
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
from paxcommit.runtime.threads.watchdog import Watchdog
from paxcommit.runtime.timing import backoff_delay
from paxcommit.sql.statement import DatabaseError, Statements, Unanswered

__all__ = ["Perform", "drive", "run_plan", "run_statements"]

_T = TypeVar("_T")
Perform = Callable[[Step], Any]


def run_statements(session: SyncSession, statements: Statements[_T]) -> _T:
    """Run a generator's statements on one session and return its result."""
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
        value: _T = stop.value
        return value
    finally:
        statements.close()


def run_plan(plan: Plan[_T], perform: Perform, executor: Executor) -> _T:
    """Run a plan: the steps of each list in parallel, their answers (or exceptions) sent back."""

    def attempt(step: Step) -> Any:
        try:
            return perform(step)
        except Exception as error:  # noqa: BLE001 - the plan is sent it
            return error

    try:
        steps = next(plan)
        while True:
            if len(steps) == 1:
                steps = plan.send([attempt(steps[0])])
            else:
                steps = plan.send(list(executor.map(attempt, steps)))
    except StopIteration as stop:
        value: _T = stop.value
        return value
    finally:
        plan.close()


def drive(
    machine: Machine,
    operate: Callable[[Operation], Plan[Event]],
    perform: Perform,
    *,
    executor: Executor,
    watchdog: Watchdog,
    abandon: Callable[[str], None],
    tell: Callable[[Tell], None],
) -> None:
    """Drive a machine until it is done and every branch operation it began has ended.

    Args:
        machine: The machine; touched from this thread only.
        operate: The plan that carries out an effect and returns its event.
        perform: Runs one step of a plan, blocking.
        executor: Where operations run; must not run out of threads.
        watchdog: For timers.
        abandon: Cuts a branch's connection.
        tell: Hears the decision, as soon as there is one.
    """
    inbox: queue.SimpleQueue[Event | Exception] = queue.SimpleQueue()
    branches: dict[Future[None], str] = {}
    cancels: list[Callable[[], None]] = []

    def carry_out(effect: Operation) -> None:
        try:
            failpoints.hit(effect.step, effect.participant, ".before")
            event = run_plan(operate(effect), perform, executor)
            failpoints.hit(effect.step, effect.participant, ".after")
        except Exception as error:  # noqa: BLE001 - raised again by the loop below
            inbox.put(error)
        else:
            inbox.put(event)

    def later(seconds: float, event: Event) -> None:
        cancels.append(watchdog.after(seconds, lambda: inbox.put(event)))

    def launch(effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Tell():
                    failpoints.hit("tell", str(effect.outcome))
                    tell(effect)
                case Abandon(participant=name):
                    abandon(name)
                case SetTimer(name=name, seconds=seconds):
                    later(seconds, TimerFired(name))
                case Backoff(name=name, attempt=attempt):
                    later(backoff_delay(attempt), BackoffOver(name))
                case _:
                    try:
                        future = executor.submit(carry_out, effect)
                    except RuntimeError as closed:  # the executor is shut down: so are we
                        raise Unanswered("the connections are closed") from closed
                    if not isinstance(effect, Send):  # nobody waits for a slow acceptor's answer
                        branches[future] = effect.participant

    try:
        launch(machine.start())
        while not machine.done:
            event = inbox.get()
            if isinstance(event, Exception):
                raise event
            launch(machine.handle(event))
    except BaseException:
        for future, participant in branches.items():
            if not future.done():
                abandon(participant)
        raise
    finally:
        for cancel in cancels:
            cancel()
        wait(branches)
