"""What a kind of fault is, and one occurrence of it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Literal, TypeAlias

from paxcommit.sql.statement import DatabaseError, Unanswered
from paxcommit.testing.chaos.chronicle import Chronicle
from paxcommit.testing.chaos.events import Event, FaultBegun, FaultEnded, FaultSkipped
from paxcommit.testing.chaos.processes import Slot, Staff, Worker
from paxcommit.testing.chaos.stage import Stage

__all__ = ["Kind", "Lane", "NotMade", "Occurrence", "Proof", "make"]

Proof: TypeAlias = Mapping[str, int | float | str]
"""``count``, and how it is known."""

Lane: TypeAlias = Literal["processes", "links", "servers"]
"""Faults of one lane follow each other; those of different lanes overlap."""


class NotMade(Exception):
    """The fault could not be made, or found nothing to break; the message says why."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of fault.

    Attributes:
        name: What the history calls it.
        sentence: What it does, for people.
        lane: See `Lane`.
        act: Does it, from `Occurrence.begin` to healing, and returns the proof.
        own_servers: Whether it takes control over servers, or leaves something behind there, so
            that it is never made on a user's.
    """

    name: str
    sentence: str
    lane: Lane
    act: Callable[[Occurrence], Awaitable[Proof]]
    own_servers: bool = False


@dataclass(slots=True)
class Occurrence:
    """One fault, from its beginning to its end.

    Attributes:
        ident: Its id within the run.
        kind: Which one.
        stage: Where.
        staff: Who suffers.
        random: Chooses; of its own, so that the timing of other faults changes nothing.
        seconds: How long it is to last, roughly.
    """

    ident: str
    kind: Kind
    stage: Stage
    staff: Staff
    random: Random
    seconds: float
    _chronicle: Chronicle
    began: bool = field(default=False, init=False)

    def begin(self, target: str) -> None:
        """Say that the fault is there from now on."""
        self.began = True
        self._chronicle.note(FaultBegun(0.0, self.ident, self.kind.name, target))

    def note(self, event: Event) -> None:
        """Write down something else that belongs to it."""
        self._chronicle.note(event)

    def end(self, proof: Proof) -> None:
        """Say that it is over."""
        counts = proof.get("count", 0)
        if self.began and isinstance(counts, int) and counts > 0:
            self._chronicle.note(FaultEnded(0.0, self.ident, proof))
        else:
            known = ", ".join(f"{what} {value}" for what, value in proof.items())
            self.skip(f"it found nothing to break: {known}")

    def skip(self, reason: str) -> None:
        """Say that it proves nothing."""
        self._chronicle.note(FaultSkipped(0.0, self.ident, self.kind.name, reason or "unknown"))

    async def hold(self) -> None:
        """Let it last."""
        await asyncio.sleep(self.seconds)

    async def until(self, holds: Callable[[], bool], *, at_most: float = 3.0) -> bool:
        """Let it last, and longer until `holds`; tell whether it does."""
        await self.hold()
        for _ in range(int(at_most / 0.05)):
            if holds():
                break
            await asyncio.sleep(0.05)
        return holds()

    async def working(self, slots: list[Slot]) -> Worker:
        """Choose a process that is at work.

        Raises:
            NotMade: None of them is, for some time.
        """
        for _ in range(100):
            ready = [
                slot.worker
                for slot in slots
                if slot.worker is not None and slot.worker.running and slot.worker.opened.is_set()
            ]
            if ready:
                return self.random.choice(ready)
            await asyncio.sleep(0.05)
        raise NotMade("no process was at work")


async def make(occurrence: Occurrence) -> bool:
    """Make a fault, and write down what came of it; tell whether it fired."""
    try:
        proof = await occurrence.kind.act(occurrence)
    except (NotMade, DatabaseError, Unanswered, OSError) as error:
        # The last three: other faults are under way.
        occurrence.skip(str(error) or type(error).__name__)
        return False
    occurrence.end(proof)
    count = proof.get("count", 0)
    return isinstance(count, int) and count > 0
