"""Plans and machines, driven by the scheduler; what the product's two runners do with loops."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from paxcommit.errors import InvariantViolation
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
from paxcommit.runtime.links import FAILURES
from paxcommit.runtime.plan import Plan, Step
from tests.proof.simulation.network import Done
from tests.proof.simulation.truth import Broken

if TYPE_CHECKING:
    from tests.proof.simulation.process import Process

__all__ = ["Driving", "Perform", "run_plan"]

Perform = Callable[[Step, Done], None]


class _PlanRun:
    """One plan under way: the steps of a list at once, then their answers together."""

    __slots__ = ("answers", "done", "missing", "perform", "plan")

    def __init__(self, plan: Plan[Any], perform: Perform, done: Done) -> None:
        self.plan = plan
        self.perform = perform
        self.done = done
        self.answers: list[Any] = []
        self.missing = 0

    def advance(self, first: bool) -> None:
        while True:
            try:
                steps = next(self.plan) if first else self.plan.send(self.answers)
            except StopIteration as stop:
                self.done(stop.value)
                return
            except InvariantViolation as bug:
                raise Broken(f"InvariantViolation: {bug}") from bug
            except FAILURES as error:
                self.done(error)
                return
            first = False
            self.answers = [None] * len(steps)
            if not steps:
                continue
            self.missing = len(steps)
            for at, step in enumerate(steps):
                self.perform(step, partial(self.take, at, self.answers))
            return

    def take(self, at: int, answers: list[Any], answer: Any) -> None:
        answers[at] = answer
        self.missing -= 1
        if self.missing == 0:
            self.advance(False)


def run_plan(plan: Plan[Any], perform: Perform, done: Done) -> None:
    """Run a plan; `done` takes its result, or the exception that ended it."""
    _PlanRun(plan, perform, done).advance(True)


class Driving:
    """Drives a machine until it is done and every branch operation it began has ended.

    Args:
        process: Where it runs.
        name: For the trace.
        machine: The product's.
        operate: The product's plans.
        perform: Runs one step of a plan.
        abandon: Cuts a branch's connection.
        tell: Hears the decision.
        watch: Sees every effect and event, for coverage.
        over: Called at the end.
    """

    def __init__(
        self,
        process: Process,
        name: str,
        machine: Machine,
        operate: Callable[[Operation], Plan[Event]],
        perform: Perform,
        *,
        abandon: Callable[[str], None],
        tell: Callable[[Tell], None],
        watch: Callable[[Effect | Event], None],
        over: Callable[[], None],
    ) -> None:
        self.process = process
        self.name = name
        self.machine = machine
        self.operate = operate
        self.perform = perform
        self.abandon = abandon
        self.tell = tell
        self.watch = watch
        self.over = over
        self.branches = 0
        self.ended = False
        self._inbox: list[Any] = []
        self._feeding = True

    def start(self) -> None:
        """Begin."""
        self._launch(self._ask(self.machine.start))
        self._feed()

    def feed(self, event: Any) -> None:
        """Give the machine an event, after those that came before."""
        self._inbox.append(event)
        if not self._feeding:
            self._feed()

    def _feed(self) -> None:
        self._feeding = True
        pool = self.process.world.pool
        while self._inbox and self.process.alive:
            event = self._inbox.pop(0)
            if self.machine.done:
                continue
            if isinstance(event, Exception):
                raise Broken(f"{self.name}: the runtime was interrupted by {event!r}")
            if pool.trace is not None:
                pool.say(f"{self.name} <- {event}")
            self.watch(event)
            self._launch(self._ask(partial(self.machine.handle, event)))
        self._feeding = False
        self._close()

    def _ask(self, machine: Callable[[], list[Effect]]) -> list[Effect]:
        try:
            return machine()
        except InvariantViolation as bug:
            raise Broken(f"InvariantViolation: {bug}") from bug

    def _close(self) -> None:
        if self.machine.done and not self.branches and not self.ended and self.process.alive:
            self.ended = True
            self.over()

    def _launch(self, effects: list[Effect]) -> None:
        pool = self.process.world.pool
        if len(effects) > 1 and isinstance(effects[-1], Abandon):
            effects = sorted(effects, key=_abandon_order)
        for effect in effects:
            if not self.process.alive:
                return
            if pool.trace is not None:
                pool.say(f"{self.name} -> {effect}")
            self.watch(effect)
            match effect:
                case Tell():
                    self.tell(effect)
                case Abandon(participant=participant):
                    self.abandon(participant)
                case SetTimer(name=name):
                    self._at(pool.later if name == "hedge" else pool.last, TimerFired(name))
                case Backoff(name=name):
                    self._at(pool.later, BackoffOver(name))
                case Send():
                    run_plan(self.operate(effect), self.perform, self.feed)
                case _:
                    self.branches += 1
                    run_plan(self.operate(effect), self.perform, self._branch_over)

    def _branch_over(self, event: Any) -> None:
        self.branches -= 1
        self.feed(event)

    def _at(self, queue: list[Callable[[], None]], event: Event) -> None:
        queue.append(partial(self._due, event))

    def _due(self, event: Event) -> None:
        if not self.ended and not self.machine.done:
            self.process.post(partial(self.feed, event))


def _abandon_order(effect: Effect) -> tuple[int, str]:
    """The order in which branches are cut is that of a set, so of PYTHONHASHSEED."""
    return (1, effect.participant) if isinstance(effect, Abandon) else (0, "")
