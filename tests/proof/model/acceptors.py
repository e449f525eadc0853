"""Acceptors: the real `acceptor.step` over a row, what it ever accepted, and what is under way."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, replace
from typing import TypeAlias

from paxcommit.errors import InvariantViolation
from paxcommit.protocol import acceptor
from paxcommit.protocol.acceptor import UNKNOWN, EpochState, Persist, Row
from paxcommit.protocol.effects import Event
from paxcommit.protocol.messages import AcceptorAnswer, Conflict, Phase2b, Request
from paxcommit.protocol.values import Instance, Value
from tests.proof.model.freezing import Interner, freeze

__all__ = ["NOBODY", "Acceptor", "Acceptors", "Arrival", "Item", "Vote"]

NOBODY = -1
"""The sender of a request whose answer nobody waits for any more: it is dead, or gave up."""

Item: TypeAlias = tuple[int, int]
"""A request under way: its sender, and its number."""

Arrival: TypeAlias = tuple[Item, int, int, str | None, int]
"""A request, the acceptor's new local state, the answer's number, what should never have been, and
the local state if a second copy is still under way."""

_OPEN = EpochState()

Vote: TypeAlias = tuple[int, Instance, Value]
"""Once accepted: at which ballot, in which instance, which value."""


@dataclass(frozen=True, slots=True)
class Acceptor:
    """One acceptor, and the requests under way to it.

    Attributes:
        row: What it holds.
        votes: All that it ever accepted durably, in order of number; nobody can see this.
        queue: Requests under way, sorted, each at most once.
        epoch: What it knows of its epoch.
    """

    row: Row = UNKNOWN
    votes: tuple[int, ...] = ()
    queue: tuple[Item, ...] = ()
    epoch: EpochState = _OPEN


class Acceptors:
    """All local states that acceptors can have; every method is a table that fills itself.

    Args:
        events: Numbers answers.
        rivals: Whether two processes own ballot 0, so that a `Conflict` is as it should be.
    """

    def __init__(self, events: Interner[Event], *, rivals: bool = False) -> None:
        self._rivals = rivals
        self.events = events
        self.requests: Interner[Request] = Interner()
        self.votes: Interner[Vote] = Interner()
        self.facts: list[int] = []  # per local state, a number for all that counts of it
        self._voted: Interner[tuple[int, ...]] = Interner()
        self._locals: Interner[Acceptor] = Interner()
        self._tables: dict[Hashable, int] = {}
        self._sent: dict[tuple[int, Item], int] = {}
        self._arrivals: dict[tuple[str, int], tuple[Arrival, ...]] = {}
        self.first = self._number(Acceptor())

    def __getitem__(self, local: int) -> Acceptor:
        return self._locals[local]

    def request(self, request: Request) -> int:
        """The number of a request."""
        return self.requests.number(freeze(request), request)

    def send(self, local: int, item: Item) -> int:
        """A request sets out."""
        after = self._sent.get((local, item))
        if after is None:
            it = self._locals[local]
            after = self._number(replace(it, queue=(*it.queue, item)))
            self._sent[local, item] = after
        return after

    def arrivals(self, name: str, local: int) -> tuple[Arrival, ...]:
        """What comes of each request that is under way to acceptor `name`."""
        key = name, local
        arrivals = self._arrivals.get(key)
        if arrivals is None:
            arrivals = tuple(self._arrive(name, local, item) for item in self._locals[local].queue)
            self._arrivals[key] = arrivals
        return arrivals

    def _arrive(self, name: str, local: int, item: Item) -> Arrival:
        it = self._locals[local]
        try:
            row, votes, answer = self._step(name, it, item)
        except InvariantViolation as broken:
            return item, local, 0, f"{name}: an invariant is violated: {broken}", local
        queue = tuple(each for each in it.queue if each != item)
        after = replace(it, row=row, votes=votes, queue=queue)
        doubled = replace(after, queue=(*queue, (NOBODY, item[1])))
        number = self.events.number(freeze(answer), answer)
        fault = None
        if isinstance(answer, Conflict) and not self._rivals:
            fault = f"{name} is asked for another value at an equal ballot"
        return item, self._number(after), number, fault, self._number(doubled)

    def orphan(self, local: int, sender: int, request: int | None = None) -> int:
        """Nobody waits any more for the answers to what `sender` has sent (or to one request)."""
        key = local, sender, request
        if key not in self._tables:
            it = self._locals[local]
            queue = tuple(
                (NOBODY, number) if who == sender and request in (None, number) else (who, number)
                for who, number in it.queue
            )
            self._tables[key] = self._number(replace(it, queue=queue))
        return self._tables[key]

    def forget(self, local: int) -> int:
        """An old copy is put back: the row is gone, and the others' marks say so (R13)."""
        it = self._locals[local]
        return self._number(replace(it, row=UNKNOWN, epoch=EpochState(lost_votes=True)))

    def _step(
        self, name: str, it: Acceptor, item: Item
    ) -> tuple[Row, tuple[int, ...], AcceptorAnswer]:
        answer = acceptor.step(name, it.epoch, it.row, self.requests[item[1]])
        if not isinstance(answer, Persist):
            return it.row, it.votes, answer.reply
        votes = set(it.votes)
        if isinstance(answer.reply, Phase2b):
            for instance in sorted(answer.reply.values):
                vote = (answer.reply.ballot, instance, answer.reply.values[instance])
                votes.add(self.votes.number(vote, vote))
        return answer.row, tuple(sorted(votes)), answer.reply

    def _number(self, it: Acceptor) -> int:
        # An orphan that is refused now is refused for ever, for promises only grow: drop it.
        queue = tuple(
            item
            for item in sorted(set(it.queue))
            if item[0] != NOBODY or self._would_persist(it, item)
        )
        it = replace(it, queue=queue)
        number = self._locals.number((freeze(it.row), it.votes, it.queue, it.epoch), it)
        if number == len(self.facts):
            self.facts.append(self._voted.number(it.votes, it.votes))
        return number

    def _would_persist(self, it: Acceptor, item: Item) -> bool:
        try:
            answer = acceptor.step("", it.epoch, it.row, self.requests[item[1]])
        except InvariantViolation:
            return True  # to be seen when it arrives
        return isinstance(answer, Persist)
