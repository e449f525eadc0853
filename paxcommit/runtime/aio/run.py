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
from paxcommit.protocol.messages import AcceptorAnswer, AcceptorName, Request
from paxcommit.runtime.plan import Plan, Step
from paxcommit.runtime.timing import backoff_delay
from paxcommit.sql.statement import DatabaseError, Statements, Unanswered

__all__ = ["Perform", "Submit", "drive", "run_plan", "run_statements"]

_T = TypeVar("_T")
Perform = Callable[[Step], Awaitable[Any]]
Submit = Callable[[AcceptorName, Request], "asyncio.Future[AcceptorAnswer]"]


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
            if len(steps) == 1:  # most have one, which needs no task
                try:
                    answer = await perform(steps[0])
                except Exception as error:  # noqa: BLE001 - the plan is sent it
                    answer = error
                steps = plan.send([answer])
            else:
                attempts = (_attempt(step, perform) for step in steps)
                steps = plan.send(await asyncio.gather(*attempts))
    except StopIteration as stop:
        value: _T = stop.value
        return value
    finally:
        plan.close()


async def _attempt(step: Step, perform: Perform) -> Any:
    try:
        return await perform(step)
    except Exception as error:  # noqa: BLE001 - the plan is sent it
        return error


async def drive(
    machine: Machine,
    operate: Callable[[Operation], Plan[Event]],
    perform: Perform,
    *,
    ask: Submit,
    abandon: Callable[[str], None],
    tell: Callable[[Tell], None],
) -> None:
    """Drive a machine until it is done and every branch operation it began has ended.

    Args:
        machine: The machine; touched from this event loop only.
        operate: The plan that carries out an effect other than `Send`, and returns its event.
        perform: Runs one step of a plan.
        ask: Sends a request to an acceptor.
        abandon: Cuts a branch's connection.
        tell: Hears the decision, as soon as there is one.
    """
    driver = _Driver(machine, operate, perform, ask=ask, abandon=abandon, tell=tell)
    try:
        driver.start()
        await driver.over
    finally:
        await driver.end()


class _Driver:
    """Feeds a machine, from the callbacks of whatever it waits for: it has no task of its own."""

    def __init__(
        self,
        machine: Machine,
        operate: Callable[[Operation], Plan[Event]],
        perform: Perform,
        *,
        ask: Submit,
        abandon: Callable[[str], None],
        tell: Callable[[Tell], None],
    ) -> None:
        self._machine = machine
        self._operate = operate
        self._perform = perform
        self._ask = ask
        self._abandon = abandon
        self._tell = tell
        self._loop = asyncio.get_running_loop()
        self._branches: dict[asyncio.Task[None], str] = {}
        self._timers: list[asyncio.TimerHandle] = []
        self.over: asyncio.Future[None] = self._loop.create_future()
        """Done once the machine is, or cannot go on; late answers are of no interest then."""

    def start(self) -> None:
        """Begin."""
        try:
            self._launch(self._machine.start())
        except Exception as error:  # noqa: BLE001 - raised again by `drive`
            self._fail(error)

    async def end(self) -> None:
        """Wait for the branch operations that are under way; if all is not well, cut them off."""
        for timer in self._timers:
            timer.cancel()
        if not self.over.done() or self.over.cancelled() or self.over.exception() is not None:
            self.over.cancel()
            for participant in self._branches.values():
                self._abandon(participant)
        if running := [task for task in self._branches if not task.done()]:
            await asyncio.wait(running)

    def _feed(self, event: Event) -> None:
        if self.over.done():
            return
        try:
            self._launch(self._machine.handle(event))
        except Exception as error:  # noqa: BLE001 - raised again by `drive`
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        if not self.over.done():
            self.over.set_exception(error)

    def _launch(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Send():
                    self._send(effect)
                case Tell():
                    failpoints.hit("tell", str(effect.outcome))
                    self._tell(effect)
                case SetTimer(name=name, seconds=seconds):
                    self._after(seconds, TimerFired(name))
                case Backoff(name=name, attempt=attempt):
                    self._after(backoff_delay(attempt), BackoffOver(name))
                case Abandon(participant=name):
                    self._abandon(name)
                case _:
                    task = self._loop.create_task(self._carry_out(effect))
                    self._branches[task] = effect.participant
                    task.add_done_callback(self._branches.pop)
        if self._machine.done and not self.over.done():
            self.over.set_result(None)

    def _after(self, seconds: float, event: Event) -> None:
        self._timers.append(self._loop.call_later(seconds, self._feed, event))

    def _send(self, effect: Send) -> None:
        """Ask an acceptor.  Nobody waits for a slow one's answer, so it is no task."""

        def answered(future: asyncio.Future[AcceptorAnswer]) -> None:
            try:
                answer = future.result()
                failpoints.hit(effect.step, effect.acceptor, ".after")
            except Exception as error:  # noqa: BLE001 - raised again by `drive`
                self._fail(error)
            except asyncio.CancelledError:
                pass  # the loop is ending
            else:
                self._feed(answer)

        failpoints.hit(effect.step, effect.acceptor, ".before")
        self._ask(effect.acceptor, effect.request).add_done_callback(answered)

    async def _carry_out(self, effect: Operation) -> None:
        try:
            failpoints.hit(effect.step, effect.participant, ".before")
            event = await run_plan(self._operate(effect), self._perform)
            failpoints.hit(effect.step, effect.participant, ".after")
        except Exception as error:  # noqa: BLE001 - raised again by `drive`
            self._fail(error)
        else:
            self._feed(event)
