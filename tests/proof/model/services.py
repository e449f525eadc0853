"""A transaction of several processes: each service votes for its own branch, the root proposes J.

The real `ResourceManager` says when a vote may be cast, the real `Leader` and `Learner` count.
This is where one instance per RM shows: votes of one transaction reach acceptors apart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from paxcommit.ids import Ballot, TxId
from paxcommit.protocol.effects import BranchAnswered, Effect, Event, Prepare, Send, Tell
from paxcommit.protocol.leader import Leader
from paxcommit.protocol.learner import Learner
from paxcommit.protocol.messages import Phase2a
from paxcommit.protocol.resource_manager import Prepared, ResourceManager
from paxcommit.protocol.values import REGISTRAR, Outcome, ParticipantSet

__all__ = ["Root", "Service"]


class Root:
    """Proposes J at ballot 0, then learns, or leads like anybody.

    Args:
        txid: The transaction.
        acceptors: All 2F+1.
        participants: J.
        dies: Whether it dies having proposed.
    """

    def __init__(
        self, txid: TxId, acceptors: Sequence[str], participants: Sequence[str], *, dies: bool
    ) -> None:
        self.txid = txid
        self._dies = dies
        self._acceptors = tuple(acceptors)
        self._j = ParticipantSet.of(participants)
        self._learner = Learner(txid, len(acceptors) // 2 + 1)
        self._leader = Leader(txid, acceptors, self._learner)

    @property
    def done(self) -> bool:
        return self._dies or self._learner.outcome is not Outcome.OPEN

    @property
    def damage(self) -> Mapping[str, object]:
        return {}

    def start(self) -> list[Effect]:
        request = Phase2a(self.txid, Ballot(0), {REGISTRAR: self._j})
        return [Send(acceptor, request) for acceptor in self._acceptors]

    def handle(self, event: Event) -> list[Effect]:
        effects = self._leader.handle(event)
        outcome = self._learner.outcome
        return effects if outcome is Outcome.OPEN else [Tell(outcome)]


class Service:
    """Prepares one branch, and votes for it once that is proven (R6, R16)."""

    def __init__(self, txid: TxId, acceptors: Sequence[str], participant: str) -> None:
        self.txid = txid
        self._acceptors = tuple(acceptors)
        self._rm = ResourceManager(participant)
        self.done = False

    @property
    def damage(self) -> Mapping[str, object]:
        return {}

    def start(self) -> list[Effect]:
        return [Prepare(self._rm.participant)]

    def handle(self, event: Event) -> list[Effect]:
        if not isinstance(event, BranchAnswered):
            return []
        self.done = True
        self._rm.answered(event.answer)
        if not isinstance(event.answer, Prepared):
            return []  # a no is told to the root, never voted
        request = Phase2a(self.txid, Ballot(0), {self._rm.participant: self._rm.vote()})
        return [Send(acceptor, request) for acceptor in self._acceptors]
