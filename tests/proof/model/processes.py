"""Processes: the real machines, and what they wait for."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeAlias

from paxcommit.errors import InvariantViolation
from paxcommit.protocol.effects import (
    Abandon,
    Backoff,
    BackoffOver,
    Effect,
    Event,
    Send,
    SetTimer,
    Tell,
    TimerFired,
)
from paxcommit.protocol.messages import Phase1a
from paxcommit.protocol.recovery import RecoveryMachine
from paxcommit.protocol.values import Outcome
from tests.proof.model.database import Command
from tests.proof.model.freezing import Interner, Renaming, freeze

__all__ = ["Machine", "Order", "Process", "Processes", "Reaction"]


class Machine(Protocol):
    """What can run in a process."""

    @property
    def done(self) -> bool: ...

    @property
    def damage(self) -> Any: ...

    def start(self) -> list[Effect]: ...

    def handle(self, event: Event) -> list[Effect]: ...


Order: TypeAlias = Send | Command
"""What a machine asks of an acceptor or of a database."""


@dataclass(frozen=True, slots=True)
class Process:
    """One process.

    Attributes:
        machine: A stored copy of its machine; None: not begun, or over.
        timers: What it will be told in time, as event numbers, sorted.
        inbox: Answers under way to it, as event numbers, sorted.
    """

    machine: bytes | None
    timers: tuple[int, ...] = ()
    inbox: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Reaction:
    """What a machine does about an event.

    Attributes:
        local: The new local state.
        orders: What it asks of the world, in order.
        abandoned: Participants whose connection it cuts, before anything else.
        ballot: The highest ballot that it begins with this, or 0.
        told: What it tells its owner.
        settled: Whether it has ended, aborted, with nothing left to apply.
        fault: What it should never do, in words.
    """

    local: int
    orders: tuple[Order, ...] = ()
    abandoned: tuple[str, ...] = ()
    ballot: int = 0
    told: tuple[Outcome, ...] = ()
    settled: bool = False
    fault: str | None = None


class Processes:
    """All local states that processes can have; every method is a table that fills itself."""

    def __init__(self, events: Interner[Event], acceptors: Sequence[str]) -> None:
        self.events = events
        self._acceptors = tuple(acceptors)
        self._renaming = Renaming(acceptors)
        self._locals: Interner[Process] = Interner()
        self._keys: list[Hashable] = []
        self._reactions: dict[Hashable, Reaction] = {}
        self._tables: dict[Hashable, int] = {}
        self._renamed: dict[tuple[int, tuple[int, ...]], int] = {}
        self.gone = self._number(None, Process(None))

    def __getitem__(self, local: int) -> Process:
        return self._locals[local]

    def start(self, key: Hashable, machine: Machine) -> Reaction:
        """A process begins with a machine, which `key` names."""
        if key not in self._reactions:
            self._reactions[key] = self._run(machine, None, Process(None))
        return self._reactions[key]

    def react(self, local: int, event: int) -> Reaction:
        """Feed an event to the machine."""
        key = local, event
        if key not in self._reactions:
            it = self._locals[local]
            self._reactions[key] = self._run(
                self._renaming.revive(it.machine or b""), self.events[event], it
            )
        return self._reactions[key]

    def take(self, local: int, event: int) -> int:
        """An answer or a timer is no longer under way."""
        key = local, "take", event
        if key not in self._tables:
            it = self._locals[local]
            left = Process(
                it.machine,
                tuple(each for each in it.timers if each != event),
                tuple(each for each in it.inbox if each != event),
            )
            self._tables[key] = self._number(self._keys[local], left)
        return self._tables[key]

    def post(self, local: int, event: int) -> int:
        """An answer is under way to it."""
        if local == self.gone:
            return local
        key = local, "post", event
        if key not in self._tables:
            it = self._locals[local]
            inbox = tuple(sorted({*it.inbox, event}))
            self._tables[key] = self._number(
                self._keys[local], Process(it.machine, it.timers, inbox)
            )
        return self._tables[key]

    def rename(self, local: int, order: tuple[int, ...]) -> int:
        """The same process, if acceptor `order[i]` bore the name of acceptor `i`."""
        renamed = self._renamed.get((local, order))
        if renamed is None:
            renamed = self._renamed[local, order] = self._rename_all(local, order)
        return renamed

    def _rename_all(self, local: int, order: tuple[int, ...]) -> int:
        it = self._locals[local]
        if it.machine is None:
            return local
        names = {self._acceptors[old]: self._acceptors[new] for new, old in enumerate(order)}
        inbox = tuple(sorted(self._rename(event, names) for event in it.inbox))
        machine = self._renaming.revive(it.machine, names)
        after = Process(self._renaming.store(machine), it.timers, inbox)
        return self._number(freeze(machine), after)

    def _rename(self, event: int, names: Mapping[str, str]) -> int:
        it: Any = self.events[event]
        if not hasattr(it, "acceptor"):
            return event
        return self._event(replace(it, acceptor=names[it.acceptor]))

    def _run(self, machine: Machine, event: Event | None, it: Process) -> Reaction:
        try:
            effects = machine.start() if event is None else machine.handle(event)
            done, damage = machine.done, machine.damage
        except InvariantViolation as broken:
            return Reaction(self.gone, fault=f"an invariant is violated: {broken}")
        except Exception as error:  # noqa: BLE001 - whatever it is, it should not be
            return Reaction(self.gone, fault=f"it raises {type(error).__name__}: {error}")
        timers, told, ballot = set(it.timers), [], 0
        orders: list[Order] = []
        abandoned: list[str] = []
        for effect in effects:
            match effect:
                case SetTimer(name=name):
                    timers.add(self._event(TimerFired(name)))
                case Backoff(name=name):
                    timers.add(self._event(BackoffOver(name)))
                case Tell(outcome=outcome):
                    told.append(outcome)
                case Abandon(participant=name):
                    abandoned.append(name)
                case Send(request=request):
                    if isinstance(request, Phase1a):
                        ballot = max(ballot, request.ballot)
                    orders.append(effect)
                case _:
                    orders.append(effect)
        fault = f"damage is reported without a cause: {damage}" if damage else None
        if done:
            local = self.gone
        else:
            after = Process(self._renaming.store(machine), tuple(sorted(timers)), it.inbox)
            local = self._number(freeze(machine), after)
        return Reaction(
            local=local,
            orders=tuple(orders),
            abandoned=tuple(sorted(abandoned)),  # not in the order of a set
            ballot=ballot,
            told=tuple(told),
            settled=done and _settled(machine),
            fault=fault,
        )

    def _event(self, event: Event) -> int:
        return self.events.number(freeze(event), event)

    def _number(self, key: Hashable, it: Process) -> int:
        number = self._locals.number((key, it.timers, it.inbox), it)
        if number == len(self._keys):
            self._keys.append(key)
        return number


def _settled(machine: Machine) -> bool:
    return (
        isinstance(machine, RecoveryMachine)
        and machine.resolution.outcome is Outcome.ABORTED
        and bool(machine._served)
        and not machine.unapplied
    )
