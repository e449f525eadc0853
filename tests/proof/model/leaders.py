"""The real `Leader` and `Learner` alone: who leads one ballot, and learns from what it hears.

A recoverer does the same and much besides; without that, more ballots fit into a search.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from paxcommit.ids import Ballot, TxId
from paxcommit.protocol.effects import Backoff, Effect, Event, Tell
from paxcommit.protocol.leader import Leader
from paxcommit.protocol.learner import Learner
from paxcommit.protocol.values import Outcome

__all__ = ["BareLeader"]


class BareLeader:
    """Leads one ballot above those it has heard of, until it knows the outcome or has lost.

    Args:
        txid: The transaction.
        acceptors: All 2F+1.
        heard_of: A ballot that is promised somewhere.
    """

    def __init__(self, txid: TxId, acceptors: Sequence[str], heard_of: Ballot) -> None:
        self.txid = txid
        self._learner = Learner(txid, len(acceptors) // 2 + 1)
        self._leader = Leader(txid, acceptors, self._learner)
        self._leader.heard_of(heard_of)
        self._lost = False

    @property
    def done(self) -> bool:
        return self._lost or self._learner.outcome is not Outcome.OPEN

    @property
    def damage(self) -> Mapping[str, object]:
        return {}

    def start(self) -> list[Effect]:
        return self._leader.start()

    def handle(self, event: Event) -> list[Effect]:
        effects = self._leader.handle(event)
        self._lost = any(isinstance(effect, Backoff) for effect in effects)
        if self._learner.outcome is not Outcome.OPEN:
            return [Tell(self._learner.outcome)]
        return [] if self._lost else effects
